"""Answers every request that comes into the jail."""

from collections.abc import Sequence

import msgspec

from app.domain.arrays import Candles
from app.domain.simulation import SimulationCosts
from app.sandbox.guest.checks.run import run_check
from app.sandbox.guest.failures import failed
from app.sandbox.guest.live import LiveSession
from app.sandbox.guest.loading import Loaded, describe, load
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.output import captured
from app.sandbox.guest.rewriting import rewritten
from app.sandbox.guest.running import run_into
from app.sandbox.guest.session import Session
from app.sandbox.guest.sweeping import Sweeper
from app.sandbox.messages import (
    Check,
    Checked,
    Costs,
    Decide,
    Decision,
    Described,
    Failed,
    Frame,
    Load,
    Ran,
    Reply,
    Request,
    Rewrite,
    Run,
    Sweep,
)
from app.sandbox.sheet import Sheet

_REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class Guest:
    """A worker's whole life: one source, the candles that were mapped for it, and room for its decisions."""

    def __init__(self, frames: Sequence[tuple[Frame, Candles]], results: Sheet | None) -> None:
        self._frames = list(frames)
        self._results = results
        self._loaded: Loaded | None = None
        self._live: LiveSession | None = None
        self._sweeper: Sweeper | None = None

    def handle(self, request: Request) -> Reply:
        """Answer one request; whatever the user's code raises becomes a `Failed`."""
        with captured() as output:
            try:
                reply = self._answer(request)
            except BaseException as error:  # noqa: BLE001 -- SystemExit and what users derive of BaseException are theirs as well
                return failed(error, output.text(), source=request.source if isinstance(request, Load) else self._source())
        try:
            # Names, bounds and sentences come out of the user's source: what the protocol does not take is told instead of sent.
            return _REPLIES.decode(msgspec.json.encode(_with_output(reply, output.text())))
        except (msgspec.ValidationError, UnicodeEncodeError, TypeError) as error:
            return failed(StrategyMistake("NOT_SENDABLE", f"the strategy cannot be described: {error}"), output.text())

    def _answer(self, request: Request) -> Reply:
        match request:
            case Load():
                return self._load(request)
            case Run():
                return self._run(request)
            case Sweep():
                return self._sweep(request)
            case Rewrite():
                return rewritten(self._needed(), request.defaults)
            case Decide():
                return self._decide(request)
            case Check():
                return run_check(self._needed(), self._some_frames(), simulation_costs(request.costs), request)

    def _load(self, request: Load) -> Described:
        self._loaded = self._live = self._sweeper = None
        loaded = load(request.source, request.parameters)
        described = describe(loaded)
        self._loaded = loaded
        return described

    def _run(self, request: Run) -> Reply:
        loaded = self._needed()
        frames, detail = self._laid_apart(request.detail)
        rows = len(frames[0][1])
        if self._results is None or len(self._results) < rows:
            return Failed(kind="NO_ROOM", message="there is no room for the decisions")
        self._results.clear()
        try:
            session = Session(loaded, frames, simulation_costs(request.costs), detail=detail)
            session.is_long_only = request.is_long_only
            run_into(session, self._results, request.start)
        except BaseException:
            self._results.clear()  # half a run that failed leaves nothing behind
            raise
        return Ran(rows=rows)

    def _sweep(self, request: Sweep) -> Reply:
        loaded = self._needed()
        if self._results is None:
            return Failed(kind="NO_ROOM", message="there is no room for the decisions")
        if self._sweeper is None:
            frames, detail = self._laid_apart(request.detail)
            self._sweeper = Sweeper(loaded.source, frames, self._results, detail)
        return self._sweeper.sweep(request, simulation_costs(request.costs))

    def _decide(self, request: Decide) -> Reply:
        loaded = self._needed()
        if self._live is None:
            self._live = LiveSession(loaded, self._some_frames())
        return self._live.decide(request)

    def _source(self) -> str:
        return "" if self._loaded is None else self._loaded.source

    def _laid_apart(self, place: int | None) -> tuple[list[tuple[Frame, Candles]], Candles | None]:
        """Return the frames that the strategy sees, and the one that tells what happens inside a candle."""
        frames = self._some_frames()
        if place is None:
            return frames, None
        if not 0 < place < len(frames):
            raise StrategyMistake("FRAME_UNKNOWN", f"there are {len(frames)} frames, was {place}")
        return frames, frames.pop(place)[1]

    def _some_frames(self) -> list[tuple[Frame, Candles]]:
        if not self._frames or not len(self._frames[0][1]):
            raise StrategyMistake("NO_CANDLES", "there are no candles")
        return list(self._frames)

    def _needed(self) -> Loaded:
        if self._loaded is None:
            raise StrategyMistake("NOT_LOADED", "no strategy is loaded")
        return self._loaded


def _with_output(reply: Reply, output: str) -> Reply:
    return msgspec.structs.replace(reply, output=output) if isinstance(reply, Ran | Checked | Decision) else reply


def simulation_costs(costs: Costs) -> SimulationCosts:
    """Return the costs as the domain has them."""
    return SimulationCosts(**msgspec.structs.asdict(costs) | {"maker_fee": costs.fee if costs.maker_fee is None else costs.maker_fee})
