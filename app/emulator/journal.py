"""What was asked, in the order it arrived, so that a test can prove that an order was sent once. The oldest entries are forgotten."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from app.emulator.requests import Received

Json = dict[str, object]


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request. `time` is the venue's, in ms. `status` None means that no answer left (yet).

    `is_executed` says that the request did what it asks for, whatever was answered.
    """

    number: int
    time: int
    method: str
    path: str
    ip: str
    api_key: str | None
    symbol: str | None
    client_order_id: str | None
    status: int | None = None
    is_executed: bool = False
    fault: str | None = None

    def describe(self) -> Json:
        """Return it for `GET /_log`."""
        return {
            "number": self.number,
            "time": self.time,
            "method": self.method,
            "path": self.path,
            "ip": self.ip,
            "api_key": self.api_key,
            "symbol": self.symbol,
            "client_order_id": self.client_order_id,
            "status": self.status,
            "executed": self.is_executed,
            "fault": self.fault,
        }


class Journal:
    """The last `capacity` requests. Numbers go on from 1 and are never used again."""

    def __init__(self, capacity: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self.last_number = 0

    @property
    def forgotten(self) -> int:
        """How many entries there were once and are no more."""
        return self.last_number - len(self._entries)

    def add(self, request: Received, *, time: int) -> Entry:
        """Note that a request has arrived, and return the entry to fill in."""
        self.last_number += 1
        entry = Entry(
            number=self.last_number,
            time=time,
            method=request.method,
            path=request.path,
            ip=request.ip,
            api_key=request.api_key,
            symbol=request.symbol,
            client_order_id=request.client_order_id,
        )
        self._entries.append(entry)
        return entry

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()

    def since(self, number: int = 0, *, method: str | None = None, path: str | None = None) -> Iterator[Entry]:
        """Yield the entries after `number`, in order, of a method and a path or all."""
        for entry in self._entries:
            if entry.number > number and method in (None, entry.method) and path in (None, entry.path):
                yield entry
