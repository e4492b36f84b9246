"""The newest moment of each webhook's alerts that was acted on, in each symbol of each account.

The mark is committed with the decision. Until then the delivery is pending, and whoever holds the role comes to it before any that
arrived later, so no crash lets an older alert pass. Only the role's holder writes marks: what it has read once it remembers.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final
from uuid import UUID

from app.trading.desk import Desk
from app.webhooks.outcome import Mark

_Place = tuple[UUID, UUID, str]

_REMEMBERED: Final = 10_000
_NEWEST: Final = "SELECT alert_at FROM webhook_marks WHERE webhook_id = $1 AND broker_id = $2 AND symbol = $3"


class Marks:
    """Marks as the tables have them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: OrderedDict[_Place, datetime | None] = OrderedDict()
        self._epoch: int | None = None

    async def newest(self, webhook_id: UUID, broker_id: UUID, symbol: str) -> datetime | None:
        """Return the newest moment that was acted on; None when there is none."""
        epoch = self._desk.lease.epoch
        if epoch != self._epoch:
            # Another process may have written since.
            self._known.clear()
            self._epoch = epoch
        place = (webhook_id, broker_id, symbol)
        if place not in self._known:
            async with self._desk.database.connection() as connection:
                self._keep(place, await connection.fetchval(_NEWEST, *place))
        return self._known.get(place)

    def wrote(self, webhook_id: UUID, mark: Mark) -> None:
        """Remember a mark that was committed."""
        place = (webhook_id, mark.broker_id, mark.symbol)
        known = self._known.get(place)
        if known is None or known < mark.at:
            self._keep(place, mark.at)

    def _keep(self, place: _Place, at: datetime | None) -> None:
        self._known[place] = at
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
