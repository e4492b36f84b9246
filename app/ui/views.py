"""View-models: everything a template may look at, frozen, with Decimals and aware datetimes inside.

A page takes one view (`view`), which carries the `Shell`; a fragment takes one region (`region`). Templates format, they do not compute:
what a page shows and no column holds (a side, a percentage) is a field here. Percentages are fractions.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from app.core.i18n import N_
from app.domain.candles import Timeframe
from app.domain.enums import OrderState, OrderType, Side, Source

Row = TypeVar("Row")

Theme = Literal["dark", "light"]
UpDown = Literal["neon", "cvd"]
Environment = Literal["live", "testnet", "simulated"]
Decision = Literal["executed", "denied", "stale", "duplicate", "unreadable", "paused", "ping", "missed", "pending"]

CHART_TIMEFRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How the person in front of the page reads: language, and IANA zone of every displayed time."""

    language: str = "en"
    timezone: str = "UTC"


class RegionState(StrEnum):
    """What a region can say about its rows. Ready without rows is the fifth design: empty, with its own words."""

    READY = "ready"
    LOADING = "loading"
    STALE = "stale"
    ERROR = "error"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Generic[Row]):
    """Rows of one table and how far they can be trusted.

    `since` belongs to STALE; `message`, `correlation_id` and `retry_url` (fetched by GET into the region) to ERROR.
    """

    rows: tuple[Row, ...] = ()
    state: RegionState = RegionState.READY
    since: datetime | None = None
    message: str = ""
    correlation_id: str = ""
    retry_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NavItem:
    """One entry of the rail and the tab bar. `label` is a message id, translated when shown."""

    key: str
    href: str
    icon: str
    label: str


NAVIGATION = (
    NavItem(key="dashboard", href="/", icon="layout-dashboard", label=N_("Dashboard")),
    NavItem(key="webhooks", href="/webhooks", icon="webhook", label=N_("Webhooks")),
    NavItem(key="brokers", href="/brokers", icon="plug", label=N_("Brokers")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSummary:
    """Market feed as the bar shows it; `age_s` is seconds since the last message, None before the first."""

    state: Literal["fresh", "stale", "connecting"] = "connecting"
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """One broker account in the bar; `latency_ms` is None before the first call."""

    name: str
    ok: bool
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusItems:
    """Live middle of the status bar, region of `fragments/shell/_status_items.html`."""

    heartbeat: HeartbeatSummary = field(default_factory=HeartbeatSummary)
    brokers: tuple[BrokerStatus, ...] = ()
    day_pnl: Decimal | None = None
    currency: str = "USDT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What every page needs around itself. `user_name` is None before login: then there is no bar, no rail and no stream.

    `path` is the page's own address, where a preference form returns to. `topics` are the stream's topics; empty means no stream.
    """

    csrf_token: str
    clock: datetime
    page: str
    path: str = "/"
    user_name: str | None = None
    language: str = "en"
    timezone: str = "UTC"
    theme: Theme = "dark"
    updown: UpDown = "neon"
    env: Environment = "live"
    status: StatusItems = field(default_factory=StatusItems)
    nav: tuple[NavItem, ...] = NAVIGATION
    topics: tuple[str, ...] = ()
    is_debug: bool = False

    @property
    def reader(self) -> Reader:
        """Return how this person reads."""
        return Reader(language=self.language, timezone=self.timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoHint:
    """Credentials printed on the login page of a demo."""

    username: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginView:
    """Page `pages/accounts/login.html`. `error` is a sentence for the person, already translated."""

    shell: Shell
    error: str = ""
    username: str = ""
    next: str = ""
    registration_open: bool = False
    demo: DemoHint | None = None
    has_dev_login: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterView:
    """Page `pages/accounts/register.html`. `errors` maps a field's name to a sentence; "" is the form itself."""

    shell: Shell
    username: str = ""
    email: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpis:
    """Headline figures, region of `fragments/dashboard/_kpis.html`, in `currency`. None means not known yet."""

    currency: str = "USDT"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """One open position. `quantity` is unsigned, `side` carries the sign; prices are quote per base, P&L in `quote`."""

    id: str
    symbol: str
    side: Literal["long", "short"]
    quantity: Decimal
    average_price: Decimal
    quote: str
    source: Source
    opened_at: datetime
    broker: str = ""
    mark_price: Decimal | None = None
    stop: Decimal | None = None
    target: Decimal | None = None
    unrealised: Decimal | None = None
    unrealised_pct: Decimal | None = None
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """One order. `price` is None for a market order; `reason` says why it was denied or rejected."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One webhook attempt. `summary` is what was asked ("BUY BTC/USDT 0.01"); `latency_ms` from receipt to decision."""

    id: str
    received_at: datetime
    hook: str
    decision: Decision
    summary: str = ""
    reason: str = ""
    code: str = ""
    order_count: int = 0
    latency_ms: int | None = None


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
    orders: Region[OrderRow] = field(default_factory=Region)
    deliveries: Region[DeliveryRow] = field(default_factory=Region)
    checklist: tuple[ChecklistStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """Answer of a connection test, region of `fragments/brokers/_broker_test_result.html`. `detail` is translated."""

    #: The name begins like a test's; pytest must not collect it.
    __test__ = False

    broker_id: str
    state: Literal["none", "ok", "failed"] = "none"
    detail: str = ""
    latency_ms: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRow:
    """One broker account as its card shows it. `key_hint` is the API key's end, never more."""

    id: str
    name: str
    exchange: str
    exchange_name: str
    test: TestResult
    description: str = ""
    key_hint: str = ""
    is_default: bool = False
    is_testnet: bool = False
    is_simulated: bool = False
    is_active: bool = True
    disabled_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One option of a select."""

    value: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerForm:
    """The add-broker form, region of `fragments/brokers/_broker_form.html`. Secrets typed are never sent back.

    `errors` maps a field's name to a sentence; "" is the form itself.
    """

    exchanges: tuple[Choice, ...]
    exchange: str = ""
    name: str = ""
    description: str = ""
    is_testnet: bool = False
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokersView:
    """Page `pages/brokers/brokers.html`."""

    shell: Shell
    form: BrokerForm
    brokers: Region[BrokerRow] = field(default_factory=Region)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRow:
    """One webhook; `last_decision` and `last_at` are None before the first delivery."""

    id: str
    name: str
    broker: str
    created_at: datetime
    is_active: bool = True
    last_at: datetime | None = None
    last_decision: Decision | None = None
    delivery_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HookForm:
    """The create-webhook form, region of `fragments/webhooks/_hook_form.html`."""

    brokers: tuple[Choice, ...]
    name: str = ""
    broker_id: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCreated:
    """The address of a new webhook, shown once, region of `fragments/webhooks/_hook_created.html`."""

    name: str
    url: str
    curl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksView:
    """Page `pages/webhooks/webhooks.html`."""

    shell: Shell
    form: HookForm
    hooks: Region[HookRow] = field(default_factory=Region)
    deliveries: Region[DeliveryRow] = field(default_factory=Region)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """Page `pages/errors/error.html`. `message` is the error's own sentence, safe to show; never a trace."""

    shell: Shell
    status: int
    message: str = ""
    code: str = ""
    correlation_id: str = ""
