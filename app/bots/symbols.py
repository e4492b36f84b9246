"""Has the feed watch what live bots trade and look at. Runs beside the feed, whichever process has the engine."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

from app.bots.models import LIVE_SQL
from app.core.db import Database
from app.core.supervisor import Beat
from app.marketdata.instruments import InstrumentBook
from app.marketdata.watchers import Watchers

_EVERY_S: Final = 1.0
_WANTED: Final = f"""
SELECT DISTINCT b.symbol, array(SELECT DISTINCT one ->> 'symbol' FROM jsonb_array_elements(v.described -> 'informative') AS one) AS others
  FROM bots b JOIN strategy_versions v ON v.id = b.version_id WHERE b.exchange = $1 AND b.{LIVE_SQL}
"""  # noqa: S608  # constants


class BotSymbols:
    """Keeps the symbols of live bots watched.

    Args:
        database: The platform's.
        watchers: Of the feed.
        instruments: Tells which symbol a strategy means.
        exchange: Whose candles bots decide on.
    """

    def __init__(self, database: Database, watchers: Watchers, instruments: InstrumentBook, exchange: str) -> None:
        self._database = database
        self._watchers = watchers
        self._instruments = instruments
        self._exchange = exchange

    async def run(self, beat: Beat) -> None:
        """Look which symbols are wanted until cancelled; one that no bot wants any more is left to the feed's own patience."""
        held: dict[str, AsyncExitStack] = {}
        try:
            while True:
                wanted = await self._wanted()
                for symbol in wanted - held.keys():
                    held[symbol] = AsyncExitStack()
                    await held[symbol].enter_async_context(self._watchers.watching({symbol}))
                for symbol in held.keys() - wanted:
                    await held.pop(symbol).aclose()
                beat()
                await asyncio.sleep(_EVERY_S)
        finally:
            for stack in held.values():
                await stack.aclose()

    async def _wanted(self) -> set[str]:
        async with self._database.connection() as connection:
            rows: list[Any] = await connection.fetch(_WANTED, self._exchange)
        spelled = {symbol for row in rows for symbol in row["others"] if symbol}
        # A strategy may spell a symbol as people do.
        others = {symbol for text in spelled if (symbol := await self._instruments.resolve(self._exchange, text)) is not None}
        return {row["symbol"] for row in rows} | others
