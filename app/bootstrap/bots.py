"""Builds bots upon the jail, the library and trading, and starts what lets them trade."""

from fastapi import FastAPI

from app.bootstrap.ground import Ground
from app.bots.engine import Engine
from app.bots.history import Histories
from app.bots.making import Bots
from app.bots.metrics import BotFigures
from app.bots.places import and_suspend_bots, unless_bots_trade
from app.bots.safeguard_watch import SafeguardWatch
from app.bots.symbols import BotSymbols
from app.core.supervisor import Supervisor
from app.marketdata.candle_sources import CandleSources
from app.strategies.workers import TrialWorkers


def make_bots(app: FastAPI, ground: Ground) -> None:
    """Put bots on `app.state`; the jail, the instruments and trading are there already."""
    state, feed = app.state, ground.settings.heartbeat_exchange
    state.bots = Bots(instruments=state.instruments, workers=TrialWorkers(state.jail), feed=feed, bus=ground.bus, clock=ground.clock)
    state.wind_down = unless_bots_trade(state.desk, state.wind_down)
    state.instruments.on_stopped = and_suspend_bots(state.instruments.on_stopped)
    figures = BotFigures(state.metrics, lambda: state.bot_engine.states())
    histories = Histories(CandleSources(ground.database, state.registry, ground.clock), state.instruments)
    state.bot_engine = Engine(state.desk, state.jail, histories, state.feed, figures)


def start_bots(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    """Let bots trade while this process holds the engine's role; the caller has started to try for it."""
    supervisor.start("bots", app.state.desk.lease.guarding(app.state.bot_engine.run), limit_s=60)
    supervisor.start("bots.safeguards", SafeguardWatch(app.state.desk, now=app.state.bot_engine.venue_now).run, limit_s=60)


def start_bot_symbols(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    """Have the feed of this process watch what bots trade."""
    if "heartbeat" in ground.settings.roles:
        watchers = app.state.lookout.watchers
        symbols = BotSymbols(ground.database, watchers, app.state.instruments, ground.settings.heartbeat_exchange)
        supervisor.start("bots.symbols", symbols.run, limit_s=60)
