"""What came and went without a trade is found exactly, however trades and readings fall."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.flows import SLACK, Move, Reading, Remainder, remainders, time_weighted

T0 = datetime(2026, 11, 26, 12, tzinfo=UTC)
ASSETS = ("BTC", "USDT", "BNB")
DUST = dict.fromkeys(ASSETS, Decimal("0.00000001"))


def moment(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def reading(seconds: float, held: Mapping[str, Decimal] | None = None, *, answered_s: float = 0.0, **totals: str) -> Reading:
    amounts = dict(held or {}) | {asset: Decimal(amount) for asset, amount in totals.items()}
    return Reading(asked_at=moment(seconds), answered_at=moment(seconds + answered_s), totals=amounts)


def move(seconds: float, asset: str, amount: str) -> Move:
    return Move(at=moment(seconds), asset=asset, amount=Decimal(amount))


def found(readings: list[Reading], moves: list[Move]) -> list[tuple[str, datetime, Decimal]]:
    return [(item.asset, item.at, item.amount) for item in remainders(readings, moves, tolerances=DUST)]


def test_deposit_between_two_readings_is_what_no_trade_explains() -> None:
    readings = [reading(0, USDT="1000"), reading(60, USDT="1440", BTC="0.001")]
    moves = [move(30, "BTC", "0.001"), move(30, "USDT", "-60")]
    assert remainders(readings, moves, tolerances=DUST) == [Remainder(asset="USDT", since=moment(0), at=moment(60), amount=Decimal(500))]


def test_first_reading_is_no_deposit() -> None:
    assert found([reading(0, USDT="1000")], []) == []


def test_asset_that_is_gone_was_withdrawn() -> None:
    assert found([reading(0, BTC="2"), reading(60)], []) == [("BTC", moment(60), Decimal(-2))]


def test_fee_in_a_third_asset_is_no_withdrawal() -> None:
    readings = [reading(0, USDT="1000", BNB="1"), reading(60, USDT="940", BTC="0.001", BNB="0.9")]
    assert found(readings, [move(5, "USDT", "-60"), move(5, "BTC", "0.001"), move(5, "BNB", "-0.1")]) == []


def test_change_below_the_tolerance_is_dust() -> None:
    readings = [reading(0, USDT="1000"), reading(60, USDT="1000.009")]
    assert remainders(readings, [], tolerances={"USDT": Decimal("0.01")}) == []


def test_trade_that_the_clocks_put_on_the_wrong_side_of_a_reading_is_no_flow() -> None:
    # By its time the trade is after the second reading; the balance already has it.
    late = [reading(0, BTC="1"), reading(60, answered_s=0.4, BTC="3"), reading(120, BTC="3")]
    assert found(late, [move(61.5, "BTC", "2")]) == []
    # And the other way round.
    early = [reading(0, BTC="1"), reading(60, BTC="1"), reading(120, BTC="3")]
    assert found(early, [move(59, "BTC", "2")]) == []


def test_deposit_beside_a_trade_that_is_in_doubt_is_one_flow() -> None:
    readings = [reading(0, BTC="1"), reading(60, answered_s=0.4, BTC="8"), reading(120, BTC="8")]
    assert found(readings, [move(61, "BTC", "2")]) == [("BTC", moment(60), Decimal(5))]


def test_trade_far_from_a_reading_is_counted_where_it_happened() -> None:
    readings = [reading(0, BTC="1"), reading(60, BTC="3"), reading(120, BTC="3")]
    assert found(readings, [move(90, "BTC", "2")]) == [("BTC", moment(60), Decimal(2)), ("BTC", moment(120), Decimal(-2))]


_amounts = st.decimals(min_value="0.00000100", max_value="5000", places=8, allow_nan=False, allow_infinity=False)
Event = tuple[str, str, str, Decimal, Decimal, float]
History = tuple[list[Reading], list[Move], dict[tuple[str, datetime], Decimal]]
_events = st.lists(
    st.tuples(
        st.sampled_from(("trade", "deposit", "withdrawal", "reading")),
        st.sampled_from(ASSETS),
        st.sampled_from(ASSETS),
        _amounts,
        _amounts,
        st.floats(min_value=-1.5, max_value=1.5),
    ),
    max_size=60,
)


def history(events: list[Event], *, apart_s: float, skewed: bool) -> History:
    """Readings, moves and true flows by the first reading that has them; one event every `apart_s` seconds."""
    end = ("reading", "BTC", "BTC", Decimal(1), Decimal(1), 0.0)
    held: dict[str, Decimal] = dict.fromkeys(ASSETS, Decimal(10**6))
    readings = [reading(0, held)]
    moves: list[Move] = []
    flows: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for number, (kind, one, other, given_amount, taken, skew_s) in enumerate([*events, end], 1):
        at = 10 + number * apart_s
        if kind == "trade":
            seen = at + (skew_s if skewed else 0.0)
            for asset, amount in ((one, given_amount), (other, -taken), ("BNB", Decimal("-0.00000123"))):
                held[asset] += amount
                moves.append(Move(at=moment(seen), asset=asset, amount=amount))
        elif kind == "reading":
            readings.append(reading(at, held))
        else:
            amount = given_amount if kind == "deposit" else -given_amount
            held[one] += amount
            flows[(one, len(readings))] += amount
    return readings, moves, {(asset, readings[index].asked_at): amount for (asset, index), amount in flows.items()}


@given(_events)
@settings(max_examples=150, deadline=None)
def test_flows_are_recovered_exactly_when_clocks_agree(events: list[Event]) -> None:
    readings, moves, flows = history(events, apart_s=5.0, skewed=False)
    told = {(asset, at): amount for asset, at, amount in found(readings, moves)}
    assert told == {key: amount for key, amount in flows.items() if abs(amount) > DUST[key[0]]}


@given(_events)
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_or_made_up_however_the_clocks_differ(events: list[Event]) -> None:
    readings, moves, flows = history(events, apart_s=1.0, skewed=True)
    # The last reading is behind every event, and no event is further from its own time than the slack.
    last = readings[-1]
    quiet = Reading(asked_at=last.asked_at + SLACK * 2, answered_at=last.asked_at + SLACK * 2, totals=last.totals)
    told: dict[str, Decimal] = defaultdict(Decimal)
    for item in remainders([*readings, quiet], moves, tolerances={}):
        told[item.asset] += item.amount
    true: dict[str, Decimal] = defaultdict(Decimal)
    for (asset, _), amount in flows.items():
        true[asset] += amount
    assert {asset: told[asset] for asset in ASSETS} == {asset: true[asset] for asset in ASSETS}


def least(readings: list[Reading], moves: list[Move]) -> int:
    """The fewest remainders there can be, found by trying every side of every reading for every move of one asset."""
    moved = sorted(moves, key=lambda move: move.at)
    reached: dict[int, int] = {}
    for number, reading in enumerate(readings):
        choices = [
            cut
            for cut in range(len(moved) + 1)
            if (cut == 0 or moved[cut - 1].at <= reading.answered_at + SLACK)
            and (cut == len(moved) or moved[cut].at > reading.asked_at - SLACK)
        ]
        if number == 0:
            reached = dict.fromkeys(choices, 0)
            continue
        change = reading.totals["BTC"] - readings[number - 1].totals["BTC"]
        reached = {
            cut: min(left + (sum(move.amount for move in moved[before:cut]) != change) for before, left in reached.items() if before <= cut)
            for cut in choices
        }
    return min(reached.values())


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(-3, 3)), max_size=12), st.lists(st.integers(-4, 4), min_size=2, max_size=8))
@settings(max_examples=300, deadline=None)
def test_no_way_to_place_the_trades_explains_more(traded: list[tuple[float, int]], changes: list[int]) -> None:
    moves = [move(at, "BTC", str(amount)) for at, amount in traded if amount]
    held, readings = 100, []
    for number, change in enumerate(changes):
        held += change
        readings.append(reading(number * 3, BTC=str(held)))
    assert len(remainders(readings, moves, tolerances={})) == least(readings, moves)


def test_money_put_in_is_no_return_and_money_taken_out_no_loss() -> None:
    points = [(Decimal(1000), Decimal(0)), (Decimal(1600), Decimal(500)), (Decimal(880), Decimal(-720)), (Decimal(968), Decimal(0))]
    assert time_weighted(points) == [Decimal(0), Decimal("0.1"), Decimal("0.1"), Decimal("0.21")]


def test_account_that_was_empty_earns_from_when_something_is_in_it() -> None:
    points = [(Decimal(0), Decimal(0)), (Decimal(100), Decimal(100)), (Decimal(150), Decimal(0))]
    assert time_weighted(points) == [Decimal(0), Decimal(0), Decimal("0.5")]
