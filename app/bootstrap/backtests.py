"""Builds backtests upon the jail, the library and trading, and starts what runs them."""

import os
from contextlib import AsyncExitStack

from fastapi import FastAPI

from app.backtests.bounds import MIB, Bounds
from app.backtests.compiled import CACHE_VARIABLE, kernel_folder
from app.backtests.dask_pool import DaskPool
from app.backtests.data import CandleData
from app.backtests.exporting import FilesUnderWay
from app.backtests.jobs import BacktestJobs
from app.backtests.making import Backtests
from app.backtests.memory import MemoryRoom
from app.backtests.metrics import publish_backtests
from app.backtests.pool import Computing, Pool
from app.backtests.running import Tools
from app.bootstrap.ground import Ground
from app.core.config import Settings
from app.core.supervisor import Supervisor
from app.marketdata.candle_sources import CandleSources


def make_backtests(app: FastAPI, ground: Ground, stack: AsyncExitStack) -> None:
    """Put backtests on `app.state`; the jail, the library and trading are there already. No process is started before one is needed."""
    state, bounds = app.state, bounds_of(ground.settings)
    kernels = ground.settings.data_dir if CACHE_VARIABLE not in os.environ and ground.settings.dask_scheduler is None else None
    pool = _pool(ground.settings, bounds)
    stack.push_async_callback(pool.close)
    sources = CandleSources(ground.database, state.registry, ground.clock)
    state.backtest_tools = Tools(
        database=ground.database,
        jail=state.jail,
        data=CandleData(sources, state.instruments, bounds),
        pool=pool,
        bus=ground.bus,
        bounds=bounds,
        room=MemoryRoom(bounds.memory_bytes),
        kernels=kernels,
    )
    state.backtests = Backtests(
        instruments=state.instruments,
        quick=state.strategies.quick,
        desk=state.desk,
        bounds=bounds,
        feed=ground.settings.heartbeat_exchange,
        bus=ground.bus,
        clock=ground.clock,
    )
    state.backtest_files = FilesUnderWay()
    state.backtest_jobs = BacktestJobs(state.backtest_tools)
    publish_backtests(state.metrics, state.backtest_jobs, state.backtest_tools.room, ground.bus)


def _pool(settings: Settings, bounds: Bounds) -> Computing:
    if settings.dask_scheduler is not None:
        return DaskPool(settings.dask_scheduler)
    folder = os.environ.get(CACHE_VARIABLE) or str(kernel_folder(settings.data_dir).absolute())
    # One more than run at a time: a file to keep is not to wait for a simulation.
    return Pool(bounds.at_once + 1, environment={CACHE_VARIABLE: folder})


def start_backtests(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    """Run what waits, where this process's roles say so."""
    if "backtests" in ground.settings.roles:
        supervisor.start("backtests.jobs", app.state.backtest_jobs.run, limit_s=60)


def bounds_of(settings: Settings) -> Bounds:
    """Return what the settings allow."""
    return Bounds(
        at_once=at_once(settings),
        of_user=settings.backtests_per_user,
        waiting=settings.backtests_queued_per_user,
        stored=settings.backtests_kept_per_user,
        memory_bytes=settings.backtest_memory_mb * MIB,
    )


def at_once(settings: Settings) -> int:
    """Return how many backtests run at a time: one processor is left for live strategies and the server."""
    return settings.backtests_at_once or max((os.cpu_count() or 2) - 1, 1)
