"""What open heartbeat pages cost the server: its share of one core with nobody, one and fifty looking, and its sockets at the exchange.

    uv run python benchmarks/heartbeat_viewers.py [--quick]

The exchange is the emulator at twenty minutes a minute, the server a process of its own, each page an event stream as a browser holds it:
the feed's news, the status bar and what restrains trading. "feed" pages have the news alone, so that what the bar costs shows. The page's
messages are written once for all; sending them is what is left. Shares are of one core, over the time given.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.server_process import ServerProcess

VIEWERS: Final = 50
_SYMBOLS: Final = ("BTC", "ETH", "SOL", "XRP", "BNB")
_USERS: Final = 2


async def cookies(server: ServerProcess) -> list[str]:
    """Return the sessions of two users: one may have forty pages open."""
    found = []
    for number in range(_USERS):
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            name = {"username": f"viewer-{number}", "password": "a long sentence for a viewer"}
            (await client.post("/api/auth/register", json=name)).raise_for_status()
            await client.post("/login", data=name)
            found.append(client.cookies["sid"])
    return found


@asynccontextmanager
async def viewers(server: ServerProcess, sessions: list[str], count: int, topics: str) -> AsyncIterator[list[int]]:
    """Hold `count` streams open; yields the bytes that each has received."""
    received = [0] * count

    async def look(number: int) -> None:
        headers = {"Cookie": f"sid={sessions[number % len(sessions)]}"}
        async with (
            httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=None, headers=headers) as client,
            client.stream("GET", "/events", params={"topics": topics}) as answer,
        ):
            async for part in answer.aiter_raw():
                received[number] += len(part)

    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(look(number)) for number in range(count)]
        await asyncio.sleep(3)
        received[:] = [0] * count
        yield received
        for task in tasks:
            task.cancel()


async def share(server: ServerProcess, seconds: float) -> float:
    """Return which part of one core the server uses, in percent."""
    process = psutil.Process(server.pid)
    before = sum(process.cpu_times()[:2])
    await asyncio.sleep(seconds)
    return float(100 * (sum(process.cpu_times()[:2]) - before) / seconds)


async def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Return the shares, and for each round the sockets at the exchange and kilobytes a second to one viewer."""
    symbols = [argument for base in _SYMBOLS for argument in ("--generate", f"{base}USDT:100")]
    arguments = (*symbols, "--speed", "20", "--history", "600", *WITHOUT_LIMITS)
    found: dict[str, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmulatorProcess(*arguments) as market,
    ):
        settings: dict[str, Any] = {
            "binance_rest_url": market.url,
            "binance_stream_url": market.ws_url,
            "heartbeat_symbols": ",".join(f"{base}/USDT" for base in _SYMBOLS),
            "registration": "open",
            "heartbeat_history_minutes": 120,
        }
        with ServerProcess(Path(folder) / "data", **settings) as server:
            sessions = await cookies(server)
            await asyncio.sleep(3)
            for name, count, topics in (
                ("nobody", 0, ""),
                ("one page", 1, "status,trading,feed"),
                (f"{VIEWERS} feeds", VIEWERS, "feed"),
                (f"{VIEWERS} pages", VIEWERS, "status,trading,feed"),
            ):
                async with viewers(server, sessions, count, topics) as received:
                    cpu = await share(server, seconds)
                    sockets = market.state()["stream_connections"]
                    kilobytes = sum(received) / max(count, 1) / seconds / 1000
                found[name] = {"cpu_percent": round(cpu, 1), "sockets": sockets, "kB_per_s_each": round(kilobytes, 1)}
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five seconds for each round instead of twenty")
    found = asyncio.run(measure(5.0 if parser.parse_args().quick else 20.0))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
