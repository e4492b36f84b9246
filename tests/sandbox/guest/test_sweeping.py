"""Many sets of parameters in one worker: each decides what a run of its own would."""

import os
from uuid import uuid4

import numpy as np
import pytest

from app.domain.arrays import deciding_rows, no_decisions
from app.errors import StrategyKilled
from app.sandbox.frames import DECISION_COLUMNS, decision_place
from app.sandbox.guest.guest import Guest
from app.sandbox.jail import Jail
from app.sandbox.memory import blank_results
from app.sandbox.messages import Described, Edit, Failed, Frame, Load, Packed, Rewrite, Rewritten, Sweep, Swept, Value
from app.sandbox.packed import PackedDecisions, used
from app.sandbox.packed import unpacked as unpacked_from
from app.sandbox.quotas import Purpose
from app.sandbox.sheet import Sheet
from app.sandbox.sweeps import packed_decisions
from tests.sandbox.guest.market import COSTS, decisions_of, described, made_candles
from tests.sandbox.guest.three_styles import PER_CANDLE

CANDLES = made_candles(1_500)
FRAMES = [(Frame(symbol="BTC/USDT", timeframe="1h", rows=len(CANDLES)), CANDLES)]
SIGNALS = """
from aristobot import Strategy, param, ta

tried = []

class Cross(Strategy):
    warm_up = 30
    fast = param(12, low=2, high=60)
    slow = param(26, low=3, high=200)
    stop_loss = param(0.02, low=0.005, high=0.2)
    side = param("both", choices=["both", "long"])

    def indicators(self, candles):
        tried.append(self.fast)
        if self.fast >= self.slow:
            raise ValueError("fast must be below slow")
        self.fast_line = ta.EMA(candles.close, self.fast)
        self.slow_line = ta.EMA(candles.close, timeperiod=self.slow)
        self.fast_line[:len(tried)] = 1.0
        self.upper, self.middle, self.lower = ta.BBANDS(candles.close, 20, 2.0, 2.0)

    def signals(self, candles):
        found = {"long": ta.crossed_above(self.fast_line, self.slow_line), "exit": ta.crossed_below(self.fast_line, self.slow_line)}
        return found | {"stop": self.lower} if self.side == "both" else found
"""
SETS: list[dict[str, Value]] = [
    {"fast": 5, "slow": 20},
    {"fast": 9, "slow": 20, "stop_loss": 0.05},
    {"fast": 30, "slow": 20},
    {"fast": 5, "slow": 20, "side": "long"},
    {},
]


def unpacked(results: PackedDecisions | None) -> dict[str, np.ndarray]:
    assert results is not None
    decisions = no_decisions(len(CANDLES))
    results.lay_into(decisions)
    return {name: getattr(decisions, name) for name in DECISION_COLUMNS}


def swept(guest: Guest, sets: list[dict[str, Value]], *, start: int = 0, seconds: float = 60.0) -> list[Packed]:
    reply = guest.handle(Sweep(sets=sets, start=start, costs=COSTS, seconds=seconds))
    assert isinstance(reply, Swept), reply
    return reply.sets


async def in_jail(jail: Jail, source: str, sets: list[dict[str, Value]], *, room: int) -> tuple[list[Packed], list[PackedDecisions | None]]:
    packed: list[Packed] = []
    found: list[PackedDecisions | None] = []
    async with jail.worker(user_id=uuid4(), purpose=Purpose.BACKTEST, frames=FRAMES, result_rows=room) as worker:
        assert isinstance(await worker.ask(Load(source=source)), Described)
        while len(packed) < len(sets):
            reply = await worker.ask(Sweep(sets=sets[len(packed) :], start=0, costs=COSTS))
            assert isinstance(reply, Swept), reply
            assert reply.sets
            packed += reply.sets
            found += await packed_decisions(jail, worker, reply.sets, len(CANDLES))
    return packed, found


@pytest.mark.asyncio
@pytest.mark.parametrize("source", [SIGNALS, PER_CANDLE], ids=["signals", "per candle"])
@pytest.mark.parametrize("room", [len(CANDLES), 8 * len(CANDLES)], ids=["room for one", "room for all"])
async def test_each_set_decides_what_a_run_of_its_own_would(jail: Jail, source: str, room: int) -> None:
    sets = SETS if source is SIGNALS else [{}, {}]
    packed, found = await in_jail(jail, source, sets, room=room)

    for given, one, results in zip(sets, packed, found, strict=True):
        if given.get("fast") == 30:
            assert (one.rows, one.problem, results) == (0, "fast must be below slow", None)
            assert one.line == 16
            continue
        alone = decisions_of(source, CANDLES, **given)  # type: ignore[arg-type]
        together = unpacked(results)
        rows = deciding_rows(alone)
        assert np.array_equal(rows, np.flatnonzero(together["flags"] | np.isfinite(together["stop"])))
        for name in DECISION_COLUMNS:
            assert np.array_equal(getattr(alone, name)[rows], together[name][rows], equal_nan=name != "flags"), (given, name)


def test_a_strategy_that_changes_an_indicator_changes_no_later_one() -> None:
    results = Sheet(8 * len(CANDLES))
    guest = Guest(FRAMES, results)
    described(guest, SIGNALS)
    first, *_, last = swept(guest, [{"fast": 7, "slow": 25}] * 4)

    assert guest._sweeper is not None
    assert guest._sweeper._memo.found >= 9
    assert first == last
    assert np.array_equal(results.whole_flags()[: first.rows], results.whole_flags()[3 * first.rows : 4 * first.rows])


def test_a_sweep_stops_when_its_time_is_over_and_tries_one_at_least() -> None:
    guest = Guest(FRAMES, Sheet(8 * len(CANDLES)))
    described(guest, SIGNALS)
    assert len(swept(guest, SETS, seconds=1e-9)) == 1


def test_warm_up_and_start_hold_for_every_set() -> None:
    results = Sheet(8 * len(CANDLES))
    guest = Guest(FRAMES, results)
    described(guest, SIGNALS)
    (one,) = swept(guest, [{}], start=700)
    assert results.whole_flags()[0] >> 3 >= 700
    assert set(used(one.columns)) == {"stop", "stop_loss"}


@pytest.mark.parametrize(
    ("flags", "sizes", "said", "told"),
    [
        ([8 * 1_500 + 1], [], Packed(rows=1), "a candle that is not there"),
        ([-8], [], Packed(rows=1), "a candle that is not there"),
        ([9, 9], [], Packed(rows=2), "the order of the candles"),
        ([9], [5.0], Packed(rows=1, columns=1), "a decision's size is not between"),
        ([9], [float("inf")], Packed(rows=1, columns=1), "a decision's size is not between"),
        ([], [], Packed(rows=10**9), "in room for"),
    ],
)
def test_what_no_decision_can_be_is_found(flags: list[int], sizes: list[float], said: Packed, told: str) -> None:
    fd = blank_results(len(CANDLES))
    try:
        os.pwrite(fd, np.array(flags, dtype=np.int64).tobytes(), decision_place(-1, len(CANDLES)))
        os.pwrite(fd, np.array(sizes).tobytes(), decision_place(0, len(CANDLES)))
        with pytest.raises(StrategyKilled, match=told):
            unpacked_from(fd, len(CANDLES), [said], len(CANDLES))
    finally:
        os.close(fd)


@pytest.mark.asyncio
async def test_a_worker_that_wrote_what_no_decision_can_be_is_ended(jail: Jail) -> None:
    """Its memory is written as a strategy would that had taken its interpreter over."""
    async with jail.worker(user_id=uuid4(), purpose=Purpose.BACKTEST, frames=FRAMES, result_rows=len(CANDLES)) as worker:
        assert isinstance(await worker.ask(Load(source=SIGNALS)), Described)
        assert worker.results is not None
        os.pwrite(worker.results[0], np.int64(-8).tobytes(), decision_place(-1, len(CANDLES)))
        with pytest.raises(StrategyKilled):
            await packed_decisions(jail, worker, [Packed(rows=1)], len(CANDLES))
        with pytest.raises(StrategyKilled):
            await worker.ask(Load(source=SIGNALS))


REWRITTEN = '''
"""Größe — a source whose lines have letters of several bytes."""
from aristobot import Strategy, param, ta
import aristobot

class Base(Strategy):
    length = param(5, low=1, high=9)

class Cross(Base):
    fast: int = param(12, low=2, high=60); ü = "é"; slow = param(low=3, high=200, default=(20 +
        6))
    stop_loss = aristobot.param(0.02, low=0.005, high=0.2, optional=True, help="12")
    side = param("both", choices=["both", 'lo"ng'])
    def should_long(self):
        return self.fast > 12
'''


def edited(source: str, edits: list[Edit]) -> str:
    for edit in reversed(edits):
        source = source[: edit.start] + edit.text + source[edit.end :]
    return source


def test_defaults_are_replaced_where_they_stand_and_nothing_else_changes() -> None:
    guest = Guest(FRAMES, None)
    described(guest, REWRITTEN)
    wanted: dict[str, Value] = {"fast": 20, "slow": 50, "stop_loss": None, "side": 'lo"ng'}
    reply = guest.handle(Rewrite(defaults=wanted))
    assert isinstance(reply, Rewritten), reply
    after = edited(REWRITTEN, reply.edits)

    assert {each.name: each.default for each in described(guest, after).parameters} == {"length": 5, **wanted}
    for old, new in (("12, low", "20, low"), ("20 +\n        6", "50"), ("0.02", "None"), ('"both",', "'lo\"ng',")):
        after = after.replace(new, old, 1)
    assert after == REWRITTEN


@pytest.mark.parametrize(
    ("defaults", "kind"),
    [({"length": 3}, "DEFAULT_NOT_FOUND"), ({"nothing": 1}, "PARAMETER_UNKNOWN"), ({"fast": 1_000}, "PARAMETER_OUT_OF_BOUNDS")],
)
def test_a_default_that_stands_nowhere_is_told(defaults: dict[str, Value], kind: str) -> None:
    guest = Guest(FRAMES, None)
    described(guest, REWRITTEN)
    reply = guest.handle(Rewrite(defaults=defaults))
    assert isinstance(reply, Failed)
    assert reply.kind == kind


def test_defaults_of_the_older_template_are_replaced_in_its_table() -> None:
    source = """
class Old:
    STRATEGY_PARAMS = {"length": {"default": 14, "min": 2, "max": 50, "type": "int"}, "k": {"type": "float", "default": 2.0}}
    def __init__(self, candles, balance, position=None, params=None):
        pass
    def should_long(self):
        return False
    def calculate_position_size(self):
        return 1
"""
    guest = Guest(FRAMES, None)
    described(guest, source)
    reply = guest.handle(Rewrite(defaults={"length": 21, "k": 3}))
    assert isinstance(reply, Rewritten), reply
    after = edited(source, reply.edits)
    assert {each.name: each.default for each in described(guest, after).parameters} == {"length": 21, "k": 3.0}
