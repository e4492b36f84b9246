"""A flood of alerts, half of them repeats, and the server killed in its midst, beside a plain endpoint that commits each alert by itself.

    uv run python benchmarks/webhooks.py [--posts 100000] [--clients 20] [--quick]

All of them are processes of their own, with kept-alive connections and one PostgreSQL with fsync on. Each client posts to its own webhook,
and repeats to its own and its neighbour's; what is cut off, or answered 5xx, it sends again, as TradingView does. One alert in a hundred is
an order at the emulated exchange, the others are pings. The rate is that of the time in which the server ran. The clients take part of the
same cores, so the server alone is faster than what is printed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from uvloop import new_event_loop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.database_url import DatabaseUrls
from app.core.embedded_postgres import EmbeddedPostgres
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.postgres import connected, data_folder
from tests.server_process import ServerProcess

KEY, SECRET = "benchmark-key", "benchmark-secret"
_RECENT: Final = 50
_ORDERS_ONE_IN: Final = 100
_AGAIN_AFTER_S: Final = 0.05
_DRAINED_WITHIN_S: Final = 900.0


class Line:
    """One kept-alive connection; whoever waits for an answer on it sends nothing else."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port
        self._head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, body: bytes) -> tuple[int, Any]:
        """Return the answer's status and document.

        Raises:
            OSError, asyncio.IncompleteReadError: the connection broke; whether the server took it nobody knows.
        """
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        try:
            self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            document = json.loads(await self._reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise
        return int(head[9:12]), document

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@dataclass(slots=True)
class Tally:
    """What the clients were told. `moments` are those of answers, in seconds; `lasted` milliseconds of those that needed no second try."""

    accepted: dict[str, bytes] = field(default_factory=dict)
    decisions: Counter[str] = field(default_factory=Counter)
    moments: list[float] = field(default_factory=list)
    lasted: list[float] = field(default_factory=list)
    sent_again: int = 0


@dataclass(slots=True)
class Client:
    """Posts to its own webhook; `recent` are the bodies that went there."""

    number: int
    url: str
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=_RECENT))


async def run_client(client: Client, neighbour: Client, posts: int, tally: Tally, chance: random.Random) -> None:
    """Post that many alerts, each second one a repeat of what went to that webhook or to the neighbour's."""
    lines = {each.number: Line(each.url) for each in (client, neighbour)}
    for number in range(posts):
        target, body = client, message(f"{client.number}-{number}", is_order=number % (2 * _ORDERS_ONE_IN) == 0)
        if number % 2:
            target = neighbour if neighbour.recent and chance.random() < 0.5 else client
            body = chance.choice(target.recent)
        else:
            client.recent.append(body)
        await post(lines[target.number], body, tally)
    for line in lines.values():
        line.close()


async def post(line: Line, body: bytes, tally: Tally) -> None:
    """Post until it is taken."""
    is_first = True
    while True:
        begun = time.perf_counter()
        try:
            status, document = await line.post(body)
        except (OSError, asyncio.IncompleteReadError):
            status, document = 599, {}
        ended = time.perf_counter()
        if status < 300:
            tally.accepted[document["delivery_id"]] = body
            tally.decisions[document["decision"]] += 1
            tally.moments.append(ended)
            if is_first:
                tally.lasted.append((ended - begun) * 1000)
            return
        if status < 500:
            raise SystemExit(f"an alert was answered {status}: {document}")
        is_first = False
        tally.sent_again += 1
        await asyncio.sleep(_AGAIN_AFTER_S)


def message(name: str, *, is_order: bool) -> bytes:
    """Return an alert that is the same whenever it comes again."""
    asked = {"ticker": "BTCUSDT", "action": "buy", "quantity": "0.001"} if is_order else {"action": "ping"}
    return json.dumps({**asked, "client_intent_id": name}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Answers per second while the server ran, and milliseconds until an answer."""

    per_s: float
    p50: float
    p99: float


def speed_of(tally: Tally, *, begun: float, away_s: float = 0.0) -> Speed:
    """Return how fast it went, without the time in which the server was away."""
    lasted = sorted(tally.lasted)
    return Speed(
        per_s=len(tally.moments) / (max(tally.moments) - begun - away_s),
        p50=statistics.median(lasted),
        p99=lasted[min(len(lasted) - 1, int(len(lasted) * 0.99))],
    )


async def flood(urls: list[str], posts: int, tally: Tally, *, seed: int = 1) -> None:
    """Let a client per address post its share."""
    clients = [Client(number, url) for number, url in enumerate(urls)]
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            share = posts // len(clients) + (number < posts % len(clients))
            neighbour = clients[(number + 1) % len(clients)]
            group.create_task(run_client(client, neighbour, share, tally, random.Random(f"{seed}-{number}")))


async def kill_in_the_midst(server: ServerProcess, posts: int, tally: Tally) -> float:
    """Kill the server when half is answered, start it again on its port, and return for how many seconds nothing was answered."""
    while len(tally.moments) < posts // 2:  # noqa: ASYNC110  # every answer would have to set an event
        await asyncio.sleep(0.005)
    port = urlsplit(server.url).port
    assert port is not None
    killed_at = time.perf_counter()
    await asyncio.to_thread(server.kill)
    before = len(tally.moments)
    await asyncio.to_thread(server.start, port=port)
    while len(tally.moments) == before:  # noqa: ASYNC110  # as above
        await asyncio.sleep(0.001)
    return tally.moments[before] - killed_at


class Plain:
    """The plain endpoint as a process."""

    def __init__(self, database_url: str, *, pool: int) -> None:
        environment = os.environ | {"DATABASE": database_url, "POOL": str(pool)}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("plain_commit.py"))], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=10)


async def measure_plain(urls: DatabaseUrls, *, pool: int, posts: int, clients: int) -> Speed:
    """Return how fast an endpoint is that commits each alert by itself, over so many connections to the database."""
    async with connected(urls.owner) as owner:
        await owner.execute("CREATE TABLE plain_alerts (id uuid PRIMARY KEY, body text NOT NULL, received_at timestamptz DEFAULT now())")
        await owner.execute("GRANT INSERT ON plain_alerts TO PUBLIC")
        endpoint = await asyncio.to_thread(Plain, urls.app, pool=pool)
        try:
            await flood([endpoint.url] * clients, clients * 5, Tally())
            tally, begun = Tally(), time.perf_counter()
            await flood([endpoint.url] * clients, posts, tally, seed=2)
            return speed_of(tally, begun=begun)
        finally:
            await asyncio.to_thread(endpoint.stop)
            await owner.execute("DROP TABLE plain_alerts")


def prepare(server: ServerProcess, clients: int) -> list[str]:
    """Make the broker account and a webhook for each client, as fast as a webhook may be; return their addresses."""
    with contextlib.closing(server.client()) as client:
        account = client.post("/api/brokers", json={"exchange": "binance", "name": "benchmark", "api_key": KEY, "api_secret": SECRET})
        account.raise_for_status()
        broker_id = account.json()["id"]
        client.post(f"/api/brokers/{broker_id}/test_connection").raise_for_status()
        client.put("/api/risk/limits", json={"broker_id": broker_id, "orders_per_minute": 1_000_000}).raise_for_status()
        made = [client.post("/api/webhooks", json={"name": f"client {number}", "per_minute": 6000}) for number in range(clients)]
        return [hook.raise_for_status().json()["url"] for hook in made]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the log and the exchange have in the end."""

    kept: int
    lost: int
    doubled: int
    untouched: int
    decisions: dict[str, int]
    orders: int


async def judge(connection: Any, emulator: EmulatorProcess, tally: Tally) -> Verdict:
    """Wait until everything is decided, then compare what was accepted with the log, and the log with the exchange."""
    deadline = time.monotonic() + _DRAINED_WITHIN_S
    while await connection.fetchval("SELECT count(*) FROM webhook_deliveries WHERE decision = 'pending'"):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    kept = {str(row["id"]) for row in await connection.fetch("SELECT id FROM webhook_deliveries")}
    # Whatever was acted on was so under one line of the log; a repeat, or what came too late, makes no order.
    rows = await connection.fetch(
        "SELECT count(*) FILTER (WHERE decision IN ('ping', 'executed')) AS acted,"
        "       count(*) FILTER (WHERE decision <> 'duplicate') AS firsts FROM webhook_deliveries GROUP BY webhook_id, raw"
    )
    decided = await connection.fetch("SELECT decision || coalesce(' ' || code, '') AS name, count(*) FROM webhook_deliveries GROUP BY 1")
    decisions = {row["name"]: row["count"] for row in decided}
    orders = Counter(order["clientOrderId"] for order in emulator.orders())
    ordered = await connection.fetch("SELECT delivery_id FROM orders")
    doubled_orders = len(ordered) - len({row["delivery_id"] for row in ordered}) + abs(len(orders) - decisions.get("executed", 0))
    return Verdict(
        kept=len(kept),
        lost=len(tally.accepted.keys() - kept),
        doubled=sum(row["acted"] > 1 for row in rows) + sum(count > 1 for count in orders.values()) + doubled_orders,
        untouched=sum(row["firsts"] == 0 for row in rows) + decisions.get("pending", 0),
        decisions=decisions,
        orders=len(orders),
    )


@contextlib.asynccontextmanager
async def postgres() -> AsyncIterator[DatabaseUrls]:
    """A server as it is in production: what is committed is on the disk."""
    folder = data_folder()
    server = EmbeddedPostgres(folder)
    try:
        yield await server.start()
    finally:
        await server.stop()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def run(*, posts: int, clients: int) -> bool:
    """Measure and print; return whether nothing was lost and nothing acted on twice."""
    folder = data_folder()
    with EmulatorProcess("--generate", "BTCUSDT:60000", *WITHOUT_LIMITS) as emulator:
        emulator.open_account(KEY, SECRET, {"USDT": "1000000000"})
        async with postgres() as urls:
            server = ServerProcess(
                folder,
                database_url=urls.app,
                database_owner_url=urls.owner,
                binance_rest_url=emulator.url,
                binance_stream_url=emulator.ws_url,
                heartbeat_symbols="BTC/USDT",
                heartbeat_history_minutes=60,
                log_level="WARNING",
            )
            few = max(posts // 20, 100)
            plain = {pool: await measure_plain(urls, pool=pool, posts=few, clients=clients) for pool in (1, 10)}
            try:
                await asyncio.to_thread(server.start)
                addresses = await asyncio.to_thread(prepare, server, clients)
                tally, begun = Tally(), time.perf_counter()
                async with asyncio.TaskGroup() as group:
                    flooding = group.create_task(flood(addresses, posts, tally))
                    killing = group.create_task(kill_in_the_midst(server, posts, tally))
                del flooding
                ours = speed_of(tally, begun=begun, away_s=killing.result())
                admin = await asyncpg.connect(urls.app, server_settings={"app.scope": "platform"})
                verdict = await judge(admin, emulator, tally)
                await admin.close()
            finally:
                await asyncio.to_thread(server.stop)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return show(ours, plain, verdict, tally, away_s=killing.result())


def show(ours: Speed, plain: dict[int, Speed], verdict: Verdict, tally: Tally, *, away_s: float) -> bool:
    """Print the tables and the last line; return whether nothing was lost and nothing acted on twice."""
    print(f"{'kept and answered':44}{'per second':>12}{'p50 ms':>10}{'p99 ms':>10}")
    rows = [("Aristobot", ours), *((f"plain INSERT and commit, {pool} connection{'s' * (pool > 1)}", each) for pool, each in plain.items())]
    for name, speed in rows:
        print(f"{name:44}{speed.per_s:>12.0f}{speed.p50:>10.2f}{speed.p99:>10.2f}")
    told = ", ".join(f"{name} {count}" for name, count in sorted(verdict.decisions.items()))
    print(f"accepted {len(tally.accepted)} ({dict(tally.decisions)}), in the log {verdict.kept}: {told}")
    print(f"sent again {tally.sent_again} times; the server was away for {away_s:.1f} s; orders at the exchange {verdict.orders}")
    summary = {
        "posts": len(tally.accepted),
        "accepted_per_s": round(ours.per_s),
        "p50_ms": round(ours.p50, 2),
        "p99_ms": round(ours.p99, 2),
        "ratio_to_plain_commit": round(ours.per_s / plain[1].per_s, 2),
        "ratio_to_plain_commit_10": round(ours.per_s / plain[10].per_s, 2),
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "never_acted_on": verdict.untouched,
    }
    print(json.dumps(summary))
    return not verdict.lost + verdict.doubled + verdict.untouched


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--posts", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="a small run, within a minute")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        is_well = runner.run(run(posts=600 if given.quick else given.posts, clients=given.clients))
    sys.exit(0 if is_well else 1)
