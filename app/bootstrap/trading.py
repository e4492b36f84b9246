"""Builds exchanges, prices and orders, and starts what trades."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

from fastapi import FastAPI

from app.accounts.ai import AiProviders
from app.bootstrap.ground import Ground
from app.brokers.connections import Connections
from app.brokers.keys import judge_stored_keys
from app.brokers.service import exchanges_in_use, set_default
from app.core.addresses import parse_allowed
from app.core.config import Settings
from app.core.database_url import port_of
from app.core.keyring import Keyring
from app.core.leases import LeaseHolder
from app.core.metrics import Metrics
from app.core.outgoing import Outgoing
from app.core.supervisor import Supervisor
from app.errors import KeyMissing
from app.exchanges.binance_stream import DEFAULT_STREAM_URLS
from app.exchanges.catalogue import PAPER
from app.exchanges.paper.exchange import PaperExchange
from app.exchanges.paper.prices import Venue
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.feed_health import FeedReader
from app.marketdata.feed_metrics import publish_feed
from app.marketdata.heartbeat import Heartbeat, HeartbeatConfig
from app.marketdata.instruments import InstrumentBook
from app.marketdata.lookout import Lookout
from app.marketdata.quotes import Quotes
from app.marketdata.updates import Nightly, Updates
from app.trading import suspension
from app.trading.audit import Audit
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


def make_trading(app: FastAPI, ground: Ground, stack: AsyncExitStack) -> None:
    """Put exchanges, prices, orders and webhooks on `app.state`."""
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
    heartbeat = _make_heartbeat(ground, quotes, registry)
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


def _make_heartbeat(ground: Ground, quotes: Quotes, registry: Registry) -> Heartbeat:
    settings = ground.settings
    return Heartbeat(
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


async def start_engine(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
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
