"""Moments as people write them into an address: days and minutes of their own clock."""

from datetime import date, datetime, time, timedelta

from app.ui.formatters import timezone
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
            day = datetime.combine(date.fromisoformat(given), time(), zone)
            return day + timedelta(days=1) if is_end else day
        moment = datetime.fromisoformat(given)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        return moment + timedelta(minutes=1) if is_end else moment
    except (ValueError, OverflowError):
        return None
