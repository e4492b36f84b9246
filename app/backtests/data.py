"""Brings together what a backtest looks at: the traded market's candles with their warm-up, other markets, and minutes for the detail."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import numpy as np

from app.backtests.bounds import Bounds
from app.core.i18n import N_
from app.domain.arrays import Candles
from app.domain.candles import Timeframe, to_milliseconds
from app.errors import InvalidInput, NoCandles
from app.marketdata.candle_sources import CandleSources, Found, OnFetch, Series
from app.marketdata.history import EARLIEST
from app.marketdata.instruments import InstrumentBook
from app.sandbox.frames import CANDLE_COLUMNS
from app.sandbox.messages import MOST_FRAMES, Described, Frame
from app.strategies.candles import as_columns, timeframe_named

#: Candles of other timeframes before the first one of the strategy's own, so that their indicators have values by then.
_BEFORE: Final = 300
_MOST_GAPS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which candles. `start` and `end` lie on the timeframe's grid."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    start: datetime
    end: datetime
    is_detailed: bool = False


class FrameFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Candles of one market as they were seen; open times in ms, and the sum over all of their bytes."""

    symbol: str
    timeframe: str
    rows: int
    first_ms: int
    last_ms: int
    sha256: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a backtest looked at; stored with it.

    Attributes:
        rows: Candles of the traded market, the warm-up among them.
        start: Row of the first candle that could decide.
        warm_up: Candles that the strategy wants before it.
        frames: The traded market first, others as the strategy names them, minutes of the detail last.
        gaps: Holes in the traded market's candles, warm-up and range: start and end of open times in ms, and what the book of holes
            says of them (a `GapOutcome`; None: nothing). The longest ones, when there are very many.
        gap_count: Of all of them.
        missing: Candles in all of them.
        troubles: Why the exchange could not be asked for what is missing.
    """

    rows: int
    start: int
    warm_up: int
    frames: list[FrameFacts]
    gaps: list[tuple[int, int, str | None]]
    gap_count: int
    missing: int
    troubles: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that decisions and their simulation need, in memory.

    Attributes:
        frames: For a worker of the jail, the traded market first.
        detail: Of one minute, where they are walked.
        start: Row of the first candle that may decide.
        timeframe: Of the traded market.
        facts: What is stored of it.
        sha256: Over all candles.
        memory_bytes: That a run over them is expected to take.
    """

    frames: list[tuple[Frame, Candles]]
    detail: Candles | None
    start: int
    timeframe: Timeframe
    facts: Facts
    sha256: str
    memory_bytes: int

    @property
    def candles(self) -> Candles:
        """Of the traded market."""
        return self.frames[0][1]

    @property
    def lent_frames(self) -> list[tuple[Frame, Candles]]:
        """The frames, and the minutes of the detail behind them, which the account inside the jail walks as well."""
        if self.detail is None:
            return self.frames
        minutes = Frame(symbol=self.frames[0][0].symbol, timeframe=Timeframe.M1.value, rows=len(self.detail))
        return [*self.frames, (minutes, self.detail)]

    @property
    def detail_place(self) -> int | None:
        """Where the minutes of the detail lie among `lent_frames`."""
        return None if self.detail is None else len(self.frames)


class CandleData:
    """Prepares candles.

    Args:
        sources: Where they come from.
        instruments: What exchanges list: other markets are named as people write them.
        bounds: How much memory one may take.
    """

    def __init__(self, sources: CandleSources, instruments: InstrumentBook, bounds: Bounds) -> None:
        self._sources = sources
        self._instruments = instruments
        self._bounds = bounds

    async def expected(self, wanted: Wanted, described: Described) -> int:
        """Return the bytes that a run is expected to take, before anything is loaded.

        Raises:
            TooManyCandles: more than one may have.
            SymbolNotFound: the exchange does not list a market that the strategy wants besides.
            InvalidInput: there is no such timeframe.
        """
        series = await self._series(wanted, described)
        begins = [self._begin(wanted, described, one) for one in series]
        rows = [(wanted.end - begin) // one.timeframe.duration for one, begin in zip(series, begins, strict=True)]
        return self._bounds.check(rows[0], sum(rows[1:]), wanted.timeframe)

    async def prepare(self, wanted: Wanted, described: Described, *, told: OnFetch) -> Prepared:
        """Return the candles of a range, fetched where they are missing. It can be cancelled at any moment.

        Raises:
            NoCandles: there are none, or fewer than the warm-up.
            TooManyCandles: they take more memory than one may have.
            SymbolNotFound, InvalidInput: as `expected`.
        """
        await self.expected(wanted, described)
        series, found = await self._series(wanted, described), []
        for one in series:
            found.append(
                await self._sources.find(
                    wanted.exchange, one, self._begin(wanted, described, one), one.timeframe.floor(wanted.end), told=told
                )
            )
        return await asyncio.to_thread(self._put_together, wanted, described, series, found)

    async def _series(self, wanted: Wanted, described: Described) -> list[Series]:
        """Return the traded market, the others, and that of the detail last."""
        traded = Series(wanted.symbol, wanted.timeframe)
        others = []
        for one in described.informative:
            symbol = (await self._instruments.require(wanted.exchange, one.symbol)).symbol if one.symbol else wanted.symbol
            others.append(Series(symbol, timeframe_named(one.timeframe)))
        walked = [Series(wanted.symbol, Timeframe.M1)] if _walks(wanted) else []
        series = [traded, *dict.fromkeys(one for one in others if one != traded), *walked]
        if len(series) > MOST_FRAMES:
            raise InvalidInput(
                N_("the strategy looks at so many other markets that no minutes can be walked inside its candles"), field="options"
            )
        return series

    def _begin(self, wanted: Wanted, described: Described, one: Series) -> datetime:
        first = wanted.start - described.warm_up * wanted.timeframe.duration
        if one != Series(wanted.symbol, wanted.timeframe) and not (_walks(wanted) and one.timeframe is Timeframe.M1):
            first -= _BEFORE * one.timeframe.duration
        return one.timeframe.floor(max(first, EARLIEST))

    def _put_together(self, wanted: Wanted, described: Described, series: Sequence[Series], found: Sequence[Found]) -> Prepared:
        columns = [as_columns(one.candles) for one in found]
        traded = columns[0]
        start = max(int(np.searchsorted(traded.time, to_milliseconds(wanted.start))), described.warm_up)
        if start >= len(traded):
            raise _too_few(wanted, described, len(traded))
        has_detail = _walks(wanted)
        framed = list(zip(series, columns, strict=True))[: len(series) - has_detail]
        frames = [(Frame(symbol=one.symbol, timeframe=one.timeframe.value, rows=len(candles)), candles) for one, candles in framed]
        facts = [_facts(one, candles) for one, candles in zip(series, columns, strict=True)]
        holes = sorted(found[0].gaps, key=lambda hole: hole[0] - hole[1])
        return Prepared(
            frames=frames,
            detail=columns[-1] if has_detail else None,
            start=start,
            timeframe=wanted.timeframe,
            facts=Facts(
                rows=len(traded), start=start, warm_up=described.warm_up, frames=facts, gaps=sorted(holes[:_MOST_GAPS]),
                gap_count=len(holes), missing=sum(last - first for first, last, _ in holes) // wanted.timeframe.milliseconds,
                troubles=list(dict.fromkeys(one.trouble for one in found if one.trouble)),
            ),
            sha256=hashlib.sha256("".join(one.sha256 for one in facts).encode()).hexdigest(),
            memory_bytes=self._bounds.check(len(traded), sum(map(len, columns[1:])), wanted.timeframe),
        )  # fmt: skip


def _walks(wanted: Wanted) -> bool:
    return wanted.is_detailed and wanted.timeframe is not Timeframe.M1


def _too_few(wanted: Wanted, described: Described, rows: int) -> NoCandles:
    if not rows:
        return NoCandles(
            N_(
                f"{wanted.exchange} has no candles of {wanted.symbol} {wanted.timeframe.value} "
                f"between {wanted.start:%Y-%m-%d} and {wanted.end:%Y-%m-%d}"
            ),
            field="start_at",
        )
    return NoCandles(
        N_(f"there are {rows} candles, the warm-up among them: after the {described.warm_up} of the warm-up none is left to decide at"),
        field="start_at",
    )


def _facts(one: Series, candles: Candles) -> FrameFacts:
    total = hashlib.sha256(f"{one.symbol}|{one.timeframe.value}|{len(candles)}".encode())
    for name in CANDLE_COLUMNS:
        total.update(np.ascontiguousarray(getattr(candles, name)).data)
    edges = (int(candles.time[0]), int(candles.time[-1])) if len(candles) else (0, 0)
    return FrameFacts(
        symbol=one.symbol, timeframe=one.timeframe.value, rows=len(candles), first_ms=edges[0], last_ms=edges[1], sha256=total.hexdigest()
    )
