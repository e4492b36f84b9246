"""The step that tells symbols that are listed no longer from halted ones, on an installation that has both."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.config import Config

from app.core.database_url import DatabaseUrls
from app.core.paths import resource
from app.core.postgres_roles import APP_ROLE
from tests.postgres import connected

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LISTED = """
INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, last_updated, tick_size, step_size, raw_info)
VALUES (gen_random_uuid(), $1, $2, 'spot', 'A', 'B', $3, $4, 1, 1, '{}')
"""


@pytest.mark.asyncio
async def test_what_was_missing_at_the_last_refresh_is_delisted_since_then_and_a_halted_symbol_is_not(database_urls: DatabaseUrls) -> None:
    config = Config(attributes={"owner_url": database_urls.owner, "app_role": APP_ROLE})
    config.set_main_option("script_location", str(resource("migrations")))
    await asyncio.to_thread(command.downgrade, config, "20261125_73")
    gone_at = NOW - timedelta(days=3)
    async with connected(database_urls.owner) as owner:
        for exchange, symbol, is_active, at in (
            ("binance", "BTC/USDT", True, NOW),
            ("binance", "HALTED/USDT", False, NOW),
            ("binance", "GONE/USDT", False, gone_at),
            ("kraken", "HALTED/EUR", False, gone_at),
        ):
            await owner.execute(LISTED, exchange, symbol, is_active, at)
    await asyncio.to_thread(command.upgrade, config, "head")
    async with connected(database_urls.owner) as owner:
        rows = await owner.fetch("SELECT symbol, delisted_at FROM instruments WHERE delisted_at IS NOT NULL")
    assert [tuple(row) for row in rows] == [("GONE/USDT", gone_at)]
