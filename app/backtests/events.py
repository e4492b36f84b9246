"""What backtests tell while they run."""

from dataclasses import dataclass
from uuid import UUID

import msgspec

#: Points of the growing equity curve.
MOST_POINTS = 300


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a backtest is; stored in its row, and sent as an event.

    Attributes:
        phase: `queued`, `candles` (bringing them together), `fetching` (from the exchange), `deciding`, `simulating`.
        pct: Of this phase, 0 to 100.
        done: Candles, of `total`.
        total: Candles of this phase; 0 while that is not known.
        bars_per_s: Candles a second, of this phase; None while that is not known.
        eta_s: Seconds until it is over; None while that is not known.
        points: Open time in ms UTC and equity in quote units of the part that is done, the last one among them.
        trades: Round trips in that part.
        symbol: Whose candles are brought together.
        waits_s: The exchange wants to be left alone for so long; 0 when it does not.
    """

    phase: str
    pct: float = 0.0
    done: int = 0
    total: int = 0
    bars_per_s: float | None = None
    eta_s: float | None = None
    points: list[tuple[int, float]] = []
    trades: int = 0
    symbol: str = ""
    waits_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestChanged:
    """A backtest has another state, or is further; published after its row says so. `progress` is None once it is over."""

    user_id: UUID
    backtest_id: UUID
    number: int
    state: str
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestAsked:
    """A backtest was made or is to be canceled: whoever works on them in this process looks at once."""

    backtest_id: UUID
