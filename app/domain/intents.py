"""An intent: the wish to trade, before any check. Button, webhook and bot all make one and call `trading.submit`."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from app.domain.enums import OrderType, Side, Source, TimeInForce


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """What somebody wishes to trade.

    Exactly one of `quantity` (base units), `notional` (quote units), `percent` (fraction of the free balance, 0 < x ≤ 1: quote for a
    buy, base for a sell) or `close_position` says how much. `symbol` may be any spelling a trader uses (`BTC/USDT`, `BTCUSDT`,
    `BINANCE:BTCUSDT`). `key` names the signal: the same key on the same broker account never makes a second order.
    """

    symbol: str
    side: Side
    source: Source
    key: str
    type: OrderType = OrderType.MARKET
    quantity: Decimal | None = None
    notional: Decimal | None = None
    percent: Decimal | None = None
    close_position: bool = False
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    leg: int = 0
    attempt: int = 0
    deadline: datetime | None = None

    def with_deadline(self, deadline: datetime) -> "OrderIntent":
        """Return the same wish, not to be sent after `deadline`."""
        return replace(self, deadline=deadline)
