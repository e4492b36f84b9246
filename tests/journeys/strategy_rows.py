"""Strategies that are there before a page is opened."""

from uuid import UUID, uuid4

from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.strategies.service import create_strategy
from tests.journeys.strategy_page import SOURCE
from tests.journeys.trader import Trader


async def stored_strategy(urls: DatabaseUrls, trader: Trader) -> str:
    """Store a strategy of the trader's and return its id."""
    user_id = UUID(trader.call("GET", "/api/auth/current")["id"])
    database = Database(urls.app)
    await database.open()
    try:
        async with database.transaction() as session:
            made = await create_strategy(session, user_id, name=f"Trend {uuid4().hex[:8]}", source=SOURCE, now=SystemClock().now())
            return str(made.id)
    finally:
        await database.close()
