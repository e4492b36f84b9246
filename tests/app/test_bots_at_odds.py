"""Bots whose owner, market or exchange comes between a decision and what comes of it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.bots import meaning, rounds
from app.domain.candles import Candle, Timeframe
from app.domain.enums import OrderState, OrderType, Role, Side, Source
from app.domain.intents import OrderIntent
from app.errors import DenialReason, OrderDenied
from app.marketdata.events import CandleClosed
from app.marketdata.models import CandleSource
from app.trading.submit import submit
from tests.app.botting import BUYS, act, bot, replay_of_bots, signals, valid_strategy
from tests.app.replaying import Replay
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Enters, and asks for more with a nearer stop at each candle.
ADDS = """from aristobot import Strategy


class Adds(Strategy):
    timeframe = "1m"
    warm_up = 2
    stop_loss = 0.3
    asked = 0

    def should_long(self):
        return True

    def position_size(self):
        return 0.4

    def adjust(self):
        return 0.5

    def stop_price(self):
        self.asked += 1
        return self.candles.close[-1] * (0.8 + 0.02 * self.asked)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay(postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replay]:
    async with replay_of_bots(postgres, tmp_path_factory.mktemp("odds")) as running:
        yield running


async def running_bot(replay: Replay, name: str, source: str = BUYS, **given: Any) -> tuple[dict[str, Any], UUID]:
    broker_id = await replay.paper(name)
    one = await bot(replay.person, await valid_strategy(replay, replay.person, source, name), str(broker_id), name=name, **given)
    await act(replay.person, one["id"], "start")
    await replay.quiet()
    return one, UUID(str(broker_id))


async def seen(replay: Replay, bot_id: str) -> dict[str, Any]:
    return dict((await replay.person.call("GET", f"/api/bots/{bot_id}")).json())


async def test_what_was_decided_before_a_suspension_and_not_sent_is_not_sent(replay: Replay) -> None:
    one, broker_id = await running_bot(replay, "late")
    await replay.minute()
    await act(replay.person, one["id"], "suspend")
    await replay.quiet()
    user_id, desk = UUID(replay.person.ids["user_id"]), replay.app.state.desk
    wish: dict[str, Any] = {"symbol": "BTC/USDT", "source": Source.BOT, "type": OrderType.MARKET, "bot_id": UUID(one["id"])}
    entry = OrderIntent(side=Side.BUY, key=f"bot:{one['id']}:1:0", quantity=Decimal("0.001"), role=Role.ENTRY, **wish)
    with pytest.raises(OrderDenied) as caught:
        await submit(desk, user_id, entry, broker_id=broker_id)
    assert caught.value.reason is DenialReason.TRADING_REDUCING
    leaving = OrderIntent(side=Side.SELL, key=f"bot:{one['id']}:2:0", close_position=True, **wish)
    assert (await submit(desk, user_id, leaving, broker_id=broker_id)).order.state is not OrderState.DENIED, "it leaves all the same"
    await replay.quiet()
    await act(replay.person, one["id"], "stop", position="sell")


async def test_what_an_entry_bought_after_the_sale_is_sold_as_well(replay: Replay) -> None:
    one, _ = await running_bot(replay, "twice")
    await replay.minute()
    await act(replay.person, one["id"], "close_position")
    await replay.quiet()
    await replay.minute()
    held = await seen(replay, one["id"])
    assert held["held"] is not None
    (sale,) = await replay.rows("SELECT key FROM orders WHERE bot_id = $1::uuid AND role = 'exit'", one["id"])
    moment = int(sale["key"].split(":")[3]) / 1000
    # As if the wish of before had not been over when that was bought.
    sql = "UPDATE bots SET sell_asked_at = to_timestamp($2), revision = revision + 1 WHERE id = $1::uuid RETURNING id"
    await replay.rows(sql, one["id"], moment)
    await replay.quiet()
    assert (await seen(replay, one["id"]))["held"] is None
    sold = await replay.rows("SELECT filled_quantity FROM orders WHERE bot_id = $1::uuid AND role = 'exit'", one["id"])
    assert len(sold) == 2
    await act(replay.person, one["id"], "stop")


async def test_an_error_of_ours_about_one_bot_is_no_other_bots(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    odd, _ = await running_bot(replay, "odd")
    sound, _ = await running_bot(replay, "sound")
    meant = meaning.meaning_of

    def fails(decision: Any, standing: Any, **given: Any) -> Any:
        if standing.bot.id == UUID(odd["id"]):
            raise ZeroDivisionError("of ours")
        return meant(decision, standing, **given)

    monkeypatch.setattr(rounds, "meaning_of", fails)
    await replay.minute()
    (first,) = await signals(replay.person, odd["id"])
    assert (first["state"], first["code"]) == ("skipped", "BOT_NOT_ASKED")
    assert (await seen(replay, sound["id"]))["held"] is not None
    monkeypatch.undo()
    await replay.minute()
    assert (await seen(replay, odd["id"]))["held"] is not None, "and it goes on at the next candle"
    for one in (odd, sound):
        await act(replay.person, one["id"], "stop", position="sell")


async def test_a_stop_follows_while_the_addition_waits_for_a_word_and_while_the_bot_is_suspended(replay: Replay) -> None:
    one, _ = await running_bot(replay, "follows", ADDS, mode="ask")
    await replay.minute()
    waiting = (await seen(replay, one["id"]))["waiting_id"]
    assert (await replay.person.call("POST", f"/api/bots/{one['id']}/signals/{waiting}/approve")).status_code == 200
    await replay.quiet()
    stops = [Decimal((await seen(replay, one["id"]))["held"]["stop_price"])]
    await replay.minute()
    assert (await signals(replay.person, one["id"]))[0]["state"] == "waiting"
    stops.append(Decimal((await seen(replay, one["id"]))["held"]["stop_price"]))
    await act(replay.person, one["id"], "suspend")
    await replay.quiet()
    await replay.minute()
    assert (await signals(replay.person, one["id"]))[0]["state"] == "skipped"
    stops.append(Decimal((await seen(replay, one["id"]))["held"]["stop_price"]))
    assert stops == sorted(set(stops)), "it moves up at each close"
    await act(replay.person, one["id"], "stop", position="sell")


async def test_a_candle_is_not_decided_at_while_one_before_it_is_missing(replay: Replay) -> None:
    """One that closes while a strategy is being loaded is not heard of; without it, averages would be those of another market."""
    one, _ = await running_bot(replay, "gap")
    await replay.minute()
    decided = max(datetime.fromisoformat(each["open_time"]) for each in await signals(replay.person, one["id"]))
    beyond = Candle(open_time=decided + timedelta(minutes=2), open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0)
    told = CandleClosed(
        exchange="binance", symbol="BTC/USDT", timeframe=Timeframe.M1, candle=beyond, source=CandleSource.STREAM, is_late=False
    )
    replay.app.state.desk.bus.publish(told)
    await replay.quiet()
    await replay.minute()
    await replay.minute()
    found = sorted(datetime.fromisoformat(each["open_time"]) for each in await signals(replay.person, one["id"]))
    assert found[-3:] == [decided, decided + timedelta(minutes=1), decided + timedelta(minutes=2)]
    prices = {each["price"] for each in await signals(replay.person, one["id"])}
    assert not any(Decimal(price) < 100 for price in prices if price is not None)


async def test_a_crumb_that_nobody_takes_is_no_position(replay: Replay) -> None:
    one, _ = await running_bot(replay, "crumbs")
    await replay.minute()
    (held,) = await replay.rows("SELECT id, quantity FROM positions WHERE bot_id = $1::uuid AND status <> 'closed'", one["id"])
    assert held["quantity"] > Decimal("0.01")
    # As if a limit entry had been filled by a hair.
    await replay.rows("UPDATE positions SET quantity = 0.00002, cost = 1.2 WHERE id = $1 RETURNING id", held["id"])
    await replay.minute()
    signal = (await signals(replay.person, one["id"]))[0]
    assert (signal["action"], signal["state"], signal["code"]) == ("long", "done", None)
    (grown,) = await replay.rows("SELECT id, quantity FROM positions WHERE bot_id = $1::uuid AND status <> 'closed'", one["id"])
    assert grown["id"] == held["id"]
    assert grown["quantity"] > Decimal("0.01")
    await replay.rows("UPDATE positions SET quantity = 0.00002, cost = 1.2 WHERE id = $1 RETURNING id", held["id"])
    await act(replay.person, one["id"], "stop", position="sell")
    await replay.quiet()
    now = await seen(replay, one["id"])
    assert (now["state"], now["is_selling"]) == ("stopped", False)
