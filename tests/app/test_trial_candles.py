"""What strategies are tried on: how much of it one may ask for, and where it is made up."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore
from app.sandbox.messages import Described, Informative
from app.strategies import candles
from app.strategies.candles import TrialCandles, generated
from app.strategies.service import Market
from app.strategies.templates import templates
from tests.app.whole_site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


def wants(*others: Timeframe, timeframe: Timeframe = Timeframe.H1) -> Described:
    return Described(
        class_name="Greedy", docstring="", timeframe=timeframe.value, warm_up=0, style="signals", can_short=False, parameters=[],
        informative=[Informative(timeframe=other.value) for other in others],
    )  # fmt: skip


def of_market(site: Site, symbol: str) -> TrialCandles:
    state = site.app.state
    return TrialCandles(state.platform_database, state.instruments, default=Market(exchange="binance", symbol=symbol), clock=state.clock)


async def test_years_of_minutes_beside_a_few_days_are_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles, "MOST_CANDLES", 500)
    monkeypatch.setattr(candles, "_MOST_OTHERS", 1_600)
    store, end = CandleStore(site.app.state.platform_database), Timeframe.D1.floor(site.app.state.clock.now()) - timedelta(days=1)
    for timeframe, rows in ((Timeframe.H1, 200), (Timeframe.M1, 12_000), (Timeframe.M3, 4_000)):
        stored = generated(rows, timeframe, end_ms=to_milliseconds(end), seed=3)
        await store.load("binance", "GREED/USDT", timeframe, stored, source=CandleSource.IMPORT)
    found = await of_market(site, "GREED/USDT").gather(wants(Timeframe.M1, Timeframe.M3), Market(), rows=200)
    assert not found.tried_on.is_generated
    assert [(frame.timeframe, frame.rows) for frame, _ in found.frames] == [("1h", 200), ("1m", 800), ("3m", 800)]
    assert {int(columns.time[-1]) + Timeframe(frame.timeframe).milliseconds for frame, columns in found.frames} == {to_milliseconds(end)}


async def test_candles_are_made_up_beside_the_loop_that_sends_orders(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def watched(*given: Any, **named: Any) -> Any:
        threads.add(threading.get_ident())
        return generated(*given, **named)

    monkeypatch.setattr(candles, "generated", watched)
    found = await of_market(site, "NOBODYS/USDT").gather(wants(Timeframe.M1), Market(), rows=200)
    assert found.tried_on.is_generated
    assert threads, "they were made up"
    assert threading.get_ident() not in threads


async def test_an_exchange_that_somebody_made_up_is_not_asked_for_every_hour(site: Site) -> None:
    body = {"source": templates()[0].source, "exchange": "../nowhere", "symbol": "BTC/USDT"}
    answer = await site.ada.call("POST", "/api/strategies/validate", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED")
    assert site.app.state.instruments._used == {"binance"}
