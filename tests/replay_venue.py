"""An emulated exchange in this process whose time stands until it is moved, and a clock that shows its time: for replays in lockstep.

Requests and streams go over real sockets. Whoever lives by `clock` never sees a time that the exchange does not have. A request that was
signed before a minute passed in no time is let in all the same.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from app.emulator import signature
from app.emulator.bars import MINUTE_MS
from app.emulator.clock import ClockMode
from app.emulator.config import EmulatorConfig
from app.emulator.market import SymbolMarket
from app.emulator.server import build_app
from app.emulator.venue import Venue, build_venue
from tests.shared_time import SharedTime

#: From one trade of an ideal market's minute to the next.
QUARTER_MS = MINUTE_MS // 4
DAY_MS = 86_400_000


def since_midnight() -> ClockMode:
    """A virtual clock that begins with the present day: a recording that begins at midnight keeps its longer candles.

    Not at the recording's own time, for tokens and the like have expired then.
    """
    now_ms = time.time_ns() // 1_000_000
    return ClockMode(is_virtual=True, offset_ms=-(now_ms % DAY_MS))


class ReplayVenue:
    """One that is served. `clock` shows its time to applications of this process and, by its file, of others; `monotonic` its seconds."""

    def __init__(self, venue: Venue, url: str, clock: SharedTime) -> None:
        self.venue = venue
        self.url = url
        self.clock = clock

    @property
    def ws_url(self) -> str:
        """Base URL of the streams."""
        return self.url.replace("http://", "ws://")

    @property
    def now_ms(self) -> int:
        """Its time."""
        return self.venue.clock.wall.now()

    def monotonic(self) -> float:
        """Its time as seconds that never go back."""
        return self.now_ms / 1000

    def market(self, symbol: str) -> SymbolMarket:
        """Return the market of `BTC/USDT`."""
        return self.venue.exchange.markets[symbol.replace("/", "")]

    def open_account(self, api_key: str, api_secret: str, balances: dict[str, str], *, pays_in_quote: bool = False) -> None:
        """Open an account with play money."""
        amounts = {asset: Decimal(amount) for asset, amount in balances.items()}
        self.venue.exchange.open_account(api_key, api_secret, amounts, pays_in_quote=pays_in_quote)

    async def advance(self, duration_ms: int) -> None:
        """Let time pass, with all that happens on the way."""
        await self.venue.timeline.advance(duration_ms, self.venue.feed.step)
        self.venue.feed.nudge()
        self.venue.exchange.changes += 1

    async def until(self, moment_ms: int) -> None:
        """Let time pass up to a moment."""
        if moment_ms > self.now_ms:
            await self.advance(moment_ms - self.now_ms)

    def orders(self, api_key: str) -> list[Any]:
        """Return the orders of an account."""
        return list(self.venue.exchange.accounts[api_key].orders.values())


def _tell_of_moves(venue: Venue, clock: SharedTime) -> None:
    wall = venue.clock.wall
    move = wall.move_to

    def move_to(moment_ms: int) -> None:
        move(moment_ms)
        clock.set(wall.now())

    wall.move_to = move_to  # type: ignore[method-assign]  # this one alone
    clock.set(wall.now())


def _any_time(params: dict[str, str], now_ms: int) -> None:
    del params, now_ms


@asynccontextmanager
async def replaying(config: EmulatorConfig, time_file: Path | None = None) -> AsyncIterator[ReplayVenue]:
    """Serve a venue on a virtual clock until the block ends; its time stands in `time_file`, which is made."""
    venue, clock = build_venue(config), SharedTime(time_file or Path(tempfile.mkstemp(prefix="aristobot-test-time-")[1]))
    _tell_of_moves(venue, clock)
    checked, signature.check_timestamp = signature.check_timestamp, _any_time
    runner = web.AppRunner(build_app(venue), access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(venue.feed.run()), group.create_task(venue.timeline.run())]
            yield ReplayVenue(venue, f"http://{host}:{port}", clock)
            for loop in loops:
                loop.cancel()
    finally:
        signature.check_timestamp = checked
        venue.sockets.abort_all()
        await runner.cleanup()
