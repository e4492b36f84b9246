"""Builds bots upon the jail, the library and trading."""

from fastapi import FastAPI

from app.bootstrap.ground import Ground
from app.bots.making import Bots
from app.strategies.workers import TrialWorkers


def make_bots(app: FastAPI, ground: Ground) -> None:
    """Put bots on `app.state`; the jail and the instruments are there already."""
    state = app.state
    state.bots = Bots(
        instruments=state.instruments,
        workers=TrialWorkers(state.jail),
        feed=ground.settings.heartbeat_exchange,
        bus=ground.bus,
        clock=ground.clock,
    )
