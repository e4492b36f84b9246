"""Venues in memory that have some minutes and answer as different exchanges do: what ccxt makes of them is told where each is made."""

from datetime import UTC, datetime, timedelta
from typing import Final

from app.domain.candles import Candle, Timeframe
from app.domain.instruments import Instrument
from app.exchanges.candle_pages import CandleOffer
from app.marketdata.aggregate import aggregate, to_array, to_candles

START: Final = datetime(2026, 5, 1, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
ALL: Final = frozenset(Timeframe) - {Timeframe.M10}


def candle(minute: int) -> Candle:
    price = 100.0 + minute % 7
    return Candle(open_time=START + minute * MINUTE, open=price, high=price + 2, low=price - 1, close=price + 1, volume=1.5)


class CandleVenue:
    """Gives the first candles of what is asked for, as Binance does."""

    exchange = "binance"

    def __init__(self, minutes: list[int], *, now_minute: int, at_once: int = 1000, timeframes: frozenset[Timeframe] = ALL) -> None:
        self._minutes = [candle(minute) for minute in sorted(set(minutes))]
        self._longer: dict[Timeframe, list[Candle]] = {Timeframe.M1: self._minutes}
        self._now = START + now_minute * MINUTE + timedelta(seconds=30)
        self._offer = CandleOffer(timeframes=timeframes, at_once=at_once)
        self.asked: list[tuple[Timeframe, datetime | None, datetime | None]] = []
        self.errors: list[Exception] = []

    @property
    def candle_offer(self) -> CandleOffer:
        return self._offer

    async def instruments(self) -> dict[str, Instrument]:
        raise NotImplementedError

    async def server_time(self) -> datetime:
        return self._now

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = 1000
    ) -> list[Candle]:
        assert timeframe in self._offer.timeframes
        self.asked.append((timeframe, start, end))
        if self.errors:
            raise self.errors.pop(0)
        shown = [each for each in self._of(timeframe) if each.open_time <= self._now]
        found = self.answer(shown, timeframe, start, end, min(limit, self._offer.at_once))
        # As the client does with whatever comes.
        return [each for each in found if (start is None or each.open_time >= start) and (end is None or each.open_time <= end)]

    def answer(self, candles: list[Candle], timeframe: Timeframe, start: datetime | None, end: datetime | None, limit: int) -> list[Candle]:
        if start is None:
            return candles[-limit:]
        return [each for each in candles if each.open_time >= start and (end is None or each.open_time <= end)][:limit]

    def _of(self, timeframe: Timeframe) -> list[Candle]:
        if timeframe not in self._longer:
            self._longer[timeframe] = to_candles(aggregate(to_array(self._minutes), timeframe)[0])
        return self._longer[timeframe]


class NewestOnly(CandleVenue):
    """Gives its newest candles whatever is asked for, as Kraken does for what is too old."""

    kept = 720

    def answer(self, candles: list[Candle], timeframe: Timeframe, start: datetime | None, end: datetime | None, limit: int) -> list[Candle]:
        return [each for each in candles[-self.kept :] if start is None or each.open_time >= start][:limit]


class NeedsAnEnd(CandleVenue):
    """Looks no further than as many candles as it gives, as Coinbase and OKX do."""

    def answer(self, candles: list[Candle], timeframe: Timeframe, start: datetime | None, end: datetime | None, limit: int) -> list[Candle]:
        last = start + limit * timeframe.duration if start is not None and end is None else end
        return super().answer(candles, timeframe, start, last, limit)


class LastOnesFirst(CandleVenue):
    """Gives the last candles of what is asked for, and without an end its newest ones; one answer may hold fewer than it says."""

    def answer(self, candles: list[Candle], timeframe: Timeframe, start: datetime | None, end: datetime | None, limit: int) -> list[Candle]:
        found = [each for each in candles if (start is None or each.open_time >= start) and (end is None or each.open_time <= end)]
        return found[-max(limit // 2, 1) :]


class ForgetsMinutes(NeedsAnEnd):
    """Keeps short candles for some time only, and longer ones for ever."""

    forgotten_before = START

    def answer(self, candles: list[Candle], timeframe: Timeframe, start: datetime | None, end: datetime | None, limit: int) -> list[Candle]:
        if timeframe.duration < timedelta(hours=12):
            candles = [each for each in candles if each.open_time >= self.forgotten_before]
        return super().answer(candles, timeframe, start, end, limit)
