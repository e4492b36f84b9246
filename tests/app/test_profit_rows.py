"""What the tables hold of a trading history, by both ways of writing, against an account in plain fractions: to the last digit."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from random import Random
from typing import Any
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import OrderState, Side
from app.domain.orders import Fill, Reported
from app.trading.apply import record
from app.trading.fast_answer import record_answer
from tests.app.conftest import SYMBOL, Pieces
from tests.app.stored import stored
from tests.conftest import Size
from tests.domain.average_cost import Account, Trade, history

pytestmark = pytest.mark.asyncio

BNB_PRICE = Decimal("611.37")
STEP = Decimal("0.00001")
#: An order like another one.
COPY = "INSERT INTO orders SELECT (jsonb_populate_record(NULL::orders, to_jsonb(o) || $2)).* FROM orders o WHERE id = $1"


def told_as(trade: Trade, trade_id: int, at: Any) -> Trade:
    """The same trade as this database meets it: now, under an id of its own, with the fee's price that the feed has."""
    fill = replace(trade.fill, trade_id=str(trade_id), executed_at=at + timedelta(milliseconds=trade_id))
    return Trade(trade.side, fill, BNB_PRICE if fill.fee_asset == "BNB" else None)


async def order_of(pieces: Pieces, side: Side, fills: list[Fill]) -> Any:
    """An order that was claimed to buy or sell as much as the fills, whatever the account could pay."""
    first = await pieces.rows("SELECT id FROM orders ORDER BY id LIMIT 1")
    template = first[0]["id"] if first else (await stored(pieces)).id
    order_id = new_id()
    told = {
        "id": str(order_id),
        "client_order_id": f"of-a-history-{fills[0].trade_id}",
        "side": side.value,
        "quantity": str(sum((fill.quantity for fill in fills), Decimal(0))),
        "state": "submitting",
        "epoch": pieces.desk.lease.epoch,
    }
    await pieces.rows(COPY, template, told)
    return await pieces.order(order_id)


def report(fills: list[Fill], venue_order_id: str, *, state: OrderState = OrderState.FILLED) -> Reported:
    total = sum((fill.quantity for fill in fills), Decimal(0))
    return Reported(state=state, venue_order_id=venue_order_id, filled_quantity=total, average_price=fills[0].price, fills=tuple(fills))


async def lived_through(pieces: Pieces, seed: int, went_fast: list[bool], *, is_fast: bool) -> int:
    """Trade one history, and compare each position with its own account; returns how many positions there were."""
    at = pieces.desk.clock.now()
    first = seed * 1000
    trades = [told_as(trade, first + number, at) for number, trade in enumerate(history(Random(seed), length=14))]
    accounts: dict[UUID, Account] = {}
    for side, group in groupby(trades, key=lambda trade: trade.side):
        own = list(group)
        fills = [trade.fill for trade in own]
        order = await order_of(pieces, side, fills)
        if is_fast:
            await record_answer(pieces.desk, order, report(fills, f"v{seed}-{fills[0].trade_id}"))
            went_fast.append(bool(pieces.desk.hints.positions))
        else:
            for known in range(1, len(fills) + 1):
                state = OrderState.FILLED if known == len(fills) else OrderState.PARTIAL
                await record(pieces.desk, order.id, report(fills[:known], f"v{seed}-{fills[0].trade_id}", state=state))
        for row in await pieces.rows("SELECT trade_id, position_id FROM fills WHERE order_id = $1 ORDER BY trade_id::bigint", order.id):
            trade = next(trade for trade in own if trade.fill.trade_id == row["trade_id"])
            accounts.setdefault(row["position_id"], Account()).count(trade)
    rows = {row["id"]: row for row in await pieces.rows("SELECT * FROM positions WHERE id = ANY($1)", list(accounts))}
    for position_id, account in accounts.items():
        _compare(rows[position_id], account, f"seed {seed}")
    return len(accounts)


def _compare(row: Any, account: Account, where: str) -> None:
    for name, expected in (
        ("quantity", account.quantity),
        ("cost", account.cost),
        ("realized_pnl", account.profit),
        ("fees", account.fees),
    ):
        assert Fraction(row[name]) == expected, (where, name)
    assert (None if row["average_price"] is None else Fraction(row["average_price"])) == account.average, where
    assert {asset: Fraction(fee) for asset, fee in row["unvalued_fees"].items()} == account.unvalued, where
    assert (row["status"] == "closed") == (abs(row["quantity"]) < STEP), where


@pytest.mark.parametrize("is_fast", [False, True])
async def test_positions_of_random_histories_are_exact_in_the_tables(pieces: Pieces, size: Size, *, is_fast: bool) -> None:
    pieces.quotes.put("BNB/USDT", at=pieces.desk.clock.now(), bid=BNB_PRICE, ask=BNB_PRICE + 1)
    await pieces.connections.client(pieces.broker_id)
    positions = 0
    went_fast: list[bool] = []
    for seed in range(1, size(8, full=300) + 1):
        pieces.quotes.put("BNB/USDT", at=pieces.desk.clock.now(), bid=BNB_PRICE, ask=BNB_PRICE + 1)
        positions += await lived_through(pieces, seed, went_fast, is_fast=is_fast)
        await pieces.rows("UPDATE positions SET status = 'closed', closed_at = now() WHERE status <> 'closed'")
        pieces.desk.hints.positions.clear()
    assert positions >= 10
    assert any(went_fast) == is_fast
    (days,) = await pieces.rows("SELECT sum(realized) AS days, (SELECT sum(realized_pnl) FROM positions) AS positions FROM daily_results")
    assert days["days"] == days["positions"]


async def bought(pieces: Pieces, fee_asset: str, *, at: Any) -> tuple[Any, Any]:
    fill = replace(history(Random(1))[0].fill, trade_id="1", price=Decimal(60000), quantity=Decimal("0.01"), executed_at=at)
    fill = replace(fill, fee=Decimal("0.001"), fee_asset=fee_asset)
    order = await order_of(pieces, Side.BUY, [fill])
    await record(pieces.desk, order.id, report([fill], "v1"))
    (row,) = await pieces.rows("SELECT * FROM positions")
    (written,) = await pieces.rows("SELECT * FROM fills")
    return row, written


async def test_a_fee_of_some_time_ago_is_valued_by_the_candle_of_its_minute(pieces: Pieces) -> None:
    at = (pieces.desk.clock.now() - timedelta(hours=1)).replace(second=17, microsecond=0)
    await pieces.rows("SELECT ensure_candle_partition($1)", at)
    for minutes, close in ((-1, 600.5), (0, 601.25), (1, 999.0)):
        await pieces.rows(
            "INSERT INTO candles VALUES ('binance', 'BNB/USDT', '1m', $1, 600, 1000, 600, $2, 1, 'stream')",
            at.replace(second=0) + timedelta(minutes=minutes),
            close,
        )
    position, fill = await bought(pieces, "BNB", at=at)
    assert (position["fees"], position["realized_pnl"], fill["fee_value"]) == (Decimal("0.60125"), Decimal("-0.60125"), Decimal("0.60125"))


async def test_a_fee_that_nobody_can_value_stands_apart(pieces: Pieces) -> None:
    position, fill = await bought(pieces, "KCS", at=pieces.desk.clock.now())
    assert (position["fees"], position["unvalued_fees"], fill["fee_value"]) == (Decimal(0), {"KCS": "0.001"}, None)


async def test_a_position_of_before_its_cost_was_kept_goes_on_from_its_average(pieces: Pieces) -> None:
    await pieces.filled(Side.BUY, "0.02")
    await pieces.rows("UPDATE positions SET cost = NULL")
    pieces.desk.hints.positions.clear()
    await pieces.filled(Side.BUY, "0.01")
    (row,) = await pieces.rows("SELECT quantity, average_price, cost, side, symbol FROM positions")
    assert (row["average_price"], row["side"], row["symbol"]) == (Decimal(60000), "long", SYMBOL)
    assert row["cost"] == row["quantity"] * 60000
