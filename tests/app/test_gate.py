"""The risk gate on the real tables: what is counted, what is free, and that two orders never spend the same money."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.ids import new_id
from app.domain.enums import OrderState, OrderType, Role, Side
from app.domain.limits import RiskLimits
from app.domain.risk import Scope
from app.errors import BadCredentials, BrokerNotFound, DenialReason, ExchangeUnavailable, OrderDenied
from app.exchanges.port import Balance
from app.trading import states
from app.trading.amend import Amendment, amend
from app.trading.cancel import cancel
from app.trading.limits import put_limits, read_limits
from app.trading.portfolio import PortfolioLoop
from app.trading.states import rearm
from app.trading.submit import Submission
from tests.app.conftest import API_SECRET, SYMBOL, Pieces, make_broker, make_user, open_account
from tests.app.scripted_client import scripted
from tests.app.stored import PLENTY, stored, told

pytestmark = pytest.mark.asyncio


async def denied(pieces: Pieces, intent: Any) -> OrderDenied:
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit(intent)
    return caught.value


async def limited(pieces: Pieces, *, for_all: bool = False, **limits: Any) -> None:
    await put_limits(pieces.desk, pieces.user_id, RiskLimits(**limits), broker_id=None if for_all else pieces.broker_id)


def counting(answer: dict[str, str]) -> Any:
    """An exchange that tells this balance, and how often it was asked."""
    asked: list[int] = []

    async def fetch_balances() -> dict[str, Balance]:
        asked.append(1)
        return {asset: Balance(asset=asset, free=Decimal(free), locked=Decimal(0)) for asset, free in answer.items()}

    return fetch_balances, asked


async def unavailable(*_: Any, **__: Any) -> Any:
    raise ExchangeUnavailable


async def test_first_order_of_an_account_reads_its_balance(pieces: Pieces) -> None:
    await pieces.filled()
    (row,) = await pieces.rows("SELECT free FROM balances WHERE asset = 'USDT'")
    assert row["free"] == 1_000_000


async def test_an_unknown_balance_that_cannot_be_read_is_said_and_nothing_is_sent(pieces: Pieces) -> None:
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=unavailable)
    error = await denied(replace(pieces, desk=desk), pieces.intent())
    assert error.reason is DenialReason.BALANCE_UNKNOWN
    assert error.message == (
        "the balance of this account is not known yet, so nobody can say whether it has enough USDT; "
        "the exchange was asked for the balance and did not tell it"
    )
    assert pieces.placed() == []


async def test_too_little_money_is_denied_with_the_numbers_and_what_open_orders_reserve(pieces: Pieces) -> None:
    desk, client = await scripted(pieces.desk, pieces.broker_id, fetch_balances=counting({"USDT": "480.11"})[0])
    await told(pieces, {"USDT": "500.11"})
    for _ in range(2):
        await stored(pieces, type=OrderType.LIMIT, price=Decimal(20000), quantity="0.0005")
    error = await denied(replace(pieces, desk=desk), pieces.limit("50120", quantity="0.01"))
    assert error.reason is DenialReason.INSUFFICIENT_BALANCE
    assert error.message == "Not enough USDT: needed 501.2, free 460.11 (20 reserved by 2 open orders)."
    assert client.asked.count("fetch_balances") == 1, "a fresh balance was asked for before it was denied"
    assert pieces.placed() == []


async def test_a_stale_balance_never_denies_a_good_order(pieces: Pieces) -> None:
    await told(pieces, {"USDT": "1"}, age=timedelta(minutes=1))
    await pieces.filled()


async def test_a_market_buy_keeps_a_margin_for_the_price_to_move(pieces: Pieces) -> None:
    fetch, _ = counting({"USDT": "600.5"})
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=fetch)
    await told(pieces, {"USDT": "600.5"})
    error = await denied(replace(pieces, desk=desk), pieces.intent(quantity="0.01"))
    assert "needed 600.6, free 600.5" in error.message
    await pieces.submit(pieces.limit("60000", quantity="0.01"))


async def test_twenty_orders_at_once_on_money_for_five_are_five_orders(pieces: Pieces) -> None:
    working = await with_account(pieces, USDT="2500")

    async def one() -> Submission | OrderDenied:
        try:
            return await working.submit(working.limit("50000", quantity="0.01"), broker_id=working.broker_id)
        except OrderDenied as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(20)]
    results = [task.result() for task in tasks]

    refusals = [result for result in results if isinstance(result, OrderDenied)]
    assert len(working.placed()) == 5
    assert {order["status"] for order in working.placed()} == {"NEW"}, "the exchange refused none: none was sent in vain"
    assert len(refusals) == 15
    assert {error.reason for error in refusals} == {DenialReason.INSUFFICIENT_BALANCE}
    assert await pieces.rows("SELECT state FROM orders WHERE state <> 'open'") == []


async def with_account(pieces: Pieces, **held: str) -> Pieces:
    """The pieces with another account, that holds just this at the exchange."""
    api_key = f"key-of-{new_id()}"
    pieces.emulator.open_account(api_key, API_SECRET, held)
    broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=api_key, name=api_key)
    return replace(pieces, api_key=api_key, broker_id=broker_id)


async def test_money_that_a_fill_spent_is_not_spent_again_before_the_balance_is_read(pieces: Pieces) -> None:
    fetch, asked = counting({"USDT": "0"})
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=fetch)
    await told(pieces, {"USDT": "1000"})
    await pieces.filled(quantity="0.01")
    error = await denied(replace(pieces, desk=desk), pieces.intent(quantity="0.01"))
    assert error.reason is DenialReason.INSUFFICIENT_BALANCE
    assert len(asked) == 1


async def test_what_a_fill_brought_in_can_be_spent_before_the_balance_is_read(pieces: Pieces) -> None:
    desk, client = await scripted(pieces.desk, pieces.broker_id)
    working = replace(pieces, desk=desk)
    await told(pieces, {"USDT": "0", "BTC": "1"})
    await working.filled(Side.SELL, "0.02")
    # 1200 less the fee; the balance that was told still says nothing.
    await working.submit(working.limit("59000", quantity="0.02"))
    await working.filled(Side.SELL, "0.5")
    assert "fetch_balances" not in client.asked


async def test_a_canceled_order_gives_its_money_back_before_the_balance_is_read(pieces: Pieces) -> None:
    desk, client = await scripted(pieces.desk, pieces.broker_id)
    working = replace(pieces, desk=desk)
    await told(pieces, {"USDT": "500"})
    resting = await stored(pieces, type=OrderType.LIMIT, price=Decimal(50000))
    await pieces.rows(
        "UPDATE orders SET state = 'open', venue_order_id = '1', acknowledged_at = now() - interval '1 hour' WHERE id = $1", resting.id
    )
    await told(pieces, {"USDT": "0"})
    assert (await denied_without_asking(working, working.limit("50000"))).reason is DenialReason.INSUFFICIENT_BALANCE
    await pieces.rows("UPDATE orders SET state = 'canceled', updated_at = now(), reserved = 0 WHERE id = $1", resting.id)
    client.asked.clear()
    await working.submit(working.limit("50000"))
    assert "fetch_balances" not in client.asked


async def denied_without_asking(pieces: Pieces, intent: Any) -> OrderDenied:
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=unavailable)
    error = await denied(replace(pieces, desk=desk), intent)
    await scripted(pieces.desk, pieces.broker_id)
    return error


async def test_orders_in_doubt_keep_their_money_back(pieces: Pieces) -> None:
    fetch, _ = counting({"USDT": "700"})
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=fetch)
    await told(pieces, {"USDT": "700"})
    pieces.fault("drop_after")
    doubtful = (await pieces.submit(pieces.limit("50000", quantity="0.01"))).order
    assert doubtful.state is OrderState.UNKNOWN
    assert (await denied(replace(pieces, desk=desk), pieces.limit("50000", quantity="0.01"))).reason is DenialReason.INSUFFICIENT_BALANCE


async def test_an_account_that_is_refused_over_and_over_asks_its_exchange_a_few_times_only(pieces: Pieces) -> None:
    fetch, asked = counting({"USDT": "5"})
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=fetch)
    for _ in range(25):
        await denied(replace(pieces, desk=desk), pieces.intent())
    assert len(asked) == 10


async def test_a_refused_key_pauses_the_account_already_when_the_balance_is_read(pieces: Pieces) -> None:
    broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key="a-key-nobody-opened", name="Bad key")
    with pytest.raises(BadCredentials):
        await pieces.submit(broker_id=broker_id)
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit(broker_id=broker_id)
    assert caught.value.reason is DenialReason.BROKER_DISABLED


async def test_a_stop_at_the_venue_locks_what_a_close_may_still_sell(pieces: Pieces) -> None:
    await told(pieces, PLENTY)
    await pieces.filled(quantity="0.5")
    leg = await stored(pieces, side=Side.SELL, quantity="0.4995", type=OrderType.LIMIT, price=Decimal(70000), role=Role.STOP)
    await pieces.rows("UPDATE orders SET state = 'open', venue_order_id = '7', acknowledged_at = now() WHERE id = $1", leg.id)
    # The venue has locked it, and tells so.
    await told(pieces, {"USDT": "1000", "BTC": "0"})
    exit_order = await stored(pieces, side=Side.SELL, quantity="0.4995", role=Role.EXIT)
    assert exit_order.state is OrderState.INTENT
    with pytest.raises(OrderDenied, match="Not enough BTC"):
        await stored(pieces, side=Side.SELL, quantity="0.1")


async def test_a_way_out_is_denied_only_by_a_balance_that_is_certain(pieces: Pieces) -> None:
    await told(pieces, PLENTY)
    await pieces.filled(quantity="0.01")
    await told(pieces, {"USDT": "0", "BTC": "0"}, age=timedelta(hours=1))
    assert (await stored(pieces, side=Side.SELL, quantity="5", role=Role.EXIT)).state is OrderState.INTENT
    await pieces.rows("UPDATE orders SET state = 'denied'")
    await told(pieces, {"USDT": "0", "BTC": "0"}, age=timedelta(seconds=-2))
    with pytest.raises(OrderDenied, match="Not enough BTC: needed 5, free 0"):
        await stored(pieces, side=Side.SELL, quantity="5", role=Role.EXIT)


async def test_a_way_out_does_not_wait_for_a_balance_that_nobody_can_tell(pieces: Pieces) -> None:
    await pieces.filled()
    await pieces.rows("UPDATE brokers SET last_balance_update = NULL")
    await pieces.rows("DELETE FROM balances")
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=unavailable)
    order = (await replace(pieces, desk=desk).submit(pieces.intent(Side.SELL, None, close_position=True))).order
    assert (order.role, order.state) == (Role.EXIT, OrderState.FILLED)


async def test_the_limits_of_one_account_are_not_anothers(pieces: Pieces) -> None:
    await limited(pieces, max_order_notional=Decimal(100))
    assert (await denied(pieces, pieces.intent())).reason is DenialReason.MAX_NOTIONAL
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    assert (await pieces.submit(broker_id=other)).order.state is OrderState.FILLED


async def test_the_limits_of_all_accounts_count_all_accounts(pieces: Pieces) -> None:
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    await limited(pieces, for_all=True, max_open_orders=2, orders_per_minute=3)
    await pieces.submit(pieces.limit("50000"))
    await pieces.submit(pieces.limit("50000"), broker_id=other)
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit(pieces.limit("50000"), broker_id=other)
    assert caught.value.message == "2 orders are open on all your accounts together already, the limit is 2; cancel one first"
    await pieces.submit(broker_id=other)
    assert (await denied(pieces, pieces.intent())).reason in (DenialReason.ORDER_RATE,)


async def test_open_orders_are_counted_until_they_end(pieces: Pieces) -> None:
    await limited(pieces, max_open_orders=1)
    order = (await pieces.submit(pieces.limit("50000"))).order
    assert (await denied(pieces, pieces.limit("50000"))).reason is DenialReason.MAX_OPEN_ORDERS
    await cancel(pieces.desk, pieces.user_id, order.id)
    await pieces.submit(pieces.limit("50000"))


async def test_orders_of_a_minute_are_counted_and_the_next_minute_begins_anew(pieces: Pieces) -> None:
    await limited(pieces, orders_per_minute=2)
    for _ in range(2):
        await pieces.submit(pieces.limit("50000"))
    assert (await denied(pieces, pieces.limit("50000"))).reason is DenialReason.ORDER_RATE
    assert (await denied(pieces, pieces.limit("50000"))).message == "2 orders were sent on this account in this minute, the limit is 2"
    await pieces.rows("UPDATE account_activity SET minute = minute - interval '1 minute'")
    await pieces.submit(pieces.limit("50000"))


async def test_a_days_realised_loss_is_counted_with_its_fills_and_stops_entries(pieces: Pieces) -> None:
    await limited(pieces, max_daily_loss=Decimal("1"))
    await pieces.filled(quantity="0.02")
    # The fees of a purchase alone, 0.1 % of 1200: more than the limit.
    error = await denied(pieces, pieces.intent())
    assert error.message == "1.2 USDT were lost on this account today (UTC), the limit is 1 USDT; positions can still be closed"
    await pieces.submit(pieces.intent(Side.SELL, "0.0199"))
    (row,) = await pieces.rows("SELECT sum(realized) AS realized FROM daily_results")
    (position,) = await pieces.rows("SELECT realized_pnl FROM positions")
    assert row["realized"] == position["realized_pnl"]
    await pieces.rows("UPDATE daily_results SET day = day - 1")
    await pieces.filled()


async def test_yesterdays_result_of_a_position_is_not_todays(pieces: Pieces) -> None:
    await pieces.filled(quantity="0.02")
    await pieces.rows("UPDATE daily_results SET day = day - 1")
    await pieces.filled(Side.SELL, "0.01")
    rows = await pieces.rows("SELECT realized FROM daily_results ORDER BY day DESC")
    assert len(rows) == 2
    (position,) = await pieces.rows("SELECT realized_pnl FROM positions")
    assert sum(row["realized"] for row in rows) == position["realized_pnl"]
    assert rows[0]["realized"] > position["realized_pnl"]


async def test_the_collar_asks_the_exchange_where_the_feed_is_silent(pieces: Pieces) -> None:
    assert (await denied(pieces, pieces.limit("70000"))).reason is DenialReason.PRICE_COLLAR
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), bid=Decimal(69000), ask=Decimal(69010))
    assert (await pieces.submit(pieces.limit("70000"))).order.state is OrderState.FILLED


async def test_a_market_order_waits_while_the_market_contradicts_its_last_candle(pieces: Pieces) -> None:
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), bid=Decimal(59999), ask=Decimal(60000))
    pieces.quotes.put_close(SYMBOL, Decimal(50000))
    assert (await denied(pieces, pieces.intent())).reason is DenialReason.PRICE_DEVIATION
    assert (await denied(pieces, pieces.intent())).reason is DenialReason.TRADING_REDUCING, "until a person has looked at it"
    await rearm(pieces.desk, Scope.symbol(SYMBOL, pieces.user_id), by="ada")
    pieces.quotes.put_close(SYMBOL, Decimal(60000))
    await states.rearm(pieces.desk, Scope.symbol(SYMBOL, pieces.user_id), by="ada")
    await pieces.filled()


async def test_a_changed_order_may_use_what_the_old_one_keeps_back_and_not_more(pieces: Pieces) -> None:
    working = await with_account(pieces, USDT="700")
    abilities = (await pieces.connections.client(working.broker_id)).capabilities
    desk, _ = await scripted(pieces.desk, working.broker_id, capabilities=replace(abilities, has_replace=False))
    order = (await working.submit(working.limit("50000", quantity="0.01"), broker_id=working.broker_id)).order
    changed = await amend(desk, working.user_id, order.id, Amendment(price=Decimal(59000), quantity=Decimal("0.011")))
    assert changed.replaces_id == order.id
    assert changed.reserved == 649
    resting = (await pieces.submit(pieces.limit("50000", quantity="0.01"))).order
    await limited(pieces, max_order_notional=Decimal(600))
    with pytest.raises(OrderDenied) as caught:
        await amend(pieces.desk, pieces.user_id, resting.id, Amendment(quantity=Decimal("0.013")))
    assert caught.value.reason is DenialReason.MAX_NOTIONAL
    assert (await pieces.order(resting.id)).state is OrderState.OPEN


async def test_limits_are_read_back_as_they_were_set_and_only_by_their_owner(pieces: Pieces) -> None:
    given = RiskLimits(max_order_notional=Decimal("1000.5"), max_open_orders=7, price_collar=Decimal("0.02"))
    await put_limits(pieces.desk, pieces.user_id, given, broker_id=pieces.broker_id)
    together, account = await read_limits(pieces.desk, pieces.user_id)
    assert (together.broker_id, together.own) == (None, RiskLimits())
    assert (account.broker_id, account.name, account.own) == (pieces.broker_id, "Main", given)
    eve = await make_user(pieces.database, "eve")
    for broker_id in (pieces.broker_id, new_id()):
        with pytest.raises(BrokerNotFound):
            await put_limits(pieces.desk, eve, given, broker_id=broker_id)
    await put_limits(pieces.desk, pieces.user_id, RiskLimits(), broker_id=pieces.broker_id)
    assert (await read_limits(pieces.desk, pieces.user_id))[1].own == RiskLimits()


async def test_a_reading_that_comes_late_does_not_undo_a_newer_one(pieces: Pieces) -> None:
    await told(pieces, {"USDT": "700"})
    (row,) = await pieces.rows("SELECT updated_at FROM balances WHERE asset = 'USDT'")
    slow, _ = counting({"USDT": "1"})
    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=slow)
    late = type("Late", (), {"now": lambda _: row["updated_at"] - timedelta(seconds=5)})()
    await PortfolioLoop(replace(desk, clock=late), interval_s=60).refresh([pieces.broker_id])
    assert [row["free"] for row in await pieces.rows("SELECT free FROM balances WHERE asset = 'USDT'")] == [Decimal(700)]
