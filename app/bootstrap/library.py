"""Builds the library of strategies upon the jail."""

from fastapi import FastAPI

from app.bootstrap.ground import Ground
from app.strategies.candles import TrialCandles
from app.strategies.pace import Paces
from app.strategies.quick import QuickBacktest
from app.strategies.service import Market
from app.strategies.sharing import Delivery
from app.strategies.trials import Library
from app.strategies.validation import Validator
from app.strategies.workers import TrialWorkers


def make_library(app: FastAPI, ground: Ground) -> None:
    """Put the library on `app.state`; the jail and the instruments are there already."""
    settings, state = ground.settings, app.state
    default = Market(exchange=settings.heartbeat_exchange, symbol=next(iter(settings.heartbeat_symbols), None))
    candles = TrialCandles(ground.database, state.instruments, default=default, clock=ground.clock)
    workers = TrialWorkers(state.jail)
    state.strategies = Library(
        validator=Validator(workers, candles),
        quick=QuickBacktest(workers, candles),
        delivery=Delivery(ground.database, ground.clock),
        paces=Paces(ground.clock),
        clock=ground.clock,
    )
