"""Builds searches and checks of robustness upon backtests, and starts what runs them."""

import os

from fastapi import FastAPI

from app.backtests.search.jobs import SearchJobs
from app.backtests.search.making import Searches
from app.bootstrap.ground import Ground
from app.core.supervisor import Supervisor
from app.strategies.workers import TrialWorkers


def make_searches(app: FastAPI, ground: Ground) -> None:
    """Put searches on `app.state`; backtests and the jail are there already."""
    state = app.state
    state.searches = Searches(
        backtests=state.backtests, quick=state.strategies.quick, workers=TrialWorkers(state.jail), bus=ground.bus, clock=ground.clock
    )
    state.search_jobs = SearchJobs(state.backtest_tools, lanes=lanes(ground))


def start_searches(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    """Run what waits, where this process's roles say so."""
    if "backtests" in ground.settings.roles:
        supervisor.start("backtests.searches", app.state.search_jobs.run, limit_s=60)


def lanes(ground: Ground) -> int:
    """Return how many workers decide side by side for one search: each keeps a process of the pool busy as well."""
    return max(1, min(ground.settings.backtests_per_user, (os.cpu_count() or 2) // 2))
