"""What came of a simulation, as columns: one numpy array a column, so that a million candles and ten thousand trades stay cheap.

`domain.simulated.Simulation` is the same as objects; the rules are in `domain.simulation`. Floats by design, unlike money.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import Floats
from app.domain.simulated import Reason

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
