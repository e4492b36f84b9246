"""What a decision means for a bot is what a simulated account does with it; and what is too late or unsure is not decided at all."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bots.meaning import meaning_of
from app.bots.models import BotMode, BotState, SignalAction
from app.bots.roster import LiveBot, Market
from app.bots.rounds import Due, Feed, _is_outside, _why_skipped
from app.bots.standing import Standing
from app.domain.account import Account
from app.domain.arrays import LONG
from app.domain.candles import Candle, Timeframe
from app.domain.fees import FeeRates
from app.domain.instruments import Instrument
from app.domain.simulated import SimulationCosts, Wish
from app.sandbox.messages import Decision
from app.trading.bot_ledger import BotLedger

NOBODY = UUID(int=0)
OPENED = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
CANDLE = Candle(open_time=OPENED, open=100.0, high=110.0, low=90.0, close=100.0, volume=1.0)


def bot_of(**given: Any) -> LiveBot:
    fields: dict[str, Any] = {
        "id": NOBODY, "user_id": NOBODY, "number": 1, "name": "One", "version_id": NOBODY, "version": 1, "strategy_name": "One",
        "source": "", "described": None, "parameters": {}, "broker_id": NOBODY, "broker_name": "", "broker_exchange": "paper",
        "exchange": "binance", "market": Market(symbol="BTC/USDT", timeframe=Timeframe.M1), "mode": BotMode.PAPER,
        "state": BotState.RUNNING, "state_reason": None, "capital": Decimal(1000), "start_at": None, "end_at": None, "at_end": "keep",
        "safeguards": {}, "peak_equity": None, "last_candle_at": None, "started_at": None, "sell_asked_at": None, "revision": 0,
    }  # fmt: skip
    return LiveBot(**{**fields, **given})


def standing_of(bot: LiveBot, *, price: Decimal | None, fee: Decimal = Decimal("0.001"), step: str = "0.001", **held: Any) -> Standing:
    fields: dict[str, Any] = {
        "bot_id": NOBODY, "quantity": Decimal(0), "average_price": None, "realized_pnl": Decimal(0), "fees": Decimal(0),
        "position_id": None, "broker_id": None, "symbol": None, "opened_at": None, "stop_price": None, "targets": (),
        "entered": Decimal(0), "open_orders": (),
    }  # fmt: skip
    instrument = Instrument(
        symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=Decimal(step), min_notional=Decimal(5)
    )
    return Standing(
        bot=bot,
        ledger=BotLedger(**{**fields, **held}),
        instrument=instrument,
        fees=FeeRates(maker=fee, taker=fee),
        price=price,
        trailing=None,
        closed_because=None,
    )


@settings(max_examples=60, deadline=None)
@given(
    capital=st.integers(10, 1_000_000),
    cents=st.integers(100, 10_000_000),
    size=st.sampled_from([None, 0.1, 0.25, 0.333, 0.5, 1.0]),
    fee=st.sampled_from([0.0, 0.00075, 0.001, 0.004]),
    step=st.sampled_from(["1", "0.01", "0.001", "0.00001"]),
)
def test_an_entry_is_as_large_as_that_of_a_simulated_account(capital: int, cents: int, size: float | None, fee: float, step: str) -> None:
    price = cents / 100
    costs = SimulationCosts(capital=float(capital), fee=fee, slippage=0.0, step=float(step), tick=0.01, least_notional=5.0)
    account = Account(costs)
    account.decide(Wish(flags=LONG, size=size))
    account.step(0, price, price, price, price)
    standing = standing_of(bot_of(capital=Decimal(capital)), price=Decimal(cents) / 100, fee=Decimal(repr(fee)), step=step)
    meaning = meaning_of(Decision(action="long", size=size), standing, open_ms=0, close=Decimal(1), best=None)
    if account.quantity == 0:
        assert (meaning.intent, meaning.code) == (None, "NOTIONAL_BELOW_MINIMUM")
    else:
        assert meaning.intent is not None
        assert meaning.intent.quantity is not None
        assert abs(float(meaning.intent.quantity) - account.quantity) < float(step) / 2


def test_a_trailing_stop_follows_the_best_closed_candle_and_only_ever_up() -> None:
    held: dict[str, Any] = {"quantity": Decimal(1), "average_price": Decimal(100), "opened_at": OPENED}
    for stop, best, expected in (("80", "110", "99.00"), ("99.00", "110", None), ("99.50", "110", None), ("80", "111.117", "100.00")):
        standing = standing_of(bot_of(), price=Decimal(105), stop_price=Decimal(stop), **held)
        meaning = meaning_of(Decision(action="none", trailing=0.1), standing, open_ms=0, close=Decimal(105), best=Decimal(best))
        assert meaning.levels.stop == (None if expected is None else Decimal(expected)), (stop, best)


def test_leaving_comes_before_adding() -> None:
    standing = standing_of(bot_of(), price=Decimal(100), quantity=Decimal(1), average_price=Decimal(100), opened_at=OPENED)
    meaning = meaning_of(Decision(action="exit", adjust=0.5), standing, open_ms=7, close=Decimal(100), best=None)
    assert meaning.action is SignalAction.EXIT
    assert meaning.intent is not None
    assert (meaning.intent.close_position, meaning.intent.key) == (True, f"bot:{NOBODY}:7:0")


class _Cell:
    """Only what a due bot is asked of its cell here."""

    def __init__(self, bot: LiveBot) -> None:
        self.bot = bot


def due(**given: Any) -> Due:
    return Due(cell=_Cell(bot_of(**given)), candle=CANDLE)  # type: ignore[arg-type]  # see there


@pytest.mark.parametrize(
    ("age_s", "is_fresh", "expected"), [(1, True, None), (59, True, None), (60, True, "CANDLE_TOO_OLD"), (1, False, "FEED_STALE")]
)
def test_what_is_too_old_or_not_fresh_is_not_decided(age_s: int, *, is_fresh: bool, expected: str | None) -> None:
    one = due()
    feed = Feed(is_fresh=is_fresh, venue_now=one.closed_at + timedelta(seconds=age_s))
    found = _why_skipped(one, standing_of(one.cell.bot, price=None), feed)
    assert (None if found is None else found[0]) == expected


def test_candles_before_the_start_and_from_the_end_on_are_none_of_a_bots() -> None:
    closed = OPENED + timedelta(minutes=1)
    assert not _is_outside(due())
    assert not _is_outside(due(start_at=OPENED, end_at=closed + timedelta(seconds=1)))
    assert _is_outside(due(start_at=OPENED + timedelta(seconds=1)))
    assert _is_outside(due(end_at=closed))
