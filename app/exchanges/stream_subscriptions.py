"""What one connection is to carry, what it was asked for, and what the venue has confirmed. Pure: whoever has it sends and receives."""

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from app.exchanges.binance_messages import Acknowledged

#: Names in one request, or in the address, in bytes. Binance takes no notice of a request over 4,088 bytes, and answers nothing.
NAMES_BYTES: Final = 3_500


@dataclass(frozen=True, slots=True)
class _Request:
    streams: list[str]
    is_subscription: bool
    sent_at: float


class Subscriptions:
    """The streams of one connection, and a canary that it carries whether wanted or not. Times are monotonic seconds."""

    def __init__(self, streams: Iterable[str], *, canary: str) -> None:
        self.wanted: dict[str, None] = dict.fromkeys(streams)
        self.confirmed: set[str] = set()
        """What the venue sends; the canary may be among it."""
        self.refused: set[str] = set()
        """What it does not send, asked for it alone."""
        self._canary = canary
        #: Each name with the number of the request that asked for it; 0 is the address.
        self._asked: dict[str, int] = {}
        self._open: dict[int, _Request] = {}
        self._numbers = itertools.count(1)
        self._halves: deque[list[str]] = deque()

    @property
    def is_canary_wanted(self) -> bool:
        """Whether somebody asked for the canary."""
        return self._canary in self.wanted

    @property
    def is_settled(self) -> bool:
        """Whether each wanted stream is confirmed or refused."""
        return all(name in self.confirmed or name in self.refused for name in self.wanted)

    def unanswered_since(self) -> float | None:
        """Return when the oldest request without an answer was sent."""
        return min((request.sent_at for request in self._open.values()), default=None)

    def in_address(self, *, is_bare: bool) -> list[str]:
        """Return what the address asks for: the canary, and unless `is_bare` as many others as it may hold."""
        others = [] if is_bare else [name for name in self.wanted if name != self._canary]
        return [self._canary, *_fitting(others)]

    def opened(self, streams: Iterable[str]) -> None:
        """The handshake was answered: what its address asked for is confirmed."""
        self._asked.update(dict.fromkeys(streams, 0))
        self.confirmed.update(self._asked)

    def add(self, streams: Iterable[str]) -> set[str]:
        """Want these too; return those of them that were not wanted and come already."""
        new = dict.fromkeys(name for name in streams if name not in self.wanted)
        self.wanted.update(new)
        return self.confirmed & new.keys()

    def remove(self, streams: Iterable[str]) -> None:
        """Want these no longer."""
        for name in streams:
            self.wanted.pop(name, None)

    def next_request(self, now: float) -> str | None:
        """Return what is to be sent next, small enough for the venue; None when everything was asked for."""
        for name in [name for name in self.refused if name not in self.wanted]:
            self.refused.remove(name)
            del self._asked[name]
        gone = _fitting([name for name in self._asked if name not in self.wanted and name != self._canary])
        if gone:
            for name in gone:
                del self._asked[name]
            self.confirmed.difference_update(gone)
            return self._request("UNSUBSCRIBE", gone, now)
        while self._halves:
            half = [name for name in self._halves.popleft() if name in self._asked and name not in self.confirmed]
            if half:
                return self._request("SUBSCRIBE", half, now)
        new = _fitting([name for name in self.wanted if name not in self._asked])
        return self._request("SUBSCRIBE", new, now) if new else None

    def answered(self, answer: Acknowledged) -> set[str]:
        """Take the venue's answer to a request; return the wanted streams that it confirms.

        One bad name makes it refuse the whole request: then the halves are asked for, until the bad one stands alone in `refused`.
        """
        request = None if answer.request_id is None else self._open.pop(answer.request_id, None)
        if request is None or not request.is_subscription:
            return set()
        streams = [name for name in request.streams if self._asked.get(name) == answer.request_id]
        if answer.error is None:
            self.confirmed.update(streams)
            return self.wanted.keys() & set(streams)
        if len(request.streams) > 1:
            middle = len(streams) // 2
            self._halves += [streams[:middle], streams[middle:]]
        else:
            self.refused.update(streams)
        return set()

    def _request(self, method: str, streams: list[str], now: float) -> str:
        number = next(self._numbers)
        is_subscription = method == "SUBSCRIBE"
        if is_subscription:
            self._asked.update(dict.fromkeys(streams, number))
        self._open[number] = _Request(streams, is_subscription, now)
        return orjson.dumps({"method": method, "params": streams, "id": number}).decode()


def _fitting(names: list[str]) -> list[str]:
    """As many of the first ones as one request, or one address, may have."""
    size = 0
    for count, name in enumerate(names):
        size += len(name) + 3
        if size > NAMES_BYTES and count:
            return names[:count]
    return names
