"""Decides with many sets of parameters over the same candles, one set after the other."""

import time
from collections.abc import Sequence

from app.domain.arrays import Candles
from app.domain.simulation import SimulationCosts
from app.sandbox.guest.failures import message_of, place_of
from app.sandbox.guest.loading import load
from app.sandbox.guest.memo import Memo
from app.sandbox.guest.running import run_into
from app.sandbox.guest.session import Session
from app.sandbox.guest.ta import remembering
from app.sandbox.messages import Frame, Packed, Sweep, Swept, Value
from app.sandbox.packed import pack_into
from app.sandbox.sheet import Sheet

_COLUMNS = ("time", "open", "high", "low", "close", "volume")


class Sweeper:
    """Sets of parameters of one source, over the candles of one worker.

    Args:
        source: The strategy's.
        frames: What it trades, and others.
        results: Where packed decisions go.
        detail: Shorter candles that tell what happens inside one, which the strategy does not see.
    """

    def __init__(self, source: str, frames: Sequence[tuple[Frame, Candles]], results: Sheet, detail: Candles | None = None) -> None:
        self.source = source
        self._frames = frames
        self._results = results
        self._detail = detail
        self._memo = Memo(getattr(candles, name) for _, candles in frames for name in _COLUMNS)
        self._sheet = Sheet(len(frames[0][1]))

    def sweep(self, request: Sweep, costs: SimulationCosts) -> Swept:
        """Try as many sets as there is room and time for, at least one."""
        ends_at = time.monotonic() + request.seconds
        sets: list[Packed] = []
        at = 0
        with remembering(self._memo):
            for given in request.sets:
                if sets and time.monotonic() >= ends_at:
                    break
                packed = self._tried(given, request.start, costs, at)
                if packed is None:
                    break
                sets.append(packed)
                at += packed.rows
        return Swept(sets=sets)

    def _tried(self, given: dict[str, Value], start: int, costs: SimulationCosts, at: int) -> Packed | None:
        try:
            # From the source anew, as a run of its own would be: nothing goes from one set to the next.
            session = Session(load(self.source, given), self._frames, costs, detail=self._detail)
            run_into(session, self._sheet, start)
            packed = pack_into(self._results, at, self._sheet.decisions())
        except BaseException as error:  # noqa: BLE001 -- the user's code, SystemExit as well; another set may well run
            line, _ = place_of(error)
            packed = Packed(rows=0, problem=message_of(error)[:300] or type(error).__name__, line=max(0, min(line, 1_000_000)))
        self._sheet.clear()
        if packed is None and not at:
            return Packed(rows=0, problem="there is no room for the decisions")
        return packed
