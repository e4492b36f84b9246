"""Coins of bots that somebody sold are missed, and said for as long as they are missing."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.ids import new_id
from app.domain.enums import Side
from app.trading.audit import ask_rules
from app.trading.audit_rules import UNSELLABLE
from app.trading.events import BotShort
from app.trading.portfolio import PortfolioLoop
from app.trading.shortfall import read_short
from tests.app.conftest import API_SECRET, SYMBOL, Pieces
from tests.app.test_bot_ledger import trade
from tests.emulator_process import SignedClient

pytestmark = pytest.mark.asyncio


class Later:
    """A clock that goes ahead when a test says so."""

    def __init__(self, pieces: Pieces) -> None:
        self._real = pieces.desk.clock
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        """The real moment, and what was added."""
        return self._real.now() + self.ahead


class Readings:
    """Balances read once a minute, and what is told of bots then."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._clock = Later(pieces)
        self.passed_s = 0.0
        self._loop = PortfolioLoop(replace(pieces.desk, clock=self._clock), interval_s=60, monotonic=lambda: self.passed_s)

    async def another(self, *, after: timedelta = timedelta(minutes=1), passed_s: float | None = None) -> list[BotShort]:
        """What is told by one more."""
        self._clock.ahead += after
        self.passed_s += after.total_seconds() if passed_s is None else passed_s
        found = []
        with self._pieces.bus.subscribe(BotShort) as heard:
            await self._loop.refresh([self._pieces.broker_id])
            while isinstance(event := heard.get_nowait(), BotShort):
                found.append(event)
        return found


def sold_elsewhere(pieces: Pieces, quantity: str) -> None:
    client = SignedClient(emulator=pieces.emulator, api_key=pieces.api_key, api_secret=API_SECRET)
    reply = client.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity=quantity)
    assert reply.status == 200, reply


async def unsellable(pieces: Pieces) -> list[str]:
    async with pieces.database.connection() as connection:
        found = await ask_rules(connection, [UNSELLABLE], now=pieces.desk.clock.now(), is_full=True)
    return [finding.detail for finding in found]


async def test_what_is_missing_in_two_readings_is_told_until_it_is_there_again(pieces: Pieces) -> None:
    bots = sorted([new_id(), new_id()])
    for bot in bots:
        await trade(pieces, bot)
    readings = Readings(pieces)
    assert await readings.another() == []
    sold_elsewhere(pieces, "1.01")  # the account had a coin of its own
    assert await readings.another() == [], "a stop that fired looks so for a moment"
    assert pieces.broker_id in pieces.desk.suspects
    assert await readings.another(after=timedelta(seconds=5)) == []
    for _ in range(2):
        (short,) = await readings.another()
        assert (short.user_id, short.broker_id, short.symbol, short.base) == (pieces.user_id, pieces.broker_id, SYMBOL, "BTC")
        assert sorted(short.bot_ids) == bots
        assert (short.wanted, short.there) == (Decimal("0.01998"), Decimal("0.00998"))
    assert await unsellable(pieces) == ["the positions hold 0.01998 BTC, the account only 0.00998"]
    await pieces.filled(quantity="0.02")
    assert await readings.another() == []


async def test_what_a_person_sells_here_beyond_what_the_hand_has_is_told_too(pieces: Pieces) -> None:
    bot = new_id()
    await trade(pieces, bot)
    await pieces.filled(Side.SELL, "1.005")
    readings = Readings(pieces)
    await readings.another()
    (short,) = await readings.another()
    assert (short.bot_ids, short.there) == ((bot,), Decimal("0.00499"))


async def test_what_the_hand_misses_is_no_bots(pieces: Pieces) -> None:
    await trade(pieces, new_id())
    await pieces.filled(quantity="0.02")
    sold_elsewhere(pieces, "1.01")
    readings = Readings(pieces)
    await readings.another()
    assert await readings.another() == []
    assert await unsellable(pieces) == ["the positions hold 0.02997 BTC, the account only 0.01997"]


@pytest.mark.parametrize(
    "on_its_way",
    [
        "UPDATE orders SET state = 'unknown'",
        "UPDATE orders SET filled_quantity = filled_quantity + 0.001",
        "UPDATE positions SET updated_at = now() + interval '5 minutes'",
    ],
)
async def test_nothing_is_believed_while_something_is_on_its_way(pieces: Pieces, on_its_way: str) -> None:
    await trade(pieces, new_id())
    sold_elsewhere(pieces, "1.005")
    readings = Readings(pieces)
    await readings.another()
    assert len(await readings.another()) == 1
    await pieces.rows(on_its_way)
    async with pieces.database.connection() as connection:
        short: list[Any] = await read_short(connection, pieces.user_id, pieces.broker_id)
    assert short == []


async def test_a_clock_that_is_set_forward_makes_nothing_sure(pieces: Pieces) -> None:
    await trade(pieces, new_id())
    await pieces.filled(Side.SELL, "1.005")
    readings = Readings(pieces)
    assert await readings.another() == []
    assert await readings.another(passed_s=0.1) == [], "what a stop sold a moment ago may not be counted yet"
