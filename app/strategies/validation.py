"""Validates a strategy step by step: syntax, lint, contract, dry run on candles, look-ahead, warm-up, values, speed.

Nothing of the source is parsed, compiled or run in this process: the jail does that, and ruff, which is a process of its own. What the jail
answers is the word of the strategy, but for what is computed here from its decisions; a strategy that lies about itself deceives its owner.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from app.core.i18n import N_
from app.domain.candles import from_milliseconds
from app.domain.simulation import SimulationCosts, simulate
from app.errors import AppError, InvalidInput, StrategyKilled
from app.sandbox.jail import Worker
from app.sandbox.messages import Check, Checked, Costs, Described, Failed, Finding, Load, Ran, Reply, Run, Value
from app.strategies.candles import Gathered, TrialCandles
from app.strategies.lint import Linter
from app.strategies.report import CHECKS, Found, Outcome, Report, Step, StepReport, outcome_of
from app.strategies.service import Market, check_source
from app.strategies.sources import digest
from app.strategies.workers import TrialWorkers

#: Candles after the warm-up that a strategy is tried on.
_ROWS: Final = 1_000
_SEED: Final = 8
#: What Python's parser raises: the source is no Python.
_OF_SYNTAX: Final = frozenset({"SyntaxError", "IndentationError", "TabError"})
_Asked = Literal["contract", "look_ahead", "warm_up", "values", "speed"]
#: How the jail calls the steps that it takes.
_ASKED: Final[dict[Step, _Asked]] = {
    Step.CONTRACT: "contract",
    Step.LOOK_AHEAD: "look_ahead",
    Step.WARM_UP: "warm_up",
    Step.VALUES: "values",
    Step.SPEED: "speed",
}
_AFTER_CANDLES: Final = (Step.LOOK_AHEAD, Step.WARM_UP, Step.VALUES, Step.SPEED)


@dataclass(frozen=True, slots=True)
class Begun:
    """A step has begun."""

    step: Step


Progress = Begun | StepReport | Report


@dataclass(slots=True)
class _Trial:
    """What is known so far of the strategy that is validated."""

    user_id: UUID
    source: str
    market: Market
    parameters: dict[str, Value]
    is_whole: bool
    started: float = field(default_factory=time.perf_counter)
    steps: list[StepReport] = field(default_factory=list)
    described: Described | None = None
    gathered: Gathered | None = None
    bars_per_s: float | None = None

    def report(self) -> Report:
        return Report(
            steps=tuple(self.steps),
            seconds=round(time.perf_counter() - self.started, 4),
            sha256=digest(self.source),
            described=self.described,
            tried_on=None if self.gathered is None else self.gathered.tried_on,
            bars_per_s=self.bars_per_s,
            is_whole=self.is_whole,
        )


class _Clock:
    """Times a step, and puts it together."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._started = time.perf_counter()
        self.is_over = False

    def done(self, findings: list[Found], *, output: str = "", traceback: str = "") -> StepReport:
        self.is_over = True
        seconds = round(time.perf_counter() - self._started, 4)
        return StepReport(
            step=self._step, outcome=outcome_of(findings), seconds=seconds, findings=tuple(findings), output=output, traceback=traceback
        )


class Validator:
    """Validates strategies of all users.

    Args:
        workers: Where their code runs.
        candles: What it is tried on.
    """

    def __init__(self, workers: TrialWorkers, candles: TrialCandles) -> None:
        self._workers = workers
        self._candles = candles
        self._linter = Linter()

    async def validate(
        self,
        user_id: UUID,
        source: str,
        *,
        market: Market | None = None,
        parameters: dict[str, Value] | None = None,
        is_whole: bool = True,
    ) -> AsyncGenerator[Progress, None]:
        """Yield that each step begins and what came of it, and at the end the whole report.

        Args:
            user_id: Whose strategy it is.
            source: Its text.
            market: What it is tried on; what is left out is the strategy's own timeframe and the server's usual market.
            parameters: Values for its parameters; its defaults where left out.
            is_whole: Whether to take all steps, and not only those that need no candles.

        Raises:
            SourceTooLong: the source has too many characters.
            JailClosed: strategies may not be run here.
            JailBusy: the user has very many under way.
            SymbolNotFound: the exchange does not list the symbol that is asked for.
        """
        trial = _Trial(user_id, check_source(source), market or Market(), dict(parameters or {}), is_whole)
        async with aclosing(self._steps(trial)) as steps:
            async for progress in steps:
                if isinstance(progress, StepReport):
                    trial.steps.append(progress)
                yield progress
        done = {step.step for step in trial.steps}
        for step in Step if is_whole else CHECKS:
            if step not in done:
                skipped = StepReport(step=step, outcome=Outcome.SKIPPED)
                trial.steps.append(skipped)
                yield skipped
        yield trial.report()

    async def report(
        self, user_id: UUID, source: str, *, market: Market | None = None, parameters: dict[str, Value] | None = None, is_whole: bool = True
    ) -> Report:
        """Return the whole report at once. Args and errors as of `validate`."""
        steps = self.validate(user_id, source, market=market, parameters=parameters, is_whole=is_whole)
        async with aclosing(steps) as progress:
            async for one in progress:
                if isinstance(one, Report):
                    return one
        raise AssertionError("a validation ends with its report")

    async def _steps(self, trial: _Trial) -> AsyncGenerator[Progress, None]:
        yield Begun(Step.SYNTAX)
        await self._workers.ready()  # its first start takes seconds that are not the strategy's
        clock = _Clock(Step.SYNTAX)
        problem = await self._load(trial)
        is_python = problem is None or problem.code not in _OF_SYNTAX
        yield clock.done([] if is_python or problem is None else [problem])
        if not is_python:
            # What ruff makes of it is of what it guessed: one mistake of a sign gives it ten.
            return
        yield Begun(Step.LINT)
        clock = _Clock(Step.LINT)
        yield clock.done(await self._linter.look(trial.source))
        yield Begun(Step.CONTRACT)
        clock = _Clock(Step.CONTRACT)
        if problem is not None or trial.described is None:
            yield clock.done([problem] if problem is not None else [])
            return
        if not trial.is_whole:
            yield clock.done([])
            return
        try:
            trial.gathered = await self._candles.gather(trial.described, trial.market, rows=_ROWS)
        except InvalidInput as error:
            if error.field:  # what was asked for; the rest is what the strategy wants
                raise
            yield clock.done([_said("WARM_UP_TOO_LONG", error.message)])
            return
        async with aclosing(self._on_candles(trial, trial.gathered, clock)) as steps:
            async for progress in steps:
                yield progress

    async def _load(self, trial: _Trial) -> Found | None:
        """Let the jail compile and describe the source; return what is wrong with it."""
        try:
            async with self._workers.worker(trial.user_id) as worker:
                reply = await worker.ask(Load(source=trial.source, parameters=trial.parameters))
        except StrategyKilled as error:
            return _killed(error)
        if isinstance(reply, Described):
            trial.described = reply
            return None
        return _unexpected(reply)

    async def _on_candles(self, trial: _Trial, gathered: Gathered, clock: _Clock) -> AsyncGenerator[Progress, None]:
        """The steps that need candles, all in one worker; with the first that ends it the rest is over."""
        try:
            async with self._workers.worker(trial.user_id, frames=gathered.frames, result_rows=len(gathered.candles)) as worker:
                loaded = await worker.ask(Load(source=trial.source, parameters=trial.parameters))
                if not isinstance(loaded, Described):
                    yield clock.done([_unexpected(loaded)])
                    return
                contract = await self._checked(worker, Step.CONTRACT, gathered, trial, clock)
                yield contract
                if contract.outcome is Outcome.FAILED:
                    return
                yield Begun(Step.DRY_RUN)
                clock = _Clock(Step.DRY_RUN)
                dry = await _dry_run(worker, loaded, gathered, clock)
                yield dry
                if dry.outcome is Outcome.FAILED:
                    return
                for step in _AFTER_CANDLES:
                    yield Begun(step)
                    clock = _Clock(step)
                    yield await self._checked(worker, step, gathered, trial, clock)
        except StrategyKilled as error:
            if not clock.is_over:
                yield clock.done([_killed(error)])

    async def _checked(self, worker: Worker, step: Step, gathered: Gathered, trial: _Trial, clock: _Clock) -> StepReport:
        reply = await worker.ask(Check(step=_ASKED[step], costs=gathered.costs, seed=_SEED))
        if not isinstance(reply, Checked):
            return _failed(clock, reply)
        if reply.bars_per_s is not None:
            trial.bars_per_s = reply.bars_per_s
        return clock.done([_found(one, gathered) for one in reply.findings], output=reply.output)


async def _dry_run(worker: Worker, described: Described, gathered: Gathered, clock: _Clock) -> StepReport:
    reply = await worker.ask(Run(start=described.warm_up, costs=gathered.costs))
    if not isinstance(reply, Ran):
        return _failed(clock, reply)
    decisions = worker.decisions()
    costs = simulation_costs(gathered.costs)
    simulation = await asyncio.to_thread(simulate, gathered.candles, decisions, costs, described.warm_up)
    values = {"trades": str(len(simulation.trades)), "candles": str(len(gathered.candles) - described.warm_up)}
    found = [*gathered.notes, Found(code="DRY_RUN", severity="note", message=_RAN, values=values)]
    if simulation.denied:
        message = N_("%(denied)s orders were too small for the market, and denied.")
        found.append(Found(code="ORDERS_DENIED", severity="warning", message=message, values={"denied": str(simulation.denied)}))
    return clock.done(found, output=reply.output)


_RAN: Final = N_("It made %(trades)s trades in %(candles)s candles.")


def simulation_costs(costs: Costs) -> SimulationCosts:
    """Return the costs of a worker's account as the simulation outside has them."""
    given: dict[str, Any] = msgspec.structs.asdict(costs)
    if given["maker_fee"] is None:
        given["maker_fee"] = costs.fee
    return SimulationCosts(**given)


def _found(finding: Finding, gathered: Gathered) -> Found:
    """Return a finding of the jail; a candle, which is a row there, is told by its time."""
    times = gathered.candles.time
    at_ms = int(times[finding.candle]) if finding.candle is not None and 0 <= finding.candle < len(times) else None
    values = dict(finding.values)
    if at_ms is not None and "candle" in values:
        values["candle"] = from_milliseconds(at_ms).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Found(
        code=finding.code, severity=finding.severity, message=finding.message, values=values, attribute=finding.attribute, at_ms=at_ms,
        line=finding.line, column=finding.column,
    )  # fmt: skip


def _failed(clock: _Clock, reply: Reply) -> StepReport:
    output, traceback = (reply.output, reply.traceback) if isinstance(reply, Failed) else ("", "")
    return clock.done([_unexpected(reply)], output=output, traceback=traceback)


def _unexpected(reply: Reply) -> Found:
    if not isinstance(reply, Failed):
        return _said("WRONG_ANSWER", N_("The jail answered with something else than it was asked for."))
    # Codes of ours are written in capitals, with a sentence; the rest is an exception's class with whatever it says.
    message = reply.message if reply.kind.isupper() else f"{reply.kind}: {reply.message}"
    return Found(code=reply.kind, severity="error", message=message.replace("%", "%%"), line=reply.line, column=reply.column)


def _killed(error: AppError) -> Found:
    return _said(error.code, error.message)


def _said(code: str, message: str) -> Found:
    return Found(code=code, severity="error", message=message.replace("%", "%%"))
