"""Candles made up for tests, the same on every machine, and a guest that runs trusted sources in this process."""

import csv
import gzip
from pathlib import Path

import numpy as np

from app.domain.arrays import Candles, Decisions
from app.domain.candles import Timeframe
from app.sandbox.guest import preload
from app.sandbox.guest.guest import Guest
from app.sandbox.messages import Check, Checked, Costs, Described, Failed, Finding, Frame, Load, Ran, Run, Value
from app.sandbox.sheet import Sheet
from tests.shared_data import shared_data

preload.warm_up()

COSTS = Costs()
BEGIN_MS = 1_600_000_000_000 - 1_600_000_000_000 % 86_400_000


def made_candles(rows: int, *, timeframe: str = "1h", seed: int = 1, volatility: float = 0.008) -> Candles:
    """Return a random walk with swings: prices around 100, gaps between candles now and then."""
    chance = np.random.default_rng(seed)
    swings = 0.25 * np.sin(np.arange(rows) / 180) + 0.1 * np.sin(np.arange(rows) / 37)
    close = 100 * np.exp(np.cumsum(chance.normal(0, volatility, rows)) * 0.3 + swings)
    open_ = np.concatenate([[100.0], close[:-1]]) * np.where(chance.random(rows) < 0.05, 1 + chance.normal(0, 0.01, rows), 1.0)
    reach = np.abs(chance.normal(0, volatility / 2, (2, rows)))
    high = np.maximum(open_, close) * (1 + reach[0])
    low = np.minimum(open_, close) * (1 - reach[1])
    step = Timeframe(timeframe).milliseconds
    return Candles(BEGIN_MS + np.arange(rows) * step, open_, high, low, close, chance.lognormal(3, 0.6, rows))


def resampled(candles: Candles, timeframe: str, into: str) -> Candles:
    """Return candles of a longer timeframe; the last one only if it is whole."""
    many = Timeframe(into).milliseconds // Timeframe(timeframe).milliseconds
    skip = int((-candles.time[0] % Timeframe(into).milliseconds) // Timeframe(timeframe).milliseconds)
    groups = (len(candles) - skip) // many
    part = candles.between(skip, skip + groups * many)
    shape = (groups, many)
    return Candles(
        part.time.reshape(shape)[:, 0],
        part.open.reshape(shape)[:, 0],
        part.high.reshape(shape).max(axis=1),
        part.low.reshape(shape).min(axis=1),
        part.close.reshape(shape)[:, -1],
        part.volume.reshape(shape).sum(axis=1),
    )


def real_candles(name: str) -> Candles:
    """Return recorded candles, or skip the calling test where there are none."""
    path: Path = shared_data() / "candles" / name
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    columns = np.array(rows, dtype=np.float64).T
    return Candles(columns[0].astype(np.int64), *columns[1:6])


def guest_with(candles: Candles, *, timeframe: str = "1h", others: dict[str, Candles] | None = None, symbol: str = "BTC/USDT") -> Guest:
    """Return a guest that has candles, and those of other timeframes of the same symbol."""
    frames = [(Frame(symbol=symbol, timeframe=timeframe, rows=len(candles)), candles)]
    frames += [(Frame(symbol=symbol, timeframe=each, rows=len(them)), them) for each, them in (others or {}).items()]
    return Guest(frames, Sheet(len(candles)))


def described(guest: Guest, source: str, **parameters: Value) -> Described:
    """Load a source that must be fine."""
    reply = guest.handle(Load(source=source, parameters=parameters))
    assert isinstance(reply, Described), reply
    return reply


def refused(source: str, **parameters: Value) -> Failed:
    """Load a source that must not be."""
    reply = guest_with(made_candles(50)).handle(Load(source=source, parameters=parameters))
    assert isinstance(reply, Failed), reply
    return reply


def decisions_in_process(source: str, frames: list[tuple[Frame, Candles]]) -> Decisions:
    """Return what a source decides over frames, in this process."""
    results = Sheet(len(frames[0][1]))
    guest = Guest(frames, results)
    described(guest, source)
    reply = guest.handle(Run(start=0, costs=COSTS))
    assert isinstance(reply, Ran), reply
    return results.decisions()


def decisions_of(
    source: str, candles: Candles, *, costs: Costs = COSTS, start: int = 0, timeframe: str = "1h", **parameters: Value
) -> Decisions:
    """Return what a source decides over candles."""
    results = Sheet(len(candles))
    guest = Guest([(Frame(symbol="BTC/USDT", timeframe=timeframe, rows=len(candles)), candles)], results)
    described(guest, source, **parameters)
    reply = guest.handle(Run(start=start, costs=costs))
    assert isinstance(reply, Ran), reply
    return results.decisions()


def found(guest: Guest, step: str, *, seed: int = 7) -> list[Finding]:
    """Return the findings of one step of validation on the source that is loaded."""
    reply = guest.handle(Check(step=step, costs=COSTS, seed=seed))  # type: ignore[arg-type]
    assert isinstance(reply, Checked), reply
    return reply.findings


def sentence(finding: Finding) -> str:
    """Return a finding as a page shows it in English."""
    return finding.message % finding.values
