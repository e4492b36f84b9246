"""The key that everything is sealed with: made once, never replaced while it is needed, and missed loudly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from app.brokers.keys import judge_stored_keys
from app.brokers.schemas import BrokerPatch
from app.brokers.service import change_broker
from app.core.config import Settings
from app.core.crypto import Vault, fingerprint
from app.core.db import Database
from app.core.keyring import Keyring
from app.core.secrets_file import KeySource
from app.errors import BadCredentials, DenialReason, KeyMissing, OrderDenied
from tests.app.conftest import API_SECRET, FERNET_KEY, Pieces, make_broker, make_user, open_account

pytestmark = pytest.mark.asyncio


class Servers:
    """Processes on one database, each with a data folder of its own unless they share one."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self._folder = folder

    def source(self, name: str = "one", **settings: Any) -> KeySource:
        return KeySource(Settings(_env_file=None, data_dir=self._folder / name, **settings))

    async def start(self, name: str = "one", **settings: Any) -> Keyring:
        keyring = Keyring(self.database, self.source(name, **settings))
        await keyring.open()
        return keyring

    async def seal_something(self, keyring: Keyring, name: str = "ada") -> None:
        await make_broker(self.database, keyring.vault, await make_user(self.database, name), api_key="sealed-here", name="Main")

    async def registered(self) -> list[tuple[str, bool]]:
        async with self.database.connection() as connection:
            rows = await connection.fetch("SELECT fingerprint, is_sealing FROM encryption_keys ORDER BY added_at")
        return [tuple(row.values()) for row in rows]


@pytest_asyncio.fixture
async def servers(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Servers]:
    monkeypatch.delenv("FERNET_KEY", raising=False)
    yield Servers(database, tmp_path)


async def test_a_first_start_makes_the_key_and_later_ones_use_it(servers: Servers) -> None:
    keyring = Keyring(servers.database, servers.source())
    assert await keyring.open()
    (key,) = servers.source().read()
    assert keyring.is_whole
    assert keyring.advice is None
    assert await servers.registered() == [(fingerprint(key), True)]
    assert not await Keyring(servers.database, servers.source()).open()
    assert servers.source().read() == (key,)


async def test_processes_that_start_together_make_one_key(servers: Servers) -> None:
    rings = [Keyring(servers.database, servers.source()) for _ in range(4)]
    made = await asyncio.gather(*(ring.open() for ring in rings))
    assert sum(made) == 1
    (key,) = servers.source().read()
    assert {ring.vault.sealing for ring in rings} == {fingerprint(key)}
    assert all(ring.is_whole for ring in rings)


@pytest.mark.parametrize("is_wrong", [False, True], ids=["absent", "wrong"])
async def test_no_key_is_made_while_something_is_sealed(servers: Servers, is_wrong: bool) -> None:  # noqa: FBT001  # a column of the table
    first = await servers.start()
    await servers.seal_something(first)
    await first.leave()
    other: tuple[str, ...] = (Fernet.generate_key().decode(),) if is_wrong else ()
    if is_wrong:
        servers.source("other").write(other)

    keyring = await servers.start("other")

    assert not keyring.is_whole
    assert servers.source("other").read() == other
    assert await servers.registered() == [(first.vault.sealing, True)]
    advice = keyring.advice or ""
    assert str(first.vault.sealing) in advice
    assert "other/secrets.env" in advice
    assert (fingerprint(other[0]) if is_wrong else "none") in advice
    assert not any(key in advice for key in (*other, *servers.source().read()))
    with pytest.raises(KeyMissing):
        keyring.vault.seal("x", context="a place")


async def test_a_key_that_is_put_back_ends_it_without_a_restart(servers: Servers) -> None:
    first = await servers.start()
    await servers.seal_something(first)
    keyring = await servers.start("other")
    begun: list[bool] = []
    keyring.on_whole = lambda: _note(begun)
    await keyring.look()
    assert (keyring.is_whole, begun) == (False, [])
    servers.source("other").write(servers.source().read())
    for _ in range(2):
        await keyring.look()
    assert keyring.is_whole
    assert begun == [True], "once"


async def _note(begun: list[bool]) -> None:
    begun.append(True)


async def test_a_damaged_file_is_waited_for_and_ends_no_loop(servers: Servers, tmp_path: Path) -> None:
    first = await servers.start()
    await servers.seal_something(first)
    keyring = await servers.start("other")
    (tmp_path / "other").mkdir(exist_ok=True)
    (tmp_path / "other" / "secrets.env").write_text("FERNET_KEY=half a ke")
    await keyring.look()
    assert not keyring.is_whole


async def test_a_lost_key_with_which_nothing_is_sealed_is_replaced(servers: Servers) -> None:
    first = await servers.start()
    await first.leave()
    second = await servers.start("other")
    assert second.is_whole
    assert await servers.registered() == [(second.vault.sealing, True)]
    assert second.vault.sealing != first.vault.sealing


async def test_but_not_while_another_process_has_it(servers: Servers) -> None:
    first = await servers.start()
    second = await servers.start("other")
    assert not second.is_whole
    assert await servers.registered() == [(first.vault.sealing, True)]


async def test_a_database_of_an_earlier_version_takes_the_key_that_opens_it_and_no_other(servers: Servers) -> None:
    await make_broker(servers.database, Vault((FERNET_KEY,)), await make_user(servers.database), api_key="older", name="Main")
    for given in ({}, {"fernet_key": Fernet.generate_key().decode()}):
        stranger = await servers.start("other", **given)
        assert not stranger.is_whole
        assert "of an earlier version" in (stranger.advice or "")
        assert await servers.registered() == []
    keyring = await servers.start(fernet_key=FERNET_KEY)
    assert keyring.is_whole
    assert await servers.registered() == [(fingerprint(FERNET_KEY), True)]


async def test_the_database_says_which_of_several_keys_seals(servers: Servers) -> None:
    keyring = await servers.start(fernet_key=FERNET_KEY)
    await servers.seal_something(keyring)
    fresh = Fernet.generate_key().decode()
    both = await servers.start(fernet_key=f"{fresh},{FERNET_KEY}")
    assert both.vault.sealing == fingerprint(FERNET_KEY), "a server that was started again before the others seals for them all"


async def test_a_running_server_keeps_the_key_that_was_taken_from_under_it(servers: Servers, tmp_path: Path) -> None:
    keyring = await servers.start()
    await servers.seal_something(keyring)
    (tmp_path / "one" / "secrets.env").unlink()
    await keyring.look()
    assert keyring.is_whole
    assert keyring.vault.open(keyring.vault.seal("x", context="a"), context="a") == "x"


async def test_an_account_whose_key_does_not_open_is_paused_until_it_does_and_the_others_trade(pieces: Pieces) -> None:
    lost = Fernet.generate_key().decode()
    broker_id = await make_broker(pieces.database, Vault((lost,)), pieces.user_id, api_key=open_account(pieces.emulator), name="Lost")
    assert await judge_stored_keys(pieces.database, pieces.vault) == 1

    with pytest.raises(OrderDenied, match="KEY_UNREADABLE") as caught:
        await pieces.submit(broker_id=broker_id)
    assert caught.value.reason is DenialReason.BROKER_DISABLED
    assert (await pieces.submit(broker_id=pieces.broker_id)).order.state.value == "filled"

    pieces.vault.replace((FERNET_KEY, lost))
    assert await judge_stored_keys(pieces.database, pieces.vault) == 0
    assert (await pieces.submit(broker_id=broker_id)).order.state.value == "filled"


async def test_an_account_that_was_moved_while_the_server_runs_is_paused_when_it_is_used(pieces: Pieces) -> None:
    eve = await make_user(pieces.database, "eve")
    async with pieces.database.connection() as connection:
        await connection.execute("UPDATE brokers SET user_id = $2 WHERE id = $1", pieces.broker_id, eve)
    with pytest.raises(BadCredentials) as caught:
        await pieces.connections.client(pieces.broker_id)
    assert caught.value.code == "KEY_UNREADABLE"
    async with pieces.database.connection() as connection:
        reason = await connection.fetchval("SELECT paused_reason FROM brokers WHERE id = $1", pieces.broker_id)
    assert "KEY_UNREADABLE" in reason
    changes = BrokerPatch.model_validate({"api_key": pieces.api_key, "api_secret": API_SECRET})
    async with pieces.database.transaction() as session:
        assert (await change_broker(session, pieces.vault, eve, pieces.broker_id, changes)).paused_reason is None
    assert await pieces.connections.client(pieces.broker_id)


async def test_a_pause_of_another_cause_is_not_ended_by_keys_that_open(pieces: Pieces) -> None:
    async with pieces.database.connection() as connection:
        await connection.execute("UPDATE brokers SET paused_reason = 'the exchange said no'")
        await judge_stored_keys(pieces.database, pieces.vault)
        assert await connection.fetchval("SELECT paused_reason FROM brokers") == "the exchange said no"


async def test_a_connection_outlives_a_new_encryption_of_the_same_keys_and_no_other_change(pieces: Pieces) -> None:
    client = await pieces.connections.client(pieces.broker_id)
    fresh = Fernet.generate_key().decode()
    pieces.vault.replace((fresh, FERNET_KEY))
    same = BrokerPatch.model_validate({"api_key": pieces.api_key, "api_secret": API_SECRET})
    other = BrokerPatch.model_validate({"api_key": open_account(pieces.emulator), "api_secret": API_SECRET})
    for changes, is_kept in ((same, True), (same, True), (other, False)):
        async with pieces.database.transaction() as session:
            await change_broker(session, pieces.vault, pieces.user_id, pieces.broker_id, changes)
        assert await pieces.connections.drop_changed() == (set() if is_kept else {pieces.broker_id})
        assert (pieces.connections.ready(pieces.broker_id) is client) is is_kept


async def test_without_its_key_a_server_pauses_nobody(pieces: Pieces) -> None:
    pieces.vault.replace((), sealing=fingerprint(FERNET_KEY))
    with pytest.raises(Exception, match="encryption key") as caught:
        await pieces.connections.client(pieces.broker_id)
    assert getattr(caught.value, "code", None) == "ENCRYPTION_KEY_MISSING"
    async with pieces.database.connection() as connection:
        assert await connection.fetchval("SELECT paused_reason FROM brokers") is None
