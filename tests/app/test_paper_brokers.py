"""Paper accounts as broker accounts: made without keys, begun anew, and never mistaken for a real one."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.brokers.schemas import BrokerIn, BrokerPatch
from app.brokers.service import change_broker, create_broker
from app.core.crypto import Vault
from app.core.db import Database
from app.errors import InvalidInput
from tests.app.conftest import FERNET_KEY, make_user

pytestmark = pytest.mark.asyncio


async def made(database: Database, **given: Any) -> Any:
    user_id = await make_user(database)
    async with database.transaction() as session:
        broker = await create_broker(session, Vault((FERNET_KEY,)), user_id, BrokerIn.model_validate({"name": "Practice", **given}))
    return broker


async def account_of(database: Database, broker_id: Any) -> Any:
    async with database.connection() as connection:
        return await connection.fetchrow(
            "SELECT a.*, b.free FROM paper_accounts a JOIN paper_balances b USING (broker_id) WHERE broker_id = $1", broker_id
        )


async def test_a_paper_account_needs_no_keys_and_starts_with_ten_thousand(database: Database) -> None:
    broker = await made(database, exchange="paper")

    account = await account_of(database, broker.id)
    assert (account["free"], account["balance_usdt"]) == (10_000, 10_000)
    assert account["maker_fee"] == account["taker_fee"] == Decimal("0.001")
    assert account["user_id"] == broker.user_id
    assert broker.api_key is None
    assert broker.is_default


async def test_a_paper_account_starts_with_what_was_asked(database: Database) -> None:
    broker = await made(database, exchange="paper", paper_balance_usdt="250.5", paper_taker_fee="0.002")

    account = await account_of(database, broker.id)
    assert (account["free"], account["maker_fee"], account["taker_fee"]) == (Decimal("250.5"), Decimal("0.001"), Decimal("0.002"))


async def test_keys_that_are_given_with_a_paper_account_are_not_kept(database: Database) -> None:
    broker = await made(database, exchange="paper", api_key="typed-by-mistake", api_secret="typed-by-mistake")

    assert broker.api_key is None
    assert broker.key_hint == ""


@pytest.mark.parametrize("balance", ["0", "-1", "1000000001", "0.000000001", "NaN", "Infinity", "much"])
async def test_a_starting_balance_is_a_sensible_number(balance: str) -> None:
    with pytest.raises(ValidationError):
        BrokerIn.model_validate({"name": "Practice", "exchange": "paper", "paper_balance_usdt": balance})


async def test_a_real_account_still_needs_its_keys_and_has_no_play_money(database: Database) -> None:
    with pytest.raises(InvalidInput, match="Binance needs an API key"):
        await made(database, exchange="binance")
    keys = {"api_key": "k" * 20, "api_secret": "s" * 20}
    async with database.connection() as connection:
        await connection.execute("DELETE FROM users")
    with pytest.raises(InvalidInput, match="paper account only"):
        await made(database, exchange="binance", paper_balance_usdt="100", **keys)


async def test_only_a_paper_accounts_fees_can_be_changed_and_it_takes_no_keys(database: Database) -> None:
    vault = Vault((FERNET_KEY,))
    broker = await made(database, exchange="paper")
    before = (await account_of(database, broker.id))["revision"]

    async with database.transaction() as session:
        await change_broker(session, vault, broker.user_id, broker.id, BrokerPatch(paper_maker_fee=Decimal(0)))
    account = await account_of(database, broker.id)
    assert (account["maker_fee"], account["taker_fee"], account["revision"]) == (0, Decimal("0.001"), before + 1)

    patch = BrokerPatch.model_validate({"api_key": "k", "api_secret": "s"})
    async with database.transaction() as session:
        with pytest.raises(InvalidInput, match="no keys"):
            await change_broker(session, vault, broker.user_id, broker.id, patch)
