"""The whole application, started without the key that its database needs, and while that key is rotated."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.bootstrap import accounts as building
from app.bootstrap import commands
from app.core.config import Settings
from app.core.database_url import DatabaseUrls
from app.core.rotation import Rotation
from app.core.security import PasswordHasher
from app.main import create_app
from tests.app.conftest import API_SECRET, PASSWORD, open_account
from tests.app.whole_site import HOST, Person, log_in, one_of_everything, settings_for
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio

PATIENCE_S = 20.0


class Home:
    """A data folder whose server can be started, and what it said at the terminal."""

    def __init__(self, urls: DatabaseUrls, emulator: EmulatorProcess, folder: Path) -> None:
        self._base, self.folder, self.emulator = settings_for(urls, emulator, folder), folder, emulator
        self.said: list[str] = []

    @property
    def settings(self) -> Settings:
        return Settings(_env_file=None, **{**self._base.model_dump(), "fernet_key": None})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
        app = create_app(self.settings, announce=self.said.append)
        async with AsyncExitStack() as stack:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(building, "PasswordHasher", lambda: PasswordHasher(cost=4))
                await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            yield app, await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=HOST))

    @property
    def file(self) -> Path:
        return self.folder / "secrets.env"


@pytest_asyncio.fixture
async def home(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Home]:
    monkeypatch.delenv("FERNET_KEY", raising=False)
    urls = await postgres.create_database()
    yield Home(urls, standing_emulator, tmp_path / "data")
    await postgres.drop_database(urls)


async def order(person: Person) -> httpx.Response:
    return await person.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.001"})


async def test_it_shows_its_pages_says_what_is_missing_keeps_alerts_and_trades_when_the_key_is_back(home: Home) -> None:
    async with home.running() as (app, http):
        await app.state.accounts.create_user("ada", PASSWORD)
        ada = await log_in(app, http, "ada")
        await one_of_everything(ada, home.emulator)
        sealing = app.state.keyring.vault.sealing
        hook = ada.ids["secret"]
    shutil.move(home.file, home.folder / "kept")
    home.said.clear()

    async with home.running() as (app, http):
        ada, admin = await log_in(app, http, "ada"), await log_in(app, http, "admin")

        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["closed"]) == (503, {"code": "ENCRYPTION_KEY_MISSING", "fingerprint": sealing})
        assert str(home.folder) not in ready.text
        (said,) = [line for line in home.said if "ENCRYPTION_KEY_MISSING" in line]
        assert sealing in said
        assert str(home.file) in said

        page, admins_page = (await ada.browse("GET", "/")).text, (await admin.browse("GET", "/")).text
        assert "ENCRYPTION_KEY_MISSING" in page
        assert str(home.folder) not in page
        assert str(home.file) in admins_page
        assert "keys replace-lost" in admins_page

        refused = await order(ada)
        assert (refused.status_code, refused.json()["code"]) == (422, "ENCRYPTION_KEY_MISSING")
        keys = {"api_key": open_account(home.emulator), "api_secret": API_SECRET}
        stored = await ada.call("POST", "/api/brokers", json={"exchange": "binance", "name": "More", **keys})
        assert (stored.status_code, stored.json()["code"]) == (503, "ENCRYPTION_KEY_MISSING")
        (broker,) = (await ada.call("GET", "/api/brokers")).json()["items"]
        tested = await ada.call("POST", f"/api/brokers/{broker['id']}/test_connection")
        assert tested.json()["code"] == "ENCRYPTION_KEY_MISSING"
        assert not home.file.exists(), "no other key is made"

        alert = await http.post(f"/hooks/{hook}", content=b"BUY BTCUSDT 0.001")
        assert alert.status_code == 202
        delivery = f"/api/webhooks/deliveries/{alert.json()['delivery_id']}"
        assert (await ada.call("GET", delivery)).json()["decision"] == "pending"

        shutil.copy(home.folder / "kept", home.file)
        async with asyncio.timeout(PATIENCE_S):
            while (await ada.call("GET", delivery)).json()["decision"] == "pending":  # noqa: ASYNC110  # over HTTP
                await asyncio.sleep(0.1)
        assert (await ada.call("GET", delivery)).json()["decision"] == "executed"
        assert (await http.get("/readyz")).json()["closed"] is None
        assert "ENCRYPTION_KEY_MISSING" not in (await ada.browse("GET", "/")).text
        assert (await order(ada)).status_code == 201


async def test_orders_go_on_over_the_same_connection_while_the_key_is_rotated(home: Home) -> None:
    async with home.running() as (app, http):
        await app.state.accounts.create_user("ada", PASSWORD)
        ada = await log_in(app, http, "ada")
        await one_of_everything(ada, home.emulator)
        broker_id = UUID(ada.ids["broker_id"])
        before, client = app.state.keyring.vault.sealing, app.state.connections.ready(broker_id)
        for drop_old in (False, True):
            rotating = partial(Rotation.rotate, drop_old=drop_old)
            async with asyncio.TaskGroup() as group:
                work = group.create_task(commands.change_keys(home.settings, rotating, home.said.append))
                while not work.done():
                    assert (await order(ada)).status_code == 201
        await app.state.connections.drop_changed()
        assert app.state.connections.ready(broker_id) is client
        assert app.state.keyring.vault.sealing != before
        async with asyncio.timeout(PATIENCE_S):
            while len(app.state.keyring.vault.fingerprints) > 1:  # noqa: ASYNC110  # it looks every two seconds
                await asyncio.sleep(0.1)
        await app.state.connections.drop(broker_id)
        assert (await order(ada)).status_code == 201
