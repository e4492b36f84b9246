import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.core.db import Database
from app.core.leases import LeaseHolder, is_dead, process_place, process_start
from app.core.supervisor import Beat, Supervisor
from app.domain.enums import OrderState
from app.domain.orders import Claimed
from app.errors import Fenced
from app.trading.apply import record
from app.trading.send import send
from app.trading.submit import submit
from tests.app.conftest import Pieces
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio


async def execute(database: Database, sql: str) -> None:
    async with database.connection() as connection:
        await connection.execute(sql)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # told by another task in many steps
            await asyncio.sleep(0.01)


@row(25)
async def test_second_holder_waits_while_the_first_is_alive(database: Database) -> None:
    first, second = LeaseHolder(database, "engine"), LeaseHolder(database, "engine")
    assert await first.renew()
    assert not await second.renew()
    assert (first.is_held, second.is_held, first.epoch) == (True, False, 1)
    with pytest.raises(Fenced):
        _ = second.epoch


@row(25)
async def test_two_that_ask_at_once_are_not_both_let_in(database: Database) -> None:
    holders = [LeaseHolder(database, "engine") for _ in range(8)]
    assert sum(await asyncio.gather(*(holder.renew() for holder in holders))) == 1


async def test_roles_are_held_apart(database: Database) -> None:
    assert await LeaseHolder(database, "engine").renew()
    assert await LeaseHolder(database, "heartbeat:binance").renew()


async def test_renewal_keeps_the_epoch_and_takeover_after_expiry_raises_it(database: Database) -> None:
    first, second = LeaseHolder(database, "engine"), LeaseHolder(database, "engine")
    await first.renew()
    await first.renew()
    assert first.epoch == 1
    await execute(database, "UPDATE leases SET until = now() - interval '1 second'")
    assert await second.renew()
    assert second.epoch == 2
    assert not await first.renew()
    assert not first.is_held


async def test_holder_that_comes_back_after_its_own_expiry_has_a_new_epoch(database: Database) -> None:
    holder = LeaseHolder(database, "engine")
    await holder.renew()
    await execute(database, "UPDATE leases SET until = now() - interval '1 second'")
    assert await holder.renew()
    assert holder.epoch == 2


async def test_loop_hands_the_role_back_when_it_ends(database: Database) -> None:
    first, second = LeaseHolder(database, "engine"), LeaseHolder(database, "engine")
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("lease", first.run)
        await first.wait_until_held()
    assert not first.is_held
    assert await second.renew()
    assert second.epoch == 2


@row(23, 25)
async def test_loser_of_the_role_neither_claims_nor_records(pieces: Pieces) -> None:
    lease = pieces.desk.lease
    stranger = replace(pieces.desk, lease=LeaseHolder(pieces.database, lease.role))
    order = (await submit(stranger, pieces.user_id, pieces.intent())).order
    await pieces.rows("UPDATE leases SET owner = 'another', epoch = epoch + 1")
    with pytest.raises(Fenced):
        await record(pieces.desk, order.id, Claimed())
    sent = await send(pieces.desk, order, await pieces.connections.client(pieces.broker_id))
    assert sent.state is OrderState.INTENT
    assert not lease.is_held, "it has learnt that the role has moved"
    assert pieces.placed() == []


async def test_guarded_loop_runs_only_while_the_role_is_held(database: Database) -> None:
    holder = LeaseHolder(database, "engine")
    began, ended = asyncio.Event(), asyncio.Event()

    async def loop(beat: Beat) -> None:
        began.set()
        try:
            while True:
                beat()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("guarded", holder.guarding(loop))
        await asyncio.sleep(0.15)
        assert not began.is_set()
        await holder.renew()
        await until(began.is_set)
        holder.lose()
        await until(ended.is_set)
        assert supervisor.health["guarded"].restarts == 0


@pytest.fixture
def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def owner_of(pid: int) -> str:
    return f"{process_place()}:{pid}:{process_start(pid)}:abcd"


async def test_killed_process_is_known_to_be_dead_even_before_it_is_buried(sleeper: "subprocess.Popen[bytes]") -> None:
    owner = owner_of(sleeper.pid)
    assert not is_dead(owner)
    sleeper.kill()
    await until(lambda: is_dead(owner))
    assert sleeper.returncode is None, "a zombie still"
    sleeper.wait()
    assert is_dead(owner)


async def test_role_of_a_killed_process_is_taken_over_at_once(database: Database, sleeper: "subprocess.Popen[bytes]") -> None:
    dead, heir = LeaseHolder(database, "engine"), LeaseHolder(database, "engine")
    dead.owner = owner_of(sleeper.pid)
    assert await dead.renew()
    assert not await heir.renew()
    sleeper.kill()
    sleeper.wait()
    assert await heir.renew()
    assert heir.epoch == 2


@pytest.mark.parametrize(
    "owner",
    [
        "",
        "another",
        f"another-boot/1:{os.getpid()}:1:abcd",
        ":1:1:abcd",
        "a:b:c:d:e:f",
    ],
    ids=["nothing", "a word", "another boot", "no boot", "too many parts"],
)
async def test_process_of_which_nothing_is_known_is_not_called_dead(owner: str) -> None:
    assert not is_dead(owner)


async def test_process_id_that_was_given_to_another_means_that_the_first_is_dead() -> None:
    assert is_dead(f"{process_place()}:{os.getpid()}:{int(process_start(os.getpid())) - 1}:abcd")
    assert not is_dead(owner_of(os.getpid()))
