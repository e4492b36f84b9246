from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.backtests.quality_words import CODES, SENTENCES, TITLES, title_of, told
from app.backtests.report import make_report
from app.backtests.report_parts import Check, RunFacts
from app.core.i18n import LANGUAGES, use_language
from app.core.sentences import filled
from app.domain.arrays import Candles, Floats
from app.domain.metrics import DAY_MS
from app.domain.simulated import Reason
from tests.backtests.runs import COSTS, ran
from tests.domain.equity_curves import NEW_YEAR_MS, joined, outcome_with, trades_of

ROWS = 200


def day_candles(rows: int = ROWS, growth: float = 0.0) -> Candles:
    prices = (100 * (1 + growth) ** np.arange(rows)).astype(np.float64)
    return Candles(NEW_YEAR_MS + np.arange(rows, dtype=np.int64) * DAY_MS, prices, prices, prices, prices, np.ones(rows))


def steady(rows: int = ROWS, rise: float = 0.001, noise: float = 0.01, seed: int = 1) -> np.typing.NDArray[np.float64]:
    moves = np.random.default_rng(seed).normal(0, noise, rows - 1)
    moves += rise - moves.mean()
    return np.append(10_000.0, 10_000 * np.cumprod(1 + moves))


def many_trades(count: int = 40, profit: float = 50.0) -> Any:
    return trades_of(*((place % 20, place % 20 + 1, profit) for place in range(count)))


def checks_of(
    equity: Any = None,
    trades: Any = None,
    *,
    candles: Candles | None = None,
    facts: RunFacts | None = None,
    start: int = 0,
    left_at_double: float | None = None,
    **figures: float,
) -> dict[str, Check]:
    """Return the checks of a run that is fine but for what is given, by code."""
    equity = steady() if equity is None else equity
    outcome = outcome_with(equity, many_trades() if trades is None else trades, **({"candles_held": ROWS // 2} | figures))
    doubled = None
    if left_at_double is not None:
        doubled = replace(outcome, equity=np.append(equity[:-1], equity[0] + left_at_double))
    known = facts or RunFacts(has_look_ahead=False, is_warm_up_short=False, warm_up=0)
    report = make_report(
        outcome, candles or day_candles(len(equity)), COSTS, start, timeframe_ms=DAY_MS, facts=known, at_double_slippage=doubled
    )
    return {check.code: check for check in report.checks}


def test_a_run_with_nothing_wrong_passes_every_check() -> None:
    checks = checks_of(left_at_double=1_900.0, fees=100.0)
    assert {code: check.verdict for code, check in checks.items() if check.verdict != "pass"} == {}
    assert set(checks) == set(CODES) - {"RUIN", "ORDERS", "SAFEGUARDS", "TOO_GOOD", "OPEN_TRADE", "VOLUME"}


@pytest.mark.parametrize(("known", "verdict"), [(True, "fail"), (False, "pass"), (None, "warn")])
def test_looking_ahead_fails_and_not_knowing_warns(known: bool | None, verdict: str) -> None:  # noqa: FBT001 — a column of the table
    assert checks_of(facts=RunFacts(has_look_ahead=known))["LOOK_AHEAD"].verdict == verdict


@pytest.mark.parametrize(("count", "verdict"), [(0, "fail"), (1, "warn"), (29, "warn"), (30, "pass")])
def test_fewer_than_thirty_trades_say_little(count: int, verdict: str) -> None:
    assert checks_of(trades=many_trades(count))["SAMPLE"].verdict == verdict


@pytest.mark.parametrize(
    ("rest", "best", "verdict", "message"),
    [
        (-10.0, (2_000.0,), "fail", "FEW_MAKE_IT_FAIL"),
        (-10.0, (400.0, 300.0, 200.0), "warn", "FEW_MAKE_IT_THREE"),
        (10.0, (450.0, 440.0, 430.0), "warn", "FEW_MAKE_IT_WARN"),
        (50.0, (60.0,), "pass", "FEW_MAKE_IT_PASS"),
    ],
)
def test_a_profit_that_few_trades_make_is_told(rest: float, best: tuple[float, ...], verdict: str, message: str) -> None:
    check = checks_of(trades=joined(many_trades(37, rest), trades_of(*((20, 21, one) for one in best))))["FEW_MAKE_IT"]
    assert (check.verdict, check.message) == (verdict, SENTENCES[message])
    total = 37 * rest + sum(best)
    assert check.figures["share_of_one"] == pytest.approx(best[0] / total)


@pytest.mark.parametrize(("unrealised", "verdict"), [(1_500.0, "warn"), (100.0, "pass"), (-100.0, None)])
def test_a_profit_that_is_not_sold_yet_is_told(unrealised: float, verdict: str | None) -> None:
    check = checks_of(trades=joined(many_trades(), trades_of((20, ROWS - 1, unrealised), reason=None))).get("OPEN_TRADE")
    assert (None if check is None else check.verdict) == verdict


@pytest.mark.parametrize(("quantity", "verdict"), [(101.0, "warn"), (99.0, "pass")])
def test_orders_that_are_large_beside_the_volume_are_told(quantity: float, verdict: str) -> None:
    outcome, candles = ran(1, 500)
    fills = replace(outcome.fills, quantity=np.full(len(outcome.fills), quantity))
    report = make_report(replace(outcome, fills=fills), candles, COSTS, timeframe_ms=3_600_000)
    assert {check.code: check.verdict for check in report.checks}["VOLUME"] == verdict


def test_a_loss_or_three_trades_are_not_asked_who_made_the_profit() -> None:
    assert "FEW_MAKE_IT" not in checks_of(trades=many_trades(40, -1.0))
    assert "FEW_MAKE_IT" not in checks_of(trades=many_trades(3))


@pytest.mark.parametrize(("later", "verdict"), [(-0.002, "fail"), (0.0003, "warn"), (0.003, "pass")])
def test_what_came_after_is_looked_at_beside_what_was_known(later: float, verdict: str) -> None:
    first, rest = steady(141, 0.002), steady(61, later, seed=2)
    check = checks_of(np.append(first, rest[1:] / 10_000 * first[-1]))["LATER_PART"]
    assert check.verdict == verdict
    assert check.figures["later_return"] == pytest.approx((1 + later) ** 60 - 1, rel=0.2)


def swinging(days: int, low: float, high: float) -> Floats:
    """Days of which the mean is above 0 and the product below 1."""
    return 10_000 * np.cumprod(np.append(1.0, np.tile([1 + high, 1 + low], days // 2)))


def test_a_part_that_swings_to_a_loss_lost_though_its_sharpe_is_above_zero() -> None:
    first, rest = swinging(140, -0.17, 0.22), swinging(60, -0.20, 0.24)
    check = checks_of(np.append(first, rest[1:] / 10_000 * first[-1]))["LATER_PART"]
    assert (check.figures["later_sharpe"] or 0) > 0
    assert (check.figures["later_return"] or 0) < 0
    assert check.verdict == "fail"
    assert "LATER_PART" not in checks_of(swinging(ROWS, -0.20, 0.24))


def test_parts_too_short_or_a_first_part_that_lost_are_not_compared() -> None:
    assert "LATER_PART" not in checks_of(steady(25))
    assert "LATER_PART" not in checks_of(steady(rise=-0.001))


@pytest.mark.parametrize(("left", "verdict"), [(-5.0, "fail"), (500.0, "warn"), (2_000.0, "pass")])
def test_twice_the_slippage_must_leave_something(left: float, verdict: str) -> None:
    assert checks_of(left_at_double=left)["SLIPPAGE"].verdict == verdict


@pytest.mark.parametrize(("fees", "verdict"), [(100.0, "pass"), (4_000.0, "warn")])
def test_costs_that_eat_half_of_the_profit_are_told(fees: float, verdict: str) -> None:
    assert checks_of(fees=fees)["COSTS"].verdict == verdict


def test_costs_that_eat_everything_fail() -> None:
    assert checks_of(steady(rise=-0.001), fees=5_000.0)["COSTS"].verdict == "fail"


@pytest.mark.parametrize(("growth", "verdict"), [(-0.001, "pass"), (0.01, "warn")])
def test_holding_that_brought_more_is_told(growth: float, verdict: str) -> None:
    assert checks_of(candles=day_candles(growth=growth))["HOLDING"].verdict == verdict


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        (RunFacts(warm_up=300), "warn"),
        (RunFacts(warm_up=10, is_warm_up_short=True), "warn"),
        (RunFacts(warm_up=10, is_warm_up_short=False), "pass"),
        (RunFacts(warm_up=10), None),
    ],
)
def test_a_warm_up_that_was_too_short_is_told(facts: RunFacts, verdict: str | None) -> None:
    check = checks_of(facts=facts, start=20).get("WARM_UP")
    assert (None if check is None else check.verdict) == verdict


@pytest.mark.parametrize(("missing", "verdict"), [(0, "pass"), (1, "warn"), (40, "fail")])
def test_missing_candles_are_counted(missing: int, verdict: str) -> None:
    candles, kept = day_candles(ROWS + missing), np.ones(ROWS + missing, dtype=bool)
    kept[50 : 50 + missing] = False
    holed = Candles(*(getattr(candles, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")))
    check = checks_of(candles=holed)["DATA"]
    assert (check.verdict, check.figures["missing"]) == (verdict, missing)


@pytest.mark.parametrize(("held", "verdict"), [(1, "warn"), (100, "pass"), (199, "warn")])
def test_hardly_ever_and_nearly_always_in_the_market_are_told(held: int, verdict: str) -> None:
    assert checks_of(candles_held=held)["EXPOSURE"].verdict == verdict


def test_short_periods_refused_orders_and_wonders_are_told() -> None:
    assert checks_of(steady(50))["PERIOD"].verdict == "warn"
    assert checks_of(denied=3)["ORDERS"].verdict == "warn"
    assert checks_of(capped=2)["ORDERS"].message == SENTENCES["ORDERS_CAPPED"]
    assert checks_of(steady(rise=0.004))["TOO_GOOD"].verdict == "warn"


def test_a_liquidation_or_an_account_at_nothing_fails() -> None:
    assert checks_of(trades=joined(many_trades(), trades_of((90, 91, -9.0), reason=Reason.LIQUIDATION)))["RUIN"].verdict == "fail"
    assert checks_of(np.append(steady()[:-1], 0.0))["RUIN"].verdict == "fail"


def test_the_worst_is_told_first() -> None:
    outcome = outcome_with(steady(), many_trades(5), candles_held=ROWS // 2)
    report = make_report(outcome, day_candles(), COSTS, timeframe_ms=DAY_MS, facts=RunFacts(has_look_ahead=True))
    order = [check.verdict for check in report.checks]
    assert order == sorted(order, key=["fail", "warn", "pass"].index)
    assert order[0] == "fail"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_said_with_all_of_its_values(language: str) -> None:
    with use_language(language):
        for key, sentence in SENTENCES.items():
            code = next(code for code in CODES if key.startswith(code))
            values = dict.fromkeys(("trades", "share", "before", "after", "lost", "own", "held", "wanted", "had", "missing"), "-1234.5")
            check = Check(
                code=code,
                verdict="warn",
                title=TITLES[code],
                message=sentence,
                values=values | dict.fromkeys(("day", "days", "denied", "capped", "sharpe", "trips"), "7"),
            )
            assert "%(" not in told(check)
            assert "%%" not in told(check)
            assert title_of(check)


def test_numbers_are_written_as_the_reader_writes_them() -> None:
    check = checks_of(candles=day_candles(growth=-0.001))["HOLDING"]
    assert filled(check.message, check.values).startswith("It brought 21.")
    with use_language("fr"):
        assert "21," in told(check)
        assert "−18," in told(check)
