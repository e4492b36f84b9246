"""The composition root, the only file that names concrete classes: builds everything, starts the loops, takes it down in reverse."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import structlog
from fastapi import FastAPI

from app.bootstrap.accounts import make_accounts
from app.bootstrap.assistant import make_assistant
from app.bootstrap.backtests import make_backtests, start_backtests
from app.bootstrap.bots import make_bots, start_bot_symbols, start_bots
from app.bootstrap.ground import Announce, Ground, open_database, open_secrets, opened
from app.bootstrap.library import make_library
from app.bootstrap.notifications import make_notifications, start_notifications
from app.bootstrap.searches import make_searches, start_searches
from app.bootstrap.shadow import make_shadow, start_shadow
from app.bootstrap.strategies import make_jail
from app.bootstrap.trading import make_trading, start_engine
from app.core import crash_points
from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.db import Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.events import EventBus
from app.core.loop_lag import LoopLag
from app.core.metrics import publish_process
from app.core.outage import is_database_gone
from app.core.supervisor import Beat, Supervisor
from app.errors import ConfigError
from app.exchanges.registry import RegistryConfig
from app.marketdata.feed_loops import start_feed

log = structlog.get_logger(__name__)

_DATABASE_CHECK_S: Final = 1.0


@asynccontextmanager
async def running(app: FastAPI, settings: Settings, announce: Announce) -> AsyncIterator[None]:
    """Everything between start and stop; what the routes need is put on `app.state`."""
    started = time.perf_counter()
    if crash_points.VARIABLE in os.environ and not RegistryConfig(binance_rest_url=settings.binance_rest_url).is_loopback:
        raise ConfigError(f"{crash_points.VARIABLE} kills this server on purpose: it is for tests against an exchange on this machine only")
    async with AsyncExitStack() as stack:
        urls, embedded = await open_database(settings, stack)
        database = await opened(Database(urls.app, pool_size=5), stack)
        jwt_secret, keyring = await open_secrets(settings, database, stack, announce)
        ground = Ground(
            settings=settings,
            jwt_secret=jwt_secret,
            keyring=keyring,
            database=database,
            tenants=await opened(Database(urls.app, is_for_tenants=True, raw_pool_size=8), stack),
            bus=EventBus(),
            clock=SystemClock(),
        )
        await make_accounts(app, ground, announce)
        make_trading(app, ground, stack)
        make_assistant(app, ground)
        make_notifications(app, ground, stack)
        make_jail(app, ground, stack)
        make_library(app, ground)
        make_backtests(app, ground, stack)
        make_searches(app, ground)
        make_bots(app, ground)
        make_shadow(app, ground)
        # Entered last, so that the loops have ended before the clients and the database are closed under them.
        supervisor = await stack.enter_async_context(Supervisor(is_outage=is_database_gone))
        app.state.supervisor = supervisor
        if embedded is not None:
            supervisor.start("database", partial(_keep_database, embedded), limit_s=900)
        await _start_loops(app, ground, supervisor)
        app.state.ready_after_s = time.perf_counter() - started
        log.info("started", seconds=round(app.state.ready_after_s, 2), roles=settings.roles)
        yield
        log.info("stopping")


async def _start_trading(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    await start_engine(app, ground, supervisor)
    start_bots(app, ground, supervisor)


async def _keep_database(embedded: EmbeddedPostgres, beat: Beat) -> None:
    """Bring the private server back when it has died; what was committed is still there."""
    while True:
        await embedded.ensure_running()
        beat()
        await asyncio.sleep(_DATABASE_CHECK_S)


async def _start_loops(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    settings, state = ground.settings, app.state
    state.loop_lag = LoopLag()
    supervisor.start("loop_lag", state.loop_lag.run)
    databases = {"platform": ground.database, "tenants": ground.tenants}
    publish_process(state.metrics, supervisor=supervisor, loop_lag=state.loop_lag, databases=databases)
    supervisor.start("accounts", state.accounts.run)
    supervisor.start("exchanges", state.registry.run, limit_s=60)
    supervisor.start("connections", state.connections.run, limit_s=60)
    supervisor.start("encryption_keys", ground.keyring.run)
    supervisor.start("assistant", state.assistant.run)
    supervisor.start("instruments.updates", state.updates.run, limit_s=60)
    state.lookout.start(supervisor)
    supervisor.start("jail", state.jail.run, limit_s=60)
    supervisor.start("strategies.shares", state.strategies.delivery.run, limit_s=60)
    start_notifications(app, ground, supervisor)
    start_backtests(app, ground, supervisor)
    start_searches(app, ground, supervisor)
    start_bot_symbols(app, ground, supervisor)
    start_shadow(app, ground, supervisor)
    if "engine" in settings.roles:
        if ground.keyring.is_whole:
            await _start_trading(app, ground, supervisor)
        else:
            ground.keyring.on_whole = partial(_start_trading, app, ground, supervisor)
    shared = {"registry": state.registry, "database": ground.database, "bus": ground.bus, "clock": ground.clock}
    await start_feed(settings, supervisor, state.metrics, feed=state.feed, heartbeat=state.heartbeat, **shared)
