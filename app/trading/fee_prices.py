"""What fees in a third asset (an exchange's own coin) were worth when they were paid, in the quote asset of the fill's symbol.

The feed's price of now stands for a fill of the last minute; for an older one the candle of its minute does, where it is stored. Where
neither is known the fee has no price: it is kept and shown apart, and never counted as nothing.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from app.domain.orders import Fill
from app.trading.desk import Desk, Quotes

_RECENT: Final = timedelta(minutes=1)
_THROUGH: Final = "USDT"
#: The candle of the fill's minute, or the last one before it that is not long gone.
_CLOSE: Final = """
SELECT close::text::numeric FROM candles
 WHERE exchange = $1 AND symbol = $2 AND timeframe = '1m' AND open_time <= date_trunc('minute', $3::timestamptz)
   AND open_time > $3::timestamptz - interval '5 minutes'
 ORDER BY open_time DESC LIMIT 1
"""


def in_third_assets(symbol: str, fills: Iterable[Fill]) -> list[Fill]:
    """Return the fills whose fees are in neither asset of `symbol`."""
    own = set(symbol.split("/"))
    return [fill for fill in fills if fill.fee and fill.fee_asset not in own]


def quoted(quotes: Quotes, exchange: str, symbol: str, fills: Iterable[Fill], *, now: datetime) -> dict[str, Decimal | None]:
    """Return by trade id what a unit of each third-asset fee costs in quote by the feed; None where it does not say."""
    quote = symbol.partition("/")[2]
    return {
        fill.trade_id: _price(quotes, exchange, fill.fee_asset, quote) if abs(now - fill.executed_at) <= _RECENT else None
        for fill in in_third_assets(symbol, fills)
    }


def _price(quotes: Quotes, exchange: str, asset: str, quote: str) -> Decimal | None:
    direct = quotes.reference_price(exchange, f"{asset}/{quote}", is_buy=False)
    if direct is not None or quote == _THROUGH:
        return direct
    in_dollars = quotes.reference_price(exchange, f"{asset}/{_THROUGH}", is_buy=False)
    of_quote = quotes.reference_price(exchange, f"{quote}/{_THROUGH}", is_buy=False)
    return None if in_dollars is None or not of_quote else in_dollars / of_quote


async def fee_prices(desk: Desk, connection: Any, exchange: str, symbol: str, fills: Iterable[Fill]) -> Mapping[str, Decimal | None]:
    """As `quoted`, and where the feed does not say, from the stored candles."""
    known = list(fills)
    prices = quoted(desk.quotes, exchange, symbol, known, now=desk.clock.now())
    quote = symbol.partition("/")[2]
    for fill in known:
        if fill.trade_id in prices and prices[fill.trade_id] is None:
            prices[fill.trade_id] = await _stored(connection, exchange, fill.fee_asset, quote, fill.executed_at)
    return prices


async def _stored(connection: Any, exchange: str, asset: str, quote: str, at: datetime) -> Decimal | None:
    direct: Decimal | None = await connection.fetchval(_CLOSE, exchange, f"{asset}/{quote}", at)
    if direct is not None or quote == _THROUGH:
        return direct
    in_dollars = await connection.fetchval(_CLOSE, exchange, f"{asset}/{_THROUGH}", at)
    of_quote = await connection.fetchval(_CLOSE, exchange, f"{quote}/{_THROUGH}", at)
    return None if in_dollars is None or not of_quote else in_dollars / of_quote
