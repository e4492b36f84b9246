"""Who goes first: orders by price, then arrival."""

from bisect import bisect_left, insort
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """An order's place: its price and when it came."""

    key: Decimal
    arrival: int
    order_id: str


class PriceQueue:
    """Order ids by price, then arrival; the head is the one that goes first."""

    def __init__(self, *, descending: bool) -> None:
        self._sign = -1 if descending else 1
        self._entries: list[tuple[Decimal, int, Entry]] = []
        self._ranks: dict[str, tuple[Decimal, int]] = {}

    def add(self, order_id: str, key: Decimal, arrival: int) -> None:
        """Put an order in its place."""
        rank = (self._sign * key, arrival)
        self._ranks[order_id] = rank
        insort(self._entries, (*rank, Entry(key, arrival, order_id)))

    def head(self) -> Entry | None:
        """Return who goes first, or None when there is nobody."""
        return self._entries[0][2] if self._entries else None

    def remove(self, order_id: str) -> None:
        """Take an order out; harmless when it is not there."""
        rank = self._ranks.pop(order_id, None)
        if rank is not None:
            del self._entries[bisect_left(self._entries, rank, key=lambda entry: entry[:2])]
