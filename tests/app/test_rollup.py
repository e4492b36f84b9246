import random
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.candles import Candle
from app.marketdata.aggregate import aggregate, to_array, to_candles
from app.marketdata.rollup import LONGER, Rollup, warm_from

START = datetime(2026, 3, 28, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def minutes(dice: random.Random, count: int, *, missing: float = 0.0) -> list[Candle]:
    """Minutes of a random walk from the start of a day on, some of which the exchange does not have."""
    price, made = 100.0, []
    for number in range(count):
        opened, price = price, round(price * dice.uniform(0.99, 1.01), 2)
        high, low = max(opened, price) + dice.random(), min(opened, price) - dice.random()
        volume = round(dice.choice((0.0, dice.random(), dice.random() * 1e9)), 8)
        if dice.random() >= missing:
            made.append(Candle(open_time=START + number * MINUTE, open=opened, high=high, low=low, close=price, volume=volume))
    return made


def closed_by(rollup: Rollup, given: list[Candle]) -> dict[str, list[Candle]]:
    told: dict[str, list[Candle]] = {timeframe.value: [] for timeframe in LONGER}
    for minute in given:
        for timeframe, candle in rollup.add(minute):
            told[timeframe.value].append(candle)
    return told


@pytest.mark.parametrize("missing", [0.0, 0.02, 0.5])
def test_longer_candles_are_the_sums_of_their_minutes_to_the_last_bit(missing: float) -> None:
    for seed in range(6):
        given = minutes(random.Random(seed), 2 * 1440 + 7, missing=missing)
        told = closed_by(Rollup(START), given)
        for timeframe in LONGER:
            summed = to_candles(aggregate(to_array(given), timeframe)[0])
            over = [candle for candle in summed if candle.open_time + timeframe.duration <= given[-1].open_time + MINUTE]
            assert told[timeframe.value] == over, timeframe


def test_a_rollup_that_was_warmed_anywhere_goes_on_as_if_it_had_always_been_there() -> None:
    dice = random.Random(5)
    given = minutes(dice, 1440 + 300, missing=0.1)
    whole = closed_by(Rollup(START), given)
    for _ in range(25):
        cut = dice.randrange(1, len(given))
        last = given[cut - 1].open_time
        again = Rollup(max(warm_from(last), START))
        again.warm(minute for minute in given[:cut] if minute.open_time >= warm_from(last))
        told = closed_by(again, given[cut:])
        for timeframe, candles in told.items():
            assert candles == whole[timeframe][len(whole[timeframe]) - len(candles) :]
            before = closed_by(Rollup(START), given[:cut])[timeframe]
            assert len(before) + len(candles) == len(whole[timeframe])


def test_a_longer_candle_whose_beginning_nobody_knows_is_not_made() -> None:
    given = minutes(random.Random(1), 130)
    told = closed_by(Rollup(START + 7 * MINUTE), given[7:])
    assert told["5m"][0].open_time == START + 10 * MINUTE
    assert told["1h"] == to_candles(aggregate(to_array(given[60:120]), LONGER[5])[0])
    assert told["2h"] == told["1d"] == []


def test_a_minute_twice_or_too_old_changes_nothing() -> None:
    given = minutes(random.Random(2), 30)
    rollup = Rollup(START)
    told = [closed for minute in given for closed in (*rollup.add(minute), *rollup.add(minute), *rollup.add(given[0]))]
    assert told == [closed for minute, rollup in ((m, r) for r in (Rollup(START),) for m in given) for closed in rollup.add(minute)]
