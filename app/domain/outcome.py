"""What came of a simulation, as columns: one numpy array a column, so that a million candles and ten thousand trades stay cheap.

`domain.simulated.Simulation` is the same as objects; the rules are in `domain.simulation`. Floats by design, unlike money.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import Floats
from app.domain.simulated import Reason, SimulatedTrip, Simulation

Rows = NDArray[np.int64]
Codes = NDArray[np.int8]

#: A reason's code in a column is its place here; NO_REASON is that of a trade that is still open.
REASONS: Final = tuple(Reason)
NO_REASON: Final = -1


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Round trips in the order of their ends; the last may be open. Prices, fees, slippage, funding and profit are in quote units.

    Attributes:
        side: +1 long, −1 short.
        entry_candle: Row of the candle in which it was opened.
        exit_candle: Row of the candle in which the last of it was closed; the last row where it is still open.
        quantity: Base units entered in all.
        entry_price: Mean price of what was entered.
        exit_price: Mean price of what left; of an open trade, the mean of that and the last close for the rest.
        fees: Paid.
        slippage: Lost.
        funding: Paid (positive) or received (negative).
        profit: After fees, slippage and funding.
        worst: Largest loss before its end that was not realised (MAE), as a fraction of the entry price, 0 or less.
        best: Largest gain likewise (MFE), 0 or more.
        reason: Code of why the last of it left.
    """

    side: Codes
    entry_candle: Rows
    exit_candle: Rows
    quantity: Floats
    entry_price: Floats
    exit_price: Floats
    fees: Floats
    slippage: Floats
    funding: Floats
    profit: Floats
    worst: Floats
    best: Floats
    reason: Codes

    def __len__(self) -> int:
        return len(self.side)


@dataclass(frozen=True, slots=True)
class FillColumns:
    """All executions in order. `side` is +1 for a buy; `slippage` is what it cost against the price of the candle, in quote units."""

    candle: Rows
    side: Codes
    quantity: Floats
    price: Floats
    fee: Floats
    slippage: Floats
    reason: Codes

    def __len__(self) -> int:
        return len(self.side)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of decisions.

    Attributes:
        trades: Round trips.
        fills: Executions.
        equity: Quote units at the close of each candle; the capital before the first decision.
        denied: Orders that were too small.
        capped: Orders that got less than they wanted, as the candle's volume had no more.
        fees: Quote units paid.
        slippage: Quote units lost.
        funding: Quote units paid, negative when received.
        candles_held: Candles at whose close there was a position.
        missed: Entries with a limit that the price did not come to.
        refused: Entries and additions that a safeguard denied.
        limited: Entries and additions that one cut.
        trips: Safeguards that tripped, in order.
    """

    trades: TradeColumns
    fills: FillColumns
    equity: Floats
    denied: int
    capped: int
    fees: float
    slippage: float
    funding: float
    candles_held: int
    missed: int = 0
    refused: int = 0
    limited: int = 0
    trips: tuple[SimulatedTrip, ...] = ()


def outcome_of(simulation: Simulation) -> Outcome:
    """Return a simulation as columns."""
    trades, fills = simulation.trades, simulation.fills
    return Outcome(
        trades=TradeColumns(
            side=_codes([trade.side for trade in trades]),
            entry_candle=_rows([trade.entry_candle for trade in trades]),
            exit_candle=_rows([trade.exit_candle for trade in trades]),
            quantity=_floats([trade.quantity for trade in trades]),
            entry_price=_floats([trade.entry_price for trade in trades]),
            exit_price=_floats([trade.exit_price for trade in trades]),
            fees=_floats([trade.fees for trade in trades]),
            slippage=_floats([trade.slippage for trade in trades]),
            funding=_floats([trade.funding for trade in trades]),
            profit=_floats([trade.profit for trade in trades]),
            worst=_floats([trade.worst for trade in trades]),
            best=_floats([trade.best for trade in trades]),
            reason=_codes([NO_REASON if trade.reason is None else REASONS.index(trade.reason) for trade in trades]),
        ),
        fills=FillColumns(
            candle=_rows([fill.candle for fill in fills]),
            side=_codes([fill.side for fill in fills]),
            quantity=_floats([fill.quantity for fill in fills]),
            price=_floats([fill.price for fill in fills]),
            fee=_floats([fill.fee for fill in fills]),
            slippage=_floats([fill.slippage for fill in fills]),
            reason=_codes([REASONS.index(fill.reason) for fill in fills]),
        ),
        equity=simulation.equity,
        denied=simulation.denied,
        capped=simulation.capped,
        missed=simulation.missed,
        fees=simulation.fees,
        slippage=simulation.slippage,
        funding=simulation.funding,
        candles_held=simulation.candles_held,
        refused=simulation.refused,
        limited=simulation.limited,
        trips=simulation.trips,
    )


def _codes(values: list[Any]) -> Codes:
    return np.array(values, dtype=np.int8)


def _rows(values: list[int]) -> Rows:
    return np.array(values, dtype=np.int64)


def _floats(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)
