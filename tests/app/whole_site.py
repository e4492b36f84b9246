"""The whole application in this process, spoken to through ASGI, with users who have one of everything."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.bootstrap import accounts as building
from app.core.config import Settings
from app.core.database_url import DatabaseUrls
from app.core.security import PasswordHasher, csrf_token
from app.main import create_app
from tests import prepared
from tests.app.conftest import API_SECRET, FERNET_KEY, JWT_SECRET, PASSWORD, open_account
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

prepared.once()

HOST = "http://testserver"
#: Routes whose answers never end by themselves.
STREAMS = ("/events", "/api/heartbeat/stream")


@dataclass(kw_only=True)
class Person:
    """Somebody logged in, by bearer token and by cookie."""

    http: httpx.AsyncClient
    token: str
    cookie: str
    csrf: str
    ids: dict[str, str]

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **options)

    async def browse(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Cookie": f"sid={self.cookie}", **options.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **options)


@dataclass(kw_only=True)
class Site:
    """The running application, a user with one of everything, and another user with nothing."""

    app: FastAPI
    http: httpx.AsyncClient
    ada: Person
    eve: Person


async def log_in(app: FastAPI, http: httpx.AsyncClient, name: str) -> Person:
    token = (await http.post("/api/auth/login", json={"username": name, "password": PASSWORD})).json()["access_token"]
    page = await http.post("/login", data={"username": name, "password": PASSWORD})
    cookie = page.cookies["sid"]
    http.cookies.clear()
    principal = await app.state.accounts.by_cookie(cookie)
    return Person(http=http, token=token, cookie=cookie, csrf=csrf_token(JWT_SECRET, principal.session_id), ids={})


async def one_of_everything(person: Person, emulator: EmulatorProcess) -> None:
    keys = {"api_key": open_account(emulator), "api_secret": API_SECRET}
    broker = await person.call("POST", "/api/brokers", json={"exchange": "binance", "name": "Main", **keys})
    order = await person.call(
        "POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.01", "price": "50000"}
    )
    hook = await person.call("POST", "/api/webhooks", json={"name": "Alerts"})
    delivery = await person.http.post(hook.json()["url"].removeprefix(HOST), content=b"ping")
    strategy = await person.call("POST", "/api/strategies", json={"name": "Hers alone"})
    assert [answer.status_code for answer in (broker, order, hook, delivery, strategy)] == [201, 201, 201, 202, 201]
    person.ids = {
        "broker_id": broker.json()["id"],
        "order_id": order.json()["id"],
        "webhook_id": hook.json()["id"],
        "delivery_id": delivery.json()["delivery_id"],
        "strategy_id": strategy.json()["id"],
        "secret": hook.json()["url"].rpartition("/")[2],
    }


def settings_for(urls: DatabaseUrls, emulator: EmulatorProcess, folder: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=urls.app,
        database_owner_url=urls.owner,
        data_dir=folder,
        jwt_secret=JWT_SECRET,
        fernet_key=FERNET_KEY,
        admin_password=PASSWORD,
        binance_rest_url=emulator.url,
        binance_stream_url=emulator.ws_url,
        roles=("web", "engine"),
        # Everybody in a test comes from one address.
        registrations_per_hour=1000,
        # Nobody listens there: no test asks the real one.
        openrouter_url="http://127.0.0.1:9/v1",
    )


@asynccontextmanager
async def running_site(postgres: PostgresForTests, emulator: EmulatorProcess, folder: Path, **changed: Any) -> AsyncIterator[Site]:
    """Start the application on a fresh database, with two users; `changed` are settings of its own."""
    urls = await postgres.create_database()
    settings = settings_for(urls, emulator, folder).model_copy(update=changed)
    app = create_app(settings, announce=lambda _: None)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(building, "PasswordHasher", lambda: PasswordHasher(cost=4))
            await stack.enter_async_context(app.router.lifespan_context(app))
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=HOST))
        for name in ("ada", "eve"):
            await app.state.accounts.create_user(name, PASSWORD)
        ada, eve = await log_in(app, http, "ada"), await log_in(app, http, "eve")
        await one_of_everything(ada, emulator)
        yield Site(app=app, http=http, ada=ada, eve=eve)
    await postgres.drop_database(urls)


@contextmanager
def state_of(site: Site, **changed: Any) -> Iterator[None]:
    """Let the application have these instead of its own inside the block: its clock, its settings."""
    before = {name: getattr(site.app.state, name) for name in changed}
    for name, value in changed.items():
        setattr(site.app.state, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(site.app.state, name, value)


class Filled(dict[str, str]):
    """Values for the parameters of a path; an exchange where nothing else is known."""

    def __missing__(self, key: str) -> str:
        return "binance"


def routes(app: FastAPI) -> Iterator[tuple[str, APIRoute]]:
    """Every method of every route, those of included routers too."""

    def flat(found: Any) -> Iterator[APIRoute]:
        for route in found:
            if isinstance(route, APIRoute):
                yield route
            else:
                # FastAPI keeps an included router as one entry.
                yield from flat(getattr(getattr(route, "original_router", route), "routes", []))

    for route in flat(app.routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route
