"""Rows of the fault matrix about the database: connections that end in the middle of a transaction, and a disk that is full."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from app.core.database_url import DatabaseUrls
from app.core.outage import is_database_gone
from app.domain.enums import OrderState
from app.domain.intents import OrderIntent
from app.trading.reconcile import Reconciler
from tests.app.conftest import OUTAGE_DEADLINE_S as DEADLINE_S
from tests.app.conftest import Outage, Pieces
from tests.app.whole_site import Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.fault_matrix import row
from tests.postgres import PostgresForTests, connected

pytestmark = pytest.mark.asyncio


async def is_cut_off(pieces: Pieces, intent: OrderIntent) -> None:
    """Submit an order, and see its connection end."""
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)) as caught:  # which of them depends on the moment
        await asyncio.wait_for(pieces.submit(intent), DEADLINE_S)
    assert is_database_gone(caught.value)


async def settled(pieces: Pieces) -> list[Any]:
    """The orders after one round of asking."""
    await Reconciler(pieces.desk, interval_s=60).once()
    return await pieces.rows("SELECT * FROM orders")


async def is_filled_once(pieces: Pieces, intent: OrderIntent) -> None:
    """The intent's order is at the exchange once, and so are its fill and its position here; a repetition changes nothing."""
    again = await pieces.submit(intent)
    (order,) = await pieces.rows("SELECT * FROM orders")
    (fill,) = await pieces.rows("SELECT * FROM fills")
    (position,) = await pieces.rows("SELECT * FROM positions")
    assert (again.order.id, order["state"]) == (order["id"], "filled")
    assert [placed["clientOrderId"] for placed in pieces.placed()] == [order["client_order_id"]]
    assert fill["quantity"] == order["filled_quantity"] == order["fills_quantity"]
    assert position["quantity"] == fill["quantity"] - fill["fee"]


@row(32)
async def test_a_connection_that_ends_while_an_order_is_stored_leaves_nothing_and_sends_nothing(pieces: Pieces, outage: Outage) -> None:
    intent = pieces.intent()
    async with outage.locked("orders"), asyncio.TaskGroup() as group:
        group.create_task(is_cut_off(pieces, intent))
        await outage.end_the_one_that_waits("Lock")
    assert (await settled(pieces), pieces.placed()) == ([], [])
    assert (await pieces.submit(intent)).is_new
    await is_filled_once(pieces, intent)


@row(32)
@pytest.mark.usefixtures("waiting_commits")
async def test_an_order_whose_commit_counted_and_broke_off_is_asked_about_and_never_sent(pieces: Pieces, outage: Outage) -> None:
    intent = pieces.intent()
    async with asyncio.TaskGroup() as group:
        group.create_task(is_cut_off(pieces, intent))
        await outage.end_the_one_that_waits("SyncRep")
    assert [order["state"] for order in await pieces.rows("SELECT state FROM orders")] == ["submitting"]
    assert pieces.placed() == []
    (order,) = await settled(pieces)
    assert order["state"] == "unknown", "reconcile knows that nobody is sending it"
    await pieces.backdate(order["id"], seconds=60)
    (order,) = await settled(pieces)
    assert (order["state"], (await pieces.submit(intent)).order.state) == ("lost", OrderState.LOST)
    assert pieces.placed() == []


@row(32)
async def test_a_connection_that_ends_while_a_fill_is_recorded_leaves_no_half_of_it(pieces: Pieces, outage: Outage) -> None:
    intent = pieces.intent()
    async with outage.locked("positions"), asyncio.TaskGroup() as group:
        group.create_task(is_cut_off(pieces, intent))
        for _ in range(2):  # what the first could not write down, another is asked to
            await outage.end_the_one_that_waits("Lock")
    states = [order["state"] for order in await pieces.rows("SELECT state FROM orders")]
    assert (states, await pieces.rows("SELECT * FROM fills"), len(pieces.placed())) == (["submitting"], [], 1)
    (order,) = await settled(pieces)
    assert order["filled_quantity"] == Decimal("0.01")
    await is_filled_once(pieces, intent)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of some megabytes."""
    folder = Path(tempfile.mkdtemp(prefix="aristobot-small-disk-"))
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or mount is None or umount is None or subprocess.run(command, check=False).returncode:
        folder.rmdir()
        pytest.skip("a small file system can only be mounted by root, on Linux, with the right to mount")
    yield folder
    subprocess.run([umount, "--lazy", str(folder)], check=True)
    folder.rmdir()


class OnSmallDisk(PostgresForTests):
    """The same server, with databases on the small file system."""

    def __init__(self, server: PostgresForTests, folder: Path) -> None:
        super().__init__()
        self._on = server
        self._disk = folder
        self._ballast = folder / "ballast"

    async def create_database(self, *, migrated: bool = True) -> DatabaseUrls:
        """Return a new database there."""
        urls = await self._on.create_database(migrated=migrated)
        async with connected(self._on.admin_url) as admin:
            _give_to_owner_of(self._disk, await admin.fetchval("SHOW data_directory"))
            await admin.execute(f"CREATE TABLESPACE small_disk LOCATION '{self._disk}'")
            await admin.execute(f"ALTER DATABASE {make_url(urls.owner).database} SET TABLESPACE small_disk")
        return urls

    async def drop_database(self, urls: DatabaseUrls) -> None:
        """Drop it."""
        await self._on.drop_database(urls)

    async def leave(self) -> None:
        """Let nothing of the server lie on the file system any more, or no checkpoint would ever succeed again."""
        self.free_disk()
        async with connected(self._on.admin_url) as admin:
            here = "SELECT datname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE spcname = 'small_disk'"
            for found in await admin.fetch(here):
                await admin.execute(f"DROP DATABASE {found['datname']} WITH (FORCE)")
            await admin.execute("DROP TABLESPACE IF EXISTS small_disk")

    def fill_disk(self) -> None:
        """Leave no room."""
        with self._ballast.open("wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while ballast.write(b"\0" * size) == size:
                        pass

    def free_disk(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)


@pytest_asyncio.fixture
async def on_small_disk(postgres: PostgresForTests, small_disk: Path) -> AsyncIterator[OnSmallDisk]:
    """The server, as one that makes its databases on the small file system."""
    server = OnSmallDisk(postgres, small_disk)
    yield server
    await server.leave()


def _give_to_owner_of(folder: Path, data: str) -> None:
    if not Path(data).exists():
        pytest.skip("the database's server is not on this machine")
    os.chown(folder, Path(data).stat().st_uid, -1)


async def ids_here(site: Site) -> dict[str, str]:
    """The states of all orders, by client order id."""
    async with site.app.state.platform_database.connection() as connection:
        return {row["client_order_id"]: row["state"] for row in await connection.fetch("SELECT client_order_id, state FROM orders")}


@row(36)
async def test_on_a_full_disk_orders_are_refused_and_none_is_sent_until_there_is_room(
    on_small_disk: OnSmallDisk, standing_emulator: EmulatorProcess, tmp_path: Path
) -> None:
    wish = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
    async with running_site(on_small_disk, standing_emulator, tmp_path) as site:
        (key,) = {order["api_key"] for order in standing_emulator.orders() if order["clientOrderId"] in await ids_here(site)}

        def ids_there() -> set[str]:
            return {order["clientOrderId"] for order in standing_emulator.orders() if order["api_key"] == key}

        on_small_disk.fill_disk()
        refused = 0
        async with asyncio.timeout(DEADLINE_S):
            while refused < 3:  # what is left of pages that exist is used first
                answer = await site.ada.call("POST", "/api/orders", json=wish)
                refused += answer.status_code == 503
                assert answer.status_code == 201 or answer.json()["code"] == "DATABASE_UNAVAILABLE", answer.text
        kept = await ids_here(site)
        assert ids_there() <= kept.keys(), "nothing was sent that is not written down"
        on_small_disk.free_disk()
        assert (await site.ada.call("POST", "/api/orders", json=wish)).status_code == 201
        async with asyncio.timeout(DEADLINE_S):
            while set((await ids_here(site)).values()) != {"open"}:  # noqa: ASYNC110  # reconcile's rows, in PostgreSQL
                await asyncio.sleep(0.05)
        assert kept.keys() < (await ids_here(site)).keys() == ids_there()
        assert not site.app.state.supervisor.has_failed
