"""What books and tapes cost the process that shows them: fifty symbols looked at, each with ten books and five trades a second.

    uv run python benchmarks/books.py [--quick]

The exchange is a process of its own that speaks Binance's streams of partial depth and trades, 750 messages a second in all. Measured is
everything from the socket to the finished message in the queues of five who look at each symbol; sending those to browsers is
`heartbeat_viewers.py`'s. Shares are of one core.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.clock import SystemClock
from app.core.events import Subscription
from app.domain.book import Depth
from app.exchanges.binance_stream import StreamConfig
from app.marketdata.books import Books

SYMBOLS: Final = 50
LOOKERS: Final = 5
_BOOKS_EVERY_S: Final = 0.1


class Exchange:
    """Sends each connection what it subscribed to."""

    async def serve(self, socket: ServerConnection) -> None:
        """Run one connection."""
        assert socket.request is not None  # made by the handshake
        streams = set(socket.request.path.partition("?streams=")[2].split("/"))

        async def listen() -> None:
            async for text in socket:
                asked = orjson.loads(text)
                names = set(asked["params"])
                (streams.update if asked["method"] == "SUBSCRIBE" else streams.difference_update)(names)
                await socket.send(orjson.dumps({"result": None, "id": asked["id"]}).decode())

        async with asyncio.TaskGroup() as group:
            speaker = group.create_task(self._speak(socket, streams))
            with suppress(ConnectionClosed):
                await listen()
            speaker.cancel()

    async def _speak(self, socket: ServerConnection, streams: set[str]) -> None:
        with suppress(ConnectionClosed):
            for tick in range(10**9):
                for name in tuple(streams):
                    if (frame := _frame(name, tick)) is not None:
                        await socket.send(frame)
                await asyncio.sleep(_BOOKS_EVERY_S)


def _frame(stream: str, tick: int) -> str | None:
    market, _, kind = stream.partition("@")
    name, now_ms = market.upper(), time.time_ns() // 1_000_000
    data: dict[str, Any]
    if kind.startswith("depth"):
        sides = (("bids", -1), ("asks", 1))
        levels = {side: [[f"{60000 + sign * n:.8f}", f"{1 + (tick + n) % 97 / 13:.8f}"] for n in range(1, 21)] for side, sign in sides}
        data = {"lastUpdateId": tick, **levels}
    elif kind == "aggTrade" and tick % 2 == 0:
        identity = {"a": tick, "f": tick, "l": tick, "T": now_ms, "m": tick % 4 == 0, "M": True}
        data = {"e": "aggTrade", "E": now_ms, "s": name, "p": "60000.10000000", "q": "0.01230000", **identity}
    else:
        return None
    return orjson.dumps({"stream": stream, "data": data}).decode()


async def be_exchange() -> None:
    """Serve until killed; the first line says where."""
    async with serve(Exchange().serve, "127.0.0.1", 0, ping_interval=None, compression=None) as running:
        sys.stdout.write(f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


class _Nobody:
    async def fetch_depth(self, symbol: str, *, limit: int) -> Depth:
        return Depth()

    async def fetch_market_trades(self, symbol: str, *, limit: int) -> list[Any]:
        return []


@asynccontextmanager
async def looked_at(books: Books, symbols: int) -> AsyncIterator[list[Subscription[object]]]:
    """Have everybody look at so many symbols."""
    lookers: list[Subscription[object]] = [Subscription(100_000) for _ in range(LOOKERS)]
    async with AsyncExitStack() as stack:
        for number in range(symbols):
            for looker in lookers:
                await stack.enter_async_context(books.looking("binance", f"C{number}/USDT", looker))
        yield lookers


async def measure(url: str, seconds: float) -> dict[str, dict[str, float]]:
    """Return for nobody, one and all symbols the share of a core and the messages each looker was sent in a second."""

    async def public(_exchange: str) -> Any:
        return _Nobody()

    books = Books("binance", public=public, clock=SystemClock(), streams=StreamConfig(urls=(url,)), grace_s=0.0)
    found: dict[str, dict[str, float]] = {}
    async with asyncio.TaskGroup() as group:
        task = group.create_task(books.run(lambda: None))
        for symbols in (0, 1, SYMBOLS):
            async with looked_at(books, symbols) as lookers:
                await asyncio.sleep(3)
                for looker in lookers:
                    while looker.get_nowait() is not None:
                        pass
                begun, spent = time.monotonic(), time.process_time()
                await asyncio.sleep(seconds)
                took_s, spent = time.monotonic() - begun, time.process_time() - spent
                told = 0
                while lookers[0].get_nowait() is not None:
                    told += 1
            found[f"{symbols} symbols"] = {"cpu_percent": round(100 * spent / took_s, 1), "told_per_s": round(told / took_s, 1)}
            await asyncio.sleep(1)
        task.cancel()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five seconds for each round instead of twenty")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(be_exchange())
        return
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as exchange:
        assert exchange.stdout is not None  # asked for above
        try:
            found = asyncio.run(measure(exchange.stdout.readline().strip(), 5.0 if given.quick else 20.0))
        finally:
            exchange.kill()
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
