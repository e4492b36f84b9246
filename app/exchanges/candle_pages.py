"""How each venue is asked for candles: which lengths it has of its own, how many it gives at once, and whether it knows an end."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.domain.candles import Candle, Timeframe, to_milliseconds
from app.errors import TimeframeMissing

MOST_CANDLES: Final = 1_000
#: Where ccxt does not say how many candles a venue gives at once; fewer than any that it does say it of but one.
_CAUTIOUS: Final = 300
#: Venues whose candles are asked for from a moment on, whatever end ccxt is given.
_KNOWS_NO_END: Final = frozenset({"kraken", "kucoin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleOffer:
    """The candles of a venue: the lengths it has of its own, and how many it gives in one answer, at most 1000."""

    timeframes: frozenset[Timeframe]
    at_once: int

    def source_of(self, timeframe: Timeframe) -> Timeframe | None:
        """Return the length of which candles of `timeframe` are made: itself, else the longest that divides it; None where none does."""
        if timeframe in self.timeframes:
            return timeframe
        parts = (each for each in self.timeframes if timeframe.duration % each.duration == timedelta(0))
        return max(parts, key=lambda each: each.duration, default=None)


def offer_of(venue: Any) -> CandleOffer:
    """Return what a ccxt exchange offers."""
    is_native = venue.has.get("fetchOHLCV") is True  # what ccxt would make of trades is no candle of the venue
    offered = (venue.timeframes or {}) if is_native else {}
    spot = (venue.features or {}).get("spot") or {}
    limit = (spot.get("fetchOHLCV") or {}).get("limit")
    return CandleOffer(
        timeframes=frozenset(timeframe for timeframe in Timeframe if timeframe.value in offered),
        at_once=min(int(limit), MOST_CANDLES) if limit else _CAUTIOUS,
    )


def check_timeframe(venue: Any, exchange: str, timeframe: Timeframe) -> None:
    """Refuse what the venue would refuse, or answer with something else.

    Raises:
        TimeframeMissing: it has no candles of that length.
    """
    offered = offer_of(venue).timeframes
    if timeframe not in offered:
        raise missing(exchange, timeframe, offered)


def missing(exchange: str, timeframe: Timeframe, offered: frozenset[Timeframe]) -> TimeframeMissing:
    """Return the refusal that says what there is instead."""
    listed = ", ".join(each.value for each in Timeframe if each in offered) or "no candles at all"
    return TimeframeMissing(f"{exchange} has no candles of {timeframe.value}; it has {listed}")


def question(
    exchange: str, timeframe: Timeframe, *, start: datetime | None, end: datetime | None, limit: int
) -> tuple[int | None, int, dict[str, Any]]:
    """Return what `fetch_ohlcv` takes beside symbol and timeframe, for open times in [start, end]: since, limit and parameters."""
    limit = min(limit, MOST_CANDLES)
    parameters: dict[str, Any] = {}
    if end is not None and exchange in _KNOWS_NO_END:
        start = start or end - timeframe.duration * (limit - 1)
    elif end is not None:
        parameters["until"] = to_milliseconds(end)
    return (None if start is None else to_milliseconds(start)), limit, parameters


def within(candles: list[Candle], *, start: datetime | None, end: datetime | None) -> list[Candle]:
    """Return those with open times in [start, end], oldest first."""
    chosen = [each for each in candles if (start is None or each.open_time >= start) and (end is None or each.open_time <= end)]
    return sorted(chosen, key=lambda each: each.open_time)
