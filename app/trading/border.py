"""The border around one order's or one account's work: its trouble is logged and stays there, whatever it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from app.core.outage import is_database_gone
from app.errors import AppError, Fenced

log = structlog.get_logger(__name__)


class Border:
    """Logs each trouble of an order or account once, until it is over or becomes another."""

    def __init__(self) -> None:
        self._told: dict[UUID, str] = {}

    @contextmanager
    def around(self, what: str, subject: UUID, **shown: object) -> Iterator[None]:
        """Let no error of `subject` out, except that the role has moved, the database is away, or the work is cancelled."""
        try:
            yield
        except Exception as error:  # an exchange's odd answer can break anything, and must break nobody else's work
            if concerns_all(error):
                raise
            self._tell(what, subject, error, shown)
        else:
            self._told.pop(subject, None)

    def is_troubled(self, subject: UUID) -> bool:
        """Whether the last work on `subject` ended in trouble."""
        return subject in self._told

    def _tell(self, what: str, subject: UUID, error: Exception, shown: dict[str, object]) -> None:
        known = isinstance(error, AppError)
        name = error.code if isinstance(error, AppError) else type(error).__name__
        if self._told.get(subject) == name:
            return
        self._told[subject] = name
        reason = error.message if isinstance(error, AppError) else str(error)
        if known:
            log.warning(what, code=name, reason=reason, **shown)
        else:
            log.error(what, code=name, reason=reason, exc_info=error, **shown)


def concerns_all(error: BaseException) -> bool:
    """Whether an error is about this whole process: the role has moved, or the database is away."""
    if isinstance(error, BaseExceptionGroup):
        return any(concerns_all(part) for part in error.exceptions)
    return isinstance(error, Fenced) or is_database_gone(error)
