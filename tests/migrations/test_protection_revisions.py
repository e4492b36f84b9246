"""The step that gives protections their position: an installation that guards positions while it is upgraded."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from app.core.crypto import Vault
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.ids import new_id
from app.core.paths import resource
from app.core.postgres_roles import APP_ROLE
from tests.app.conftest import FERNET_KEY, make_broker, make_user
from tests.postgres import connected

NOW = datetime(2026, 11, 25, tzinfo=UTC)
POSITION = """
INSERT INTO positions (id, user_id, broker_id, symbol, base, quote, quantity, source, status, opened_at, updated_at)
VALUES ($1, $2, $3, $4, split_part($4, '/', 1), 'USDT', 1, 'manual', $5, $6, $6)
"""
PROTECTION = """
INSERT INTO protections (id, user_id, broker_id, symbol, status, mode, plan, base_quantity, created_at, updated_at)
VALUES (gen_random_uuid(), $1, $2, $3, 'active', 'pairs', '{}'::jsonb, 1, $4, $4)
"""


@pytest.mark.asyncio
async def test_what_guarded_an_open_position_guards_it_after_the_upgrade_and_nothing_else(database_urls: DatabaseUrls) -> None:
    database = Database(database_urls.app)
    await database.open()
    user_id = await make_user(database)
    broker_id = await make_broker(database, Vault((FERNET_KEY,)), user_id, api_key="key-of-an-upgrade")
    await database.close()
    config = Config(attributes={"owner_url": database_urls.owner, "app_role": APP_ROLE})
    config.set_main_option("script_location", str(resource("migrations")))
    await asyncio.to_thread(command.downgrade, config, "20261125_51")
    open_id = new_id()
    async with connected(database_urls.owner) as owner:
        await owner.execute(POSITION, new_id(), user_id, broker_id, "BTC/USDT", "closed", NOW)
        await owner.execute(POSITION, open_id, user_id, broker_id, "BTC/USDT", "open", NOW)
        await owner.execute(PROTECTION, user_id, broker_id, "BTC/USDT", NOW)
        await owner.execute(PROTECTION, user_id, broker_id, "ETH/USDT", NOW)
    await asyncio.to_thread(command.upgrade, config, "head")
    async with connected(database_urls.owner) as owner:
        rows: list[Any] = await owner.fetch("SELECT symbol, position_id, revision, plan_since, plan_wished_at FROM protections")
    found = {row["symbol"]: tuple(row)[1:] for row in rows}
    assert found == {"BTC/USDT": (open_id, 0, NOW, NOW), "ETH/USDT": (None, 0, NOW, NOW)}
