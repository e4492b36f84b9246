"""Surroundings every page shares, and regions: rows with a word on how far they can be trusted."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from app.core.i18n import N_
from app.ui.views.trading_state import TradingView

Row = TypeVar("Row")


Theme = Literal["dark", "light"]


UpDown = Literal["neon", "cvd"]


Environment = Literal["live", "testnet", "simulated", "paper"]


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
    NavItem(key="trading", href="/trading", icon="chart-candlestick", label=N_("Trading")),
    NavItem(key="portfolio", href="/portfolio", icon="wallet", label=N_("Portfolio")),
    NavItem(key="history", href="/history", icon="clock", label=N_("History")),
    NavItem(key="webhooks", href="/webhooks", icon="webhook", label=N_("Webhooks")),
    NavItem(key="bots", href="/bots", icon="bot", label=N_("Bots")),
    NavItem(key="strategies", href="/strategies", icon="code-xml", label=N_("Strategies")),
    NavItem(key="backtests", href="/backtests", icon="flask-conical", label=N_("Backtests")),
    NavItem(key="statistics", href="/statistics", icon="chart-no-axes-column", label=N_("Statistics")),
    NavItem(key="heartbeat", href="/heartbeat", icon="activity", label=N_("Heartbeat")),
    NavItem(key="brokers", href="/brokers", icon="plug", label=N_("Brokers")),
    NavItem(key="symbols", href="/symbols", icon="coins", label=N_("Symbols")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentFeed:
    """What the bar says of a feed, or of one symbol of it, that has been silent for too long."""

    name: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSummary:
    """Market feed as the bar shows it; `age_s` is seconds since the last message, None before the first.

    `open_gaps` is how many holes nobody has explained yet, None before the feed ever ran; `differences` how many candles got other numbers
    within a day.
    """

    state: Literal["fresh", "stale", "connecting"] = "connecting"
    age_s: float | None = None
    silent: tuple[SilentFeed, ...] = ()
    open_gaps: int | None = None
    differences: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """One broker account in the bar; `latency_ms` is None before the first call."""

    name: str
    ok: bool
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusItems:
    """Live middle of the status bar, region of `fragments/shell/_status_items.html`.

    `bots` is how many the person has, `bots_waiting` how many decisions wait for them.
    """

    heartbeat: HeartbeatSummary = field(default_factory=HeartbeatSummary)
    #: Exchanges of the person's accounts, and the heartbeat's, whose symbols are at hand.
    exchanges: tuple[str, ...] = ()
    brokers: tuple[BrokerStatus, ...] = ()
    bots: int = 0
    bots_running: int = 0
    bots_faulted: int = 0
    bots_waiting: int = 0
    day_pnl: Decimal | None = None
    currency: str = "USDT"
    decimals: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BellView:
    """The bell of the status bar. `unread` is 100 where there are more than 99."""

    unread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshCodeForm:
    """Fragment `_fresh_code.html`: the question for a code of the second factor, above whatever needs it."""

    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What every page needs around itself. `user_name` is None before login: then there is no bar, no rail and no stream.

    `path` is the page's own address, where a preference form returns to. `topics` are the stream's topics; empty means no stream.
    `kill_scopes` is what the person may stop, `default_broker` the id of the account that is used where none is named, `currency` the
    one that was chosen for totals. `has_shortcuts`: single keys do something.
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
    bell: BellView = field(default_factory=BellView)
    fresh_code: FreshCodeForm = field(default_factory=FreshCodeForm)
    nav: tuple[NavItem, ...] = NAVIGATION
    topics: tuple[str, ...] = ()
    trading: TradingView = field(default_factory=TradingView)
    kill_scopes: tuple["Choice", ...] = ()
    default_broker: str = ""
    currency: str = "USDT"
    is_debug: bool = False
    is_admin: bool = False
    has_shortcuts: bool = True

    @property
    def reader(self) -> Reader:
        """Return how this person reads."""
        return Reader(language=self.language, timezone=self.timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One option of a select."""

    value: str
    label: str
