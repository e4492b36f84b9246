"""A typed event bus inside one process. Publish after commit only: an event tells what is already true in the database.

It is an optimisation, never the truth: whoever must not miss anything reads the tables too.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

E = TypeVar("E")


class Subscription(Generic[E]):
    """A bounded queue of events. When the reader is slow the oldest go, and `dropped` counts them."""

    def __init__(self, size: int, wanted: Callable[[E], bool] | None = None) -> None:
        self._queue: asyncio.Queue[E] = asyncio.Queue(size)
        self._wanted = wanted
        self.dropped = 0

    def put(self, event: E) -> None:
        """Add an event without waiting, if it is wanted."""
        if self._wanted is not None and not self._wanted(event):
            return
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put_nowait(event)

    async def get(self) -> E:
        """Wait for the next event."""
        return await self._queue.get()

    def get_nowait(self) -> E | None:
        """Return the next event, or None when there is none."""
        return None if self._queue.empty() else self._queue.get_nowait()


class EventBus:
    """Hands each published event to everyone who subscribed to its type."""

    def __init__(self) -> None:
        self._subscriptions: dict[type, set[Subscription]] = defaultdict(set)  # type: ignore[type-arg]  # keyed by its own event type
        self._counters: dict[type, list[Callable[[Any], None]]] = {}

    def publish(self, event: object) -> None:
        """Give `event` to its subscribers. Call only after the commit that made it true."""
        for subscription in self._subscriptions.get(type(event), ()):
            subscription.put(event)
        for count in self._counters.get(type(event), ()):
            try:
                count(event)
            except Exception:  # what is counted must never stop what is done
                log.exception("event_not_counted", event_type=type(event).__name__)

    def count(self, kind: type[E], counter: Callable[[E], None]) -> None:
        """Call `counter` at once with each event of this type, for as long as the bus lives. It adds to numbers and does nothing else.

        A queue would lose events when it is full, and the time at which they were published.
        """
        self._counters.setdefault(kind, []).append(counter)

    @contextmanager
    def subscribe(self, *types: type, size: int = 1000, wanted: Callable[[Any], bool] | None = None) -> Iterator[Subscription[object]]:
        """Receive events of these types while the context lasts; at most `size` wait, and only those that `wanted` is true of."""
        subscription: Subscription[object] = Subscription(size, wanted)
        for kind in types:
            self._subscriptions[kind].add(subscription)
        try:
            yield subscription
        finally:
            for kind in types:
                self._subscriptions[kind].discard(subscription)
