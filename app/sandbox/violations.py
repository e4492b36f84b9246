"""What becomes of a strategy that did what none may do: it is counted, written down, and its user is told."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from app.core.backoff import backoff
from app.core.i18n import N_
from app.errors import StrategyKilled
from app.sandbox.cell import Cause
from app.sandbox.quotas import Purpose, Quotas
from app.sandbox.texts import clean

log = structlog.get_logger(__name__)

_MOST_UNNOTED: Final = 1_000
_NOTE_ATTEMPTS: Final = 10
_WORDS: Final = {
    Cause.WALL: N_("The strategy took too long and was stopped."),
    Cause.CPU: N_("The strategy took too long and was stopped."),
    Cause.IDLE_CPU: N_("The strategy went on computing after its answer and was stopped."),
    Cause.PROTOCOL: N_("The strategy tampered with its own messages and was stopped."),
    Cause.SIGNAL: N_("The strategy did what no strategy may do and was stopped."),
    Cause.EXIT: N_("The strategy ended its own process."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A strategy did what none may do, and was killed for it."""

    user_id: UUID
    purpose: Purpose
    strategy: str
    cause: Cause
    signal: int
    detail: str
    is_paused: bool


OnViolation = Callable[[Violation], Awaitable[None]]


class Violations:
    """Counts and notes violations. Writing them down may wait for the database; killing never does."""

    def __init__(self, quotas: Quotas, on_violation: OnViolation) -> None:
        self.counts: dict[Cause, int] = dict.fromkeys(Cause, 0)
        self._quotas = quotas
        self._on_violation = on_violation
        self._to_note: asyncio.Queue[Violation] = asyncio.Queue(_MOST_UNNOTED)
        self._is_noting = False

    def accuse(self, user_id: UUID, purpose: Purpose, strategy: str, *, cause: Cause, signal: int, detail: str) -> StrategyKilled:
        """Count and note a violation; return the error that tells the user."""
        is_paused = self._quotas.kill(user_id, purpose, strategy)
        detail = clean(detail)  # it may quote what the strategy sent
        self.counts[cause] += 1
        violation = Violation(
            user_id=user_id, purpose=purpose, strategy=strategy, cause=cause, signal=signal, detail=detail, is_paused=is_paused
        )
        log.warning("strategy_killed", user_id=str(user_id), purpose=purpose, cause=cause, signal=signal, is_paused=is_paused)
        if self._to_note.full():
            log.error("violation_not_noted", user_id=str(user_id), cause=cause)
        else:
            self._to_note.put_nowait(violation)
        return StrategyKilled(_WORDS[cause], reason=cause.value, signal=signal, detail=detail)

    def is_noted(self) -> bool:
        """Whether everything that happened has been written down."""
        return self._to_note.empty() and not self._is_noting

    async def run(self) -> None:
        """Write violations down as they come, until cancelled."""
        while True:
            self._is_noting = False
            violation = await self._to_note.get()
            self._is_noting = True
            for pause_s in itertools.islice(backoff(), _NOTE_ATTEMPTS):
                try:
                    await self._on_violation(violation)
                    break
                except Exception:  # the database may be away for a moment; strategies are killed all the same
                    log.exception("violation_not_noted", user_id=str(violation.user_id), cause=violation.cause)
                    await asyncio.sleep(pause_s)
