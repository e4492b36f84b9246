"""The candles that strategies are tried on: stored ones of the market that is asked for, or generated ones where too few are stored."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from app.core.clock import Clock
from app.core.db import Database
from app.core.i18n import N_
from app.domain.arrays import Candles
from app.domain.candles import Timeframe, from_milliseconds, to_milliseconds
from app.domain.instruments import Instrument
from app.errors import AppError, InvalidInput
from app.marketdata.aggregate import aggregate
from app.marketdata.bulk import CANDLE_DTYPE
from app.marketdata.bulk import Candles as Stored
from app.marketdata.instruments import InstrumentBook
from app.marketdata.store import CandleStore
from app.sandbox.messages import Costs, Described, Frame
from app.strategies.report import Found, TriedOn
from app.strategies.service import Market

#: Candles that a trial may have, the strategy's warm-up among them.
MOST_CANDLES: Final = 20_000
#: After the warm-up; with fewer stored ones a trial would say next to nothing.
_LEAST: Final = 100
#: Stored minutes that longer candles are made of where those are not stored themselves.
_MOST_MINUTES: Final = 300_000
#: Of other timeframes, before the first candle of the strategy's own: so that their indicators have values by then.
_BEFORE: Final = 300
#: Of other markets and timeframes, all together: years of minutes beside days would take gigabytes.
_MOST_OTHERS: Final = 300_000
_WALKED: Final = 200_000
_SEED: Final = 8
_FIRST_PRICE: Final = 60_000.0
#: Standard deviation of the close of a generated minute against the one before.
_STEP_OF_A_MINUTE: Final = 0.0006


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Frames for a worker, the traded market first, and what the account there pays. `notes` says what is to be known about them."""

    frames: list[tuple[Frame, Candles]]
    costs: Costs
    tried_on: TriedOn
    notes: tuple[Found, ...] = ()

    @property
    def candles(self) -> Candles:
        """Of the traded market."""
        return self.frames[0][1]


@dataclass(frozen=True, slots=True)
class _Wanted:
    symbol: str
    timeframe: Timeframe


def timeframe_named(name: str) -> Timeframe:
    """Return the timeframe of that name.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return Timeframe(name)
    except ValueError as error:
        raise InvalidInput(N_(f"the timeframe must be one of {', '.join(Timeframe)}, was {name}"), field="timeframe") from error


class TrialCandles:
    """Finds candles for trials.

    Args:
        database: The platform's: candles are everybody's.
        instruments: What exchanges list.
        default: The market that is taken where none is asked for.
        clock: Generated candles end at its present.
    """

    def __init__(self, database: Database, instruments: InstrumentBook, *, default: Market, clock: Clock) -> None:
        self._store = CandleStore(database, clock)
        self._instruments = instruments
        self._default = default
        self._clock = clock

    async def gather(self, described: Described, market: Market, *, rows: int) -> Gathered:
        """Return frames with `rows` candles after the warm-up, or as many as are stored.

        Raises:
            InvalidInput: there is no such timeframe, or the warm-up is longer than a trial.
            SymbolNotFound: the exchange does not list the symbol that is asked for.
        """
        if described.warm_up + _LEAST > MOST_CANDLES:
            most = MOST_CANDLES - _LEAST
            raise InvalidInput(N_(f"a warm-up may have {most} candles for a strategy to be tried, was {described.warm_up}"))
        timeframe = timeframe_named(market.timeframe or described.timeframe)
        exchange = market.exchange or self._default.exchange or ""
        symbol, instrument = await self._resolved(exchange, market.symbol)
        others = [_Wanted(await self._other(exchange, one.symbol, symbol), timeframe_named(one.timeframe)) for one in described.informative]
        wanted = [_Wanted(symbol, timeframe), *dict.fromkeys(one for one in others if one != _Wanted(symbol, timeframe))]
        count = min(described.warm_up + rows, MOST_CANDLES)
        found, missing = await self._stored(exchange, wanted, count, least=described.warm_up + _LEAST)
        notes: tuple[Found, ...] = ()
        if missing is not None:
            # In a thread: of many markets it takes a second, and orders do not wait for it.
            found, notes = await asyncio.to_thread(self._generated, wanted, count), (_nothing_stored(exchange, missing),)
        series = [(one, as_columns(found[one])) for one in wanted]
        frames = [(Frame(symbol=one.symbol, timeframe=one.timeframe.value, rows=len(candles)), candles) for one, candles in series]
        first = series[0][1]
        tried_on = TriedOn(
            exchange=exchange, symbol=symbol, timeframe=timeframe.value, candles=len(first), start_ms=int(first.time[0]),
            end_ms=int(first.time[-1]), is_generated=missing is not None,
        )  # fmt: skip
        return Gathered(frames=frames, costs=costs_of(instrument), tried_on=tried_on, notes=notes)

    async def _resolved(self, exchange: str, text: str | None) -> tuple[str, Instrument | None]:
        if text is not None:
            instrument = await self._instruments.require(exchange, text)
            return instrument.symbol, instrument
        try:
            instrument = await self._instruments.require(exchange, self._default.symbol or "")
        except AppError:
            # Nobody asked for this market: that its exchange is away is no reason not to try.
            return self._default.symbol or "BTC/USDT", None
        return instrument.symbol, instrument

    async def _other(self, exchange: str, text: str, symbol: str) -> str:
        return (await self._instruments.require(exchange, text)).symbol if text else symbol

    async def _stored(
        self, exchange: str, wanted: Sequence[_Wanted], count: int, *, least: int
    ) -> tuple[dict[_Wanted, Stored], _Wanted | None]:
        """Return stored candles of all that are wanted, or the first of which there are too few."""
        main = wanted[0]
        candles = await self._newest(exchange, main, count)
        if len(candles) < least:
            return {}, main
        found = {main: candles}
        end = int(candles["open_time"][-1]) + main.timeframe.milliseconds
        most = max(_MOST_OTHERS // max(len(wanted) - 1, 1), MOST_CANDLES)
        for other in wanted[1:]:
            start = int(candles["open_time"][0]) - _BEFORE * other.timeframe.milliseconds
            part = await self._between(exchange, other, max(start, end - most * other.timeframe.milliseconds), end)
            if not len(part) and other.symbol == main.symbol and other.timeframe.duration > main.timeframe.duration:
                part = aggregate(candles, other.timeframe)[0]
            if not len(part):
                return {}, other
            found[other] = part
        return found, None

    async def _newest(self, exchange: str, one: _Wanted, count: int) -> Stored:
        last = (await self._store.last_open_times(exchange, one.timeframe, [one.symbol])).get(one.symbol)
        stored = np.empty(0, CANDLE_DTYPE)
        if last is not None:
            end = to_milliseconds(last) + one.timeframe.milliseconds
            stored = await self._between(exchange, one, end - count * one.timeframe.milliseconds, end, made=False)
        if len(stored) >= count or one.timeframe is Timeframe.M1:
            return stored
        minute = (await self._store.last_open_times(exchange, Timeframe.M1, [one.symbol])).get(one.symbol)
        if minute is None:
            return stored
        end = to_milliseconds(one.timeframe.floor(minute + Timeframe.M1.duration))
        made = await self._made(exchange, one, end - count * one.timeframe.milliseconds, end)
        return made if len(made) > len(stored) else stored

    async def _between(self, exchange: str, one: _Wanted, start: int, end: int, *, made: bool = True) -> Stored:
        first, last = from_milliseconds(max(start, 0)), from_milliseconds(end)
        stored = await self._store.array(exchange, one.symbol, one.timeframe, start=first, end=last)
        if len(stored) or not made or one.timeframe is Timeframe.M1:
            return stored
        return await self._made(exchange, one, start, end)

    async def _made(self, exchange: str, one: _Wanted, start: int, end: int) -> Stored:
        """Sum up stored minutes; none of a bucket that is not over."""
        start = max(start, end - _MOST_MINUTES * Timeframe.M1.milliseconds, 0)
        first = from_milliseconds(-(-start // one.timeframe.milliseconds) * one.timeframe.milliseconds)
        last = one.timeframe.floor(from_milliseconds(end))
        minutes = await self._store.array(exchange, one.symbol, Timeframe.M1, start=first, end=last)
        return (await asyncio.to_thread(aggregate, minutes, one.timeframe))[0]

    def _generated(self, wanted: Sequence[_Wanted], count: int) -> dict[_Wanted, Stored]:
        shortest = min((one.timeframe for one in wanted), key=lambda one: one.duration)
        main = wanted[0].timeframe
        end = to_milliseconds(max((one.timeframe for one in wanted), key=lambda one: one.duration).floor(self._clock.now()))
        length = (count + 1) * main.milliseconds // shortest.milliseconds
        if length > _WALKED:  # each for itself, as they cannot be made of one walk
            return {one: generated(count, one.timeframe, end_ms=end, seed=_SEED + place) for place, one in enumerate(wanted)}
        walks = {
            symbol: generated(length, shortest, end_ms=end, seed=_SEED + place)
            for place, symbol in enumerate(dict.fromkeys(one.symbol for one in wanted))
        }
        return {one: walks[one.symbol] if one.timeframe is shortest else aggregate(walks[one.symbol], one.timeframe)[0] for one in wanted}


def _nothing_stored(exchange: str, one: _Wanted) -> Found:
    return Found(
        code="CANDLES_GENERATED",
        severity="note",
        message=N_(
            "Too few candles of %(symbol)s %(timeframe)s are stored for %(exchange)s, so these were made up: the strategy was tried, but "
            "no figure says anything about the market. Store some with `aristobot candles backfill`, or choose a market that the "
            "Heartbeat page follows."
        ),
        values={"symbol": one.symbol, "timeframe": one.timeframe.value, "exchange": exchange},
    )


def as_columns(candles: Stored) -> Candles:
    """Return candles as one array a column."""
    return Candles(*(np.ascontiguousarray(candles[name]) for name in ("open_time", "open", "high", "low", "close", "volume")))


def costs_of(instrument: Instrument | None) -> Costs:
    """Return the costs of a simulated account in that market; without rounding where its rules are not known."""
    if instrument is None:
        return Costs()
    return Costs(step=float(instrument.step_size), tick=float(instrument.tick_size), least_notional=float(instrument.min_notional or 0))


def with_costs(costs: Costs, *, capital: float | None, fee: float | None, slippage: float | None) -> Costs:
    """Return costs with what is given in place of the usual."""
    given = {"capital": capital, "fee": fee, "maker_fee": fee, "slippage": slippage}
    return msgspec.structs.replace(costs, **{name: value for name, value in given.items() if value is not None})


def generated(rows: int, timeframe: Timeframe, *, end_ms: int, seed: int) -> Stored:
    """Return `rows` made-up candles that end at `end_ms`: a random walk with calm and wild stretches, always the same for a seed."""
    random = np.random.default_rng(seed)
    scale = _STEP_OF_A_MINUTE * np.sqrt(timeframe.milliseconds / Timeframe.M1.milliseconds)
    wildness = np.exp(np.cumsum(random.normal(0, 0.05, rows)) * 0.2)
    steps = random.normal(0, scale, rows) * np.clip(wildness, 0.3, 3.0)
    # Drawn back to where it began, or it would wander off to zero and beyond all measure.
    path = np.empty(rows)
    level = 0.0
    for place, step in enumerate(steps.tolist()):
        level = level * 0.9995 + step
        path[place] = level
    close = np.round(_FIRST_PRICE * np.exp(path), 2)
    candles = np.empty(rows, CANDLE_DTYPE)
    candles["open_time"] = end_ms - timeframe.milliseconds * np.arange(rows, 0, -1)
    candles["close"] = close
    candles["open"] = np.r_[_FIRST_PRICE, close[:-1]][:rows]
    body = np.maximum(candles["open"], close), np.minimum(candles["open"], close)
    candles["high"] = np.round(body[0] * (1 + np.abs(random.normal(0, scale / 2, rows))), 2)
    candles["low"] = np.round(body[1] * (1 - np.abs(random.normal(0, scale / 2, rows)) / (1 + scale)), 2)
    candles["volume"] = np.round(random.gamma(2.0, 5.0, rows), 8)
    return candles
