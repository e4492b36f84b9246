"""Decides at one closed candle at a time, for a position that is really held."""

from collections.abc import Sequence

import numpy as np

from app.domain.arrays import DECIDED, EXIT, LONG, SHORT, Candles
from app.domain.simulation import SimulationCosts, Wish
from app.sandbox.guest.loading import Loaded
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.running import decide_at_end
from app.sandbox.guest.session import Session
from app.sandbox.guest.strategy import Fill
from app.sandbox.messages import Decide, Decision, Frame, Holding

_ACTIONS = {0: "none", LONG: "long", SHORT: "short", EXIT: "exit"}
ClosedCandle = tuple[int, float, float, float, float, float]


class LiveSession:
    """One instance from candle to candle: what the user keeps in `self` stays, series are computed anew.

    The window keeps its length: the oldest candle goes when a new one comes.
    """

    def __init__(self, loaded: Loaded, frames: Sequence[tuple[Frame, Candles]]) -> None:
        self._loaded = loaded
        self._frames = list(frames)
        self._instance = loaded.make()

    def decide(self, request: Decide) -> Decision:
        """Return the decision at the last candle.

        Raises:
            StrategyMistake: a candle is older than the last one.
        """
        for place, candle in request.others:
            self._append(place, candle)
        if request.candle is not None:
            self._append(0, request.candle)
        session = Session(self._loaded, self._frames, SimulationCosts(capital=request.holding.equity), instance=self._instance)
        self._hold(session, request.holding)
        for fill in request.fills:
            self._instance.on_fill(Fill(fill.side, fill.quantity, fill.price, fill.fee, fill.reason, fill.time))
        return decision(decide_at_end(session))

    def _append(self, place: int, candle: ClosedCandle) -> None:
        if place >= len(self._frames):
            raise StrategyMistake("FRAME_UNKNOWN", f"there are {len(self._frames)} frames, was {place}")
        frame, known = self._frames[place]
        rows = len(known)
        last = int(known.time[-1]) if rows else -1
        if candle[0] < last:
            raise StrategyMistake("CANDLE_OUT_OF_ORDER", f"the candle opened at {candle[0]}, before the last one at {last}")
        kept = slice(0, rows - 1) if candle[0] == last else slice(1 if rows > 1 else 0, rows)
        columns = (known.time, known.open, known.high, known.low, known.close, known.volume)
        self._frames[place] = frame, Candles(*(np.append(column[kept], value) for column, value in zip(columns, candle, strict=True)))

    def _hold(self, session: Session, holding: Holding) -> None:
        candles = session.candles
        session.account.hold(
            quantity=holding.quantity,
            entry_price=holding.entry_price,
            equity=holding.equity,
            price=session.closes[-1] if session.closes else holding.entry_price,
            stop=holding.stop,
            target=holding.target,
        )
        row = int(np.searchsorted(candles.time, holding.opened_at_ms, side="right")) - 1
        session.account.entry_candle = max(0, row)
        since = slice(max(0, row), None)
        if holding.quantity and len(candles):
            seen = candles.high[since].max() if holding.quantity > 0 else candles.low[since].min()
            session.account.best_price = float(seen)


def decision(wish: Wish | None) -> Decision:
    """Return a wish as the server is told of it."""
    if wish is None:
        return Decision(action="none")
    return Decision(
        action=_ACTIONS[wish.flags],  # type: ignore[arg-type]
        **{name: getattr(wish, name) for name in DECIDED},
    )
