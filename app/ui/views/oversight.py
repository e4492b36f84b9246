"""What the owner of an account should look at: orders from elsewhere, and the audit."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.enums import OrderState, OrderType, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalOrderRow:
    """An open order in the account that was placed elsewhere: shown, counted as exposure, and never touched. `type` may be unknown."""

    id: str
    venue_order_id: str
    symbol: str
    side: Side
    type: OrderType | None
    state: OrderState
    quantity: Decimal
    filled_quantity: Decimal
    seen_at: datetime
    placed_at: datetime | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    broker: str = ""
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """One thing that must always hold and does not; `detail` is the server's sentence. `are_entries_off` until a person resumes trading."""

    id: str
    code: str
    detail: str
    where: str
    found_at: datetime
    are_entries_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnexplainedRow:
    """What came to an account or went from it without a trade, since `since`."""

    asset: str
    amount: Decimal
    broker: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """Region of `fragments/dashboard/_audit.html`. `ran_at` is None before the first run; `more` findings are not shown."""

    ran_at: datetime | None = None
    is_full: bool = False
    findings: tuple[FindingRow, ...] = ()
    more: int = 0
    unexplained: tuple[UnexplainedRow, ...] = ()

    @property
    def are_entries_off(self) -> bool:
        """Whether something found here keeps positions from being opened."""
        return any(row.are_entries_off for row in self.findings)
