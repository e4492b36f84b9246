"""Many bots of one user on one server, made through its API: for benchmarks that hurry them or kill them."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.clock import Clock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.strategies import versions
from app.strategies.versions import get_version
from tests.app.library import report_of

API_SECRET = "fleet-secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSpec:
    """A bot to make; `capital` in quote units."""

    strategy: str
    symbol: str
    timeframe: str
    account: str
    parameters: dict[str, Any] = field(default_factory=dict)
    capital: str = "10000"
    mode: str = "live"


class Fleet:
    """Makes accounts, strategies and bots, and starts them."""

    def __init__(self, http: httpx.Client, database: Database, clock: Clock) -> None:
        self._http = http
        self._database = database
        self._clock = clock
        self.user_id = UUID(self.call("GET", "/api/auth/current")["id"])
        self.accounts: dict[str, str] = {}
        self._strategies: dict[str, str] = {}

    def use(self, http: httpx.Client) -> None:
        """Go on with another client."""
        self._http = http

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Use the API; an answer that is an error ends the benchmark."""
        answer = self._http.request(method, path, **options)
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def take_account(self, name: str) -> str:
        """Take in an account that the exchange has under this key, or a paper account; more orders a minute than usual may be sent."""
        given = {"exchange": "binance", "api_key": name, "api_secret": API_SECRET}
        if name.startswith("paper"):
            given = {"exchange": "paper", "paper_balance_usdt": "100000000"}
        made = self.call("POST", "/api/brokers", json={"name": name, "trading_modes": ["bot"], **given})
        limits = {"broker_id": made["id"], "orders_per_minute": 1_000_000, "max_daily_orders": 1_000_000, "max_open_orders": 100_000}
        self.call("PUT", "/api/risk/limits", json=limits)
        self.accounts[name] = made["id"]
        return str(made["id"])

    async def add_strategy(self, name: str, source: str) -> None:
        """Store a strategy that counts as validated: what a validation says of it is no part of this."""
        made = self.call("POST", "/api/strategies", json={"name": name, "source": source})
        async with self._database.transaction() as session:
            version = await get_version(session, self.user_id, UUID(made["id"]))
            await versions.keep_report(session, self.user_id, version.id, report_of(version.source), now=self._clock.now())
        self._strategies[name] = made["id"]

    def make(self, specs: list[BotSpec]) -> list[UUID]:
        """Make bots and start them; return their ids in that order."""
        return list(self._made(specs))

    def _made(self, specs: list[BotSpec]) -> Iterator[UUID]:
        for spec in specs:
            wish = {
                "strategy_id": self._strategies[spec.strategy],
                "broker_id": self.accounts[spec.account],
                "symbol": spec.symbol,
                "timeframe": spec.timeframe,
                "mode": spec.mode,
                "capital": spec.capital,
                "parameters": spec.parameters,
            }
            bot_id = self.call("POST", "/api/bots", json=wish)["id"]
            self.call("POST", f"/api/bots/{bot_id}/start")
            yield UUID(bot_id)


def server_settings(urls: DatabaseUrls, url: str, symbols: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """Settings of a server beside an emulated exchange at `url`, on a database that is there."""
    return {
        "database_url": urls.app,
        "database_owner_url": urls.owner,
        "binance_rest_url": url,
        "binance_stream_url": url.replace("http", "ws", 1),
        "heartbeat_symbols": ",".join(symbols),
        "roles": "web,heartbeat,engine",
        **more,
    }


def exact(value: object) -> Decimal:
    """Return an amount as the database has it, without the zeros at its end."""
    return Decimal(str(value)).normalize()
