"""The place of live against shadow: whoever re-simulates bots says here how far they are from their simulation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from app.core.db import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLine:
    """What a bot came to, and what its simulation over the same time came to; amounts in `quote`.

    `causes` are codes of why they differ, with how much of the difference each makes.
    """

    bot_id: UUID
    quote: str
    days: int
    trades: int
    shadow_trades: int
    profit: Decimal
    shadow_profit: Decimal
    causes: tuple[tuple[str, Decimal], ...] = ()


class ShadowReader(Protocol):
    """Reads what the daily comparison wrote down."""

    async def __call__(
        self, database: Database, user_id: UUID, bot_ids: Sequence[UUID], *, since: datetime | None, until: datetime | None
    ) -> Sequence[ShadowLine]:
        """Return a line for each of the bots that was compared in that time."""
