"""The step that gives the marks of a webhook's alerts their account."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config

from app.core.crypto import Vault
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.ids import new_id
from app.core.paths import resource
from app.core.postgres_roles import APP_ROLE
from app.webhooks.service import create_webhook
from tests.app.conftest import FERNET_KEY, make_broker, make_user
from tests.postgres import connected

NOW = datetime(2026, 11, 26, tzinfo=UTC)
BEFORE = "20261126_04"


@pytest.mark.asyncio
async def test_mark_goes_on_protecting_every_account_that_it_protected_and_nobody_elses(database_urls: DatabaseUrls) -> None:
    database, vault = Database(database_urls.app), Vault((FERNET_KEY,))
    await database.open()
    user_id = await make_user(database)
    accounts = [await make_broker(database, vault, user_id, api_key=f"key-{name}", name=name) for name in ("One", "Two", "Gone")]
    await make_broker(database, vault, await make_user(database, "eve"), api_key="key-of-another")
    async with database.transaction() as session:
        hook = (await create_webhook(session, user_id, name="Alerts", broker_id=None, now=NOW)).webhook.id
    async with database.connection() as connection:
        await connection.execute("UPDATE brokers SET removed_at = now() WHERE id = $1", accounts.pop())
    await database.close()
    config = Config(attributes={"owner_url": database_urls.owner, "app_role": APP_ROLE})
    config.set_main_option("script_location", str(resource("migrations")))

    async def marks(columns: str) -> list[Any]:
        async with connected(database_urls.owner) as owner:
            await owner.execute("SET app.scope = 'platform'")
            return [tuple(row) for row in await owner.fetch(f"SELECT {columns} FROM webhook_marks ORDER BY 1, 2")]

    async def write(statement: str, *values: object) -> None:
        async with connected(database_urls.owner) as owner:
            await owner.execute("SET app.scope = 'platform'")
            await owner.execute(statement, *values)

    await asyncio.to_thread(command.downgrade, config, BEFORE)
    delivery: UUID = new_id()
    await write("INSERT INTO webhook_marks VALUES ($1, 'BTC/USDT', $2, $3, $4)", hook, user_id, NOW, delivery)
    await asyncio.to_thread(command.upgrade, config, "head")
    assert await marks("broker_id, symbol, webhook_id, alert_at, delivery_id") == [
        (account, "BTC/USDT", hook, NOW, delivery) for account in sorted(accounts)
    ]
    await write("UPDATE webhook_marks SET alert_at = $2 WHERE broker_id = $1", accounts[1], NOW + timedelta(seconds=9))
    await asyncio.to_thread(command.downgrade, config, BEFORE)
    assert await marks("symbol, alert_at, user_id") == [("BTC/USDT", NOW + timedelta(seconds=9), user_id)]
