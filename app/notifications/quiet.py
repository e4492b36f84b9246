"""When a user is not to be woken."""

from datetime import datetime, time

from app.core.formatters import timezone


def is_quiet(at: datetime, *, begin: time | None, end: time | None, zone: str) -> bool:
    """Return whether `at` lies in the quiet hours: from `begin`, before `end`, local times; over midnight where the first is later.

    Equal ends mean the whole day. None of both: there are none.
    """
    if begin is None or end is None:
        return False
    local = at.astimezone(timezone(zone)).time()
    if begin < end:
        return begin <= local < end
    return local >= begin or local < end
