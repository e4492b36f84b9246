"""Group commit: what arrives together is written together, by one statement and one commit.

Whoever arrives while nothing is under way writes at once, alone. Whoever arrives meanwhile waits; when the commit is done, the first who
waits writes for all who do. So nobody waits for a clock, and under load a commit carries as many as arrived during the one before it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import structlog

from app.errors import WebhookError

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

#: A batch is one statement: its size bounds how long those at its front wait for those at its end.
_MOST: Final = 256
_MOST_BYTES: Final = 1024 * 1024
#: What waits is in memory. Beyond this the database is not keeping up, and the sender had better come again.
_MOST_WAITING: Final = 5_000
_MOST_BYTES_WAITING: Final = 64 * 1024 * 1024


class NotKept(WebhookError):
    """The alert could not be stored, so it will not be traded. Send it again."""

    status = 503
    default_code = "ALERT_NOT_KEPT"


@dataclass(slots=True, eq=False)
class _Place(Generic[Item, Outcome]):
    """Somebody's turn: `turn` ends with their outcome, or with None when they are to write for all who wait."""

    item: Item
    size: int
    turn: asyncio.Future[Outcome | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    leads: bool = False


class GroupCommit(Generic[Item, Outcome]):
    """Writes items in batches, one batch at a time.

    Args:
        write: Writes and commits a batch, and returns each item's outcome (never None) in the batch's order, or the error of that item
            alone. When it raises, nothing is known of any of them.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]]) -> None:
        self._write = write
        self._waiting: deque[_Place[Item, Outcome]] = deque()
        self._bytes_waiting = 0
        self._is_busy = False

    async def put(self, item: Item, *, size: int) -> Outcome:
        """Return the item's outcome, once it is committed.

        Args:
            item: What is to be written.
            size: Its bytes.

        Raises:
            NotKept: it was not committed, or nobody knows; or too many wait.
        """
        place: _Place[Item, Outcome] = _Place(item, size)
        if self._is_busy:
            if len(self._waiting) >= _MOST_WAITING or self._bytes_waiting + size > _MOST_BYTES_WAITING:
                raise NotKept("more alerts arrive than can be stored; send it again in a moment")
            self._waiting.append(place)
            self._bytes_waiting += size
            try:
                outcome = await place.turn
            except asyncio.CancelledError:
                if place.leads:
                    self._pass_on()
                raise
            if outcome is not None:
                return outcome
        self._is_busy = True
        return await self._lead([place, *self._gather(size)])

    def _gather(self, size: int) -> list[_Place[Item, Outcome]]:
        """Take those who wait, as many as fit into one batch beside `size` bytes."""
        found: list[_Place[Item, Outcome]] = []
        while self._waiting and len(found) + 1 < _MOST:
            if size + self._waiting[0].size > _MOST_BYTES:
                break
            place = self._next()
            if not place.turn.done():  # its request was not given up meanwhile
                found.append(place)
                size += place.size
        return found

    def _next(self) -> _Place[Item, Outcome]:
        place = self._waiting.popleft()
        self._bytes_waiting -= place.size
        return place

    async def _lead(self, batch: list[_Place[Item, Outcome]]) -> Outcome:
        outcomes: Sequence[Outcome | Exception] = ()
        try:
            outcomes = await self._write([place.item for place in batch])
        except Exception as error:
            log.exception("alerts_not_kept", count=len(batch))
            raise NotKept from error
        finally:
            # Cancelled or failed, somebody must write on, and those who wait must hear of it. In this order: the next commit is then under
            # way while these answers are written.
            self._pass_on()
            for number, place in enumerate(batch[1:], start=1):
                _tell(place, outcomes[number] if outcomes else NotKept())
        if isinstance(outcomes[0], Exception):
            raise NotKept from outcomes[0]
        return outcomes[0]

    def _pass_on(self) -> None:
        """Let the first who waits write next."""
        while self._waiting:
            place = self._next()
            if not place.turn.done():
                place.leads = True
                place.turn.set_result(None)
                return
        self._is_busy = False


def _tell(place: _Place[Item, Outcome], outcome: Outcome | Exception) -> None:
    if place.turn.done():
        return
    if isinstance(outcome, Exception):
        refusal = outcome if isinstance(outcome, NotKept) else NotKept()
        refusal.__cause__ = None if refusal is outcome else outcome
        place.turn.set_exception(refusal)
    else:
        place.turn.set_result(outcome)
