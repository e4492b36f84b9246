"""An intent: the wish to trade, before any check. Button, webhook and bot all make one and call `trading.submit`."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from app.domain.enums import OrderType, Role, Side, Source, TimeInForce
from app.domain.protection import ProtectionPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """What somebody wishes to trade.

    Exactly one of `quantity` (base units), `notional` (quote units), `percent` (fraction of the free balance, 0 < x ≤ 1: quote for a
    buy, base for a sell) or `close_position` says how much; with `is_reversal` that closes the position and opens as much on the other
    side, with a `quantity` it closes no more than that. `trailing_delta` is a fraction; `protection` says how the position that the order
    opens is to be guarded. `symbol` may be any spelling a trader uses (`BTC/USDT`, `BTCUSDT`, `BINANCE:BTCUSDT`). `key` names the signal:
    the same key on the same broker account never makes a second order. `bot_id` says whose position it is about: that bot's own, or the
    hand's (None).
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
    is_reversal: bool = False
    trigger_price: Decimal | None = None
    trailing_delta: Decimal | None = None
    protection: ProtectionPlan | None = None
    role: Role | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    leg: int = 0
    attempt: int = 0
    deadline: datetime | None = None
    bot_id: UUID | None = None

    @property
    def purpose(self) -> Role:
        """What the order is for: as said, else an exit when it closes a position."""
        if self.role is not None:
            return self.role
        return Role.EXIT if self.close_position and not self.is_reversal else Role.ENTRY

    def with_deadline(self, deadline: datetime) -> "OrderIntent":
        """Return the same wish, not to be sent after `deadline`."""
        return replace(self, deadline=deadline)
