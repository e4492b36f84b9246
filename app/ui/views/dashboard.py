"""The dashboard and its regions."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.candles import LIVE_TIMEFRAMES, Timeframe
from app.domain.enums import OrderState, OrderType, Side, Source
from app.domain.orders import TERMINAL
from app.ui.views.bots import RunningBots
from app.ui.views.guarding import GuardRow
from app.ui.views.oversight import AuditView, ExternalOrderRow
from app.ui.views.shell import Region, Shell
from app.ui.views.webhooks import DeliveryRow

CHART_TIMEFRAMES = LIVE_TIMEFRAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpis:
    """Headline figures, region of `fragments/dashboard/_kpis.html`, in `currency`. None means not known yet.

    `missing` is the currency that was chosen where no rate of it is known.
    """

    currency: str = "USDT"
    decimals: int = 2
    missing: str = ""
    equity: Decimal | None = None
    day_change: Decimal | None = None
    day_change_pct: Decimal | None = None
    realised_today: Decimal | None = None
    open_positions: int = 0
    open_orders: int = 0
    unrealised: Decimal | None = None
    unrealised_pct: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRow:
    """One asset of the account; `value` is in the region's currency, None when it has no price."""

    asset: str
    total: Decimal
    locked: Decimal = Decimal(0)
    value: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances(Region[BalanceRow]):
    """Region of `fragments/dashboard/_balances.html`."""

    total: Decimal | None = None
    currency: str = "USDT"
    decimals: int = 2
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """One open position. `quantity` is unsigned, `side` carries the sign; prices are quote per base, P&L in `quote`.

    `guard` is None when nothing guards it.
    """

    id: str
    symbol: str
    side: Literal["long", "short"]
    quantity: Decimal
    average_price: Decimal
    quote: str
    source: Source
    opened_at: datetime
    broker: str = ""
    broker_id: str = ""
    mark_price: Decimal | None = None
    guard: GuardRow | None = None
    unrealised: Decimal | None = None
    unrealised_pct: Decimal | None = None
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """One order. `price` is None for a market order; `reason` says why it was denied or rejected.

    One that `is_watched` waits for its price here, because the exchange cannot; one that `is_guarding` is a position's stop or target. One
    that `is_amendable` has a price that can be changed by itself.
    """

    id: str
    created_at: datetime
    symbol: str
    side: Side
    type: OrderType
    state: OrderState
    quantity: Decimal
    source: Source
    filled_quantity: Decimal = Decimal(0)
    price: Decimal | None = None
    average_price: Decimal | None = None
    reason: str = ""
    broker: str = ""
    tick: Decimal | None = None
    step: Decimal | None = None
    trigger_price: Decimal | None = None
    is_watched: bool = False
    is_guarding: bool = False
    is_amendable: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.state not in TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class FillMark:
    """A fill as the chart marks it."""

    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityPoint:
    """One point of the equity curve."""

    time: datetime
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartView:
    """The price panel: what can be chosen, what is, and the fills to mark. `tick` sets the axis' decimals."""

    exchange: str
    symbol: str
    timeframe: Timeframe = Timeframe.M1
    symbols: tuple[str, ...] = ()
    timeframes: tuple[Timeframe, ...] = CHART_TIMEFRAMES
    tick: Decimal = Decimal("0.01")
    last_price: Decimal | None = None
    fills: tuple[FillMark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityView:
    """The equity panel; points oldest first, at most 2 000."""

    points: tuple[EquityPoint, ...] = ()
    currency: str = "USDT"
    decimals: int = 2
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistStep:
    """One step of the onboarding list. Texts are already translated; `href` is empty where there is nothing to open."""

    title: str
    text: str
    is_done: bool = False
    href: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardView:
    """Page `pages/dashboard/dashboard.html`. `checklist` is shown until it is empty."""

    shell: Shell
    chart: ChartView
    kpis: Kpis = field(default_factory=Kpis)
    equity: EquityView = field(default_factory=EquityView)
    balances: Balances = field(default_factory=Balances)
    positions: Region[PositionRow] = field(default_factory=Region)
    bots: RunningBots = field(default_factory=RunningBots)
    orders: Region[OrderRow] = field(default_factory=Region)
    external: Region[ExternalOrderRow] = field(default_factory=Region)
    audit: AuditView = field(default_factory=AuditView)
    deliveries: Region[DeliveryRow] = field(default_factory=Region)
    checklist: tuple[ChecklistStep, ...] = ()
