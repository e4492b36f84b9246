import asyncio
import pickle
from base64 import urlsafe_b64encode
from string import Formatter
from typing import Any

import asyncpg
import pytest
from cryptography.fernet import Fernet
from hypothesis import given as given_any
from hypothesis import strategies as st
from sqlalchemy import Column
from sqlalchemy.exc import StatementError

from app.accounts.models import SecondFactor
from app.accounts.second_factor import _context as second_factor_context
from app.brokers.keys import credentials_of
from app.brokers.models import Broker
from app.brokers.schemas import BrokerIn, BrokerPatch
from app.brokers.service import change_broker, create_broker, get_broker, list_brokers, remove_broker, set_default
from app.core.clock import SystemClock
from app.core.crypto import Vault, fingerprint
from app.core.db import Database
from app.core.ids import new_id
from app.core.models import Base, Encrypted
from app.errors import BadCredentials, BrokerNotFound, InvalidInput, KeyMissing, KeyUnreadable, NameTaken
from tests.app.conftest import API_SECRET, FERNET_KEY, Pieces, make_broker, make_user, open_account

CONTEXT = "broker:1:api_key"


def test_what_is_sealed_opens_in_its_place_only() -> None:
    vault = Vault((FERNET_KEY,))
    sealed = vault.seal("top secret ✓", context=CONTEXT)
    assert b"top secret" not in sealed
    assert vault.open(sealed, context=CONTEXT) == "top secret ✓"
    with pytest.raises(KeyUnreadable, match="moved here from another row"):
        vault.open(sealed, context="broker:2:api_key")


def test_same_text_is_sealed_differently_each_time() -> None:
    vault = Vault((FERNET_KEY,))
    assert vault.seal("x", context=CONTEXT) != vault.seal("x", context=CONTEXT)


def test_new_key_seals_and_the_old_one_still_opens() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed_before = Vault((old,)).seal("x", context=CONTEXT)
    rotated = Vault((new, old))
    assert rotated.open(sealed_before, context=CONTEXT) == "x"
    sealed_after = rotated.seal("y", context=CONTEXT)
    assert Vault((new,)).open(sealed_after, context=CONTEXT) == "y"
    with pytest.raises(KeyUnreadable, match="Put that key back"):
        Vault((old,)).open(sealed_after, context=CONTEXT)


@pytest.mark.parametrize("ciphertext", [b"", b"gAAAA", b"plain"])
def test_what_is_no_ciphertext_does_not_open(ciphertext: bytes) -> None:
    with pytest.raises(KeyUnreadable):
        Vault((FERNET_KEY,)).open(ciphertext, context=CONTEXT)


def test_a_vault_without_its_sealing_key_seals_nothing_and_says_which_state_it_is_in() -> None:
    there, missing = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed_with_missing = Vault((missing,)).seal("x", context=CONTEXT)
    vault = Vault((there,), sealing=fingerprint(missing))
    assert vault.sealing not in vault.fingerprints
    with pytest.raises(KeyMissing):
        vault.seal("x", context=CONTEXT)
    with pytest.raises(KeyMissing):
        vault.open(sealed_with_missing, context=CONTEXT)
    assert vault.open(Vault((there,)).seal("x", context=CONTEXT), context=CONTEXT) == "x"
    vault.replace((there, missing), sealing=fingerprint(missing))
    assert vault.is_whole
    assert vault.open(sealed_with_missing, context=CONTEXT) == "x"


def test_a_vault_shows_no_key_and_does_not_leave_its_process() -> None:
    vault = Vault((FERNET_KEY,))
    assert FERNET_KEY not in repr(vault)
    assert fingerprint(FERNET_KEY) in repr(vault)
    with pytest.raises(TypeError):
        pickle.dumps(vault)


KEYS = st.binary(min_size=32, max_size=32).map(lambda raw: urlsafe_b64encode(raw).decode())


@given_any(keys=st.lists(KEYS, min_size=1, max_size=4, unique=True), text=st.text(max_size=200), data=st.data())
def test_resealing_keeps_every_secret_and_its_time_and_ends(keys: list[str], text: str, data: st.DataObject) -> None:
    old, new = data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(keys))
    was_called = data.draw(st.sampled_from([CONTEXT, "an older name"]))
    sealed = Vault((old,)).seal(text, context=was_called)
    vault = Vault(tuple(keys), sealing=fingerprint(new))

    resealed = vault.resealed(sealed, context=CONTEXT, before="an older name")

    assert (resealed is None) is (old == new and was_called == CONTEXT)
    present = resealed or sealed
    assert Vault((new,)).open(present, context=CONTEXT) == text
    assert Fernet(new).extract_timestamp(present) == Fernet(old).extract_timestamp(sealed)
    assert vault.resealed(present, context=CONTEXT, before="an older name") is None
    with pytest.raises(KeyUnreadable):
        Vault((new,)).open(present, context="somewhere else", before="yet another name")


def encrypted_columns() -> list[Column[Any]]:
    return [column for table in Base.metadata.sorted_tables for column in table.columns if isinstance(column.type, Encrypted)]


def test_every_encrypted_column_is_bound_to_its_user_its_row_and_itself() -> None:
    places = []
    for column in encrypted_columns():
        kind = column.type
        assert isinstance(kind, Encrypted)
        (key,) = column.table.primary_key.columns
        named = {name for _, name, _, _ in Formatter().parse(kind.place) if name}
        whose = "id" if column.table.name == "users" else "user_id"
        assert {whose, key.name} <= named
        places.append(kind.place)
    assert len(set(places)) == len(places) == 8


def test_the_second_factor_is_sealed_for_the_place_that_its_column_names() -> None:
    kind, user_id = SecondFactor.__table__.c.secret.type, new_id()
    assert isinstance(kind, Encrypted)
    assert kind.named({"user_id": user_id})["context"] == second_factor_context(user_id)


@pytest.mark.asyncio
@pytest.mark.parametrize("column", encrypted_columns(), ids=str)
async def test_postgresql_itself_refuses_plaintext(column: Column[Any], pieces: Pieces) -> None:
    table, name = column.table.name, column.name
    token = Vault((FERNET_KEY,)).seal("", context="").decode()
    async with pieces.database.connection() as connection:
        await connection.execute(
            "INSERT INTO second_factors (user_id, secret, created_at) VALUES ($1, $2, now())", pieces.user_id, token
        )  # the shortest that can be
        await connection.execute(
            "INSERT INTO notification_targets (id, user_id, name, service, url, hint) VALUES ($1, $2, 'Phone', 'ntfy', $3, '')",
            new_id(), pieces.user_id, token,
        )  # fmt: skip
        await connection.execute("INSERT INTO notification_settings (user_id) VALUES ($1)", pieces.user_id)
        for plain in ("my key in the clear", "", "gAAAA", token[:-8], token + "\n", " " + token, token.replace("gAAAA", "hAAAA")):
            with pytest.raises(asyncpg.CheckViolationError, match=f"ck_{table}_{name}_sealed"):
                await connection.execute(f"UPDATE {table} SET {name} = $1", plain)
        assert await connection.execute(f"UPDATE {table} SET {name} = $1", token) == "UPDATE 1"


@pytest.mark.asyncio
async def test_keys_of_an_account_that_was_given_to_another_user_do_not_open(pieces: Pieces) -> None:
    eve = await make_user(pieces.database, "eve")
    async with pieces.database.transaction() as session:
        broker = await get_broker(session, pieces.user_id, pieces.broker_id)
        assert credentials_of(pieces.vault, broker).api_key == pieces.api_key
        broker.user_id = eve
        with pytest.raises(KeyUnreadable, match="moved"):
            credentials_of(pieces.vault, broker)
        await session.rollback()


@pytest.mark.asyncio
async def test_keys_that_an_earlier_version_sealed_still_open(pieces: Pieces) -> None:
    async with pieces.database.transaction() as session:
        broker = await get_broker(session, pieces.user_id, pieces.broker_id)
        broker.api_key = pieces.vault.seal("older", context=f"broker:{broker.id}:api_key")
        assert credentials_of(pieces.vault, broker).api_key == "older"
        await session.rollback()


def given(name: str = "Main", **fields: object) -> BrokerIn:
    return BrokerIn.model_validate({"exchange": "binance", "name": name, "api_key": " key-1234567890 ", "api_secret": "s", **fields})


@pytest.mark.asyncio
async def test_plaintext_cannot_reach_the_column(database: Database) -> None:
    user_id = await make_user(database)
    broker = Broker(id=new_id(), user_id=user_id, exchange="binance", name="x", api_key=b"my key in the clear")
    with pytest.raises(StatementError, match="encrypt the value"):
        async with database.transaction() as session:
            session.add(broker)


@pytest.mark.asyncio
async def test_stored_keys_are_ciphertext_bound_to_their_account(database: Database) -> None:
    vault = Vault((FERNET_KEY,))
    user_id = await make_user(database)
    async with database.transaction() as session:
        one = await create_broker(session, vault, user_id, given(api_password="p"))
        other = await create_broker(session, vault, user_id, given("Other"))
    async with database.connection() as connection:
        stored = await connection.fetchrow("SELECT api_key, api_secret, api_password FROM brokers WHERE id = $1", one.id)
    assert all(value.startswith("gAAAA") for value in stored.values())
    opened = credentials_of(vault, one)
    assert (opened.api_key, opened.api_secret, opened.api_password, one.key_hint) == ("key-1234567890", "s", "p", "7890")
    assert "1234" not in repr(opened)
    other.api_key = one.api_key
    with pytest.raises(KeyUnreadable, match="moved"):
        credentials_of(vault, other)


@pytest.mark.asyncio
async def test_first_account_is_the_default_one_and_a_removed_one_hands_it_on(database: Database) -> None:
    vault, user_id = Vault((FERNET_KEY,)), await make_user(database)
    async with database.transaction() as session:
        first = await create_broker(session, vault, user_id, given("First"))
        second = await create_broker(session, vault, user_id, given("Second"))
        third = await create_broker(session, vault, user_id, given("Third", is_default=True))
        assert [broker.name for broker in await list_brokers(session, user_id)] == ["Third", "First", "Second"]
        await set_default(session, user_id, second.id)
        await set_default(session, user_id, second.id)
    async with database.transaction() as session:
        await remove_broker(session, user_id, second.id, now=SystemClock().now())
    async with database.transaction() as session:
        left = await list_brokers(session, user_id)
        assert [(broker.id, broker.is_default) for broker in left] == [(first.id, True), (third.id, False)]
        with pytest.raises(BrokerNotFound):
            await get_broker(session, user_id, second.id)
    async with database.connection() as connection:
        gone = await connection.fetchrow("SELECT api_key, api_secret, key_hint FROM brokers WHERE id = $1", second.id)
    assert tuple(gone.values()) == (None, None, "")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"exchange": "nowhere"}, InvalidInput, "exchange"),
        ({"exchange": "okx"}, InvalidInput, "api_password"),
        ({"exchange": "kraken", "is_testnet": True}, InvalidInput, "is_testnet"),
        ({"name": "TAKEN"}, NameTaken, "name"),
    ],
)
async def test_account_that_cannot_be_is_refused_by_field(
    database: Database, fields: dict[str, object], error: type[InvalidInput | NameTaken], field: str
) -> None:
    vault, user_id = Vault((FERNET_KEY,)), await make_user(database)
    async with database.transaction() as session:
        await create_broker(session, vault, user_id, given("Taken"))
    with pytest.raises(error) as caught:
        async with database.transaction() as session:
            await create_broker(session, vault, user_id, BrokerIn.model_validate({**given("Free").model_dump(), **fields}))
    assert caught.value.field == field


@pytest.mark.asyncio
async def test_fields_that_are_null_or_left_out_stay(database: Database) -> None:
    vault, user_id = Vault((FERNET_KEY,)), await make_user(database)
    async with database.transaction() as session:
        broker = await create_broker(session, vault, user_id, given())
        empty = BrokerPatch.model_validate({"name": None, "description": None, "is_active": None})
        changed = await change_broker(session, vault, user_id, broker.id, empty)
        assert (changed.name, changed.description, changed.is_active) == ("Main", "", True)
        with pytest.raises(InvalidInput, match="together"):
            await change_broker(session, vault, user_id, broker.id, BrokerPatch.model_validate({"api_key": "alone"}))


@pytest.mark.asyncio
async def test_connection_of_an_account_never_keeps_keys_that_were_changed(pieces: Pieces) -> None:
    before = await pieces.connections.client(pieces.broker_id)
    new_key = open_account(pieces.emulator)
    async with asyncio.TaskGroup() as group, pieces.database.transaction() as session:
        changes = BrokerPatch.model_validate({"api_key": new_key, "api_secret": API_SECRET})
        await change_broker(session, pieces.vault, pieces.user_id, pieces.broker_id, changes)
        await pieces.connections.drop(pieces.broker_id)
        early = group.create_task(pieces.connections.client(pieces.broker_id))
        await asyncio.sleep(0.1)
        assert not early.done(), "it waits for the commit"
    assert early.result() is not before
    await pieces.submit()
    assert [order["api_key"] for order in pieces.emulator.orders() if order["api_key"] in (new_key, pieces.api_key)] == [new_key]


@pytest.mark.asyncio
async def test_new_keys_lift_the_pause_that_refused_ones_caused(pieces: Pieces) -> None:
    broker_id = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key="a-key-nobody-opened", name="Bad")
    with pytest.raises(BadCredentials):
        await pieces.submit(broker_id=broker_id)
    async with pieces.database.transaction() as session:
        assert (await get_broker(session, pieces.user_id, broker_id)).paused_reason is not None
    changes = BrokerPatch.model_validate({"api_key": open_account(pieces.emulator), "api_secret": API_SECRET})
    async with pieces.database.transaction() as session:
        await change_broker(session, pieces.vault, pieces.user_id, broker_id, changes)
    await pieces.connections.drop(broker_id)
    assert (await pieces.submit(broker_id=broker_id)).order.state.value == "filled"
