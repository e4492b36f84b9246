"""What a plan may depend on beside the alert, its webhook's rules and the clock; the plan names what it needs, `look` reads that alone."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.domain.enums import Lane
from app.domain.instruments import Instrument
from app.domain.limits import DOLLARS
from app.errors import RetryableError
from app.exchanges.port import ExchangeClient
from app.trading.account import Account
from app.trading.balances import fetch, store_balances
from app.trading.desk import Desk
from app.trading.limits import usdt_per
from app.trading.symbol_state import SymbolState, read_symbol_state, read_worth

_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)
FLAT: Final = SymbolState(position_id=None, quantity=Decimal(0), average_price=None, plan=None, buying=Decimal(0), selling=Decimal(0))


class Need(StrEnum):
    """A fact that costs a question."""

    PRICE = "price"
    FREE = "free"
    EQUITY = "equity"
    STATE = "state"
    USDT = "usdt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The account and the market as a plan sees them; None is what nobody knows, or what was not asked for.

    `buy_price` is what a market buy would pay and `sell_price` what a sell would get, in quote per base. `free` is the free balance of
    quote, `equity` what the whole account is worth in quote, `usdt` what one unit of quote is worth.
    """

    instrument: Instrument
    now: datetime
    state: SymbolState = FLAT
    buy_price: Decimal | None = None
    sell_price: Decimal | None = None
    free: Decimal | None = None
    equity: Decimal | None = None
    usdt: Decimal | None = None


async def look(desk: Desk, user_id: UUID, account: Account, instrument: Instrument, needed: Set[Need]) -> Facts:
    """Return the facts that are needed, as of now. The exchange is asked for balances, and for a price that the feed does not know.

    Raises:
        BadCredentials: the exchange refuses the account's key, which is paused for it.
        ExchangeUnavailable: the exchange does not answer.
    """
    now = desk.clock.now()
    if not needed:
        return Facts(instrument=instrument, now=now)
    client = desk.connections.ready(account.id) or await desk.connections.client(account.id)
    free = await _free(desk, user_id, account, client, instrument.quote) if Need.FREE in needed else None
    state = await read_symbol_state(desk, user_id, account.id, instrument.symbol) if Need.STATE in needed else FLAT
    buy_price, sell_price = await _prices(desk, client, instrument.symbol) if Need.PRICE in needed else (None, None)
    usdt = await _usdt(desk, client, instrument.quote) if needed & {Need.USDT, Need.EQUITY} else None
    worth = await read_worth(desk, user_id, account.id, now=now) if Need.EQUITY in needed else None
    return Facts(
        instrument=instrument,
        now=now,
        state=state,
        buy_price=buy_price,
        sell_price=sell_price,
        free=free,
        equity=None if worth is None or not usdt else _DOWN.divide(worth, usdt),
        usdt=usdt,
    )


async def _free(desk: Desk, user_id: UUID, account: Account, client: ExchangeClient, asset: str) -> Decimal:
    at = desk.clock.now()
    balances = await fetch(desk, client, account.id)
    await store_balances(desk, balances, broker_id=account.id, user_id=user_id, at=at)
    balance = balances.get(asset)
    return Decimal(0) if balance is None else balance.free


async def _prices(desk: Desk, client: ExchangeClient, symbol: str) -> tuple[Decimal | None, Decimal | None]:
    ask = desk.quotes.reference_price(client.exchange, symbol, is_buy=True)
    bid = desk.quotes.reference_price(client.exchange, symbol, is_buy=False)
    if ask is not None and bid is not None:
        return ask, bid
    ticker = await client.fetch_ticker(symbol, lane=Lane.ENTRY)
    return ticker.ask or ticker.last, ticker.bid or ticker.last


async def _usdt(desk: Desk, client: ExchangeClient, quote: str) -> Decimal | None:
    known = usdt_per(quote, desk.quotes, client.exchange)
    if known is not None or quote in DOLLARS:
        return known
    symbol = f"{quote}/USDT"
    if symbol not in await desk.instruments.all(client.exchange):
        return None
    try:
        return (await client.fetch_ticker(symbol, lane=Lane.ENTRY)).last
    except RetryableError:
        return None
