"""Builds promotions and comparisons upon bots and backtests, and starts what compares."""

from decimal import Decimal

from fastapi import FastAPI

from app.bootstrap.ground import Ground
from app.core.leases import LeaseHolder
from app.core.supervisor import Supervisor
from app.shadow.jobs import SHADOW_ROLE, ShadowJobs
from app.shadow.promotion import Promotions
from app.shadow.running import ShadowTools
from app.shadow.service import Shadows


def make_shadow(app: FastAPI, ground: Ground) -> None:
    """Put promotions and comparisons on `app.state`; bots and backtests are there already."""
    state, settings = app.state, ground.settings
    state.promotions = Promotions(bots=state.bots, desk=state.desk)
    state.shadows = Shadows(bus=ground.bus, clock=ground.clock)
    tools = ShadowTools(
        backtests=state.backtest_tools,
        desk=state.desk,
        clock=ground.clock,
        slippage=Decimal(repr(settings.shadow_slippage)),
        alert_fraction=Decimal(repr(settings.shadow_alert_share)),
    )
    state.shadow_jobs = ShadowJobs(tools, kept_days=settings.shadow_keep_days)


def start_shadow(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    """Compare, where this process's roles say that it runs backtests; of several such processes one does."""
    if "backtests" not in ground.settings.roles:
        return
    lease = LeaseHolder(ground.database, SHADOW_ROLE)
    supervisor.start("shadow.lease", lease.run)
    supervisor.start("shadow", lease.guarding(app.state.shadow_jobs.run), limit_s=60)
