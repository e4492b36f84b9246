"""The steps that give bots positions of their own: an installation that trades while it is upgraded."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.ids import new_id
from app.core.paths import resource
from app.core.postgres_roles import APP_ROLE
from tests.app.conftest import make_user
from tests.app.test_trade_history import account_of
from tests.postgres import connected

NOW = datetime(2026, 11, 26, tzinfo=UTC)
BEFORE = "20261126_31"
ORDER = """
INSERT INTO orders (id, user_id, broker_id, client_order_id, symbol, side, type, state, quantity, time_in_force, post_only, source, key,
  leg, attempt, created_at, updated_at, role, delivery_id)
VALUES ($1, $2, $3, $1::uuid::text, 'BTC/USDT', $4, 'market', 'filled', 1, 'gtc', false, 'webhook', $1::uuid::text, 0, 0, $5, $5, $6, $7)
"""
FILL = """
INSERT INTO fills (broker_id, symbol, trade_id, order_id, user_id, side, price, quantity, fee, fee_asset, liquidity, executed_at,
  position_id)
VALUES ($1, 'BTC/USDT', $2::uuid::text, $2::uuid, $3, $4, 100, 1, 0, 'USDT', 'taker', $5, $6)
"""
POSITION = """
INSERT INTO positions (id, user_id, broker_id, bot_id, symbol, base, quote, quantity, source, status, opened_at, updated_at, closed_at)
VALUES ($1, $2, $3, $4, $5, split_part($5, '/', 1), 'USDT', 1, 'webhook', $6, $7, $7, $8)
"""
PROTECTION = """
INSERT INTO protections (id, user_id, broker_id, bot_id, symbol, status, mode, plan, base_quantity, created_at, updated_at)
VALUES (gen_random_uuid(), $1, $2, $3, 'BTC/USDT', 'active', 'pairs', '{}'::jsonb, 1, $4, $4)
"""


def alembic(urls: DatabaseUrls) -> Config:
    config = Config(attributes={"owner_url": urls.owner, "app_role": APP_ROLE})
    config.set_main_option("script_location", str(resource("migrations")))
    return config


async def owner_of_an_account(urls: DatabaseUrls) -> tuple[Any, Any]:
    database = Database(urls.app, is_for_tenants=False)
    await database.open()
    user_id = await make_user(database)
    broker_id = await account_of(database, user_id)
    await database.close()
    return user_id, broker_id


@pytest.mark.asyncio
async def test_positions_of_before_say_what_closed_them_and_which_delivery_opened_them(database_urls: DatabaseUrls) -> None:
    user_id, broker_id = await owner_of_an_account(database_urls)
    config = alembic(database_urls)
    await asyncio.to_thread(command.downgrade, config, BEFORE)
    closed, still_open, bare, delivery = new_id(), new_id(), new_id(), new_id()
    async with connected(database_urls.owner) as owner:
        await owner.execute(POSITION, closed, user_id, broker_id, None, "BTC/USDT", "closed", NOW, NOW)
        await owner.execute(POSITION, still_open, user_id, broker_id, None, "BTC/USDT", "open", NOW, None)
        await owner.execute(POSITION, bare, user_id, broker_id, None, "ETH/USDT", "closed", NOW, NOW)
        lives = [(closed, "buy", "entry", delivery), (closed, "sell", "target", None), (closed, "sell", "stop", None)]
        for minute, (position_id, side, role, origin) in enumerate([*lives, (still_open, "buy", "entry", delivery)]):
            order_id, at = new_id(), NOW + timedelta(minutes=minute)
            await owner.execute(ORDER, order_id, user_id, broker_id, side, at, role, origin)
            await owner.execute(FILL, broker_id, order_id, user_id, side, at, position_id)
    await asyncio.to_thread(command.upgrade, config, "head")
    async with connected(database_urls.owner) as owner:
        rows = await owner.fetch("SELECT id, exit_role, delivery_id FROM positions")
    assert {tuple(row) for row in rows} == {(closed, "stop", delivery), (still_open, None, delivery), (bare, None, None)}


@pytest.mark.asyncio
async def test_each_bot_and_the_hand_has_one_open_position_and_one_protection(database_urls: DatabaseUrls) -> None:
    user_id, broker_id = await owner_of_an_account(database_urls)
    owners = (None, new_id(), new_id())
    async with connected(database_urls.owner) as owner:
        for bot_id in owners:
            for status, closed_at in (("open", None), ("closed", NOW)):
                await owner.execute(POSITION, new_id(), user_id, broker_id, bot_id, "BTC/USDT", status, NOW, closed_at)
            await owner.execute(PROTECTION, user_id, broker_id, bot_id, NOW)
        for bot_id in owners:
            with pytest.raises(asyncpg.UniqueViolationError):
                await owner.execute(POSITION, new_id(), user_id, broker_id, bot_id, "BTC/USDT", "open", NOW, None)
            with pytest.raises(asyncpg.UniqueViolationError):
                await owner.execute(PROTECTION, user_id, broker_id, bot_id, NOW)
    config = alembic(database_urls)
    await asyncio.to_thread(command.downgrade, config, BEFORE)
    async with connected(database_urls.owner) as owner:
        active = await owner.fetchval("SELECT count(*) FROM protections WHERE status = 'active'")
        assert active == 1, "an older program knows the hand's only"
    await asyncio.to_thread(command.upgrade, config, "head")
