"""The dead-man's switch: it calls while all is well, and only then."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.core.crypto import Vault
from app.core.db import Database
from app.core.leases import LeaseHolder
from app.core.models import Base
from app.core.outgoing import Outgoing
from app.core.sealed_values import sealed_tables
from app.notifications.deadman import Deadman, Switch
from app.notifications.sender import ROLE
from app.notifications.settings import DeadmanWish, change_deadman
from tests.app.conftest import FERNET_KEY, make_user
from tests.app.receivers import HttpReceiver, http_receiver
from tests.app.telling import SetClock

pytestmark = pytest.mark.asyncio


@dataclass(kw_only=True)
class Watch:
    """A switch that a test turns."""

    database: Database
    receiver: HttpReceiver
    deadman: Deadman
    user_id: UUID
    clock: SetClock
    outgoing: Outgoing
    #: Why all is not well, by user; None stands for the server.
    ills: dict[UUID | None, str] = field(default_factory=dict)

    async def store(self, path: str, **wish: Any) -> None:
        """Let the user's switch be at the receiver."""
        given = DeadmanWish(url=f"http://127.0.0.1:{self.receiver.port}/{path}", **wish)
        async with self.database.transaction() as session:
            await change_deadman(session, self.user_id, given, vault=Vault((FERNET_KEY,)), outgoing=self.outgoing)

    async def stored(self) -> tuple[bool | None, str]:
        """What came of the latest call."""
        async with self.database.connection() as connection:
            row = await connection.fetchrow("SELECT deadman_ok, deadman_answer FROM notification_settings")
        return row["deadman_ok"], row["deadman_answer"]

    def calls(self) -> list[tuple[str, str, bytes]]:
        """What arrived."""
        return [(heard.method, heard.path, heard.body) for heard in self.receiver.heard]


@pytest_asyncio.fixture
async def watch(database: Database) -> AsyncIterator[Watch]:
    async with http_receiver() as receiver:
        clock, ills = SetClock(), dict[UUID | None, str]()

        async def ailing(user_id: UUID | None) -> str | None:
            return ills.get(user_id)

        outgoing = Outgoing(allowed=frozenset({("127.0.0.1", receiver.port)}))
        lease = LeaseHolder(database, ROLE)
        server = Switch(url=f"http://localhost:{receiver.port}/server", minutes=5, tells_failure=False)
        deadman = Deadman(database, outgoing, Vault((FERNET_KEY,)), lease=lease, clock=clock, ailing=ailing, server=server)
        user_id = await make_user(database)
        yield Watch(database=database, receiver=receiver, deadman=deadman, user_id=user_id, clock=clock, outgoing=outgoing, ills=ills)


async def test_it_calls_every_so_many_minutes_while_all_is_well(watch: Watch) -> None:
    await watch.store("mine", minutes=10)
    for minutes, expected in ((0, ["/mine", "/server"]), (4, []), (2, ["/server"]), (5, ["/mine", "/server"])):
        watch.clock.advance(minutes * 60)
        watch.receiver.heard.clear()
        await watch.deadman.once()
        assert sorted(path for _, path, _ in watch.calls()) == expected
    assert await watch.stored() == (True, "It answers 200 OK.")


async def test_it_is_silent_while_something_is_wrong_and_says_why_in_the_page(watch: Watch) -> None:
    await watch.store("mine")
    watch.ills[watch.user_id] = "market data is not fresh"
    await watch.deadman.once()
    assert [path for _, path, _ in watch.calls()] == ["/server"]
    assert await watch.stored() == (False, "Not called: market data is not fresh")


async def test_where_that_is_wanted_the_failure_is_told_with_its_reason(watch: Watch) -> None:
    await watch.store("mine", tells_failure=True)
    watch.ills[watch.user_id] = watch.ills[None] = "market data is not fresh"
    await watch.deadman.once()
    assert watch.calls() == [("POST", "/mine/fail", b"market data is not fresh")]
    assert (await watch.stored())[0] is False


async def test_what_does_not_take_the_call_is_told_in_the_page(watch: Watch) -> None:
    await watch.store("mine")
    watch.receiver.answer(302, Location="http://127.0.0.1:1/")
    await watch.deadman.once()
    is_ok, words = await watch.stored()
    assert not is_ok
    assert "sends us elsewhere" in words


async def test_a_users_switch_reaches_nothing_inside_this_network(watch: Watch) -> None:
    await watch.store("mine")
    async with http_receiver() as secret:
        switch = Switch(url=f"http://127.0.0.1:{secret.port}/", minutes=5, tells_failure=False, user_id=watch.user_id)
        called = await watch.deadman.call(switch)
        assert not called.is_ok
        assert secret.connections == 0
        assert (await watch.deadman.call(Switch(url=switch.url, minutes=5, tells_failure=False))).is_ok


async def test_a_switch_that_is_due_is_not_called_twice_by_a_process_that_comes_next(watch: Watch) -> None:
    await watch.store("mine")
    await watch.deadman.once()
    watch.clock.time += timedelta(seconds=30)
    await watch.deadman.once()
    assert [path for _, path, _ in watch.calls()].count("/mine") == 1


async def test_addresses_that_never_answer_keep_nobody_waiting_and_are_not_called_twice_at_once(watch: Watch) -> None:
    await watch.store("mine")
    watch.receiver.answers = [None]
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):
        for expected in (["/mine", "/server"], ["/mine", "/server", "/server"]):
            await watch.deadman.begin(group)
            while len(watch.receiver.heard) < len(expected):
                watch.receiver.came.clear()
                await watch.receiver.came.wait()
            assert sorted(path for _, path, _ in watch.calls()) == expected
            watch.clock.advance(600)
        for task in asyncio.all_tasks():
            if task.get_name().startswith("deadman"):
                task.cancel()


async def test_a_new_key_is_told_of_all_that_is_sealed_here() -> None:
    found = {table.name: set(table.columns) for table in sealed_tables(Base.metadata)}
    assert (found["notification_targets"], found["notification_settings"]) == ({"url"}, {"deadman_url"})
