"""What one user may use, by a clock of the test's own."""

from uuid import UUID, uuid4

import pytest

from app.errors import JailBusy, StrategyPaused
from app.sandbox.quotas import KILLS_WITHIN_S, MOST_KILLS, MOST_KILLS_IN_THE_EDITOR, Limits, Purpose, Quotas

ADA, EVE = UUID(int=1), UUID(int=2)
LIVE, BACKTEST, VALIDATION = Purpose.LIVE, Purpose.BACKTEST, Purpose.VALIDATION


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quotas(clock: Clock, **limits: int) -> Quotas:
    return Quotas(Limits(**limits), now=clock)


def test_a_user_has_so_many_workers_and_no_more(clock: Clock) -> None:
    mine = quotas(clock, workers=2)
    with mine.running(ADA, LIVE), mine.running(ADA, LIVE):
        with pytest.raises(JailBusy), mine.running(ADA, LIVE):
            pass
        with mine.running(EVE, LIVE):
            pass
    with mine.running(ADA, LIVE):
        pass


@pytest.mark.parametrize("purpose", [BACKTEST, VALIDATION])
def test_backtests_and_validations_have_bounds_of_their_own(clock: Clock, purpose: Purpose) -> None:
    mine = quotas(clock, backtests=1, validations=1)
    with mine.running(ADA, purpose):
        with pytest.raises(JailBusy), mine.running(ADA, purpose):
            pass
        with mine.running(ADA, LIVE), mine.running(EVE, purpose):
            pass


def test_running_bots_leave_place_for_checks_and_backtests_and_these_for_bots(clock: Clock) -> None:
    mine = quotas(clock, workers=1, backtests=1, validations=1)
    with mine.running(ADA, LIVE), mine.running(ADA, VALIDATION), mine.running(ADA, BACKTEST):
        for purpose in Purpose:
            with pytest.raises(JailBusy):
                mine.check(ADA, purpose)
    with mine.running(ADA, BACKTEST), mine.running(ADA, VALIDATION), mine.running(ADA, LIVE):
        pass


def test_all_users_together_have_a_bound(clock: Clock) -> None:
    mine = quotas(clock, all_workers=2)
    with mine.running(ADA, LIVE), mine.running(EVE, LIVE), pytest.raises(JailBusy), mine.running(uuid4(), LIVE):
        pass


def test_a_worker_that_could_not_be_made_is_not_counted(clock: Clock) -> None:
    mine = quotas(clock, workers=1)
    for _ in range(3):
        with pytest.raises(OSError, match="no"), mine.running(ADA, LIVE):
            raise OSError("no")
    mine.check(ADA, LIVE)


def test_processor_time_is_counted_over_a_day_that_moves_along(clock: Clock) -> None:
    mine = quotas(clock, cpu_s_a_day=100)
    mine.use(ADA, BACKTEST, 60)
    clock.now_s += 43_200
    mine.use(ADA, VALIDATION, 40)
    with pytest.raises(JailBusy):
        mine.check(ADA, BACKTEST)
    with pytest.raises(JailBusy):
        mine.check(ADA, VALIDATION)
    mine.check(ADA, LIVE)
    mine.check(EVE, BACKTEST)
    clock.now_s += 43_200
    assert mine.used_today_s(ADA) == 40
    mine.check(ADA, BACKTEST)
    clock.now_s += 86_400
    assert mine.used_today_s(ADA) == 0


def test_live_trading_uses_nobodys_day(clock: Clock) -> None:
    mine = quotas(clock, cpu_s_a_day=1)
    mine.use(ADA, LIVE, 1e6)
    mine.check(ADA, BACKTEST)


def test_a_live_strategy_that_is_killed_again_and_again_must_rest(clock: Clock) -> None:
    mine = quotas(clock)
    told = []
    for _ in range(MOST_KILLS):
        mine.check(ADA, LIVE, "a")
        told.append(mine.kill(ADA, LIVE, "a"))
        clock.now_s += 60
    assert told == [False] * (MOST_KILLS - 1) + [True], "its user is told once"
    with pytest.raises(StrategyPaused) as caught:
        mine.check(ADA, LIVE, "a")
    assert caught.value.retry_after_s == KILLS_WITHIN_S - 60 * MOST_KILLS
    mine.check(ADA, LIVE, "b")
    mine.check(ADA, VALIDATION, "a")
    mine.check(EVE, LIVE, "a")
    clock.now_s += caught.value.retry_after_s
    mine.check(ADA, LIVE, "a")


def test_kills_that_lie_far_apart_pause_nothing(clock: Clock) -> None:
    mine = quotas(clock)
    for _ in range(10):
        assert not mine.kill(ADA, LIVE, "a")
        clock.now_s += KILLS_WITHIN_S / 2
        mine.check(ADA, LIVE, "a")


def test_in_the_editor_more_is_forgiven_and_not_everything(clock: Clock) -> None:
    mine = quotas(clock)
    for _ in range(MOST_KILLS_IN_THE_EDITOR):
        mine.check(ADA, BACKTEST)
        mine.kill(ADA, VALIDATION)
    with pytest.raises(StrategyPaused):
        mine.check(ADA, BACKTEST)
    mine.check(ADA, LIVE, "a")
