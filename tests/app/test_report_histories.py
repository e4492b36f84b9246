"""The merge rule where money is counted: random reports with their fills through `trading.apply` on the database."""

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import Liquidity, OrderState, Side
from app.domain.orders import Fill, InDoubt, NotFoundAfterWindow, OrderEvent, Reported
from app.trading.apply import record
from tests.app.conftest import Pieces
from tests.conftest import Size
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

S = OrderState
MOMENT: Final = datetime(2026, 5, 1, tzinfo=UTC)
_COPY = """
INSERT INTO orders SELECT (jsonb_populate_record(o, jsonb_build_object(
  'id', $2::text, 'client_order_id', $2::text, 'key', $2::text, 'venue_order_id', NULL, 'state', 'submitting', 'side', $3::text,
  'quantity', 1, 'filled_quantity', 0, 'fills_quantity', 0, 'average_price', NULL))).* FROM orders o WHERE id = $1
"""
_TOTALS = """
SELECT coalesce(sum(CASE WHEN side = 'buy' THEN quantity ELSE -quantity END - CASE WHEN fee_asset = 'BTC' THEN fee ELSE 0 END), 0)
  FROM fills
"""


@dataclass(frozen=True, slots=True)
class Life:
    """One order at the venue: all its fills, and everything the venue said of it while they happened."""

    side: Side
    fills: tuple[Fill, ...]
    told: tuple[Reported, ...]


def life(chance: random.Random, number: int) -> Life:
    """An order of quantity 1 that fills in up to five parts, and ends filled, canceled, or open."""
    side = chance.choice([Side.BUY, Side.SELL])
    parts = [Decimal(chance.randint(1, 4)) / 20 for _ in range(chance.randrange(6))]
    fills = tuple(fill(chance, f"{number}-{index}", part, MOMENT + timedelta(seconds=index)) for index, part in enumerate(parts))
    told = [reported(S.OPEN if not count else S.PARTIAL, fills[:count], number) for count in range(len(fills) + 1)]
    if told[-1].filled_quantity == 1:
        told[-1] = replace(told[-1], state=S.FILLED)
    elif chance.random() < 0.6:
        told.append(replace(told[-1], state=chance.choice([S.CANCELED, S.EXPIRED])))
    return Life(side, fills, tuple(told))


def fill(chance: random.Random, trade_id: str, quantity: Decimal, at: datetime) -> Fill:
    asset = chance.choice(["BTC", "USDT", "BNB"])
    fee = {"BTC": quantity, "USDT": quantity * 60_000, "BNB": quantity}[asset] / 1000
    price = Decimal(60_000 + chance.randint(-50, 50))
    return Fill(trade_id=trade_id, price=price, quantity=quantity, fee=fee, fee_asset=asset, liquidity=Liquidity.MAKER, executed_at=at)


def reported(state: OrderState, fills: tuple[Fill, ...], number: int) -> Reported:
    filled = sum((each.quantity for each in fills), Decimal(0))
    spent = sum((each.quantity * each.price for each in fills), Decimal(0))
    average = spent / filled if filled else None
    return Reported(state=state, venue_order_id=f"v{number}", filled_quantity=filled, average_price=average, fills=fills)


def received(chance: random.Random, told: tuple[Reported, ...]) -> list[OrderEvent]:
    """What reaches us: some of it, some twice, in any order, with no, some or all of the fills, and doubts in between."""
    events: list[OrderEvent] = []
    for report in chance.choices(told, k=chance.randrange(8)):
        kept = chance.choice([0, len(report.fills), chance.randint(0, len(report.fills))])
        events.append(replace(report, fills=tuple(chance.sample(report.fills, kept))))
    for doubt in (InDoubt(detail="?"), NotFoundAfterWindow(detail="gone")):
        if chance.random() < 0.4:
            events.insert(chance.randint(0, len(events)), doubt)
    return events


async def another_order(pieces: Pieces, model: UUID, side: Side) -> UUID:
    order_id = new_id()
    await pieces.rows(_COPY, model, str(order_id), side.value)
    return order_id


async def live_through(pieces: Pieces, model: UUID, *, seed: int) -> None:
    chance = random.Random(seed)
    true = life(chance, seed)
    order_id = await another_order(pieces, model, true.side)
    events = received(chance, true.told)
    if chance.random() < 0.3:
        await asyncio.gather(*(record(pieces.desk, order_id, event) for event in events))
    else:
        for event in events:
            await record(pieces.desk, order_id, event)
    answer = true.told[-1]
    await record(pieces.desk, order_id, answer)
    order = await pieces.order(order_id)
    assert (order.state, order.filled_quantity) == (answer.state, answer.filled_quantity), f"seed {seed}"
    assert order.fills_quantity == order.filled_quantity, f"seed {seed}"
    assert abs((order.average_price or Decimal(0)) - (answer.average_price or Decimal(0))) < Decimal("1e-12"), f"seed {seed}"
    counted = await pieces.rows("SELECT trade_id FROM fills WHERE order_id = $1", order_id)
    assert sorted(row["trade_id"] for row in counted) == [each.trade_id for each in true.fills], f"seed {seed}"
    events_before = await pieces.rows("SELECT count(*) FROM order_events WHERE order_id = $1", order_id)
    await record(pieces.desk, order_id, answer)
    assert await pieces.rows("SELECT count(*) FROM order_events WHERE order_id = $1", order_id) == events_before, f"seed {seed}"


@row(12, 15, 16)
async def test_fills_are_counted_once_and_the_position_is_their_sum_whatever_reached_us(pieces: Pieces, size: Size) -> None:
    model = await pieces.filled()
    for seed in range(size(60, full=5_000)):
        await live_through(pieces, model.id, seed=seed)
    ((expected,),) = await pieces.rows(_TOTALS)
    ((held,),) = await pieces.rows("SELECT sum(quantity) FROM positions")
    assert held == expected
    assert len(await pieces.rows("SELECT 1 FROM positions WHERE status <> 'closed'")) <= 1
