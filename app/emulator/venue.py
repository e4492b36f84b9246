"""Puts one emulated venue together from its configuration, and keeps its state file up to date."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from app.emulator.clock import MarketClock
from app.emulator.config import EmulatorConfig
from app.emulator.event_faults import EventFaults
from app.emulator.exchange import Exchange
from app.emulator.faults import Faults
from app.emulator.feed import Feed
from app.emulator.journal import Journal
from app.emulator.limits import Limits
from app.emulator.market import SymbolMarket
from app.emulator.market_setup import continue_clock, list_symbols, start_clock
from app.emulator.snapshot import Snapshot, Snapshots, accounts_of, current_mark, market_mark, rule_changes_of, watermarks_of
from app.emulator.sockets import Sockets
from app.emulator.stream_faults import StreamFaults
from app.emulator.streams import StreamHub
from app.emulator.timeline import Timeline
from app.emulator.user_stream import UserSessions
from app.emulator.ws_api import WsApi
from app.errors import ConfigError

log = structlog.get_logger(__name__)

_SETTLE_S = 0.5
_WRITE_COST_FACTOR = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """Everything one emulator consists of."""

    config: EmulatorConfig
    clock: MarketClock
    timeline: Timeline
    exchange: Exchange
    sockets: Sockets
    hub: StreamHub
    users: UserSessions
    ws_api: WsApi
    feed: Feed
    faults: Faults
    journal: Journal
    limits: Limits
    shift_ms: int
    seed: int
    snapshots: Snapshots | None


def build_venue(config: EmulatorConfig) -> Venue:
    """Return the venue of `config`, continued from its state file if there is one.

    Raises:
        ConfigError: a file cannot be read, or the start lies outside the recording.
    """
    snapshots = Snapshots(config.state_file) if config.state_file is not None else None
    document = snapshots.read() if snapshots is not None else None
    mark = market_mark(document) if document is not None else None
    seed = mark.seed if mark is not None else config.seed
    start_ms, listed = list_symbols(config, seed)
    if mark is not None:
        clock, shift_ms = continue_clock(config, mark), mark.shift_ms
    else:
        clock, shift_ms = start_clock(config, start_ms)
    where = {"shift_ms": shift_ms, "start_ms": clock.now()}
    markets = {rules.symbol: SymbolMarket(rules, source, slippage=config.ideal, **where) for rules, source in listed}
    exchange = Exchange(markets, fees=config.fees, wall_ms=clock.wall_now)
    timeline = Timeline(clock.wall)
    sockets = _sockets(config, timeline, clock)
    limits = Limits(config.limits, now_ms=clock.wall.now, told_ms=clock.wall_now, on_ban=sockets.abort_api)
    exchange.listeners.append(limits.hear)
    stream_faults = StreamFaults(timeline, seed=seed)
    faults = Faults(
        seed=seed,
        timeline=timeline,
        clock=clock,
        sockets=sockets,
        limits=limits,
        started_ms=clock.wall.now(),
        streams=stream_faults,
        user_events=EventFaults(f"{seed}:user-events"),
    )
    hub = StreamHub(sockets, stream_faults)
    users = UserSessions(faults.user_events, now_ms=clock.wall_now)
    exchange.listeners.append(users.hear)
    feed = Feed(exchange, clock, hub)
    feed.step()
    if document is not None and mark is not None:
        _restore(exchange, feed, document, matched_to_ms=mark.matched_to_ms)
    _populate(config, exchange, faults)
    return Venue(
        config=config,
        clock=clock,
        timeline=timeline,
        exchange=exchange,
        sockets=sockets,
        hub=hub,
        users=users,
        ws_api=WsApi(exchange, clock, users, limits),
        feed=feed,
        faults=faults,
        journal=Journal(config.journal_capacity),
        limits=limits,
        shift_ms=shift_ms,
        seed=seed,
        snapshots=snapshots,
    )


async def keep_state(venue: Venue) -> None:
    """Write the state file a moment after each change, until cancelled.

    A large state costs time to encode; the pause grows with it, so that writing never takes more than a twentieth of the loop.
    """
    written = -1
    while venue.snapshots is not None:
        if venue.exchange.changes == written:
            await asyncio.sleep(_SETTLE_S)
            continue
        written = venue.exchange.changes
        started = time.perf_counter()
        snapshot = _snapshot(venue, venue.snapshots)
        cost_s = time.perf_counter() - started
        try:
            await asyncio.to_thread(venue.snapshots.write, snapshot)
        except OSError as error:
            written = -1
            log.warning("the state file cannot be written; trying again", path=str(venue.config.state_file), error=str(error))
        await asyncio.sleep(max(_SETTLE_S, cost_s * _WRITE_COST_FACTOR))


def save_state(venue: Venue) -> None:
    """Write the state file now; for the stop."""
    if venue.snapshots is not None:
        venue.snapshots.write(_snapshot(venue, venue.snapshots))


def _snapshot(venue: Venue, snapshots: Snapshots) -> Snapshot:
    mark = current_mark(venue.clock, shift_ms=venue.shift_ms, seed=venue.seed, matched_to_ms=venue.feed.matched_to_ms)
    return snapshots.encode(venue.exchange, mark)


def _populate(config: EmulatorConfig, exchange: Exchange, faults: Faults) -> None:
    for spec in config.accounts:
        if spec.api_key not in exchange.accounts:
            exchange.open_account(spec.api_key, spec.api_secret, spec.balances, pays_in_bnb=spec.pays_in_bnb)
    for rule in config.faults:
        faults.put(rule)


def _sockets(config: EmulatorConfig, timeline: Timeline, clock: MarketClock) -> Sockets:
    return Sockets(
        timeline,
        now_ms=clock.wall_now,
        ping_interval_s=config.ping_interval_s,
        pong_timeout_s=config.pong_timeout_s,
        lifetime_s=config.connection_lifetime_s,
        message_limit=config.message_limit,
    )


def _restore(exchange: Exchange, feed: Feed, document: Mapping[str, Any], *, matched_to_ms: int) -> None:
    try:
        accounts, watermarks = accounts_of(document), watermarks_of(document)
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"the state file is damaged: {error}") from error
    for symbol, changes in rule_changes_of(document).items():
        if symbol in exchange.markets:
            exchange.change_rules(symbol, **changes)
    exchange.restore(
        accounts,
        last_order_id=document["last_order_id"],
        last_execution_id=document["last_execution_id"],
        last_list_id=document.get("last_list_id", 0),
        last_amendment_id=document.get("last_amendment_id", 0),
        watermarks=watermarks,
    )
    feed.catch_up(matched_to_ms)
