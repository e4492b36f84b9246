"""Closed round trips put straight into the tables, as the engine would have written them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.ids import new_id

_TRIP: Final = """
INSERT INTO positions (id, user_id, broker_id, bot_id, symbol, base, quote, side, quantity, cost, realized_pnl, fees, source, status,
                       opened_at, updated_at, closed_at, exit_role, delivery_id)
VALUES ($1, $2, $3, $4, $5, split_part($5, '/', 1), split_part($5, '/', 2), 'long', 0, 0, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
_EQUITY: Final = "INSERT INTO equity_snapshots (broker_id, user_id, at, equity_usdt) VALUES ($1, $2, $3, $4)"
_FLOW: Final = """
INSERT INTO cash_flows (id, user_id, broker_id, asset, amount, value_usdt, since, at, recorded_at, note)
VALUES ($1, $2, $3, 'USDT', $4, $4, $5, $5, $5, 'deposit')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A round trip; one that is still open has no `closed`."""

    closed: datetime | None
    opened: datetime
    profit: str = "1"
    fees: str = "0.1"
    symbol: str = "BTC/USDT"
    source: str = "manual"
    bot_id: UUID | None = None
    exit_role: str | None = "exit"
    delivery_id: UUID | None = None


async def put_trips(connection: Any, user_id: UUID, broker_id: UUID, trips: Sequence[Trip]) -> None:
    """Write them down."""
    await connection.executemany(
        _TRIP,
        [
            (
                new_id(), user_id, broker_id, trip.bot_id, trip.symbol, Decimal(trip.profit), Decimal(trip.fees), trip.source,
                "open" if trip.closed is None else "closed", trip.opened, trip.closed or trip.opened, trip.closed, trip.exit_role,
                trip.delivery_id,
            )
            for trip in trips
        ],
    )  # fmt: skip


async def put_equity(connection: Any, user_id: UUID, broker_id: UUID, points: Sequence[tuple[datetime, str]]) -> None:
    """Write down what an account was worth."""
    await connection.executemany(_EQUITY, [(broker_id, user_id, at, Decimal(worth)) for at, worth in points])


async def put_flow(connection: Any, user_id: UUID, broker_id: UUID, at: datetime, value: str) -> None:
    """Write down a deposit, or a withdrawal if it is below 0."""
    await connection.execute(_FLOW, new_id(), user_id, broker_id, Decimal(value), at)


def random_trips(
    seed: int, count: int, *, since: datetime, until: datetime, symbols: Sequence[str] = ("BTC/USDT", "ETH/USDT")
) -> list[Trip]:
    """Round trips of any kind in a time, in no order."""
    draw = random.Random(seed)  # examples, no secrets
    span = (until - since).total_seconds()
    trips = []
    for _ in range(count):
        closed = since + timedelta(seconds=round(draw.random() * (span - 1), 6))
        trips.append(
            Trip(
                closed=closed,
                opened=closed - timedelta(seconds=round(draw.expovariate(1 / 7200), 6)),
                profit=f"{draw.gauss(0.4, 12):.18f}" if draw.random() > 0.03 else "0",
                fees=f"{abs(draw.gauss(0.2, 0.1)):.18f}",
                symbol=draw.choice(symbols),
                source=draw.choice(["manual", "webhook", "bot"]),
                exit_role=draw.choice(["exit", "stop", "target", "flatten", None]),
            )
        )
    return trips
