"""The two-way comparison of an account's open orders with the venue's list: cost, orphans, and orders that are not ours."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderState, Side, TradingState
from app.domain.risk import KillAction, Scope
from app.errors import ExchangeUnavailable, OrderDenied
from app.trading import external, kill_switch, states
from app.trading.cancel import cancel_all
from app.trading.kill_loop import KillLoop
from app.trading.orphans import ORPHAN_FOUND, is_ours
from app.trading.reconcile import Reconciler
from tests.app.conftest import Pieces, make_broker
from tests.app.scripted_client import scripted
from tests.app.strangers import ORPHAN_ID, placed_elsewhere, requests_of
from tests.fault_matrix import row

OPEN_ORDERS, ORDER = ("GET", "/api/v3/openOrders"), ("GET", "/api/v3/order")


async def check(pieces: Pieces) -> None:
    """Compare the whole account."""
    await pieces.rows("DELETE FROM account_checks")
    await Reconciler(pieces.desk).check_accounts()


async def orphan(pieces: Pieces) -> Any:
    (row,) = await pieces.rows("SELECT * FROM orders WHERE client_order_id = $1", ORPHAN_ID)
    return row


@pytest.mark.asyncio
async def test_a_round_costs_one_request_however_many_orders_rest(pieces: Pieces) -> None:
    for number in range(6):
        await pieces.submit(pieces.limit(f"{50000 + number}.00"))
    before = len(requests_of(pieces, *OPEN_ORDERS)), len(requests_of(pieces, *ORDER))
    assert await Reconciler(pieces.desk).once() == 6
    assert len(requests_of(pieces, *OPEN_ORDERS)) == before[0] + 1
    assert len(requests_of(pieces, *ORDER)) == before[1]
    stamps = await pieces.rows("SELECT reconciled_at > acknowledged_at - interval '1 second' AS is_fresh FROM orders")
    assert all(row["is_fresh"] for row in stamps)


@pytest.mark.asyncio
async def test_resting_order_keeps_its_stamp_fresh_without_a_write_each_round(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    await pieces.rows("UPDATE orders SET reconciled_at = now() - interval '20 minutes'")
    await Reconciler(pieces.desk).once()
    ((first,),) = await pieces.rows("SELECT reconciled_at FROM orders WHERE reconciled_at > now() - interval '10 seconds'")
    await Reconciler(pieces.desk).once()
    assert (await pieces.order(order.id)).reconciled_at == first


@pytest.mark.asyncio
async def test_order_that_left_the_list_is_asked_about_and_counted(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit("59500.00"))).order
    moving.emulator.advance(16)
    assert (await moving.order(order.id)).state is OrderState.OPEN
    await Reconciler(moving.desk).once()
    found = await moving.order(order.id)
    assert (found.state, found.fills_quantity) == (OrderState.FILLED, order.quantity)
    assert len(await moving.rows("SELECT 1 FROM positions WHERE status = 'open'")) == 1


@pytest.mark.asyncio
async def test_one_round_asks_about_ten_single_orders_at_most_and_the_next_about_others(pieces: Pieces) -> None:
    asked: list[str] = []
    for number in range(12):
        await pieces.submit(pieces.limit(f"{50000 + number}.00"))

    async def nothing(*_: Any, client_order_id: str, **__: Any) -> None:
        asked.append(client_order_id)

    async def none_open(*_: Any, **__: Any) -> list[Any]:
        return []

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_order=nothing, fetch_open_orders=none_open)
    reconciler = Reconciler(desk)
    await reconciler.once()
    assert len(asked) == 10
    await reconciler.once()
    assert len(set(asked[:12])) == 12, "those that waited longest come first"


@row(7)
@pytest.mark.asyncio
async def test_lost_order_is_found_by_the_list_before_its_next_look_is_due(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    await pieces.rows("UPDATE orders SET state = 'lost', venue_order_id = NULL, reserved = 0, next_check_at = now() + interval '5 hours'")
    await check(pieces)
    found = await pieces.order(order.id)
    assert (found.state, found.reserved) == (OrderState.OPEN, order.reserved)
    (event, notice) = (
        (await pieces.rows("SELECT kind FROM order_events ORDER BY id DESC LIMIT 1"))[0],
        await pieces.rows("SELECT kind, body FROM outbox"),
    )
    assert event["kind"] == "Resurrected"
    assert [row["kind"] for row in notice] == ["order_resurrected"]


@row(35)
@pytest.mark.parametrize("state", ["intent", "denied"])
@pytest.mark.asyncio
async def test_order_whose_claim_was_lost_with_a_database_is_believed_and_not_sent_again(pieces: Pieces, state: str) -> None:
    """§5 row 35: the server answers from a copy that has not got the last commits."""
    order = await pieces.filled()
    await pieces.rows("DELETE FROM fills")
    await pieces.rows("DELETE FROM positions")
    await pieces.rows(
        "UPDATE orders SET state = $1, sent_at = NULL, venue_order_id = NULL, filled_quantity = 0, fills_quantity = 0,"
        " average_price = NULL, created_at = created_at - interval '2 seconds'",
        state,
    )
    await Reconciler(pieces.desk).once()
    await check(pieces)
    found = await pieces.order(order.id)
    assert (found.state, found.fills_quantity) == (OrderState.FILLED, order.quantity)
    assert len(pieces.placed()) == 1


@row(35)
@pytest.mark.asyncio
async def test_orphan_is_adopted_counted_and_told_and_turns_entries_off(pieces: Pieces) -> None:
    placed_elsewhere(pieces, client_order_id=ORPHAN_ID)
    await check(pieces)
    row = await orphan(pieces)
    assert (row["state"], row["source"], row["type"], row["price"]) == ("open", "recovered", "limit", Decimal(50000))
    assert (row["reserved"], row["reserved_asset"]) == (Decimal(1000), "USDT")
    assert [each["kind"] for each in await pieces.rows("SELECT kind FROM outbox")] == ["orphan_adopted"]
    (restraint,) = await states.list_for(pieces.desk, pieces.user_id)
    assert (restraint.code, restraint.state, restraint.needs_rearm) == (ORPHAN_FOUND, TradingState.REDUCING, True)
    with pytest.raises(OrderDenied, match="did not know"):
        await pieces.submit()
    assert await external.list_open(pieces.database, pieces.user_id) == []

    await check(pieces)
    assert len(await pieces.rows("SELECT 1 FROM outbox")) == 1, "told once"


@row(35)
@pytest.mark.asyncio
async def test_orphan_that_has_filled_meanwhile_is_found_by_its_trades_and_becomes_a_position(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.01")
    placed_elsewhere(pieces, client_order_id=ORPHAN_ID, side="BUY", type="MARKET", quantity="0.03")
    await check(pieces)
    row = await orphan(pieces)
    assert (row["state"], row["fills_quantity"], row["role"]) == ("filled", Decimal("0.03"), "entry")
    (position,) = await pieces.rows("SELECT quantity FROM positions WHERE status = 'open'")
    assert position["quantity"] == Decimal("0.03996")  # 0.04 less the fee of 0.1 % in BTC


@pytest.mark.asyncio
async def test_order_of_ours_that_a_stream_tells_of_and_nobody_knows_is_looked_for_everywhere(pieces: Pieces) -> None:
    await check(pieces)
    placed_elsewhere(pieces, client_order_id=ORPHAN_ID)
    reconciler = Reconciler(pieces.desk)
    pieces.desk.suspect(pieces.broker_id)
    await reconciler.once()
    assert await pieces.rows("SELECT 1 FROM orders") == [], "no symbol is in use, and all were listed a moment ago"
    pieces.desk.suspect(pieces.broker_id, is_strange=True)
    await reconciler.once()
    assert (await orphan(pieces))["source"] == "recovered"


@pytest.mark.asyncio
async def test_order_of_another_account_with_the_same_keys_is_no_orphan(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=pieces.api_key, name="Twice")
    await check(pieces)
    assert [row["id"] for row in await pieces.rows("SELECT id FROM orders")] == [order.id]
    (row,) = await external.list_open(pieces.database, pieces.user_id)
    assert (row["broker_id"], row["client_order_id"]) == (other, order.client_order_id)
    assert await states.list_for(pieces.desk, pieces.user_id) == []


@pytest.mark.asyncio
async def test_traders_own_order_is_shown_followed_and_gone_when_the_venue_no_longer_lists_it(moving: Pieces) -> None:
    placed_elsewhere(moving, price="59500.00")
    await check(moving)
    (row,) = await external.list_open(moving.database, moving.user_id)
    assert (row["client_order_id"], row["side"], row["type"], row["quantity"]) == ("of-my-own", "buy", "limit", Decimal("0.02"))
    async with moving.database.connection() as connection:
        assert await external.open_notional(connection, moving.broker_id, "USDT") == Decimal("1190.00")
    assert await moving.rows("SELECT 1 FROM orders") == []

    moving.emulator.advance(16)
    await check(moving)
    assert await external.list_open(moving.database, moving.user_id) == []
    (row,) = await moving.rows("SELECT closed_at, filled_quantity FROM external_orders")
    assert (row["closed_at"] is not None, row["filled_quantity"]) == (True, Decimal("0.02"))
    assert await moving.rows("SELECT 1 FROM positions") == [], "what the trader does elsewhere is no position of ours"


@pytest.mark.asyncio
async def test_nothing_ever_touches_an_order_that_is_not_ours(pieces: Pieces) -> None:
    """Cancel all, close, reconcile, and the kill switch that flattens everything: no request names it, and it stands as it stood."""
    stranger = placed_elsewhere(pieces)
    await pieces.filled(quantity="0.02")
    await pieces.submit(pieces.limit("50000.00"))
    await check(pieces)
    await cancel_all(pieces.desk, pieces.user_id)
    await pieces.submit(pieces.intent(Side.SELL, "0.01", close_position=False))
    await pieces.submit(pieces.limit("50001.00"))
    command = await kill_switch.pull(
        pieces.desk, pieces.user_id, Scope.user(pieces.user_id), action=KillAction.FLATTEN, by="ada", idempotency_key=None
    )
    for _ in range(6):
        await KillLoop(pieces.desk).once()
        await Reconciler(pieces.desk).once()
    assert not (await kill_switch.get_command(pieces.desk, pieces.user_id, command.id)).is_running
    await check(pieces)

    (still,) = [order for order in pieces.placed() if order["orderId"] == stranger["orderId"]]
    assert still["status"] == "NEW"
    writes = [entry for method in ("POST", "PUT", "DELETE") for entry in requests_of(pieces, method, "/api/v3/order")]
    ours = {row["client_order_id"]: row["state"] for row in await pieces.rows("SELECT client_order_id, state FROM orders")}
    assert {entry["client_order_id"] for entry in writes} - {None} <= ours.keys() | {"of-my-own"}
    assert [entry["method"] for entry in writes if entry["client_order_id"] == "of-my-own"] == ["POST"], "the trader's own request"
    assert [entry["status"] for entry in writes if entry["method"] == "DELETE"] == [200] * list(ours.values()).count("canceled")
    for path in ("/api/v3/openOrders", "/api/v3/order/cancelReplace", "/api/v3/orderList"):
        for method in ("DELETE", "POST"):
            assert requests_of(pieces, method, path) == []


@pytest.mark.asyncio
async def test_account_whose_events_come_as_they_happen_is_asked_about_less_often_unless_fills_are_missing(pieces: Pieces) -> None:
    await pieces.submit(pieces.limit("50000.00"))
    desk, client = await scripted(pieces.desk, pieces.broker_id)
    desk.live.add(pieces.broker_id)
    reconciler = Reconciler(desk, interval_s=60)

    async def lists() -> int:
        before = client.asked.count("fetch_open_orders")
        await reconciler.once()
        return client.asked.count("fetch_open_orders") - before

    assert [await lists(), await lists()] == [1, 0]
    filled = await pieces.filled()
    await pieces.rows("DELETE FROM fills WHERE order_id = $1", filled.id)
    await pieces.rows("UPDATE orders SET fills_quantity = 0 WHERE id = $1", filled.id)
    assert await lists() == 1
    desk.live.clear()
    assert [await lists(), await lists()] == [1, 1]


@pytest.mark.asyncio
async def test_one_order_that_cannot_be_read_hides_no_other(pieces: Pieces) -> None:
    mine = placed_elsewhere(pieces)
    await pieces.submit(pieces.limit("50000.00"))
    client: Any = await pieces.connections.client(pieces.broker_id)
    orders = client._orders
    real = orders.open

    async def with_a_riddle(symbol: str | None) -> list[dict[str, Any]]:
        listed = list(await real(symbol))
        return [{**listed[0], "status": "a status nobody knows"}, {}, *listed[1:]]

    orders.open = with_a_riddle
    assert [order.report.venue_order_id for order in await client.fetch_open_orders()] != [str(mine["orderId"])]
    assert await Reconciler(pieces.desk).once() == 1

    async def only_a_riddle(_symbol: str | None) -> list[dict[str, Any]]:
        return [{}]

    orders.open = only_a_riddle
    with pytest.raises(ExchangeUnavailable):
        await client.fetch_open_orders()


@pytest.mark.asyncio
async def test_same_account_is_not_compared_twice_at_once(pieces: Pieces) -> None:
    await pieces.submit(pieces.limit("50000.00"))
    running = most = 0
    real = await pieces.connections.client(pieces.broker_id)

    async def counted(*arguments: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return await real.fetch_open_orders(*arguments)

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_open_orders=counted)
    reconciler = Reconciler(desk)
    await asyncio.gather(reconciler.once(), reconciler.check_accounts(), reconciler.once())
    assert most == 1


def test_ids_of_ours_are_recognised_by_their_form() -> None:
    assert is_ours(ORPHAN_ID)
    for other in (None, "", "of-my-own", ORPHAN_ID + "0", ORPHAN_ID[:-1], "q0123456789abcdefi", "x-TKT5PX2Fq01234567"):
        assert not is_ours(other)
