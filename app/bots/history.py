"""The candles that a bot's strategy needs before its first decision: stored ones, sums of minutes, and what the exchange still has."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from app.bots import words
from app.bots.log import Said, said
from app.bots.roster import LiveBot, Market
from app.domain.arrays import Candles
from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.candle_sources import CandleSources, Series
from app.marketdata.instruments import InstrumentBook
from app.sandbox.messages import Described, Frame

#: Beyond the warm-up. Averages remember what was before their window a little: so many more make that less than prices are told to.
BEYOND: Final = 500
#: Of other timeframes and symbols, before the first candle of the bot's own.
_OF_OTHERS: Final = 300
#: Candles that a window may have; a year of hours.
MOST: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Frames for a worker, the bot's own market first. `needed` is what its strategy needs of those; `trouble` why more cannot be had."""

    markets: tuple[Market, ...]
    frames: tuple[tuple[Frame, Candles], ...]
    needed: int
    trouble: str | None

    @property
    def is_enough(self) -> bool:
        """Whether there are as many as the strategy needs, and any of each other market."""
        return len(self.frames[0][1]) >= max(self.needed, 1) and all(len(candles) for _, candles in self.frames)


class Histories:
    """Brings candles together. Bots of one market find them stored when the first of them had them fetched.

    Args:
        sources: Where they are found.
        instruments: Tells which symbol a strategy means.
    """

    def __init__(self, sources: CandleSources, instruments: InstrumentBook) -> None:
        self._sources = sources
        self._instruments = instruments

    async def of(self, bot: LiveBot, described: Described, *, until: datetime) -> History:
        """Return the candles of a bot that had closed by `until`, by the venue's clock.

        Raises:
            SymbolNotFound: the exchange lists no such symbol as the strategy asks for.
            ExchangeError: nobody knows what it lists.
        """
        markets = [bot.market]
        for one in described.informative:
            symbol = (await self._instruments.require(bot.exchange, one.symbol)).symbol if one.symbol else bot.market.symbol
            markets.append(Market(symbol=symbol, timeframe=Timeframe(one.timeframe)))
        unique = tuple(dict.fromkeys(markets))
        rows = min(described.warm_up + BEYOND, MOST)
        own = bot.market.timeframe
        first = own.floor(until) - rows * own.duration
        found = await asyncio.gather(*(self._candles(bot.exchange, market, first, until, is_own=market == bot.market) for market in unique))
        frames = tuple(
            (Frame(symbol=market.symbol, timeframe=market.timeframe.value, rows=len(candles)), candles)
            for market, (candles, _) in zip(unique, found, strict=True)
        )
        trouble = next((why for _, why in found if why is not None), None)
        return History(markets=unique, frames=frames, needed=described.warm_up, trouble=trouble)

    async def _candles(
        self, exchange: str, market: Market, first: datetime, until: datetime, *, is_own: bool
    ) -> tuple[Candles, str | None]:
        step = market.timeframe.duration
        start = first if is_own else market.timeframe.floor(first) - _OF_OTHERS * step
        end = market.timeframe.floor(until)
        found = await self._sources.find(exchange, Series(market.symbol, market.timeframe), start, end, told=_nobody)
        rows = found.candles[found.candles["open_time"] < to_milliseconds(end)]
        names = ("open_time", "open", "high", "low", "close", "volume")
        return Candles(*(np.ascontiguousarray(rows[name]) for name in names)), found.trouble


def _nobody(_series: Series, _done: int, _total: int, _wait_s: float) -> None:
    """Nobody watches how far fetching is: what a bot waits for stands in its state."""


def too_few(history: History) -> Said:
    """Return why a history is not enough."""
    if history.trouble is not None:
        return said(words.NO_CANDLES, why=history.trouble)
    there = min(len(candles) for _, candles in history.frames)
    return said(words.WANTS_CANDLES, there=there, needed=max(history.needed, 1))
