"""What the heartbeat tells the rest of the process. Published after the commit that made it true."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.candles import Candle, Timeframe
from app.marketdata.models import CandleSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleClosed:
    """A candle closed and is stored. Per symbol they come in order of time, each once.

    `is_late` is True when it was fetched after the fact (a reconnection, a gap): stored and complete, perhaps too old to act on.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    candle: Candle
    source: CandleSource
    is_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleRevised:
    """A stored candle got other numbers, for whatever cause. It is no second `CandleClosed`."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    candle: Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class GapsChanged:
    """Holes in an exchange's candles were found, filled or explained."""

    exchange: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandlesLoaded:
    """History from before this process watched the symbol was stored: `count` candles with open times in [start, end]."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    start: datetime
    end: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleChanged:
    """The open candle moved; at most twice a second per symbol. Not stored."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    candle: Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerChanged:
    """Prices moved; at most four times a second per symbol. `last` is None until a trade was seen."""

    exchange: str
    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatChanged:
    """The feed connected, dropped, became fresh or stale."""

    exchange: str
    is_connected: bool
    is_fresh: bool
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedAlert:
    """The live feed, or one symbol of it, has been silent for too long; told once when that begins and once when it `is_over`.

    `symbol` is None when it is the whole feed. `since` is when the last was heard: of the feed a message, of a symbol its newest close.
    """

    exchange: str
    symbol: str | None
    is_over: bool
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentsUpdated:
    """An update of an exchange's instruments has begun or come further, or it is over. Concerns everybody."""

    exchange: str
    is_over: bool
