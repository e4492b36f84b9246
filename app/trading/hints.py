"""What this process last saw in the tables, as a guess: a statement that relies on it compares it with the rows and does nothing if wrong.

A guess saves the reading, never the check. The locks only keep orders of this process from proving each other's guesses wrong.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from app.trading.account import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """The part of an open position's row that fills change."""

    id: UUID
    quantity: Decimal
    average_price: Decimal | None
    cost: Decimal | None
    realized_pnl: Decimal
    fees: Decimal


@dataclass(slots=True)
class Hints:
    """Accounts by user and by how they were asked for (None is the default one), and open positions by account, symbol and bot."""

    accounts: "dict[tuple[UUID, UUID | None], Account]" = field(default_factory=dict)
    positions: dict[tuple[UUID, str, UUID | None], OpenPosition] = field(default_factory=dict)
    #: One turn for each account's admissions, and one for each position's fills.
    entering: defaultdict[UUID, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    folding: defaultdict[tuple[UUID, str, UUID | None], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
