"""From a fill at the exchange to our row, and what following accounts costs.

    uv run python benchmarks/user_stream.py [--quick]

The exchange is the emulator in a process of its own; both clocks are this machine's. A resting order is filled by a trade at its price;
the time runs from the event's own stamp (whole milliseconds) until our change of the order is committed. Nobody asks over REST meanwhile.
Memory and processor time are those of this process, first for making the accounts' clients, then for following them.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.brokers.schemas import BrokerIn
from app.brokers.service import create_broker
from app.core.clock import SystemClock
from app.core.crypto import Vault
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, OrderType, Side, Source
from app.domain.intents import OrderIntent
from app.exchanges.binance_user_stream import OrderUpdate, UserStream
from app.exchanges.user_stream_access import Signer
from app.exchanges.user_stream_pace import UserStreamConfig
from app.trading.events import OrderChanged
from app.trading.submit import submit
from app.trading.user_stream import UserStreams
from benchmarks.engine import FERNET_KEY, Engine, running_engine
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess

KEY, SECRET = "benchmark-key", "benchmark-secret"
LIMIT = Decimal(59000)
MARKET = {"symbol": "BTCUSDT", "quantity": "1"}


def intent(number: int, kind: OrderType) -> OrderIntent:
    """Return a small buy, at the market or resting below it."""
    price = LIMIT if kind is OrderType.LIMIT else None
    return OrderIntent(
        symbol="BTC/USDT",
        side=Side.BUY,
        source=Source.MANUAL,
        key=f"bench:{number}",
        type=kind,
        quantity=Decimal("0.001"),
        price=price,
    )


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for what happens in another task or process."""
    while not is_true():  # noqa: ASYNC110  # nobody sets an event for it
        await asyncio.sleep(0.005)


async def latencies(engine: Engine, emulator: EmulatorProcess, *, count: int) -> list[float]:
    """Return, for each of `count` fills, the milliseconds from the event's stamp to the commit."""
    told: dict[str, float] = {}
    stream = UserStream(emulator.url.replace("http", "ws", 1) + "/ws-api/v3", clock=SystemClock(), config=UserStreamConfig().unpaced())
    stream.add(engine.user_id, Signer(KEY, SECRET))

    async def listen() -> None:
        async for event in stream.events():
            if isinstance(event, OrderUpdate) and event.report.state is OrderState.FILLED:
                told[event.client_order_id] = event.event_time.timestamp() * 1000

    measured: list[float] = []
    async with asyncio.TaskGroup() as group:
        helpers = [group.create_task(stream.run()), group.create_task(listen())]
        await until(lambda: stream.is_live(engine.user_id))
        for number in range(count):
            order = (await submit(engine.desk, engine.user_id, intent(number, OrderType.LIMIT))).order
            with engine.desk.bus.subscribe(OrderChanged) as changes:
                await asyncio.sleep(1.05)  # what made the order is over and told: only its fill is measured
                await asyncio.to_thread(emulator.control, "POST", "/_price", {**MARKET, "price": str(LIMIT - 100)})
                while True:
                    change = await asyncio.wait_for(changes.get(), 20)
                    assert isinstance(change, OrderChanged)
                    if change.order_id == order.id and change.state is OrderState.FILLED:
                        break
            at = time.time() * 1000
            await until(partial(told.__contains__, order.client_order_id))
            measured.append(at - told[order.client_order_id])
            await asyncio.to_thread(emulator.control, "POST", "/_price", {**MARKET, "price": "60000"})
        for helper in helpers:
            helper.cancel()
    return measured


async def cpu_per_order(engine: Engine, *, first: int, count: int) -> float:
    """Return this process's milliseconds of processor time for one market order, all that follows from it included."""
    started = time.process_time()
    for number in range(first, first + count):
        await submit(engine.desk, engine.user_id, intent(number, OrderType.MARKET))
    await asyncio.sleep(1.0)
    return (time.process_time() - started) * 1000 / count


async def more_accounts(engine: Engine, emulator: EmulatorProcess, count: int) -> list[UUID]:
    """Make that many more accounts, at the exchange and here."""
    vault = Vault((FERNET_KEY,))
    made: list[UUID] = []
    for number in range(count):
        key = f"{KEY}-{number}"
        emulator.open_account(key, SECRET, {"USDT": "1000000"})
        given = BrokerIn.model_validate({"exchange": "binance", "name": f"Account {number}", "api_key": key, "api_secret": SECRET})
        async with engine.desk.database.transaction() as session:
            made.append((await create_broker(session, vault, engine.user_id, given)).id)
    return made


async def follow(streams: UserStreams, accounts: Sequence[UUID]) -> float:
    """Wait until all of them are followed and return the seconds it took."""
    started = time.perf_counter()
    await until(lambda: streams.live >= set(accounts))
    return time.perf_counter() - started


async def cost_of_accounts(engine: Engine, emulator: EmulatorProcess, *, count: int) -> dict[str, float]:
    """Return megabytes and seconds of processor time per 100 accounts, for their clients and for following them."""
    process = psutil.Process()

    def used() -> tuple[float, float]:
        return process.memory_info().rss / 1e6, time.process_time()

    accounts = await more_accounts(engine, emulator, count)
    start = used()
    for account in accounts:
        await engine.desk.connections.client(account)
    with_clients = used()
    streams = UserStreams(engine.desk)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("userstream", streams.run)
        seconds = await follow(streams, accounts)
        await asyncio.sleep(1)
        followed = used()
        await asyncio.sleep(10)
        idle = used()
        connections = emulator.state()["user_subscriptions"], emulator.state()["stream_connections"]
    share = count / 100
    return {
        "accounts": connections[0],
        "connections": connections[1],
        "seconds_to_follow": round(seconds, 2),
        "client_mb_per_100": round((with_clients[0] - start[0]) / share, 2),
        "client_cpu_s_per_100": round((with_clients[1] - start[1]) / share, 3),
        "follow_mb_per_100": round((followed[0] - with_clients[0]) / share, 2),
        "follow_cpu_s_per_100": round((followed[1] - with_clients[1]) / share, 3),
        "idle_cpu_percent_per_100": round((idle[1] - followed[1]) / 10 * 100 / share, 2),
    }


async def main(*, is_quick: bool) -> None:
    """Measure and print, last as one line of JSON."""
    fills, orders, accounts = (20, 50, 100) if is_quick else (100, 300, 500)
    with tempfile.TemporaryDirectory(prefix="aristobot-bench-") as folder, EmulatorProcess("--paused", *WITHOUT_LIMITS) as emulator:
        Path(folder).chmod(0o711)  # the database's own user goes through it
        postgres = EmbeddedPostgres(Path(folder) / "data")
        urls = await postgres.start()
        try:
            await upgrade(urls.owner, app_role=urls.app_role)
            emulator.open_account(KEY, SECRET, {"USDT": "100000000"})
            async with running_engine(urls.app, emulator.url, api_key=KEY, api_secret=SECRET, reconcile_s=3600, follows=False) as engine:
                await engine.desk.connections.client(engine.broker_id)
                alone = await cpu_per_order(engine, first=1_000_000, count=orders)
                streams = UserStreams(engine.desk)
                async with Supervisor(on_fatal=lambda: None) as supervisor:
                    supervisor.start("userstream", streams.run)
                    await follow(streams, [engine.broker_id])
                    followed = await cpu_per_order(engine, first=2_000_000, count=orders)
                    measured = sorted(await latencies(engine, emulator, count=fills))
                cost = await cost_of_accounts(engine, emulator, count=accounts)
        finally:
            await postgres.stop()
    result = {
        "fill_to_row_p50_ms": round(statistics.median(measured), 1),
        "fill_to_row_p99_ms": round(measured[min(len(measured) - 1, int(len(measured) * 0.99))], 1),
        "order_cpu_ms": round(alone, 2),
        "order_cpu_ms_followed": round(followed, 2),
        **cost,
    }
    for name, value in result.items():
        print(f"{name:28} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of it")
    asyncio.run(main(is_quick=parser.parse_args().quick))
