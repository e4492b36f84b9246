"""Events that come twice, swapped, or not at all."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from random import Random
from typing import Generic, TypeVar

_LONGEST_HOLD_S = 1.0

T = TypeVar("T")


class EventFaults(Generic[T]):
    """What goes wrong with events on their way out.

    Whoever publishes hands every event to `deliver`; with no fault in force that is one call more. Chance comes from the seed alone.
    """

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311  # a fault's dice, no secret
        self._modes: Mapping[str, float] = {}
        self._held: dict[Hashable, Callable[[], None]] = {}

    def start(self, modes: Mapping[str, float]) -> None:
        """Let events go wrong from now on: `modes` maps dup, reorder, drop to their probabilities."""
        self._modes = modes

    def stop(self) -> None:
        """Deliver faithfully again, what was held back first."""
        self._modes = {}
        for recipient in tuple(self._held):
            self._release(recipient)

    def deliver(self, recipient: Hashable, event: T, send: Callable[[T], None]) -> None:
        """Hand `event` to `send` as often and as late as the faults in force want it.

        Args:
            recipient: Whose events they are; only events of one recipient are swapped with each other.
            event: What to send.
            send: Sends it now. It may be called after this method has returned, from the loop.
        """
        if not self._modes:
            send(event)
            return
        if self._happens("drop"):
            return
        times = 2 if self._happens("dup") else 1

        def send_all() -> None:
            for _ in range(times):
                send(event)

        if recipient not in self._held and self._happens("reorder"):
            # The next event overtakes this one; when none comes, it is merely late.
            self._held[recipient] = send_all
            asyncio.get_running_loop().call_later(_LONGEST_HOLD_S, self._release, recipient, send_all)
            return
        send_all()
        self._release(recipient)

    def _happens(self, mode: str) -> bool:
        return mode in self._modes and self._random.random() < self._modes[mode]

    def _release(self, recipient: Hashable, only: Callable[[], None] | None = None) -> None:
        held = self._held.get(recipient)
        if held is not None and only in (None, held):
            del self._held[recipient]
            held()
