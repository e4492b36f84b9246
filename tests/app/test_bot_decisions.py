"""What becomes of each thing that a strategy can say: bots side by side on one replayed market, looked at afterwards."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from app.emulator.clock import ClockMode
from app.emulator.config import EmulatorConfig, GeneratedSymbol
from tests.app.botting import act, bot, kinds, signals, valid_strategy, waits_for_bots
from tests.app.replaying import Replay, replayed
from tests.postgres import PostgresForTests
from tests.replay_venue import replaying

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HEAD = """from aristobot import Strategy


class One(Strategy):
    timeframe = "1m"
    warm_up = 2
    asked = 0
"""
#: A body for each bot: what its strategy does.
_BODIES = {
    "raises": """
    stop_loss = 0.3

    def should_long(self):
        return True

    def should_exit(self):
        return 1 / 0 > 1
""",
    "hangs": """
    def should_long(self):
        while True:
            pass
""",
    "shorts": """
    def should_short(self):
        return True
""",
    "rests": """
    def should_long(self):
        return True

    def entry_price(self):
        return self.candles.close[-1] * 0.5
""",
    "adjusts": """
    stop_loss = 0.3

    def should_long(self):
        return True

    def position_size(self):
        return 0.4

    def adjust(self):
        self.asked += 1
        return {1: 0.5, 2: -0.5}.get(self.asked)
""",
    "trails": """
    stop_loss = 0.3
    trailing_stop = 0.2

    def should_long(self):
        return True

    def stop_price(self):
        self.asked += 1
        return self.candles.close[-1] * (0.8 + 0.03 * self.asked)
""",
    "targets": """
    stop_loss = 0.3
    take_profit = [(0.5, 0.25), (0.9, None)]

    def should_long(self):
        return True

    def target_price(self):
        return self.candles.close[-1] * 1.4
""",
    "asks": """
    stop_loss = 0.3

    def should_long(self):
        return True
""",
    "asks_in_vain": """
    def should_long(self):
        return True
""",
    "looks": """
    informative = ["5m"]

    def indicators(self, candles):
        self.slow = candles.other("5m").align(candles.other("5m").close)

    def should_long(self):
        print(self.slow[-1] > 0)
        return False
""",
    "waits": """
    def should_long(self):
        return False
""",
}
_LONGEST = 4


class Lived:
    """The bots by their names, after some minutes."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.ids: dict[str, str] = {}

    async def now(self, name: str) -> dict[str, Any]:
        return dict((await self.replay.person.call("GET", f"/api/bots/{self.ids[name]}")).json())

    async def signals(self, name: str) -> list[dict[str, Any]]:
        return list(reversed(await signals(self.replay.person, self.ids[name])))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lived(postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lived]:
    config = EmulatorConfig(
        generate=(GeneratedSymbol(symbol="BTCUSDT", price=Decimal(60000), volatility=1.0),),
        clock=ClockMode(is_virtual=True),
        history_minutes=200,
        ideal=Decimal("0.0005"),
    )
    folder = tmp_path_factory.mktemp("decisions")
    async with replaying(config) as venue, replayed(postgres, venue, folder, ("BTC/USDT",), heartbeat_history_minutes=120) as replay:
        replay.waits.append(lambda: waits_for_bots(replay))
        found, ada = Lived(replay), replay.person
        broker_id = await replay.paper("all-of-them")
        for name, body in _BODIES.items():
            mode = "ask" if name.startswith("asks") else "paper"
            strategy_id = await valid_strategy(replay, ada, _HEAD + body, name)
            found.ids[name] = (await bot(ada, strategy_id, str(broker_id), mode=mode, name=name))["id"]
            await act(ada, found.ids[name], "start")
        await replay.quiet()
        await replay.minute()
        waiting = (await found.now("asks"))["waiting_id"]
        approved = await ada.call("POST", f"/api/bots/{found.ids['asks']}/signals/{waiting}/approve")
        assert approved.status_code == 200, approved.text
        for _ in range(_LONGEST - 1):
            await replay.minute()
        yield found


async def test_an_exception_faults_its_bot_alone_and_names_the_line(lived: Lived) -> None:
    failed = await lived.now("raises")
    assert (failed["state"], failed["fault"]["line"]) == ("faulted", 15)
    assert "division by zero" in failed["fault"]["message"]
    assert "should_exit" in failed["fault"]["traceback"]
    assert "ZeroDivisionError" in failed["state_reason"]["text"]
    assert failed["held"]["stop_price"] is not None, "what it holds keeps its stop"
    assert (await lived.now("waits"))["state"] == "running"
    assert "faulted" in await kinds(lived.replay.person, lived.ids["raises"])


async def test_a_strategy_that_does_not_end_is_stopped(lived: Lived) -> None:
    failed = await lived.now("hangs")
    assert (failed["state"], failed["fault"]["code"]) == ("faulted", "STRATEGY_KILLED")


async def test_a_short_is_written_down_and_not_made(lived: Lived) -> None:
    first = (await lived.signals("shorts"))[0]
    assert (first["action"], first["state"], first["code"], first["order_ids"]) == ("short", "denied", "SHORT_UNSUPPORTED", [])


async def test_a_limit_rests_until_the_next_close_and_is_taken_back(lived: Lived) -> None:
    found = await lived.signals("rests")
    assert [signal["action"] for signal in found] == ["long"] * _LONGEST
    sql = "SELECT state, price, type FROM orders WHERE bot_id = $1::uuid ORDER BY created_at"
    orders = await lived.replay.rows(sql, lived.ids["rests"])
    assert [order["state"] for order in orders] == ["canceled"] * (_LONGEST - 1) + ["open"]
    assert {order["type"] for order in orders} == {"limit"}


async def test_a_position_is_added_to_and_taken_from(lived: Lived) -> None:
    found = await lived.signals("adjusts")
    assert [(signal["action"], signal["state"]) for signal in found[:3]] == [("long", "done"), ("adjust", "done"), ("adjust", "done")]
    sql = "SELECT side, filled_quantity FROM orders WHERE bot_id = $1::uuid AND role NOT IN ('stop', 'target') ORDER BY created_at"
    entered, added, taken = await lived.replay.rows(sql, lived.ids["adjusts"])
    assert [row["side"] for row in (entered, added, taken)] == ["buy", "buy", "sell"]
    assert Decimal("0.45") < added["filled_quantity"] / entered["filled_quantity"] < Decimal("0.51")
    held = (await lived.now("adjusts"))["held"]
    assert abs(Decimal(held["quantity"]) / entered["filled_quantity"] - Decimal("0.75")) < Decimal("0.02")


async def test_a_stop_follows_and_never_loosens(lived: Lived) -> None:
    assert {"levels"} < {signal["action"] for signal in await lived.signals("trails")}
    held = (await lived.now("trails"))["held"]
    entry, stop = Decimal(held["entry_price"]), Decimal(held["stop_price"])
    assert Decimal("0.88") < stop / entry < Decimal("0.95"), "what the strategy says is nearer than the trailing distance"


async def test_targets_of_parts_are_laid_and_moved(lived: Lived) -> None:
    (plan,) = await lived.replay.rows("SELECT plan FROM protections WHERE bot_id = $1::uuid AND status = 'active'", lived.ids["targets"])
    entry = Decimal((await lived.now("targets"))["held"]["entry_price"])
    first, second = plan["plan"]["targets"]
    assert (Decimal(first["fraction"]), Decimal(second["fraction"])) == (Decimal("0.25"), Decimal("0.75"))
    assert Decimal("1.3") < Decimal(first["price"]) / entry < Decimal("1.5")
    assert Decimal("1.89") < Decimal(second["price"]) / entry < Decimal("1.91")


async def test_in_mode_ask_an_entry_waits_for_a_word(lived: Lived) -> None:
    first = (await lived.signals("asks"))[0]
    assert (first["action"], first["state"], len(first["order_ids"])) == ("long", "done", 1)
    assert (await lived.now("asks"))["held"] is not None
    found = await lived.signals("asks_in_vain")
    assert [signal["state"] for signal in found] == ["expired"] * (_LONGEST - 1) + ["waiting"]
    assert found[0]["reason"]["text"] == "nobody answered before the next candle closed"
    refused = await lived.replay.person.call("POST", f"/api/bots/{lived.ids['asks_in_vain']}/signals/{found[0]['id']}/approve")
    assert (refused.status_code, refused.json()["code"]) == (409, "BOT_SIGNAL_DECIDED")


async def test_doing_nothing_has_its_reason(lived: Lived) -> None:
    found = await lived.signals("waits")
    assert [(signal["action"], signal["state"], signal["reason"]["text"]) for signal in found] == [
        ("none", "done", "no entry: the strategy wants none")
    ] * _LONGEST


async def test_candles_of_other_lengths_are_seen_too(lived: Lived) -> None:
    found = await lived.signals("looks")
    assert [(signal["state"], signal["decision"]["output"]) for signal in found] == [("done", "True\n")] * _LONGEST


async def test_what_bots_hold_is_what_the_account_holds(lived: Lived) -> None:
    (held,) = await lived.replay.rows("SELECT sum(quantity) AS quantity FROM positions WHERE status <> 'closed'")
    (there,) = await lived.replay.rows("SELECT free + locked AS amount FROM paper_balances WHERE asset = 'BTC'")
    assert abs(held["quantity"] - there["amount"]) < Decimal("1e-8")
