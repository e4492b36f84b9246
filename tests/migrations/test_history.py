"""The step that gives fills their position: an installation with trades of before."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config

from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.ids import new_id
from app.core.paths import resource
from app.core.postgres_roles import APP_ROLE
from app.core.tenancy import working_for
from app.trading import history
from app.trading.round_trips import trip_of
from tests.app.conftest import make_user
from tests.app.test_trade_history import account_of
from tests.postgres import connected

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ORDER = """
INSERT INTO orders (id, user_id, broker_id, client_order_id, symbol, side, type, state, quantity, time_in_force, post_only, source, key,
  leg, attempt, created_at, updated_at)
VALUES ($1, $2, $3, $4, 'BTC/USDT', $5, 'market', 'filled', 1, 'gtc', false, 'manual', $4, 0, 0, $6, $6)
"""
FILL = """
INSERT INTO fills (broker_id, symbol, trade_id, order_id, user_id, side, price, quantity, fee, fee_asset, liquidity, executed_at)
VALUES ($1, 'BTC/USDT', $2, $3, $4, $5, $6, 1, 0.5, 'USDT', 'taker', $7)
"""
POSITION = """
INSERT INTO positions (id, user_id, broker_id, symbol, base, quote, quantity, realized_pnl, fees, source, status, opened_at, updated_at,
  closed_at)
VALUES ($1, $2, $3, 'BTC/USDT', 'BTC', 'USDT', 0, 9, 1, 'manual', 'closed', $4, $5, $5)
"""


@pytest.mark.asyncio
async def test_fills_of_before_belong_to_the_position_that_was_open_then(database_urls: DatabaseUrls) -> None:
    database = Database(database_urls.app, is_for_tenants=False)
    await database.open()
    user_id = await make_user(database)
    broker_id = await account_of(database, user_id)
    config = Config(attributes={"owner_url": database_urls.owner, "app_role": APP_ROLE})
    config.set_main_option("script_location", str(resource("migrations")))
    await database.close()
    await asyncio.to_thread(command.downgrade, config, "20261126_03")
    trips: list[UUID] = []
    async with connected(database_urls.owner) as owner:
        for number, sides in enumerate((("buy", "sell"), ("sell", "buy"))):
            begin, end = NOW + timedelta(hours=number), NOW + timedelta(hours=number, minutes=10)
            trips.append(new_id())
            await owner.execute(POSITION, trips[-1], user_id, broker_id, begin, end)
            for side, at, price in zip(sides, (begin, end), (100, 110), strict=True):
                order_id = new_id()
                await owner.execute(ORDER, order_id, user_id, broker_id, order_id.hex, side, at)
                await owner.execute(FILL, broker_id, order_id.hex, order_id, user_id, side, price, at)
    await asyncio.to_thread(command.upgrade, config, "head")
    database = Database(database_urls.app)
    await database.open()
    with working_for(user_id):
        rows, _ = await history.page_of_trades(database, user_id)
    await database.close()
    found = {row["id"]: trip_of(row) for row in rows}
    long, short = (found[trip_id] for trip_id in trips)
    assert (long.side, long.entry_price, long.exit_price) == ("long", Decimal(100), Decimal(110))
    assert (long.fees_by_asset, long.fill_count) == ({"USDT": "1"}, 2)
    assert (short.side, short.entry_price, short.exit_price) == ("short", Decimal(100), Decimal(110))
