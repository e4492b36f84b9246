import pytest

from app.domain.arrays import Candles
from app.domain.simulation import simulate
from app.sandbox.guest.guest import Guest, simulation_costs
from app.sandbox.messages import Check, Checked
from app.strategies.builtins import Builtin, builtin, builtins
from tests.sandbox.guest.market import COSTS, decisions_of, described, guest_with, made_candles, real_candles, resampled, sentence

STEPS = ("contract", "look_ahead", "warm_up", "values")


def _guest(each: Builtin, candles: Candles, timeframe: str) -> Guest:
    return guest_with(candles, timeframe=timeframe, others={"1d": resampled(candles, timeframe, "1d")})


def test_six_builtins_have_a_name_a_title_and_say_when_they_fail() -> None:
    assert len(builtins()) == 6
    for each in builtins():
        assert builtin(each.name) is each
        assert each.title
        assert each.summary.endswith(".")
        assert "Works in" in each.docstring or "Works when" in each.docstring
        assert "Fails" in each.docstring


@pytest.mark.parametrize("each", builtins(), ids=lambda each: each.name)
@pytest.mark.parametrize("step", STEPS)
def test_a_builtin_passes_every_step_on_made_up_candles(each: Builtin, step: str) -> None:
    timeframe = described(guest_with(made_candles(10)), each.source).timeframe
    guest = _guest(each, made_candles(6_000, timeframe=timeframe), timeframe)
    described(guest, each.source)

    reply = guest.handle(Check(step=step, costs=COSTS, seed=3))  # type: ignore[arg-type]

    assert isinstance(reply, Checked), reply
    assert [sentence(finding) for finding in reply.findings] == []


REAL = {
    "1h": "binance-BTCUSDT-1h-2017-08-17_2022-12-31.csv.gz",
    "4h": "binance-BTCUSDT-1h-2017-08-17_2022-12-31.csv.gz",
    "15m": "binance-BTCUSDT-15m-2024-04-30_2025-04-30.csv.gz",
}


@pytest.mark.parametrize("each", builtins(), ids=lambda each: each.name)
def test_a_builtin_trades_and_passes_on_real_candles(each: Builtin) -> None:
    timeframe = described(guest_with(made_candles(10)), each.source).timeframe
    candles = real_candles(REAL[timeframe])
    candles = (resampled(candles, "1h", "4h") if timeframe == "4h" else candles).between(0, 12_000)
    guest = _guest(each, candles, timeframe)
    described(guest, each.source)
    for step in ("contract", "look_ahead"):
        reply = guest.handle(Check(step=step, costs=COSTS, seed=11))
        assert isinstance(reply, Checked), reply
        assert [sentence(finding) for finding in reply.findings if finding.severity == "error"] == []


def test_the_trend_follower_sells_short_only_where_that_is_switched_on() -> None:
    source = next(each.source for each in builtins() if each.name == "donchian_trend")
    candles = made_candles(4_000, timeframe="4h")
    sides = {
        shorts: {
            trade.side
            for trade in simulate(candles, decisions_of(source, candles, timeframe="4h", shorts=shorts), simulation_costs(COSTS)).trades
        }
        for shorts in (False, True)
    }

    assert sides == {False: {1}, True: {1, -1}}
