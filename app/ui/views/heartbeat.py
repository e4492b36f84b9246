"""The page of the heartbeat: what the market feed says, what it stored, and where holes are."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.shell import Choice, Shell

FeedState = Literal["fresh", "stale", "connecting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedConnection:
    """One connection to the exchange; `host` with its port."""

    host: str
    streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSummary:
    """How the feed is doing, region of `fragments/heartbeat/_feed.html`. The page's script goes on from there.

    `heard_at` is when data last came, `running_since` None while it does not run. `error` is the exchange's or the network's own words.
    """

    name: str
    state: FeedState
    heard_at: datetime | None = None
    age_s: float | None = None
    connections: tuple[FeedConnection, ...] = ()
    lag_ms: float | None = None
    offset_ms: float | None = None
    reconnects: int = 0
    open_gaps: int = 0
    gaps_of_day: int = 0
    differences_of_day: int = 0
    running_since: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """One hole. `until` is the open time of its last candle; `is_asked`: it is being looked at."""

    id: str
    symbol: str
    timeframe: str
    start: datetime
    until: datetime
    candles: int
    found_at: datetime
    outcome: str
    is_asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GapList:
    """A page of holes, region of `fragments/heartbeat/_gaps.html`; `here` is its own address, `next` and `first` "" where there is none."""

    rows: tuple[GapRow, ...] = ()
    here: str = "/heartbeat/gaps"
    next: str = ""
    first: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedNumber:
    """One number of a candle that became another: o, h, l, c or v."""

    name: str
    was: float
    became: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    """A stored candle that got other numbers, of which those that changed."""

    id: str
    symbol: str
    timeframe: str
    open_time: datetime
    cause: str
    numbers: tuple[ChangedNumber, ...]
    found_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSessionRow:
    """One run of the feed; `reason` says why it stopped."""

    id: str
    started_at: datetime
    stopped_at: datetime | None = None
    reason: str = ""
    is_running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledgers:
    """What changed and when the feed ran, region of `fragments/heartbeat/_ledgers.html`."""

    differences: tuple[DifferenceRow, ...] = ()
    sessions: tuple[FeedSessionRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSymbol:
    """One watched symbol and the open time of its last closed minute; None: nothing is stored."""

    symbol: str
    last_closed: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolHits:
    """Symbols that fit a search, region of `fragments/heartbeat/_symbol_hits.html`. `asked` is what was typed."""

    rows: tuple[str, ...] = ()
    asked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatView:
    """Page `pages/heartbeat/heartbeat.html`.

    `symbol` is the one that is looked at, "" for all; `unknown` what was asked for and does not exist. `data` is for the page's script:
    the stored signals by timeframe, the decimals of prices and the moment of the page.
    """

    shell: Shell
    feed: FeedSummary
    symbol: str = ""
    unknown: str = ""
    timeframes: tuple[Choice, ...] = ()
    watched: tuple[WatchedSymbol, ...] = ()
    watched_total: int = 0
    gaps: GapList = field(default_factory=GapList)
    ledgers: Ledgers = field(default_factory=Ledgers)
    hits: SymbolHits = field(default_factory=SymbolHits)
    data: dict[str, object] = field(default_factory=dict)
