"""One turn of a search: its candles, its trials so far, and further ones until it is over, is stopped, or others want their turn."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from app.backtests.aside import Fetching, StepsAside
from app.backtests.deciding import describe, wanted_of
from app.backtests.engine import ENGINE_VERSION
from app.backtests.models import Backtest
from app.backtests.running import Tools
from app.backtests.search.events import SearchChanged
from app.backtests.search.figures import Objective, best_of, guiding, score, split_spans
from app.backtests.search.header import header_of
from app.backtests.search.keeping import while_kept
from app.backtests.search.models import LONGEST_PROBLEM, Method, Search, SearchState
from app.backtests.search.pool import importance_of, suggested
from app.backtests.search.queue import KnownTrial, SearchQueue, Standing, Trial, Turn, plain
from app.backtests.search.space import Point, Space
from app.backtests.search.trying import Parameters, Subject, Tried, Trier, trying
from app.backtests.wish import costs_of
from app.core.tenancy import owned
from app.domain.arrays import Times
from app.errors import SearchNotFound, StrategyKilled
from app.marketdata.candle_sources import Series
from app.sandbox.messages import Described
from app.strategies.versions import version_by_id

#: A turn is so long when others wait.
TURN_S: Final = 20.0
#: One part of the work should take about so long: that is how soon a stop takes effect, and how often a page is told.
_PART_S: Final = 1.0
_FIRST_PART: Final = 8
_KEEP_S: Final = 1.0
_LARGEST_PART: Final = 200
#: A sampler learns from what is back; of a larger part most would be chosen blindly.
_LARGEST_LEARNING_PART: Final = 20
#: Importance is worth computing anew after so many further trials.
_IMPORTANCE_EVERY: Final = 20


@dataclass(slots=True)
class _Pace:
    """How many sets make one part of the work."""

    most: int
    size: int = _FIRST_PART
    a_second: float = 0.0

    def took(self, count: int, seconds: float) -> None:
        self.a_second = count / max(seconds, 1e-3)
        self.size = max(1, min(self.most, 2 * self.size, round(self.a_second * _PART_S)))


class SearchTurn:
    """A turn of one search.

    Args:
        tools: What runs need.
        queue: Where it is written down how far it is.
        turn: Which one.
        lanes: Workers of the jail that decide side by side.
    """

    def __init__(self, tools: Tools, queue: SearchQueue, turn: Turn, *, lanes: int) -> None:
        self.turn = turn
        self._tools = tools
        self._queue = queue
        self._lanes = lanes
        self._progress: dict[str, Any] = {"phase": "candles"}
        self._fetching = Fetching()
        self._known: list[KnownTrial] = []
        self._importance_at = 0
        #: Whether a worker was stopped: it tries nothing any more.
        self._has_killed = False

    async def work(self) -> SearchState | None:
        """Return how the search ended; None where it waits for its next turn.

        Raises:
            Lost: it is ours no longer.
            StepsAside: backtests wait, or its candles take long to fetch and others wait.
            WorkerLost: a process of the pool ended.
            AppError: why it fails.
        """
        search, source = await self._read()
        return await while_kept(self._held(search, source), self._keep())

    async def _read(self) -> tuple[Search, str]:
        async with self._tools.database.transaction() as session:
            search = await session.scalar(owned(Search, self.turn.user_id).where(Search.id == self.turn.key))
            if search is None:
                raise SearchNotFound
            return search, (await version_by_id(session, self.turn.user_id, search.version_id)).source

    async def _keep(self) -> SearchState:
        """Keep the lease, and end the work when it is to stop and does not by itself."""
        is_to_stop = False
        while True:
            if is_to_stop:
                return SearchState.STOPPED
            is_to_stop = await self._queue.renew(self.turn, self._progress)
            await asyncio.sleep(_KEEP_S)

    async def _held(self, search: Search, source: str) -> SearchState | None:
        backtest = header_of(search.header).as_backtest(self.turn.user_id, search.version_id, search.parameters)
        described = await describe(self._tools.jail, self.turn.user_id, source, search.parameters)
        # Whoever made it did not know which other markets the strategy looks at, nor how many workers decide side by side.
        expected = await self._tools.data.expected(wanted_of(backtest), described)
        async with self._tools.room.held(self._lanes * expected):
            return await self._worked(search, source, backtest, described)

    async def _worked(self, search: Search, source: str, backtest: Backtest, described: Described) -> SearchState | None:
        tools, turn = self._tools, self.turn
        preparing = tools.data.prepare(wanted_of(backtest), described, told=self._on_fetch)
        prepared = await self._fetching.unless_waited_for(preparing, self._is_waited_for)
        spans = tuple(split_spans(prepared.start, len(prepared.candles), search.test_percent / 100))
        closes = prepared.candles.time + prepared.timeframe.milliseconds
        data = {"rows": len(prepared.candles), "start": prepared.start, "spans": _told_spans(closes, spans)}
        await self._queue.begin_search(turn, data=data, sha256=prepared.sha256, engine_version=ENGINE_VERSION)
        self._known = await self._queue.trials(search.id)
        subject = Subject(user_id=turn.user_id, source=source, prepared=prepared, costs=costs_of(backtest), spans=spans)
        async with trying(subject, tools.jail, tools.pool, lanes=self._lanes) as trier:
            return await self._searched(search, trier)

    async def _searched(self, search: Search, trier: Trier) -> SearchState | None:
        """Try set after set. The first look at whether it is to stop is before the first of them."""
        space = msgspec.convert(search.space, Space)
        pace = _Pace(most=_LARGEST_LEARNING_PART if search.method == Method.TPE else _LARGEST_PART)
        if self.turn.attempts > 1:
            # One of the sets ended the worker the last time: which one is found out one by one.
            pace = _Pace(most=1, size=1)
        ends_at = time.monotonic() + TURN_S
        # Nobody's worker computes for longer than one run and is not stopped for it; what it took is counted when it ends.
        last_at = time.monotonic() + self._tools.jail.config.run_s
        is_stopped = await self._queue.renew(self.turn, self._progress)
        while not is_stopped:
            count = min(pace.size, search.wanted - len(self._known))
            points = await self._next(search, space, count) if count > 0 else []
            if not points:
                return SearchState.COMPLETED
            began = time.monotonic()
            tried = await self._tried(trier, [{**search.parameters, **space.parameters(point)} for point in points])
            if tried is None:
                return None
            pace.took(len(points), time.monotonic() - began)
            is_stopped = await self._stored(search, space, points, tried, pace)
            if (self._has_killed or time.monotonic() > last_at) and not is_stopped:
                return None  # the next turn has another worker
            if time.monotonic() > ends_at and not is_stopped:
                if await self._queue.others_wait("searches"):
                    return None
                if self._tools.jail.is_waited_for or await self._queue.backtests_wait():
                    # They may want the very processors and memory that are held here.
                    raise StepsAside
        return SearchState.STOPPED

    async def _is_waited_for(self) -> bool:
        return await self._queue.others_wait("searches") or await self._queue.backtests_wait()

    async def _tried(self, trier: Trier, sets: list[Parameters]) -> list[Tried] | None:
        """Return what came of the sets; None where one of several ended the worker, so that they are tried one by one at the next turn."""
        try:
            return await trier.tried(sets)
        except StrategyKilled as error:
            self._has_killed = True
            return [Tried(figures=None, problem=error.message[:LONGEST_PROBLEM])] if len(sets) == 1 else None

    async def _next(self, search: Search, space: Space, count: int) -> list[Point]:
        match Method(search.method):
            case Method.GRID:
                return space.grid(len(self._known), count)
            case Method.RANDOM:
                return space.random(search.seed, [one.point for one in self._known], count)
            case Method.TPE:
                guided = guiding([one.score for one in self._known])
                known = [(one.point, None if one.is_failed else value) for one, value in zip(self._known, guided, strict=True)]
                return await self._tools.pool.run(suggested, space, search.seed, known, count)

    async def _stored(self, search: Search, space: Space, points: Sequence[Point], tried: Sequence[Tried], pace: _Pace) -> bool:
        objective = Objective(search.objective)
        trials = []
        for number, (point, one) in enumerate(zip(points, tried, strict=True), start=len(self._known) + 1):
            figures = one.figures
            trials.append(
                Trial(
                    number=number,
                    point=point,
                    parameters=space.parameters(point),
                    score=None if figures is None else score(objective, figures[0], search.least_trades),
                    train=None if figures is None else plain(figures[0]),
                    test=plain(figures[1]) if figures is not None and len(figures) > 1 else None,
                    problem=one.problem,
                    line=one.line,
                )
            )
        self._known += [KnownTrial(one.number, tuple(one.point), one.score, one.train is None) for one in trials]
        standing = await self._standing(search, space, pace)
        stop = await self._queue.store(self.turn, trials, standing)
        self.publish(search, standing)
        return stop

    async def _standing(self, search: Search, space: Space, pace: _Pace) -> Standing:
        tried = len(self._known)
        scores = [one.score for one in self._known]
        best = best_of(scores)
        self._progress = {
            "phase": "trying",
            "trials_per_s": round(pace.a_second, 3),
            "eta_s": round((search.wanted - tried) / pace.a_second, 1) if pace.a_second else None,
        }
        importance = None
        if tried >= search.wanted or tried - self._importance_at >= _IMPORTANCE_EVERY:
            self._importance_at = tried
            known = [(one.point, one.score) for one in self._known]
            importance = await self._tools.pool.run(importance_of, space, known)
        return Standing(
            tried=tried, best=None if best is None else self._known[best].number, best_score=None if best is None else scores[best],
            importance=importance, progress=self._progress,
        )  # fmt: skip

    def publish(self, search: Search, standing: Standing) -> None:
        """Tell whoever looks at it."""
        self._tools.bus.publish(
            SearchChanged(
                user_id=search.user_id, search_id=search.id, number=search.number, state=SearchState.RUNNING.value, tried=standing.tried,
                wanted=search.wanted, best=standing.best, best_score=standing.best_score, progress=standing.progress,
            )
        )  # fmt: skip

    def _on_fetch(self, series: Series, done: int, total: int, waits_s: float) -> None:
        self._fetching.goes_on()
        self._progress = {
            "phase": "fetching", "done": done, "total": total, "symbol": f"{series.symbol} {series.timeframe.value}", "waits_s": waits_s,
        }  # fmt: skip


def _told_spans(closes: Times, spans: Sequence[Any]) -> list[list[int]]:
    return [[int(closes[span.first]), int(closes[span.last])] for span in spans]
