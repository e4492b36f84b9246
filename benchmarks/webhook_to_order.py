"""From the POST of an alert to the exchange's receipt of the order, beside a bare FastAPI endpoint that only calls ccxt.

    uv run python benchmarks/webhook_to_order.py [--quick]

Both servers are processes of their own, with the same web server and event loop, and send to the same emulated exchange process, which
notes the moment it has read each order's body. The sender notes the moment before it writes the alert. Both clocks are this machine's.
Ours commits the alert, the intent and the claim to PostgreSQL (fsync on) before the order leaves; the bare one keeps nothing.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.ids import client_order_id
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.server_process import ServerProcess

KEY, SECRET = "benchmark-key", "benchmark-secret"
SYMBOL = "BTCUSDT"
QUANTITY = "0.001"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one run."""

    p50: float
    p99: float
    per_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """A server to send alerts to: an address per sender, and the id under which each alert's order reaches the exchange."""

    name: str
    urls: list[str]
    order_id: Callable[[int, str], str]


async def send_waves(target: Target, emulator: EmulatorProcess, *, senders: int, waves: int) -> dict[str, int]:
    """Let all senders send one alert at the same moment, wait until the exchange has every order, and again.

    Returns the start (ns) of each alert by its order's id. Waves rather than a stream, because one server answers before the order has
    left and the other after: in a stream the quicker answer would only build a longer queue.
    """
    started: dict[str, int] = {}
    expected = emulator.state()["order_count"]
    clients = [httpx.AsyncClient(trust_env=False, timeout=60) for _ in range(senders)]

    async def one(number: int) -> None:
        alert = uuid.uuid4().hex
        body = json.dumps({"ticker": SYMBOL, "action": "buy", "quantity": QUANTITY, "client_intent_id": alert})
        url = target.urls[number % len(target.urls)]
        started[target.order_id(number, alert)] = time.time_ns()
        answer = await clients[number].post(url, content=body, headers={"Content-Type": "application/json"})
        answer.raise_for_status()

    for _ in range(waves):
        await asyncio.gather(*(one(number) for number in range(senders)))
        expected += senders
        deadline = time.monotonic() + 30
        while emulator.state()["order_count"] < expected:
            if time.monotonic() > deadline:
                raise SystemExit(f"{target.name}: an order did not reach the exchange within 30 s")
            await asyncio.sleep(0.002)
    for client in clients:
        await client.aclose()
    return started


def latencies(started: dict[str, int], emulator: EmulatorProcess) -> list[float]:
    """Return milliseconds from each alert to the exchange's receipt of its order, sorted."""
    received = {order["clientOrderId"]: order["received_ns"] for order in emulator.orders()}
    return sorted((received[order_id] - start) / 1e6 for order_id, start in started.items())


async def measure(target: Target, emulator: EmulatorProcess, *, senders: int, waves: int) -> Latency:
    """Return the latency of `waves` waves."""
    begun = time.perf_counter()
    started = await send_waves(target, emulator, senders=senders, waves=waves)
    lasted = time.perf_counter() - begun
    found = latencies(started, emulator)
    return Latency(p50=statistics.median(found), p99=found[min(len(found) - 1, int(len(found) * 0.99))], per_s=len(found) / lasted)


class Bare:
    """The bare endpoint as a process."""

    def __init__(self, emulator_url: str) -> None:
        environment = os.environ | {"EMULATOR_URL": emulator_url, "KEY": KEY, "SECRET": SECRET}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("bare_endpoint.py"))], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=10)


def prepare(server: ServerProcess, emulator: EmulatorProcess, senders: int) -> Target:
    """Make a broker account and a webhook for each sender: alerts for one symbol of one account are traded one after the other."""
    brokers: list[str] = []
    hooks: list[dict[str, str]] = []
    with contextlib.closing(server.client()) as client:
        for number in range(senders):
            key, name = f"{KEY}-{number}", f"sender {number}"
            emulator.open_account(key, SECRET, {"USDT": "1000000000"})
            account = client.post("/api/brokers", json={"exchange": "binance", "name": name, "api_key": key, "api_secret": SECRET})
            account.raise_for_status()
            brokers.append(account.json()["id"])
            client.post(f"/api/brokers/{brokers[-1]}/test_connection").raise_for_status()
            client.put("/api/risk/limits", json={"broker_id": brokers[-1], "orders_per_minute": 1_000_000}).raise_for_status()
            hook = {"name": name, "broker_id": brokers[-1], "per_minute": 6000}
            hooks.append(client.post("/api/webhooks", json=hook).json())

    def order_id(number: int, alert: str) -> str:
        return client_order_id(UUID(brokers[number]), f"webhook:{hooks[number]['id']}:id:{alert}", leg=0, attempt=0)

    return Target("Aristobot", [hook["url"] for hook in hooks], order_id)


async def run(*, quick: bool) -> None:
    plan = {1: 50, 16: 6, 64: 3} if quick else {1: 600, 16: 60, 64: 20}
    rounds = 1 if quick else 3
    with (
        tempfile.TemporaryDirectory(prefix="aristobot-bench-") as folder,
        EmulatorProcess("--generate", f"{SYMBOL}:60000", *WITHOUT_LIMITS) as emulator,
    ):
        emulator.open_account(KEY, SECRET, {"USDT": "1000000000"})
        server = ServerProcess(
            Path(folder) / "data",
            binance_rest_url=emulator.url,
            binance_stream_url=emulator.ws_url,
            heartbeat_symbols="BTC/USDT",
            heartbeat_history_minutes=60,
            log_level="WARNING",
        )
        with server:
            bare = Bare(emulator.url)
            try:
                targets = [prepare(server, emulator, max(plan)), Target("bare FastAPI + ccxt", [bare.url], lambda _number, alert: alert)]
                table = await measure_all(targets, emulator, plan, rounds)
            finally:
                bare.stop()
    show(table, plan)


async def measure_all(
    targets: list[Target], emulator: EmulatorProcess, plan: dict[int, int], rounds: int
) -> dict[tuple[str, int], Latency]:
    """Measure the targets in turn, several times, and keep each cell's median run: this machine's speed drifts."""
    for target in targets:
        await measure(target, emulator, senders=1, waves=20)
    runs: dict[tuple[str, int], list[Latency]] = {}
    for _ in range(rounds):
        for senders, waves in plan.items():
            for target in targets:
                runs.setdefault((target.name, senders), []).append(await measure(target, emulator, senders=senders, waves=waves))
    return {cell: sorted(found, key=lambda latency: latency.p50)[len(found) // 2] for cell, found in runs.items()}


def show(table: dict[tuple[str, int], Latency], plan: dict[int, int]) -> None:
    print(f"{'alert sent → order received':32}{'senders':>8}{'p50 ms':>10}{'p99 ms':>10}{'alerts/s':>10}{'p50 ÷ bare':>12}")
    ratios: dict[int, float] = {}
    for senders in plan:
        bare = table["bare FastAPI + ccxt", senders]
        for name in ("Aristobot", "bare FastAPI + ccxt"):
            latency = table[name, senders]
            ratio = latency.p50 / bare.p50
            if name == "Aristobot":
                ratios[senders] = ratio
            print(f"{name:32}{senders:>8}{latency.p50:>10.2f}{latency.p99:>10.2f}{latency.per_s:>10.0f}{ratio:>12.2f}")
    ours = {senders: table["Aristobot", senders] for senders in plan}
    summary = {
        "p50_ms": round(ours[1].p50, 3),
        "p99_ms": round(ours[1].p99, 3),
        "p50_ms_64": round(ours[64].p50, 3),
        "ratio_to_bare": round(ratios[1], 3),
        "ratio_to_bare_16": round(ratios[16], 3),
        "ratio_to_bare_64": round(ratios[64], 3),
        "p99_ms_64": round(ours[64].p99, 3),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a small run, within a minute")
    asyncio.run(run(quick=parser.parse_args().quick))
