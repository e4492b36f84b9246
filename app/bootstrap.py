"""The composition root, the only file that names concrete classes: builds everything, starts the loops, takes it down in reverse."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from fastapi import FastAPI

from app.accounts.ai import AiProviders
from app.accounts.development import DevelopmentMode
from app.accounts.service import Accounts, SessionPolicy
from app.brokers.connections import Connections
from app.brokers.keys import judge_stored_keys
from app.brokers.service import exchanges_in_use, set_default
from app.core import crash_points
from app.core.addresses import parse_allowed
from app.core.clock import Clock, SystemClock
from app.core.config import Settings
from app.core.database_url import DatabaseUrls, port_of, prepare_external
from app.core.db import Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.events import EventBus
from app.core.keyring import Keyring
from app.core.leases import LeaseHolder
from app.core.loop_lag import LoopLag
from app.core.metrics import Metrics, publish_process
from app.core.migrate import upgrade
from app.core.outage import is_database_gone
from app.core.outgoing import Outgoing
from app.core.rotation import Rotation
from app.core.secrets_file import FILE, KeySource, load_jwt_secret
from app.core.security import PasswordHasher
from app.core.supervisor import Beat, Supervisor
from app.errors import ConfigError, KeyMissing
from app.exchanges.binance_stream import DEFAULT_STREAM_URLS
from app.exchanges.catalogue import PAPER
from app.exchanges.paper.exchange import PaperExchange
from app.exchanges.paper.prices import Venue
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.feed_health import FeedReader
from app.marketdata.feed_loops import start_feed
from app.marketdata.feed_metrics import publish_feed
from app.marketdata.heartbeat import Heartbeat, HeartbeatConfig
from app.marketdata.instruments import InstrumentBook
from app.marketdata.lookout import Lookout
from app.marketdata.quotes import Quotes
from app.marketdata.status import ensure_row
from app.marketdata.updates import Nightly, Updates
from app.trading import suspension
from app.trading.audit import Audit, Finding, ask_rules
from app.trading.audit_rules import RULES as AUDIT_RULES
from app.trading.delisting import USES as USES_OF_TRADING
from app.trading.delisting import tell_users
from app.trading.desk import ENGINE_ROLE, Desk
from app.trading.gates import close_all
from app.trading.guardian import Guardian
from app.trading.kill_loop import KillLoop
from app.trading.metrics import publish_trading
from app.trading.outbox import Outbox
from app.trading.portfolio import PortfolioLoop
from app.trading.prices import FeedPrices
from app.trading.reconcile import Pace, Reconciler
from app.trading.start_over import start_over
from app.trading.trips import TripWatch
from app.trading.user_stream import UserStreams
from app.trading.watch import TriggerWatch
from app.trading.wind_down import what_is_left, wind_down
from app.webhooks.audit import RULES as AUDIT_OF_ALERTS
from app.webhooks.delisting import USES as USES_OF_ALERTS
from app.webhooks.inbox import Inbox
from app.webhooks.metrics import publish_webhooks
from app.webhooks.missed import MissedAlerts
from app.webhooks.receive import Door

log = structlog.get_logger(__name__)

_DATABASE_CHECK_S: Final = 1.0

#: Says something to the person who started the server, on the terminal and nowhere else.
Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What lies under every service."""

    settings: Settings
    jwt_secret: str
    keyring: Keyring
    #: For what works for all users: the engine, its loops, logging in.
    database: Database
    #: For pages and the API: it shows the rows of who is asking.
    tenants: Database
    bus: EventBus
    clock: Clock


async def open_database(settings: Settings, stack: AsyncExitStack) -> tuple[DatabaseUrls, EmbeddedPostgres | None]:
    """Start or find PostgreSQL and bring its schema up to date.

    Raises:
        ConfigError: the server that DATABASE_URL names cannot be used.
    """
    embedded: EmbeddedPostgres | None = None
    if settings.database_url is not None:
        owner = settings.database_owner_url
        urls = await prepare_external(settings.database_url.get_secret_value(), owner_url=owner.get_secret_value() if owner else None)
    else:
        embedded = EmbeddedPostgres(settings.data_dir)
        urls = await embedded.start()
        stack.push_async_callback(embedded.stop)
    await upgrade(urls.owner, app_role=urls.app_role)
    return urls, embedded


async def _opened(database: Database, stack: AsyncExitStack) -> Database:
    await database.open()
    stack.push_async_callback(database.close)
    return database


async def inspect(settings: Settings) -> list[Finding]:
    """Return what of the audit's invariants does not hold in the database now. No row is changed, and no server need run.

    Raises:
        ConfigError: the database that the settings name cannot be used.
    """
    async with AsyncExitStack() as stack:
        urls, _ = await open_database(settings, stack)
        database = await _opened(Database(urls.app), stack)
        async with database.connection() as connection:
            return await ask_rules(connection, (*AUDIT_RULES, *AUDIT_OF_ALERTS), now=SystemClock().now(), is_full=True)


async def change_keys(settings: Settings, change: Callable[[Rotation], Awaitable[object]], announce: Announce) -> None:
    """Open the database and change its encryption key; servers may run meanwhile.

    Raises:
        ConfigError: the database cannot be used, or the key cannot be changed so; the sentence says what to do.
        Conflict: another command is at it.
    """
    async with AsyncExitStack() as stack:
        urls, _ = await open_database(settings, stack)
        await change(Rotation(await _opened(Database(urls.app), stack), KeySource(settings), announce))


async def initialise(settings: Settings, announce: Announce) -> None:
    """Make the database, its schema and the rows that everything begins with; what is there already stays as it is.

    Raises:
        ConfigError: the database that the settings name cannot be used, or somebody has the name that `dev` needs.
    """
    async with AsyncExitStack() as stack:
        urls, _ = await open_database(settings, stack)
        database = await _opened(Database(urls.app), stack)
        clock = SystemClock()
        jwt_secret, keyring = await _open_secrets(settings, database, stack, announce)
        accounts = _accounts(settings, jwt_secret, keyring, database, clock)
        await _first_administrator(accounts, settings, announce)
        await DevelopmentMode(database, clock, accounts, is_offered=settings.debug_aristobot).ensure_user()
        await ensure_row(database, settings.heartbeat_exchange, now=clock.now())
        announce(f"The database is ready, with an administrator, the user dev and the heartbeat of {settings.heartbeat_exchange}.")


async def _open_secrets(settings: Settings, database: Database, stack: AsyncExitStack, announce: Announce) -> tuple[str, Keyring]:
    """Return the signing secret and the encryption keys. What a first start makes is announced, and what is missing."""
    jwt_secret, is_made = load_jwt_secret(settings)
    keyring = Keyring(database, KeySource(settings))
    stack.push_async_callback(keyring.leave)
    made = [name for name, is_new in (("JWT_SECRET", is_made), ("FERNET_KEY", await keyring.open())) if is_new]
    if made:
        announce(f"Made {' and '.join(made)} in {settings.data_dir / FILE} (readable by you only; keep a copy apart).")
    if keyring.advice is not None:
        announce(f"ENCRYPTION_KEY_MISSING: nothing is traded, for {keyring.advice}.")
        log.critical("encryption_key_missing", fingerprint=keyring.vault.sealing, place=keyring.place)
    return jwt_secret, keyring


@asynccontextmanager
async def running(app: FastAPI, settings: Settings, announce: Announce) -> AsyncIterator[None]:
    """Everything between start and stop; what the routes need is put on `app.state`."""
    started = time.perf_counter()
    if crash_points.VARIABLE in os.environ and not RegistryConfig(binance_rest_url=settings.binance_rest_url).is_loopback:
        raise ConfigError(f"{crash_points.VARIABLE} kills this server on purpose: it is for tests against an exchange on this machine only")
    async with AsyncExitStack() as stack:
        urls, embedded = await open_database(settings, stack)
        database = await _opened(Database(urls.app, pool_size=5), stack)
        jwt_secret, keyring = await _open_secrets(settings, database, stack, announce)
        ground = Ground(
            settings=settings,
            jwt_secret=jwt_secret,
            keyring=keyring,
            database=database,
            tenants=await _opened(Database(urls.app, is_for_tenants=True, raw_pool_size=8), stack),
            bus=EventBus(),
            clock=SystemClock(),
        )
        await _make_accounts(app, ground, announce)
        _make_trading(app, ground, stack)
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


async def _keep_database(embedded: EmbeddedPostgres, beat: Beat) -> None:
    """Bring the private server back when it has died; what was committed is still there."""
    while True:
        await embedded.ensure_running()
        beat()
        await asyncio.sleep(_DATABASE_CHECK_S)


def _accounts(settings: Settings, jwt_secret: str, keyring: Keyring, database: Database, clock: Clock) -> Accounts:
    policy = SessionPolicy(
        token_lifetime=settings.access_token_lifetime,
        idle=timedelta(minutes=settings.session_idle_minutes),
        absolute=timedelta(hours=settings.session_hours),
    )
    return Accounts(
        database,
        clock,
        hasher=PasswordHasher(),
        policy=policy,
        jwt_secret=jwt_secret,
        vault=keyring.vault,
        registrations_per_hour=settings.registrations_per_hour,
    )


async def _first_administrator(accounts: Accounts, settings: Settings, announce: Announce) -> None:
    given = settings.admin_password.get_secret_value() if settings.admin_password else None
    made = await accounts.ensure_admin(settings.admin_user, given)
    if made is not None:
        announce(f"Log in as {settings.admin_user} with the password {made} — it is shown this once and stored only as a hash.")


async def _make_accounts(app: FastAPI, ground: Ground, announce: Announce) -> None:
    settings = ground.settings
    accounts = _accounts(settings, ground.jwt_secret, ground.keyring, ground.database, ground.clock)
    await _first_administrator(accounts, settings, announce)
    state = app.state
    state.settings = settings
    state.jwt_secret, state.keyring = ground.jwt_secret, ground.keyring
    state.database, state.platform_database = ground.tenants, ground.database
    state.bus = ground.bus
    state.clock = ground.clock
    state.accounts = accounts
    state.development = DevelopmentMode(ground.database, ground.clock, accounts, is_offered=settings.debug_aristobot)
    await state.development.start()


def _make_trading(app: FastAPI, ground: Ground, stack: AsyncExitStack) -> None:
    settings, state = ground.settings, app.state
    vault = ground.keyring.vault
    registry = Registry(
        RegistryConfig(
            binance_rest_url=settings.binance_rest_url,
            binance_ws_api_url=settings.binance_ws_api_url,
            limiter_share=settings.limiter_share,
        ),
        clock=ground.clock,
    )
    stack.push_async_callback(registry.close)
    quotes = Quotes(settings.heartbeat_exchange)
    book = InstrumentBook(ground.database, registry, clock=ground.clock, same_as={PAPER: settings.heartbeat_exchange})
    book.on_stopped = partial(tell_users, uses=(*USES_OF_TRADING, *USES_OF_ALERTS))
    paper = _make_paper(ground, quotes, registry, book)
    connections = Connections(ground.database, vault, registry, paper=paper)
    stack.push_async_callback(connections.close)
    desk = Desk(
        database=ground.database,
        connections=connections,
        instruments=book,
        quotes=FeedPrices(quotes, also={PAPER}),
        bus=ground.bus,
        lease=LeaseHolder(ground.database, ENGINE_ROLE),
        clock=ground.clock,
        closed=partial(_why_closed, ground.keyring),
    )
    heartbeat = Heartbeat(
        HeartbeatConfig(
            exchange=settings.heartbeat_exchange,
            symbols=settings.heartbeat_symbols,
            history=timedelta(minutes=settings.heartbeat_history_minutes),
            stream_urls=(settings.binance_stream_url,) if settings.binance_stream_url else DEFAULT_STREAM_URLS,
            is_timed=not settings.is_simulated,
        ),
        database=ground.database,
        registry=registry,
        quotes=quotes,
        bus=ground.bus,
        clock=ground.clock,
    )
    state.feed = FeedReader(settings.heartbeat_exchange, live=heartbeat, database=ground.database, clock=ground.clock)
    state.lookout = Lookout(heartbeat, database=ground.database, registry=registry, bus=ground.bus, clock=ground.clock)
    state.vault, state.registry, state.connections = vault, registry, connections
    # Accounts lie beneath brokers, so what sets the default account is handed down.
    state.ai_providers, state.set_default_broker = AiProviders(_outgoing(settings), openrouter_url=settings.openrouter_url), set_default
    state.quotes, state.instruments, state.heartbeat, state.desk = quotes, book, heartbeat, desk
    state.what_is_left, state.wind_down = partial(what_is_left, desk), partial(wind_down, desk)
    nightly = Nightly(hour=settings.symbols_refresh_hour, in_use=partial(_exchanges_in_use, ground), is_ours=lambda: desk.lease.is_held)
    state.updates = Updates(ground.database, book, ground.bus, clock=ground.clock, nightly=nightly)
    state.halt_user, state.release_user = partial(suspension.begin, desk), partial(suspension.end, desk)
    paper.listen(lambda changes: desk.suspect(changes.broker_id))
    state.paper, state.reset_paper = paper, partial(start_over, desk, paper)
    state.door = Door.of(settings, ground.database, ground.bus, ground.clock)
    state.inbox = Inbox(desk)
    state.metrics = Metrics()
    publish_feed(state.metrics, state.feed, heartbeat, database=ground.database, bus=ground.bus, clock=ground.clock)
    publish_trading(state.metrics, desk)
    publish_webhooks(state.metrics, ground.bus)


def _why_closed(keyring: Keyring) -> str | None:
    """What is missing is said to the administrators: paths and advice are not for everybody."""
    return None if keyring.is_whole else KeyMissing().message


async def _exchanges_in_use(ground: Ground) -> set[str]:
    return {ground.settings.heartbeat_exchange, *await exchanges_in_use(ground.database)}


def _outgoing(settings: Settings) -> Outgoing:
    urls = (settings.database_url, settings.database_owner_url)
    ports = {port_of(url.get_secret_value()) for url in urls if url is not None}
    return Outgoing(allowed=parse_allowed(settings.ollama_allowed_hosts), forbidden_ports=ports)


def _make_paper(ground: Ground, quotes: Quotes, registry: Registry, book: InstrumentBook) -> PaperExchange:
    """The paper exchange trades what the heartbeat's exchange lists, at its prices."""
    exchange = ground.settings.heartbeat_exchange
    venue = Venue(feed=quotes, public=partial(registry.public, exchange), instruments=partial(book.all, exchange))
    return PaperExchange(ground.database, venue, clock=ground.clock)


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
    supervisor.start("instruments.updates", state.updates.run, limit_s=60)
    state.lookout.start(supervisor)
    if "engine" in settings.roles:
        if ground.keyring.is_whole:
            await _start_engine(app, ground, supervisor)
        else:
            ground.keyring.on_whole = partial(_start_engine, app, ground, supervisor)
    shared = {"registry": state.registry, "database": ground.database, "bus": ground.bus, "clock": ground.clock}
    await start_feed(settings, supervisor, state.metrics, feed=state.feed, heartbeat=state.heartbeat, **shared)


async def _start_engine(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    """Take part in the engine's role, once this process has the encryption key: without it no account can be traded or guarded.

    A process without it leaves the role to others. Alerts that arrive meanwhile wait in the database, as whenever no engine runs.
    """
    settings, state = ground.settings, app.state
    desk: Desk = state.desk
    await judge_stored_keys(ground.database, ground.keyring.vault)
    desk.lease.on_taken = partial(close_all, desk)
    await desk.lease.renew()
    supervisor.start("engine.lease", desk.lease.run)
    supervisor.start("webhooks.inbox", state.inbox.run)
    supervisor.start("webhooks.missed", MissedAlerts(desk, state.feed).run)
    pace = Pace(
        interval_s=settings.reconcile_interval_s,
        full_interval_s=settings.reconcile_full_interval_s,
        settle_s=settings.reconcile_settle_s,
    )
    supervisor.start("reconcile", Reconciler(desk, pace=pace).run, limit_s=60)
    supervisor.start("outbox", Outbox(desk).run, limit_s=60)
    supervisor.start("audit", Audit(desk, interval_s=settings.audit_interval_s, extra=AUDIT_OF_ALERTS).run, limit_s=300)
    supervisor.start("guardian", Guardian(desk).run, limit_s=60)
    supervisor.start("triggers", TriggerWatch(desk).run, limit_s=60)
    supervisor.start("userstream", UserStreams(desk).run, limit_s=60)
    supervisor.start("portfolio", PortfolioLoop(desk, interval_s=settings.equity_interval_s).run, limit_s=120)
    supervisor.start("paper.market", desk.lease.guarding(state.paper.run), limit_s=120)
    supervisor.start("risk.kill_switch", KillLoop(desk).run, limit_s=60)
    supervisor.start("risk.trips", TripWatch(desk, venues=state.registry.limits).run, limit_s=60)
    supervisor.start("instruments", state.instruments.run, limit_s=120)
