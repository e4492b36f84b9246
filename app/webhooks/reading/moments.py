"""Moments, candle lengths and ages as alerts write them. A clock is never asked: what an age means is decided by those who act."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from app.domain.candles import EPOCH, Timeframe
from app.webhooks.reading.members import Members
from app.webhooks.reading.numbers import is_nothing, is_number, read_whole

#: Names that mean the moment of the alert and nothing else.
ALERT_TIMES: Final = ("timenow", "alerttimestamp", "alerttime", "sentat", "firedat")
#: Names under which some send `{{timenow}}` and others `{{time}}`, the opening of the candle.
EITHER_TIMES: Final = ("time", "timestamp", "date", "datetime")
_BAR_TIMES: Final = ("bartime", "candletime", "opentime")
_INTERVALS: Final = ("interval", "timeframe", "tf", "resolution")
_EARLIEST: Final = datetime(2001, 9, 9, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_MINUTES: Final[dict[str, Timeframe]] = {str(int(frame.duration.total_seconds() // 60)): frame for frame in Timeframe}
_LONGEST_AGE_S: Final = 7 * 86_400


def moment_of(value: Any) -> datetime | None:
    """Return the moment that a value names, aware UTC: ISO 8601, or seconds or milliseconds since 1970. None where it names none.

    A time without a zone is UTC, as TradingView's are.
    """
    text = str(value).strip() if isinstance(value, str | Decimal) else ""
    if not text or len(text) > 40:
        return None
    if text.isascii() and is_number(text) and not text.endswith("%"):
        return _of_epoch(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return moment if _EARLIEST <= moment <= _LATEST else None


def _of_epoch(text: str) -> datetime | None:
    seconds = Decimal(text.replace(",", "."))
    if not 10**9 <= seconds <= 10**14:
        return None
    if seconds > 10**11:
        seconds /= 1000
    moment = EPOCH + timedelta(microseconds=int(seconds * 1_000_000))
    return moment if _EARLIEST <= moment <= _LATEST else None


def is_exact(moment: datetime) -> bool:
    """Tell whether a time names a moment rather than a candle.

    TradingView's `{{time}}` is the candle's opening, a whole minute, the same for every alert of that candle; `{{timenow}}` almost never
    is a whole minute.
    """
    return bool(moment.second or moment.microsecond)


def alert_moment(members: Members) -> datetime | None:
    """Return the moment at which the alert fired, as far as the message says so."""
    for name in ALERT_TIMES:
        moment = moment_of(members.take(name))
        if moment is not None:
            return moment
    for name in EITHER_TIMES:
        moment = moment_of(members.take(name))
        if moment is not None and is_exact(moment):
            return moment
    return None


def unread_moment(members: Members) -> str | None:
    """Return the name of a member that means the moment of the alert and that nobody can read; None when there is none."""
    for name in ALERT_TIMES:
        value = members.peek(name)
        if not is_nothing(value) and moment_of(value) is None:
            return members.spelling(name)
    return None


def bar_moment(members: Members) -> datetime | None:
    """Return the opening of the candle on which the alert fired."""
    moment = moment_of(members.take(*_BAR_TIMES))
    bar = members.peek("bar")
    if moment is None and isinstance(bar, dict):
        members.take("bar")
        moment = moment_of(Members(bar).take("time", *_BAR_TIMES))
    for name in EITHER_TIMES:
        if moment is None:
            candidate = moment_of(members.take(name))
            moment = candidate if candidate is not None and not is_exact(candidate) else None
    return moment


def interval_of(members: Members) -> Timeframe | None:
    """Return the length of the candle: TradingView's minutes and letters (`5`, `240`, `D`) or ours (`5m`, `4h`). None for any other."""
    text = members.text(*_INTERVALS)
    if text in _MINUTES:
        return _MINUTES[text]
    text = text.lower()
    text = {"d": "1d", "h": "1h"}.get(text, text)
    return Timeframe(text) if text in set(Timeframe) else None


def patience_of(members: Members) -> int | None:
    """Return for how many seconds the sender wants the alert to be good.

    Raises:
        BadPayload: it is no whole number of seconds.
    """
    name, value = members.take_named("maxages", "maxage", "maxlag")
    return None if value is None else read_whole(value, name, least=1, most=_LONGEST_AGE_S)
