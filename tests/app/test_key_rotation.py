"""A new encryption key takes the place of an old one, beside running servers and whatever interrupts it."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from sqlalchemy import select

from app.brokers.keys import credentials_of, judge_stored_keys
from app.brokers.models import Broker
from app.core import rotation as rotation_module
from app.core import sealed_values
from app.core.config import Settings
from app.core.crypto import Vault, fingerprint
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.keyring import Keyring
from app.core.models import Base
from app.core.rotation import Rotation
from app.core.secrets_file import KeySource
from app.errors import ConfigError, Conflict
from tests.app.conftest import make_broker, make_user
from tests.conftest import Size
from tests.environment import kept_environment
from tests.forked import Forked

pytestmark = pytest.mark.asyncio

USERS = 3
PER_USER = 4


class Stage:
    """A database with sealed values of every kind, and the folder of the server that sealed them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.said: list[str] = []
        self.values = USERS * PER_USER + USERS * 2

    def source(self, name: str = "one", **settings: Any) -> KeySource:
        return KeySource(Settings(_env_file=None, data_dir=self.folder / name, **settings))

    def rotation(self, source: KeySource | None = None, *, patience_s: float = 5.0) -> Rotation:
        return Rotation(self.database, source or self.source(), self.said.append, patience_s=patience_s)

    async def server(self, source: KeySource | None = None) -> Keyring:
        keyring = Keyring(self.database, source or self.source())
        await keyring.open()
        return keyring

    async def fill(self, vault: Vault) -> None:
        for number in range(USERS):
            user_id = await make_user(self.database, f"user{number}")
            for place in range(PER_USER // 2):
                await make_broker(self.database, vault, user_id, api_key=f"key-{number}-{place}", name=f"Main {place}")
            await self.fill_by_hand(vault, user_id)

    async def fill_by_hand(self, vault: Vault, user_id: UUID) -> None:
        factor = vault.seal("a second factor", context=f"user:{user_id}:second_factor").decode()
        ai = vault.seal("an assistant's key", context=f"user:{user_id}:ai_api_key").decode()
        async with self.database.connection() as connection:
            await connection.execute("INSERT INTO second_factors (user_id, secret, created_at) VALUES ($1, $2, now())", user_id, factor)
            await connection.execute("UPDATE users SET ai_api_key = $2 WHERE id = $1", user_id, ai)

    async def opened(self, vault: Vault) -> list[tuple[str, str]]:
        """Every account's keys in the clear, and the other secrets."""
        async with self.database.transaction() as session:
            brokers = (await session.scalars(select(Broker).order_by(Broker.id))).all()
        keys = [(found.api_key, found.api_secret) for found in (credentials_of(vault, broker) for broker in brokers)]
        async with self.database.connection() as connection:
            rows = await connection.fetch("SELECT u.id, u.ai_api_key, f.secret FROM users u JOIN second_factors f ON f.user_id = u.id")
        for row in rows:
            assert vault.open(row["secret"].encode(), context=f"user:{row['id']}:second_factor") == "a second factor"
            assert vault.open(row["ai_api_key"].encode(), context=f"user:{row['id']}:ai_api_key") == "an assistant's key"
        return keys

    async def counted(self, *keys: str) -> dict[str | None, int]:
        async with self.database.connection() as connection:
            return dict(await sealed_values.count_by_key(connection, Base.metadata, Vault(keys)))

    async def registered(self) -> set[tuple[str, bool]]:
        async with self.database.connection() as connection:
            return {tuple(row.values()) for row in await connection.fetch("SELECT fingerprint, is_sealing FROM encryption_keys")}


@pytest_asyncio.fixture
async def stage(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.delenv("FERNET_KEY", raising=False)
    monkeypatch.setattr(sealed_values, "_PAGE", 2)
    stage = Stage(database, tmp_path)
    first = await stage.server()
    await stage.fill(first.vault)
    await first.leave()
    yield stage


async def test_everything_is_sealed_with_a_new_key_and_the_old_one_is_dropped_when_asked(stage: Stage) -> None:
    (old,) = stage.source().read()
    before = await stage.opened(Vault((old,)))

    done = await stage.rotation().rotate()

    new, kept = stage.source().read()
    assert (done.changed, done.unchanged, done.unreadable) == (stage.values, 0, 0)
    assert kept == old
    assert await stage.counted(new) == {fingerprint(new): stage.values}
    assert await stage.opened(Vault((new,))) == before
    assert await stage.registered() == {(fingerprint(new), True), (fingerprint(old), False)}

    again = await stage.rotation().rotate()
    assert (again.changed, again.unchanged) == (0, stage.values)
    assert stage.source().read() == (new, old), "no third key"

    await stage.rotation().rotate(drop_old=True)
    assert stage.source().read() == (new,)
    assert await stage.registered() == {(fingerprint(new), True)}
    assert await stage.opened((await stage.server()).vault) == before
    told = "\n".join(stage.said)
    assert f"Dropped {fingerprint(old)}" in told
    assert old not in told
    assert new not in told


async def test_what_an_earlier_version_bound_to_less_is_bound_to_its_user_too(stage: Stage) -> None:
    (old,) = stage.source().read()
    async with stage.database.connection() as connection:
        row = await connection.fetchrow("SELECT id, user_id FROM brokers LIMIT 1")
        bound = Vault((old,)).seal("older", context=f"broker:{row['id']}:api_key").decode()
        await connection.execute("UPDATE brokers SET api_key = $2 WHERE id = $1", row["id"], bound)
    await stage.rotation().rotate()
    async with stage.database.connection() as connection:
        sealed = await connection.fetchval("SELECT api_key FROM brokers WHERE id = $1", row["id"])
    opened = Vault(stage.source().read()).open(sealed.encode(), context=f"user:{row['user_id']}:broker:{row['id']}:api_key")
    assert opened == "older"


class Killed(BaseException):
    """Stands for the end of the process."""


async def dies(*_: object, **__: object) -> None:
    raise Killed


async def dies_after_pages(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = sealed_values._reseal_page, iter(range(number))

    async def page(*given: Any) -> Any:
        if next(left, None) is None:
            raise Killed
        return await real(*given)

    monkeypatch.setattr(sealed_values, "_reseal_page", page)


@pytest.mark.parametrize("moment", ["once the key is written", "once it seals", *range(8), "before the old one is dropped"])
async def test_wherever_it_is_killed_all_is_readable_and_the_next_run_does_the_rest(
    stage: Stage, moment: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await stage.opened(Vault(stage.source().read()))
    is_last = moment == "before the old one is dropped"
    if is_last:
        await stage.rotation().rotate()
    with monkeypatch.context() as patched:
        if isinstance(moment, int):
            await dies_after_pages(moment, patched)
        elif moment == "once the key is written":
            patched.setattr(Rotation, "_seal_with", dies)
        elif moment == "once it seals":
            patched.setattr(rotation_module, "reseal_all", dies)
        else:
            patched.setattr(KeySource, "write", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            await stage.rotation().rotate(drop_old=is_last)

    keys = stage.source().read()
    assert len(keys) == 2
    started_meanwhile = await stage.server()
    assert started_meanwhile.is_whole
    assert await stage.opened(started_meanwhile.vault) == before
    await started_meanwhile.leave()

    await stage.rotation().rotate()
    assert stage.source().read() == keys, "the key that was begun with, and no other"
    await stage.rotation().rotate(drop_old=True)
    assert stage.source().read() == keys[:1]
    assert await stage.opened(Vault(keys[:1])) == before


async def test_a_running_server_follows_and_never_misses_a_secret(stage: Stage) -> None:
    server = await stage.server()
    old = server.vault.sealing
    is_done = False

    async def looks() -> None:
        while not is_done:
            await asyncio.sleep(0.05)
            await server.look()

    async def trades() -> int:
        rounds = 0
        while not is_done:
            await stage.opened(server.vault)
            user_id = await make_user(stage.database, f"new{rounds}")
            await stage.fill_by_hand(server.vault, user_id)
            rounds += 1
        return rounds

    async with asyncio.TaskGroup() as group:
        group.create_task(looks())
        trading = group.create_task(trades())
        await stage.rotation().rotate()
        await stage.rotation().rotate(drop_old=True)
        await asyncio.sleep(0.2)
        is_done = True
    assert trading.result() > 0
    (new,) = stage.source().read()
    assert server.vault.fingerprints == (fingerprint(new),)
    assert server.vault.sealing == fingerprint(new) != old
    assert set(await stage.counted(new)) == {fingerprint(new)}
    await stage.opened(server.vault)


async def test_nothing_moves_while_a_server_lacks_the_new_key(stage: Stage, tmp_path: Path) -> None:
    (old,) = stage.source().read()
    stage.source("other").write((old,))
    elsewhere = await stage.server(stage.source("other"))

    with pytest.raises(ConfigError, match="running servers do not have the key") as caught:
        await stage.rotation(patience_s=0.5).rotate()

    assert "process" in caught.value.message
    assert await stage.counted(old) == {fingerprint(old): stage.values}
    keys = stage.source().read()
    stage.source("other").write(keys)
    await elsewhere.look()

    async with asyncio.TaskGroup() as group:
        moving = group.create_task(stage.rotation().rotate())
        while not moving.done():
            await asyncio.sleep(0.05)
            await elsewhere.look()
    assert await stage.counted(keys[0]) == {fingerprint(keys[0]): stage.values}


async def test_a_server_that_lacks_every_key_holds_nobody_up(stage: Stage) -> None:
    stranger = await stage.server(stage.source("other"))
    assert not stranger.is_whole
    await stage.rotation(patience_s=0.5).rotate()


async def test_the_old_key_is_kept_when_something_was_sealed_with_it_at_the_last_moment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = stage.source().read()
    await stage.rotation().rotate()
    real = sealed_values.reseal_all
    committed = asyncio.Event()

    async def with_a_late_one(*given: Any) -> Any:
        done = await real(*given)
        user_id = await make_user(stage.database, "late")
        late = Vault((old,)).seal("x", context=f"user:{user_id}:ai_api_key").decode()

        async def commit_late() -> None:
            async with stage.database.raw_transaction() as connection:
                await connection.execute("UPDATE users SET ai_api_key = $2 WHERE id = $1", user_id, late)
                written.set()
                await asyncio.sleep(0.3)
            committed.set()

        written = asyncio.Event()
        group.create_task(commit_late())
        await written.wait()
        return done

    async with asyncio.TaskGroup() as group:
        with monkeypatch.context() as patched:
            patched.setattr(rotation_module, "reseal_all", with_a_late_one)
            with pytest.raises(Conflict, match="1 values were sealed with an older key"):
                await stage.rotation().rotate(drop_old=True)
        assert committed.is_set(), "it was waited for"
    assert len(stage.source().read()) == 2
    await stage.rotation().rotate(drop_old=True)
    assert len(stage.source().read()) == 1


async def test_two_commands_at_once_take_turns_by_refusal(stage: Stage) -> None:
    outcomes = await asyncio.gather(*(stage.rotation().rotate() for _ in range(3)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(outcomes) - len(refused) >= 1
    assert all(isinstance(outcome, sealed_values.Resealed | Conflict) for outcome in outcomes)
    assert len(stage.source().read()) == 2


async def test_a_key_of_the_environment_is_rotated_as_the_command_says(stage: Stage) -> None:
    (old,) = stage.source().read()
    new = Fernet.generate_key().decode()
    with pytest.raises(ConfigError, match=r"set FERNET_KEY=NEW,PRESENT") as caught:
        await stage.rotation(stage.source(fernet_key=old)).rotate()
    assert old not in caught.value.message

    both = stage.source("env", fernet_key=f"{new},{old}")
    done = await stage.rotation(both).rotate()
    assert done.changed == stage.values
    await stage.rotation(both).rotate(drop_old=True)
    assert f"Set FERNET_KEY to its first key ({fingerprint(new)}) alone" in stage.said[-1]
    assert not (stage.folder / "env").exists()
    assert (await stage.server(stage.source("env", fernet_key=new))).is_whole
    assert not (await stage.server(stage.source("env", fernet_key=old))).is_whole


async def test_without_the_present_key_nothing_is_rotated(stage: Stage) -> None:
    with pytest.raises(ConfigError, match=r"is missing; it was expected as FERNET_KEY in .*other/secrets\.env"):
        await stage.rotation(stage.source("other")).rotate()
    assert stage.source("other").read() == ()


async def test_a_key_is_given_up_only_when_it_is_lost(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="nothing is lost: the present key is here"):
        await stage.rotation().replace_lost()
    running = await stage.server()
    with pytest.raises(ConfigError, match="a running server still has it"):
        await stage.rotation(stage.source("other")).replace_lost()
    await running.leave()
    assert stage.source("other").read() == ()

    waiting = await stage.server(stage.source("other"))
    done = await stage.rotation(stage.source("other")).replace_lost()

    assert (done.changed, done.unreadable) == (0, stage.values)
    await waiting.look()
    assert waiting.is_whole
    assert await judge_stored_keys(stage.database, waiting.vault) == USERS * PER_USER // 2
    fresh = await make_broker(stage.database, waiting.vault, await make_user(stage.database, "again"), api_key="entered again")
    async with stage.database.transaction() as session:
        broker = await session.get_one(Broker, fresh)
    assert credentials_of(waiting.vault, broker).api_key == "entered again"

    (old,) = stage.source().read()
    stage.source("other").write((*stage.source("other").read(), old))
    assert await judge_stored_keys(stage.database, (await stage.server(stage.source("other"))).vault) == 0, "it was found after all"


async def test_the_command_itself_is_killed_and_run_again(stage: Stage, emptied_urls: DatabaseUrls, size: Size) -> None:
    (old,) = stage.source().read()
    many = await make_user(stage.database, "many")
    for number in range(300):
        await make_broker(stage.database, Vault((old,)), many, api_key=f"of-many-{number}", name=f"Account {number}")
    before = await stage.opened(Vault((old,)))
    settings = {"DATABASE_URL": emptied_urls.app, "DATABASE_OWNER_URL": emptied_urls.owner, "DATA_DIR": str(stage.folder / "one")}
    command, environment = ("keys", "rotate"), kept_environment() | settings
    for _ in range(size(1, full=5)):
        process = Forked(command, output=None, errors=stage.folder / "errors.txt", environment=environment)
        assert process.stdout is not None
        while line := await asyncio.to_thread(process.stdout.readline):
            if " seals." in line:
                await asyncio.sleep(random.uniform(0, 0.15))
                break
        process.kill()
        await asyncio.to_thread(process.wait, 60)
        process.last_words()
        assert await stage.opened(Vault(stage.source().read())) == before
    ended = Forked(command, output=stage.folder / "told.txt", environment=environment)
    code = await asyncio.to_thread(ended.wait, 60)
    told = (stage.folder / "told.txt").read_text()
    assert code == 0, told
    new, last = stage.source().read()
    assert last == old
    assert set(await stage.counted(new)) == {fingerprint(new)}
    assert await stage.opened(Vault((new,))) == before
    assert "Sealed anew: " in told
    assert new not in told
