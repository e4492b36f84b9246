"""Development mode: a switch for whoever sits at this machine, and for nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import ValidationError

from app.accounts.administration import change_user
from app.accounts.development import DevelopmentMode
from app.bootstrap import accounts as building
from app.core.config import Settings
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.security import PasswordHasher
from app.errors import ConfigError, LastAdministrator
from app.main import create_app
from tests.app.conftest import PASSWORD, make_accounts
from tests.app.whole_site import settings_for
from tests.emulator_process import EmulatorProcess
from tests.environment import kept_environment
from tests.forked import Forked

pytestmark = pytest.mark.asyncio

HOME = "http://127.0.0.1:8000"


class Starts:
    """The application, started again and again on one database."""

    def __init__(self, urls: DatabaseUrls, emulator: EmulatorProcess, folder: Path) -> None:
        self._settings = settings_for(urls, emulator, folder)
        self._stack = AsyncExitStack()
        self.app: Any = None

    async def start(self, *, offered: bool, client: str = "127.0.0.1") -> httpx.AsyncClient:
        await self._stack.aclose()
        self._stack = AsyncExitStack()
        self.app = create_app(self._settings.model_copy(update={"debug_aristobot": offered, "roles": ("web",)}), announce=lambda _: None)
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        return await self.client(client)

    async def client(self, address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 5000))
        return await self._stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=HOME))

    async def close(self) -> None:
        await self._stack.aclose()


@pytest_asyncio.fixture
async def starts(
    emptied_urls: DatabaseUrls, standing_emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Starts]:
    monkeypatch.setattr(building, "PasswordHasher", lambda: PasswordHasher(cost=4))
    found = Starts(emptied_urls, standing_emulator, tmp_path)
    yield found
    await found.close()


async def test_without_the_variable_there_is_no_switch(starts: Starts) -> None:
    http = await starts.start(offered=False)
    assert "/login/development" not in (await http.get("/login")).text
    assert (await http.post("/login/development", data={"on": "true"})).status_code == 403


async def test_on_it_logs_in_without_a_password_and_the_status_bar_says_so(starts: Starts) -> None:
    http = await starts.start(offered=True)
    assert "/login/development" in (await http.get("/login")).text
    assert (await http.get("/webhooks")).status_code == 303
    switched = await http.post("/login/development", data={"on": "true"})
    assert (switched.status_code, switched.headers["location"]) == (303, "/")
    page = await http.get("/")
    assert page.status_code == 200
    assert "Development mode" in page.text
    other = await starts.client("127.0.0.1")
    sent = await other.get("/webhooks", follow_redirects=True)
    assert (sent.status_code, sent.url.path) == (200, "/webhooks"), "a page that needs a login gets one"
    assert (await (await starts.client("::1")).get("/brokers", follow_redirects=True)).status_code == 200


async def test_it_is_for_this_machine_only(starts: Starts) -> None:
    http = await starts.start(offered=True)
    await http.post("/login/development", data={"on": "true"})
    stranger = await starts.client("192.168.1.77")
    assert "/login/development" not in (await stranger.get("/login")).text
    assert (await stranger.post("/login/development", data={"on": "true"})).status_code == 403
    assert (await stranger.get("/webhooks", follow_redirects=True)).url.path == "/login"
    foreign = await http.post("/login/development", data={"on": "true"}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-real-ip", "Forwarded", "Via", "CF-Connecting-IP"])
async def test_what_a_proxy_here_hands_on_comes_from_elsewhere(starts: Starts, name: str) -> None:
    """nginx's `proxy_pass` and a tunnel ask from this machine and by its own name, for anybody."""
    http = await starts.start(offered=True)
    await http.post("/login/development", data={"on": "true"})
    stranger = await starts.client("127.0.0.1")
    stranger.headers[name] = "203.0.113.9"
    assert "/login/development" not in (await stranger.get("/login")).text
    assert (await stranger.post("/login/development", data={"on": "true"})).status_code == 403
    assert (await stranger.get("/admin", follow_redirects=True)).url.path == "/login"


async def test_dev_leaves_an_administrator_who_outlives_it(database: Database) -> None:
    accounts = make_accounts(database)
    dev = await DevelopmentMode(database, accounts._clock, accounts, is_offered=True).ensure_user()
    admin = await accounts.create_user("grace", PASSWORD, is_admin=True)
    for changes in ({"is_active": None, "is_admin": False}, {"is_active": False, "is_admin": None}):
        with pytest.raises(LastAdministrator, match="only administrator with a password"):
            await change_user(database, dev.id, admin.id, now=accounts._clock.now(), **changes)
    await accounts.create_user("ada", PASSWORD, is_admin=True)
    await change_user(database, dev.id, admin.id, is_active=False, is_admin=False, now=accounts._clock.now())


async def test_off_and_a_start_without_the_variable_end_every_login_of_dev(starts: Starts) -> None:
    http = await starts.start(offered=True)
    await http.post("/login/development", data={"on": "true"})
    await http.post("/login/development", data={"on": "false"})
    assert (await http.get("/brokers")).status_code == 303
    await http.post("/login/development", data={"on": "true"})
    again = await starts.start(offered=True)
    assert (await again.get("/brokers", follow_redirects=True)).status_code == 200, "on outlives a restart"
    cookies = dict(again.cookies)
    later = await starts.start(offered=False)
    later.cookies.update(cookies)
    assert (await later.get("/brokers")).status_code == 303
    at_last = await starts.start(offered=True)
    assert (await at_last.get("/brokers", follow_redirects=True)).url.path == "/login", "it was reset"


async def test_nobody_logs_in_as_dev_with_a_password(starts: Starts) -> None:
    http = await starts.start(offered=True)
    for password in ("", "dev", PASSWORD):
        assert (await http.post("/login", data={"username": "dev", "password": password})).status_code == 401


@pytest.mark.parametrize("changes", [{"host": "0.0.0.0"}, {"public_url": "https://x.example"}, {"trusted_proxies": "127.0.0.1"}])
async def test_a_server_that_others_can_reach_refuses_it(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="DEBUG_ARISTOBOT"):
        Settings(_env_file=None, debug_aristobot=True, **changes)  # type: ignore[arg-type]


async def test_a_user_who_has_the_name_is_not_taken_for_dev(database: Database) -> None:
    accounts = make_accounts(database)
    await accounts.create_user("Dev", PASSWORD)
    mode = DevelopmentMode(database, accounts._clock, accounts, is_offered=True)
    with pytest.raises(ConfigError, match="the name dev"):
        await mode.ensure_user()


async def test_init_makes_what_is_missing_and_two_at_once_make_it_once(
    emptied_urls: DatabaseUrls, database: Database, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": emptied_urls.app, "DATABASE_OWNER_URL": emptied_urls.owner, "DATA_DIR": str(tmp_path)}
    environment = kept_environment() | {"ADMIN_PASSWORD": PASSWORD, **settings}

    async def init(name: str) -> str:
        output = tmp_path / name
        process = Forked(("init",), output=output, environment=environment)
        code = await asyncio.to_thread(process.wait, 60)
        assert code == 0, output.read_text()
        return output.read_text()

    said = await asyncio.gather(init("first"), init("second"))
    assert all("ready" in words for words in said)
    await init("third")
    async with database.connection() as connection:
        users = await connection.fetch("SELECT username, is_admin, is_dev, password_hash IS NULL AS has_none FROM users ORDER BY username")
        rows = await connection.fetch("SELECT exchange FROM heartbeat_status")
    assert [tuple(user) for user in users] == [("admin", True, False, False), ("dev", True, True, True)]
    assert [row["exchange"] for row in rows] == ["binance"]
