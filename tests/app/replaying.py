"""The whole application in this process beside a replayed exchange, both by the exchange's time: a moment passes when all is done.

What the machine's speed decides elsewhere is decided here: an order that follows a candle arrives before the market goes on.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app import bootstrap
from app.bootstrap import accounts as building
from app.core.config import Settings
from app.core.security import PasswordHasher
from app.emulator.bars import MINUTE_MS
from app.exchanges.clock_offset import ClockOffset
from app.exchanges.paper import exchange
from app.main import create_app
from tests import settled
from tests.app.conftest import API_SECRET, FERNET_KEY, JWT_SECRET, PASSWORD
from tests.app.whole_site import HOST, Person, log_in
from tests.postgres import PostgresForTests
from tests.replay_venue import QUARTER_MS, ReplayVenue

DEADLINE_S = 30.0


@dataclass(kw_only=True)
class Replay:
    """The application and the exchange. `waits` say what else must be done before time goes on: each returns what it waits for, or ''."""

    app: FastAPI
    venue: ReplayVenue
    symbols: tuple[str, ...]
    person: Person
    user_id: UUID
    waits: list[Callable[[], Any]] = field(default_factory=list)
    #: Open positions and resting orders, when it was last quiet: without any the market passes through a minute at once.
    at_stake: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    async def rows(self, sql: str, *values: object) -> list[Any]:
        async with self.app.state.platform_database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def live(self, name: str, *, pays_in_quote: bool = False, balances: dict[str, str] | None = None) -> UUID:
        """Open an account at the exchange and take it in; return our id of it."""
        self.venue.open_account(name, API_SECRET, balances or {"USDT": "1000000"}, pays_in_quote=pays_in_quote)
        return await self._taken(exchange="binance", name=name, api_key=name, api_secret=API_SECRET)

    async def paper(self, name: str, **terms: str) -> UUID:
        """Open a paper account."""
        return await self._taken(exchange="paper", name=name, **{"paper_balance_usdt": "1000000", **terms})

    async def _taken(self, **given: Any) -> UUID:
        answer = await self.person.call("POST", "/api/brokers", json={"trading_modes": ["manual", "webhook", "bot"], **given})
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["id"])

    async def minute(self) -> None:
        """Let the market go on to the next minute, through its four stations where something is at stake."""
        end = self.venue.now_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
        while self.at_stake and self.venue.now_ms + QUARTER_MS < end:
            await self.venue.advance(QUARTER_MS)
            await self.quiet()
        await self.venue.until(end)
        await self.quiet()

    async def quiet(self, within_s: float = DEADLINE_S) -> None:
        """Wait until the application has heard all that the exchange said, and done all that follows from it."""
        begun = time.monotonic()
        while busy := await self._busy():
            if time.monotonic() - begun > within_s:
                raise AssertionError(f"it does not become quiet: {busy}\n" + "\n".join(map(str, await self.rows(settled.WHAT))))
            name = busy.partition(" ")[0]
            await asyncio.sleep(0.002)
            self.seconds[name] = self.seconds.get(name, 0.0) + 0.002

    async def _busy(self) -> str:
        return self._unheard() or self._paper_at_work() or await self._waited_for() or await self._orders_on_their_way()

    def _unheard(self) -> str:
        state = self.app.state
        for symbol in self.symbols:
            market, quote = self.venue.market(symbol), state.quotes.latest(symbol)
            best = market.depth()
            if quote is None or (quote.bid, quote.ask) != (best.bids[0].price, best.asks[0].price):
                return f"book {symbol}"
            last = state.heartbeat.last_closed(symbol)
            if last is None or int(last.timestamp() * 1000) < market.minute - MINUTE_MS:
                return f"candle {symbol} {last}"
        return "" if state.heartbeat.status.is_fresh else "feed"

    def _paper_at_work(self) -> str:
        prices, accounts = self.app.state.paper._prices, self.app.state.paper._accounts
        places = accounts._places.values()
        if prices.changed.is_set() or any(place.ticks or place.lock.locked() for place in places):
            return "paper"
        return "paper" if any(place.account is not None and place.account.has_changes for place in places) else ""

    async def _waited_for(self) -> str:
        for wait in self.waits:
            if found := await wait():
                return f"wait {found}"
        return ""

    async def _orders_on_their_way(self) -> str:
        (row,) = await self.rows(settled.QUERY)
        executed = sum(len(each) for account in self.venue.venue.exchange.accounts.values() for each in account.executions.values())
        self.at_stake = row["positions"] + row["resting"]
        if row["busy"]:
            return f"orders {row['busy']}"
        return "" if row["fills"] == executed + row["paper"] else f"fills {row['fills']} of {executed} + {row['paper']}"


def settings_of(urls: Any, venue: ReplayVenue, folder: Path, symbols: Sequence[str], **changed: Any) -> Settings:
    """Settings of an application that lives beside a replayed exchange."""
    return Settings(
        _env_file=None,
        database_url=urls.app,
        database_owner_url=urls.owner,
        data_dir=folder,
        jwt_secret=JWT_SECRET,
        fernet_key=FERNET_KEY,
        admin_password=PASSWORD,
        binance_rest_url=venue.url,
        binance_stream_url=venue.ws_url,
        roles=("web", "heartbeat", "engine"),
        registrations_per_hour=1000,
        openrouter_url="http://127.0.0.1:9/v1",
        heartbeat_symbols=tuple(symbols),
        access_token_minutes=24 * 60,
    ).model_copy(update=changed)


@asynccontextmanager
async def replayed(
    postgres: PostgresForTests, venue: ReplayVenue, folder: Path, symbols: Sequence[str], **changed: Any
) -> AsyncIterator[Replay]:
    """Start the application by the exchange's time, with a user and a feed that is fresh."""
    urls = await postgres.create_database()
    app = create_app(settings_of(urls, venue, folder, symbols, **changed), announce=lambda _: None)
    async with AsyncExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        patched.setattr(building, "PasswordHasher", lambda: PasswordHasher(cost=4))
        patched.setattr(bootstrap, "SystemClock", lambda: venue.clock)
        # The exchange's time does not go as this machine's does, and is no clock that was set.
        defaults = ClockOffset.__init__.__kwdefaults__
        assert defaults is not None
        patched.setitem(defaults, "monotonic", venue.monotonic)
        patched.setattr(exchange, "_PACE_S", 0.001)
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=HOST))
        await app.state.accounts.create_user("ada", PASSWORD)
        person = await log_in(app, http, "ada")
        user_id = UUID((await person.call("GET", "/api/auth/current")).json()["id"])
        yield Replay(app=app, venue=venue, symbols=tuple(symbols), person=person, user_id=user_id)
    await postgres.drop_database(urls)


def quote_of(replay: Replay, symbol: str) -> tuple[Decimal, Decimal]:
    """Return what the application believes that a seller gets and a buyer pays."""
    quote = replay.app.state.quotes.latest(symbol)
    return quote.bid, quote.ask
