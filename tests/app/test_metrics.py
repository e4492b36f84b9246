"""Numbers for monitoring: who may read them, that they can be read, what they never hold, and what they cost."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from fastapi import Request
from prometheus_client.parser import text_string_to_metric_families

from app.accounts.metrics_router import is_from_this_machine
from app.core.clock import ManualClock
from app.core.db import Database
from app.core.events import EventBus
from app.core.metrics import Metrics
from app.domain.candles import Candle, Timeframe
from app.domain.enums import OrderState
from app.marketdata.events import CandleClosed, CandleRevised, FeedAlert
from app.marketdata.feed_health import FeedReader
from app.marketdata.feed_metrics import MOST_SYMBOLS, publish_feed
from app.marketdata.models import CandleSource
from app.marketdata.status import FeedStatus
from app.trading.events import OrderChanged
from tests.app.conftest import API_SECRET, PASSWORD
from tests.app.whole_site import Site, state_of

NOW = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Numbers:
    """Every sample by name and labels; a text that is not in the format, or says something twice, fails."""
    found: Numbers = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def one(numbers: Numbers, name: str, **labels: str) -> float:
    return numbers[f"aristobot_{name}", tuple(sorted(labels.items()))]


@asynccontextmanager
async def boss_of(site: Site) -> AsyncIterator[str]:
    """An administrator's bearer token."""
    name = f"boss{uuid4().hex[:6]}"
    await site.app.state.accounts.create_user(name, PASSWORD, is_admin=True)
    answer = await site.http.post("/api/auth/login", json={"username": name, "password": PASSWORD})
    yield answer.json()["access_token"]


async def read(site: Site, token: str | None = None, **headers: str) -> httpx.Response:
    given = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    return await site.http.get("/metrics", headers=given)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_administrators_token_reads_them_and_no_other_does(site: Site) -> None:
    cookie = {"Cookie": f"sid={site.ada.cookie}"}
    assert [(await read(site)).status_code, (await site.http.get("/metrics", headers=cookie)).status_code] == [401, 401]
    assert (await read(site, site.ada.token)).status_code == 403
    assert (await read(site, "nonsense")).status_code == 401
    async with boss_of(site) as token:
        answer = await read(site, token)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        for scopes, status in ((["read", "trade"], 403), (["admin"], 200)):
            made = await site.http.post(
                "/api/auth/tokens",
                json={"name": f"monitoring {scopes}", "scopes": scopes, "expires_in_days": 30},
                headers={"Authorization": f"Bearer {token}"},
            )
            assert made.status_code == 201, made.text
            assert (await read(site, made.json()["token"])).status_code == status


@pytest.mark.asyncio(loop_scope="module")
async def test_programs_on_this_machine_read_them_only_where_the_setting_says_so_and_through_no_proxy(site: Site) -> None:
    settings = site.app.state.settings.model_copy(update={"metrics_open_on_loopback": True})
    assert (await read(site)).status_code == 401
    with state_of(site, settings=settings):
        assert (await read(site)).status_code == 200
        for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto"):
            assert (await read(site, **{header: "127.0.0.1"})).status_code == 401, header


@pytest.mark.parametrize(
    ("client", "is_here"),
    [
        ("127.0.0.1", True),
        ("127.8.0.9", True),
        ("::1", True),
        ("192.168.1.4", False),
        ("203.0.113.7", False),
        ("a.name", False),
        (None, False),
    ],
)
def test_only_loopback_addresses_are_this_machine(client: str | None, is_here: bool) -> None:  # noqa: FBT001
    scope: dict[str, object] = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "headers": [],
        "client": None if client is None else (client, 9),
    }
    assert is_from_this_machine(Request(scope)) is is_here


@pytest.mark.asyncio(loop_scope="module")
async def test_they_tell_of_orders_alerts_loops_and_pools_and_of_nobody(site: Site) -> None:
    async with boss_of(site) as token:
        text = (await read(site, token)).text
    numbers = parsed(text)
    assert one(numbers, "order_transitions_total", state="open") >= 1
    assert one(numbers, "order_acknowledgement_seconds_count") >= 1
    assert one(numbers, "deliveries_total", decision="pending") >= 1
    assert one(numbers, "engine_lease_held") == 1
    assert one(numbers, "loop_alive", loop="engine.lease") == 1
    assert one(numbers, "database_connections", database="tenants", pool="plain", state="most") == 8
    assert one(numbers, "candle_gaps", outcome="open") == 0
    assert one(numbers, "feed_here", exchange="binance") == 0
    assert numbers["process_resident_memory_bytes", ()] > 1e6
    for secret in (API_SECRET, site.ada.token, site.ada.cookie, *site.ada.ids.values(), PASSWORD):
        assert secret not in text
    assert re.search(r"\b(ada|eve|boss\w*)\b", text) is None
    labels = {label for _, pairs in numbers for label, _ in pairs}
    assert labels <= {
        "state", "decision", "loop", "which", "database", "pool", "exchange", "timeframe", "source", "outcome", "kind", "le", "symbol",
        "level", "cause",
    }  # fmt: skip


@dataclass
class Feed:
    """A feed of very many symbols."""

    status: FeedStatus
    closed: dict[str, datetime] = field(default_factory=dict)

    def last_closed(self, symbol: str) -> datetime | None:
        return self.closed.get(symbol)

    def venue_now(self) -> datetime:
        return NOW


@dataclass
class Published:
    """The feed's numbers of an application of its own."""

    database: Database
    feed: Feed
    bus: EventBus = field(default_factory=EventBus)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        clock = ManualClock(NOW)
        reader = FeedReader("binance", live=self.feed, database=self.database, clock=clock)
        publish_feed(self.metrics, reader, self.feed, bus=self.bus, database=self.database, clock=clock)


@pytest.fixture
def published(database: Database) -> Published:
    symbols = [f"C{number}/USDT" for number in range(1000)]
    status = FeedStatus(
        exchange="binance", is_running=True, is_connected=True, is_fresh=True, symbols=symbols, lag_ms=42.5, clock_offset_ms=-250.0,
        reconnects=3, last_message_at=NOW - timedelta(seconds=1.5), connections=[{"url": "wss://x"}],
    )  # fmt: skip
    return Published(database, Feed(status, {symbol: NOW - MINUTE - i * timedelta(seconds=1) for i, symbol in enumerate(symbols)}))


def close(open_time: datetime, timeframe: Timeframe = Timeframe.M1, **fields: object) -> CandleClosed:
    candle = Candle(open_time=open_time, open=1, high=1, low=1, close=1, volume=1)
    given = {"source": CandleSource.STREAM, "is_late": False, **fields}
    return CandleClosed(exchange="binance", symbol="C1/USDT", timeframe=timeframe, candle=candle, **given)  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_the_feed_of_a_thousand_symbols_is_told_in_bounded_time_and_length(published: Published) -> None:
    published.bus.publish(close(NOW.replace(second=0) - MINUTE))
    published.bus.publish(close(NOW - 60 * MINUTE, source=CandleSource.REST, is_late=True))
    revised = close(NOW).candle
    published.bus.publish(CandleRevised(exchange="binance", symbol="C1/USDT", timeframe=Timeframe.H1, candle=revised))
    published.bus.publish(FeedAlert(exchange="binance", symbol="C1/USDT", is_over=False, since=NOW))
    published.bus.publish(FeedAlert(exchange="binance", symbol="C1/USDT", is_over=True, since=NOW))
    await published.metrics.render()
    began = time.perf_counter()
    text = await published.metrics.render()
    took_s = time.perf_counter() - began
    numbers = parsed(text.decode())

    assert one(numbers, "candles_closed_total", timeframe="1m", source="stream") == 1
    assert one(numbers, "candles_closed_total", timeframe="1m", source="rest") == 1
    assert one(numbers, "candles_late_total", timeframe="1m") == 1
    assert one(numbers, "candles_revised_total", timeframe="1h") == 1
    assert one(numbers, "feed_alert_episodes_total", kind="symbol") == 1
    # It closed a second ago by our clock, and by the exchange's, which is a quarter of a second behind, 0.75 s ago.
    assert one(numbers, "candle_publish_seconds_sum", timeframe="1m") == pytest.approx(0.75)
    assert one(numbers, "candle_publish_seconds_count", timeframe="1m") == 1
    assert one(numbers, "feed_lag_seconds", exchange="binance") == 0.0425
    assert one(numbers, "feed_clock_offset_seconds", exchange="binance") == -0.25
    assert one(numbers, "feed_message_age_seconds", exchange="binance") == 1.5
    assert one(numbers, "feed_reconnects_total", exchange="binance") == 3
    assert one(numbers, "candle_oldest_age_seconds") == 999
    ages = sorted(value for (name, _), value in numbers.items() if name == "aristobot_candle_age_seconds")
    assert ages == [float(number) for number in range(1000 - MOST_SYMBOLS, 1000)]
    assert len(text) < 60_000
    # Measured 9 ms on one slow core.
    assert took_s < 1.0


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_left_out_and_the_rest_is_told(published: Published) -> None:
    def broken() -> list[tuple[tuple[str, ...], float]]:
        raise ZeroDivisionError

    async def gone() -> None:
        raise ConnectionRefusedError

    published.metrics.read("broken", "Cannot be read.", values=broken)
    published.metrics.before_answers(gone)
    await published.metrics.render()
    numbers = parsed((await published.metrics.render()).decode())

    assert one(numbers, "feed_connected", exchange="binance") == 1
    assert one(numbers, "metrics_failures_total") == 2
    assert ("aristobot_broken", ()) not in numbers


def test_an_event_that_cannot_be_counted_stops_nobody() -> None:
    bus = EventBus()

    def broken(event: OrderChanged) -> None:
        raise ZeroDivisionError(event.state)

    bus.count(OrderChanged, broken)
    with bus.subscribe(OrderChanged) as subscription:
        bus.publish(OrderChanged(user_id=uuid4(), order_id=uuid4(), symbol="BTC/USDT", state=OrderState.OPEN, delivery_id=None))
        assert subscription.get_nowait() is not None
