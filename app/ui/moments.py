"""Moments as people write them into an address: days and minutes of their own clock."""

from datetime import UTC, date, datetime, time, timedelta

from app.core.formatters import timezone
from app.ui.views import Reader

#: A day's name, as a field of a browser sends it.
_DAY_LENGTH = 10


def moment_of(given: str, reader: Reader, *, is_end: bool = False) -> datetime | None:
    """Return the moment of a day, or of a minute, of the reader's clock; None when it is neither.

    A day ends where the next one begins, however long it is (clocks are turned twice a year), and a minute counts as a whole.
    """
    zone = timezone(reader.timezone)
    try:
        if len(given) <= _DAY_LENGTH:
            moment, length = datetime.combine(date.fromisoformat(given), time(), zone), timedelta(days=1)
        else:
            moment, length = datetime.fromisoformat(given), timedelta(minutes=1)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        # In UTC, where the first day of the calendar may be none any more.
        return (moment + length if is_end else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
