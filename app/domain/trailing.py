"""Trailing stops of one side: they follow the best price since they became active and fire when the market comes back by a fraction of it.

A sell follows the highest price and fires at or below `highest × (1 − delta)`, a buy follows the lowest and fires at or above
`lowest × (1 + delta)`. That extreme is the order's watermark. The trade that makes an order active is the first it has seen.

Source of the rules: Binance Spot API documentation, faqs/trailing-stop-faq.md.

Orders with the same watermark stand in one group. An order that became active earlier has seen every price a later one has, so a new
extreme passes the groups from the last on and melts those it passes into one: what a trade costs does not grow with the orders.
"""

from bisect import bisect_left, insort
from decimal import Decimal

from app.domain.enums import Side

_UNSEEN = Decimal("-Infinity")


class _Group:
    """Orders with the same watermark: (delta, arrival, id), the one that fires first in front."""

    __slots__ = ("extreme", "members")

    def __init__(self, extreme: Decimal) -> None:
        self.extreme = extreme
        self.members: list[tuple[Decimal, int, str]] = []

    @property
    def trigger(self) -> Decimal:
        return self.extreme - abs(self.extreme) * self.members[0][0]


class Trail:
    """The active trailing stops of one side. Inside, prices of buys are negated, so that for both sides the extreme is the highest."""

    def __init__(self, side: Side) -> None:
        self._sign = -side.sign
        self._groups: list[_Group] = []
        """Extremes fall from the first group to the last."""
        self._homes: dict[str, _Group] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, order_id: str, delta: Decimal, *, arrival: int, watermark: Decimal | None) -> None:
        """Follow for an order from now on.

        Args:
            order_id: Its id, unknown so far.
            delta: Fraction of the watermark.
            arrival: Its rank among orders that fire together.
            watermark: The best price it has seen, quote per base; None if it has seen no trade yet.
        """
        extreme = _UNSEEN if watermark is None else self._sign * watermark
        index = bisect_left(self._groups, -extreme, key=lambda group: -group.extreme)
        if index == len(self._groups) or self._groups[index].extreme != extreme:
            self._groups.insert(index, _Group(extreme))
        self._homes[order_id] = self._groups[index]
        insort(self._groups[index].members, (delta, arrival, order_id))

    def remove(self, order_id: str) -> None:
        """Follow no longer; harmless for an unknown id."""
        group = self._homes.pop(order_id, None)
        if group is not None:
            group.members = [member for member in group.members if member[2] != order_id]
            if not group.members:
                self._groups.remove(group)

    def watermark(self, order_id: str) -> Decimal | None:
        """Return the best price an order has seen since it is active, None if it is not active or has seen none."""
        group = self._homes.get(order_id)
        return None if group is None or group.extreme == _UNSEEN else self._sign * group.extreme

    def follow(self, price: Decimal) -> list[tuple[int, str]]:
        """Let a trade at `price` move the watermarks; return (arrival, id) of the orders it fires, which are followed no longer."""
        seen = self._sign * price
        if self._groups and self._groups[-1].extreme < seen:
            self._lift(seen)
        fired: list[tuple[int, str]] = []
        for group in self._groups:
            while group.members and seen <= group.trigger:
                _, arrival, order_id = group.members.pop(0)
                del self._homes[order_id]
                fired.append((arrival, order_id))
        if fired:
            self._groups = [group for group in self._groups if group.members]
        return fired

    def reacts_to(self, *, low: Decimal, high: Decimal) -> bool:
        """Return whether trades between `low` and `high` could move a watermark or fire an order."""
        best, worst = (high, low) if self._sign > 0 else (-low, -high)
        return bool(self._groups) and (self._groups[-1].extreme < best or any(worst <= group.trigger for group in self._groups))

    def _lift(self, extreme: Decimal) -> None:
        lifted = self._groups.pop()
        while self._groups and self._groups[-1].extreme <= extreme:
            other = self._groups.pop()
            if len(other.members) > len(lifted.members):
                other, lifted = lifted, other
            self._homes.update((order_id, lifted) for _, _, order_id in other.members)
            lifted.members = sorted([*lifted.members, *other.members])
        lifted.extreme = extreme
        self._groups.append(lifted)
