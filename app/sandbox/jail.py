"""The server's side of the jail: keeps a sandboxd, gives out workers, and turns how they end into errors and entries of the audit log."""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from uuid import UUID

import structlog

from app.core.backoff import backoff
from app.core.supervisor import Beat
from app.core.waiting import happens_within
from app.errors import AppError, JailClosed, StrategyKilled
from app.sandbox.asking import Worker as Worker
from app.sandbox.cell import Cause
from app.sandbox.connection import Connection
from app.sandbox.frames import Candles
from app.sandbox.link import Answer, Ask, Ended, Level, Release, Report, Spawn, Spawned, ToSandboxd, check
from app.sandbox.memory import blank_results, lent_candles
from app.sandbox.messages import Frame
from app.sandbox.quotas import Purpose as Purpose
from app.sandbox.quotas import Quotas, Turns
from app.sandbox.terms import INNOCENT, SHARES, JailConfig
from app.sandbox.violations import OnViolation, Violations

log = structlog.get_logger(__name__)

_IS_LINUX: Final = sys.platform == "linux"
#: How long sandboxd may take beyond a deadline that it keeps itself.
_GRACE_S: Final = 5.0
#: For making a worker, and for sandboxd's start with the doctor's attacks.
_SPAWN_S: Final = 15.0
_READY_S: Final = 30.0
#: Sandboxd is started by the first who wants a worker, or by itself so long after the server, which has better things to do at first.
_START_AFTER_S: Final = 30.0
_BEAT_S: Final = 1.0
#: Seconds of silence after which sandboxd counts as hung; it speaks each second, once it has examined the machine.
_SILENT_S: Final = 15.0
_EXAMINED_S: Final = 60.0
#: A connection that lasted so long has not failed: the next attempt comes at once.
_STEADY_S: Final = 60.0
#: How long a backtest waits for a processor before it is told that all are taken.
_TURN_S: Final = 60.0


class Jail:
    """Runs strategies apart from the server. One per server process; its loop is `run`."""

    def __init__(self, config: JailConfig, *, on_violation: OnViolation, quotas: Quotas | None = None) -> None:
        """Start nothing yet.

        Args:
            config: How it is run.
            on_violation: Awaited for each violation, to write it down.
            quotas: What users may use; from the config when left out.
        """
        self.config = config
        self.quotas = quotas or Quotas(config.limits)
        self.restarts = 0
        self.violations = Violations(self.quotas, on_violation)
        self._connection: Connection | None = None
        self._problem = ""
        self._wanted = asyncio.Event()
        #: Set while it is known whether strategies can be run: there is a report, or a reason why there is none.
        self._known = asyncio.Event()
        self._workers: dict[int, Worker] = {}
        self._numbers = itertools.count(1)
        # One processor is left for live strategies and the server.
        self._turns = Turns(config.backtests_at_once or max((os.cpu_count() or 2) - 1, 1), patience_s=_TURN_S)

    @property
    def report(self) -> Report | None:
        """What the doctor found; None while sandboxd has not been started or is gone."""
        return self._connection.report if self._connection is not None else None

    @property
    def level(self) -> Level | None:
        """How well strategies are locked in; None while that is not known."""
        return self.report.level if self.report is not None else None

    @property
    def problem(self) -> str:
        """Why there is no sandboxd, for the administrator; empty when there is one or none was wanted yet."""
        return self._problem

    @property
    def pid(self) -> int | None:
        """Process id of a sandboxd that is this server's child."""
        return self._connection.pid if self._connection is not None else None

    @property
    def workers(self) -> int:
        """Workers that live now."""
        return len(self._workers)

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for a processor: whoever holds one for long may let go of it."""
        return self._turns.waiting > 0

    @property
    def runs_untrusted(self) -> bool:
        """Whether what was found is enough to run strategies of people whom nobody vouches for."""
        return self.level is not None and self.level <= Level.B

    def summary(self) -> dict[str, object]:
        """Return how it is doing, for `/readyz`: a jail that is closed does not make a server unready, for alerts need none."""
        return {"level": self.level, "is_open": self.is_open, "workers": self.workers, "restarts": self.restarts}

    @property
    def is_open(self) -> bool:
        """Whether strategies run now."""
        return self.report is not None and (self.runs_untrusted or self.config.trusts_strategies)

    @property
    def is_forced(self) -> bool:
        """Whether strategies run though they are not locked in, for the settings say that everybody is trusted."""
        return self.is_open and not self.runs_untrusted

    async def ready(self) -> None:
        """Wait until strategies can be run; the first who waits starts sandboxd.

        Raises:
            JailClosed: they may not run here, or sandboxd does not start.
        """
        self._wanted.set()
        try:
            async with asyncio.timeout(_READY_S):
                await self._known.wait()
        except TimeoutError as error:
            raise JailClosed("The process that runs strategies does not start.") from error
        if self.report is None:
            raise JailClosed("The process that runs strategies has ended and is being started again.")
        if not self.runs_untrusted and not self.config.trusts_strategies:
            raise JailClosed

    @asynccontextmanager
    async def worker(
        self,
        *,
        user_id: UUID,
        purpose: Purpose,
        frames: Sequence[tuple[Frame, Candles]] = (),
        result_rows: int = 0,
        strategy: str = "",
    ) -> AsyncIterator[Worker]:
        """Give out a locked worker; it ends with the block.

        Args:
            user_id: Whose strategy it will run.
            purpose: Decides its limits. A backtest waits until a processor is free for it.
            frames: Candles that it can read, the traded market first.
            result_rows: For how many candles it can write decisions; 0 for none.
            strategy: What is paused when it is killed too often: the id of a running strategy.

        Raises:
            JailClosed: strategies may not run here, or sandboxd is gone.
            JailBusy: the user has as many as one may have.
            StrategyPaused: it was killed too often just now.
            StrategyKilled: from the block, when it is killed.
        """
        await self.ready()
        async with AsyncExitStack() as stack:
            stack.enter_context(self.quotas.running(user_id, purpose, strategy))
            if purpose is Purpose.BACKTEST:
                await stack.enter_async_context(self._turns.taken())
            worker = Worker(self, next(self._numbers), user_id=user_id, purpose=purpose, strategy=strategy)
            stack.callback(self._release, worker)
            await self._spawn(worker, stack, frames, result_rows)
            yield worker

    async def exchange(self, worker: Worker, body: bytes, request_id: int, wall_s: float) -> bytes:
        """Send a worker's request and return the body of its answer; raises what `Worker.ask` says."""
        if worker.over is not None:
            raise worker.over
        message = Ask(cell=worker.number, request_id=request_id, body=body, wall_s=wall_s, cpu_s=wall_s + 1)
        return await self._await_answer(worker, message, wall_s)

    def condemn(self, worker: Worker, cause: Cause, detail: str) -> StrategyKilled:
        """End a worker for what it did and write it down; return the error that says so."""
        self._tell_sandboxd(Release(cell=worker.number))
        killed = self._accuse(worker, cause, 0, detail)
        worker.settle(killed)
        return killed

    async def run(self, beat: Beat) -> None:
        """Keep a sandboxd once one is wanted, and write violations down. Its end is never the server's."""
        if not _IS_LINUX:
            self._lose("strategies need Linux", was_open=False)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.violations.run())
            tasks.create_task(self._wait_until_wanted())
            pauses = backoff()
            while True:
                beat()
                await (happens_within(self._wanted, _BEAT_S) if _IS_LINUX else asyncio.sleep(_BEAT_S))
                if not _IS_LINUX or not self._wanted.is_set():
                    continue
                started = time.monotonic()
                try:
                    await self._keep(beat)
                except Exception:  # whatever is wrong with the jail is no reason to stop the server, as a loop that fails would
                    log.exception("jail_failed")
                if time.monotonic() - started > _STEADY_S:
                    pauses = backoff()
                self.restarts += 1
                await _rest(next(pauses), beat)

    async def _wait_until_wanted(self) -> None:
        await asyncio.sleep(_START_AFTER_S)
        self._wanted.set()

    async def _keep(self, beat: Beat) -> None:
        """Start sandboxd, or connect to it, and stay until it is gone."""
        try:
            connection = await Connection.opened(self.config.socket_path, self._on_message)
        except OSError as error:
            self._lose(f"sandboxd cannot be reached: {error}", was_open=False)
            log.warning("jail_closed", reason=self._problem)
            return
        self._connection = connection
        try:
            while not connection.gone.is_set() and not _is_hung(connection):
                beat()
                if connection.report is None:
                    await happens_within(connection.reported, _BEAT_S)
                else:
                    self._open(connection.report)
                    await happens_within(connection.gone, _BEAT_S)
        finally:
            self._connection = None
            why = connection.why_gone or ("it was silent" if _is_hung(connection) else "")
            if why:
                log.warning("jail_closed", reason=why, workers=len(self._workers))
            self._lose(f"sandboxd is gone: {why or 'the server stops'}", was_open=connection.report is not None)
            await connection.close()

    def _open(self, report: Report) -> None:
        if not self._known.is_set() or self._problem:
            self._problem = ""
            self._known.set()
            log.info("jail_open", level=report.level, pid=self.pid)

    def _lose(self, problem: str, *, was_open: bool) -> None:
        """Nobody can run anything until there is a sandboxd again.

        Args:
            problem: Why, for the administrator.
            was_open: A sandboxd that ended is replaced within moments, so whoever comes now waits for it; one that does not even start
                is not waited for.
        """
        self._problem = problem
        if was_open:
            self._known.clear()
        else:
            self._known.set()
        for worker in list(self._workers.values()):
            worker.settle(JailClosed("The process that runs strategies has ended; nothing is wrong with the strategy."))
        self._workers.clear()

    async def _spawn(self, worker: Worker, stack: AsyncExitStack, frames: Sequence[tuple[Frame, Candles]], result_rows: int) -> None:
        results = []
        if result_rows:
            results.append(blank_results(result_rows))
            stack.callback(os.close, results[0])
            worker.results = (results[0], result_rows)
        share = SHARES[worker.purpose]
        message = Spawn(
            cell=worker.number,
            frames=[frame for frame, _ in frames],
            result_rows=result_rows,
            memory_bytes=share.memory_bytes,
            life_cpu_s=self.config.life_cpu_s(worker.purpose),
            nice=share.nice,
            is_batch=share.is_batch,
            is_trusted=self.config.trusts_strategies,
        )
        check(message)
        # The worker has mapped them by the end of the block: nobody may make this server run out of descriptors by many frames.
        async with AsyncExitStack() as lent:
            candles = await lent_candles(frames, lent)
            if self._connection is None:
                raise JailClosed("The process that runs strategies has ended and is being started again.")
            self._workers[worker.number] = worker
            await self._await_answer(worker, message, _SPAWN_S, (*candles, *results))

    async def _await_answer(self, worker: Worker, message: Spawn | Ask, wall_s: float, descriptors: tuple[int, ...] = ()) -> bytes:
        if worker.waiting is not None:
            raise RuntimeError("a worker is asked one thing at a time")
        worker.waiting = asyncio.get_running_loop().create_future()
        self._tell_sandboxd(message, descriptors)
        try:
            async with asyncio.timeout(wall_s + _GRACE_S):
                return await worker.waiting
        except asyncio.CancelledError:
            self._release(worker)  # an answer that comes now would be taken for the next one's
            raise
        except TimeoutError as error:
            if isinstance(message, Spawn):
                self._release(worker)
                raise JailClosed("No worker could be made in time; nothing is wrong with the strategy.") from error
            raise self.condemn(worker, Cause.WALL, f"no answer within {wall_s:g} s, and sandboxd did not end it") from error
        finally:
            worker.waiting = None

    def _tell_sandboxd(self, message: ToSandboxd, descriptors: tuple[int, ...] = ()) -> None:
        if self._connection is not None:
            self._connection.send(message, descriptors)

    def _release(self, worker: Worker) -> None:
        """Let go of a worker. Its processor time is counted when sandboxd says that it has ended."""
        if worker.over is None:
            worker.settle(JailClosed("The worker was given back."))
            self._tell_sandboxd(Release(cell=worker.number))

    def _on_message(self, message: Spawned | Answer | Ended) -> None:
        worker = self._workers.get(message.cell)
        if worker is None:
            return
        if isinstance(message, Ended):
            del self._workers[worker.number]
            self.quotas.use(worker.user_id, worker.purpose, message.cpu_s)
            if worker.over is None:
                worker.settle(self._verdict(worker, message))
        elif worker.waiting is not None and not worker.waiting.done():
            worker.waiting.set_result(message.body if isinstance(message, Answer) else b"")

    def _verdict(self, worker: Worker, ended: Ended) -> AppError:
        if ended.cause in INNOCENT:
            log.error("worker_lost", cause=ended.cause, detail=ended.detail)
            return JailClosed("The process that runs strategies could not run this one; nothing is wrong with the strategy.")
        return self._accuse(worker, ended.cause, ended.signal, ended.detail)

    def _accuse(self, worker: Worker, cause: Cause, signal: int, detail: str) -> StrategyKilled:
        return self.violations.accuse(worker.user_id, worker.purpose, worker.strategy, cause=cause, signal=signal, detail=detail)


def _is_hung(connection: Connection) -> bool:
    return connection.silent_s >= (_SILENT_S if connection.report is not None else _EXAMINED_S)


async def _rest(seconds: float, beat: Beat) -> None:
    beat()  # no pause is longer than what the loop may be silent for
    await asyncio.sleep(seconds)
