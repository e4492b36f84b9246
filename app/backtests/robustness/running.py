"""Answers how robust one backtest is: its own trades are looked at in other ways, and its strategy is chosen anew window by window."""

import asyncio
from contextlib import suppress
from typing import Any, Final

import numpy as np

from app.backtests.aside import Fetching
from app.backtests.deciding import describe, wanted_of
from app.backtests.models import Backtest
from app.backtests.robustness.pool import luck_of
from app.backtests.robustness.report import Luck, RobustnessReport, WalkedWindow, robustness_stored, verdicts_of
from app.backtests.robustness.walk import WalkedSet, walk_spans, walked
from app.backtests.running import Tools
from app.backtests.search.events import RobustnessChanged
from app.backtests.search.keeping import while_kept
from app.backtests.search.models import RobustnessState
from app.backtests.search.queue import SearchQueue, Turn
from app.backtests.search.service import trials_of_strategy
from app.backtests.search.space import MOST_AXES, space_of, usual
from app.backtests.search.trying import Parameters, Subject, Tried, Trier, trying
from app.backtests.wish import costs_of
from app.core.tenancy import owned
from app.domain.robustness_walk import walk_forward
from app.errors import BacktestNotFound
from app.marketdata.candle_sources import Series
from app.sandbox.messages import Described
from app.strategies.versions import version_by_id

#: Sets of parameters that each window chooses from, the backtest's own among them.
SETS: Final = 64
#: Sets that are tried before the page is told how far it is.
_PART: Final = 16
#: Part of what one run may take, for all of them: with the backtest's own a worker may not compute for much longer. Of a strategy that is
#: slower than that windows choose from fewer.
_SHARE_OF_RUN: Final = 0.9
_KEEP_S: Final = 2.0
#: A fill's price is moved by at least so much, where the backtest has no slippage: 5 bps.
_LEAST_SPREAD: Final = 0.0005


class RobustnessTurn:
    """The check of one backtest, from its candles to its report.

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

    async def work(self) -> dict[str, Any]:
        """Return the report.

        Raises:
            Lost: it is ours no longer.
            StepsAside: its candles take long to fetch, and others wait.
            WorkerLost: a process of the pool ended.
            AppError: why it fails.
        """
        async with self._tools.database.transaction() as session:
            backtest = await session.scalar(owned(Backtest, self.turn.user_id).where(Backtest.id == self.turn.key))
            if backtest is None:
                raise BacktestNotFound
            source = (await version_by_id(session, self.turn.user_id, backtest.version_id)).source
            searched, ratios = await trials_of_strategy(session, self.turn.user_id, backtest.strategy_id)
        return await while_kept(self._held(backtest, source, searched, list(ratios)), self._keep())

    async def _keep(self) -> dict[str, Any]:
        while True:
            await self._queue.renew(self.turn, self._progress)
            await asyncio.sleep(_KEEP_S)

    async def _held(self, backtest: Backtest, source: str, searched: int, ratios: list[float]) -> dict[str, Any]:
        described = await describe(self._tools.jail, self.turn.user_id, source, backtest.parameters)
        expected = await self._tools.data.expected(wanted_of(backtest), described)
        async with self._tools.room.held(self._lanes * expected):
            return robustness_stored(await self._worked(backtest, source, described, searched, ratios))

    async def _worked(self, backtest: Backtest, source: str, described: Described, searched: int, ratios: list[float]) -> RobustnessReport:
        tools, user_id, costs = self._tools, self.turn.user_id, costs_of(backtest)
        own: Parameters = dict(backtest.parameters)
        preparing = tools.data.prepare(wanted_of(backtest), described, told=self._on_fetch)
        prepared = await self._fetching.unless_waited_for(preparing, self._is_waited_for)
        spans = tuple(walk_spans(prepared.start, len(prepared.candles)))
        closes = prepared.candles.time + prepared.timeframe.milliseconds
        spread = max(costs.slippage, _LEAST_SPREAD)
        varied, sets = sets_of(described, own, backtest.seed)
        subject = Subject(user_id=user_id, source=source, prepared=prepared, costs=costs, spans=spans)
        async with trying(subject, tools.jail, tools.pool, lanes=self._lanes) as trier:
            self._tell({"phase": "trades"})
            outcome = await trier.outcome(own)
            luck: Luck = await tools.pool.run(
                luck_of, outcome, closes, prepared.start, backtest.seed, spread, searched + 1, _deviation(ratios)
            )
            tried = await self._tried(trier, sets) if spans else []
        found = [WalkedSet(_chosen(one, varied), each.figures) for one, each in zip(sets, tried, strict=False) if each.figures]
        windows = walked(found, spans, closes) if found else []
        return _report(backtest, luck, windows, spread=spread, searched=searched, varied=varied, sets=len(tried))

    async def _tried(self, trier: Trier, sets: list[Parameters]) -> list[Tried]:
        """Return what came of the sets, or of the first of them that there was time for."""
        found: list[Tried] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHARE_OF_RUN * self._tools.jail.config.run_s):
                while len(found) < len(sets):
                    self._tell({"phase": "windows", "done": len(found), "total": len(sets)})
                    # The backtest's own alone first: that one windows can always choose.
                    found += await trier.tried(sets[len(found) : len(found) + (_PART if found else 1)])
        return found

    def _tell(self, progress: dict[str, Any]) -> None:
        self._progress = progress
        self._tools.bus.publish(
            RobustnessChanged(user_id=self.turn.user_id, backtest_id=self.turn.key, state=RobustnessState.RUNNING.value, progress=progress)
        )

    async def _is_waited_for(self) -> bool:
        return await self._queue.others_wait("robustness_checks") or await self._queue.backtests_wait()

    def _on_fetch(self, series: Series, done: int, total: int, waits_s: float) -> None:
        self._fetching.goes_on()
        self._progress = {
            "phase": "fetching", "done": done, "total": total, "symbol": f"{series.symbol} {series.timeframe.value}", "waits_s": waits_s,
        }  # fmt: skip


def sets_of(described: Described, own: Parameters, seed: int) -> tuple[list[str], list[Parameters]]:
    """Return the parameters that vary, and the sets that windows choose from: the backtest's own, and others by chance."""
    axes = [axis for parameter in described.parameters if parameter.kind in ("int", "float") and (axis := usual(parameter)) is not None]
    if not axes:
        return [], [own]
    space = space_of(described.parameters, axes[:MOST_AXES])
    base = {one.name: one.default for one in described.parameters} | own
    points = space.random(seed, [], SETS - 1)
    return [axis.name for axis in space.axes], [base, *({**base, **space.parameters(point)} for point in points)]


def _chosen(parameters: Parameters, varied: list[str]) -> Parameters:
    return {name: parameters[name] for name in varied if name in parameters}


def _deviation(ratios: list[float]) -> float | None:
    return float(np.std(ratios, ddof=1)) if len(ratios) > 1 else None


def _report(
    backtest: Backtest,
    luck: Luck,
    windows: list[WalkedWindow],
    *,
    spread: float,
    searched: int,
    varied: list[str],
    sets: int,
) -> RobustnessReport:
    walk = walk_forward([one.window for one in windows]) if windows else None
    return RobustnessReport(
        seed=backtest.seed, trades=luck.trades, shuffled=luck.shuffled, resampled=luck.resampled, moved=luck.moved, spread=spread,
        sharpe=luck.sharpe, searched=searched, walk=walk, windows=windows, varied=varied, sets=sets,
        verdicts=verdicts_of(luck, walk, searched=searched),
    )  # fmt: skip
