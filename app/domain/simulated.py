"""What a simulation is given and what comes of it; the rules are in `domain.simulation`. Floats by design, unlike money."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.arrays import Floats
from app.domain.safeguards import SafeguardNumbers


class Reason(StrEnum):
    """Why a fill happened."""

    ENTRY = "entry"
    ADD = "add"
    REDUCE = "reduce"
    EXIT = "exit"
    STOP = "stop"
    TRAILING = "trailing"
    TARGET = "target"
    LIQUIDATION = "liquidation"
    SAFEGUARD = "safeguard"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationCosts:
    """What the simulated account pays and holds; fractions are of one (0.001 is 0.1 %). Zero steps mean no rounding.

    Attributes:
        capital: Quote units at the start.
        fee: Taker's fee, of a fill's notional.
        maker_fee: Fee of targets, which rest as limit orders.
        slippage: By how much market orders fill beside the price, against the trader.
        step: Base units that quantities are whole multiples of.
        tick: Quote units that prices are whole multiples of.
        least_notional: Quote units below which an order is denied.
        volume_share: Fraction of a candle's volume that one order may take; 0: as much as it wants.
        funding_rate: Of a perpetual, of the notional at each funding (00, 08 and 16 UTC): positive is paid by longs to shorts. 0: none.
        safeguards: Rules that keep it from losing too much; None: none.
    """

    capital: float = 10_000.0
    fee: float = 0.001
    maker_fee: float = 0.001
    slippage: float = 0.0005
    step: float = 0.0
    tick: float = 0.0
    least_notional: float = 0.0
    volume_share: float = 0.0
    funding_rate: float = 0.0
    safeguards: SafeguardNumbers | None = None


@dataclass(frozen=True, slots=True)
class SimulatedFill:
    """One execution. `side` is +1 for a buy; `slippage` is what it cost in quote units against the price of the candle."""

    candle: int
    side: int
    quantity: float
    price: float
    fee: float
    slippage: float
    reason: Reason


@dataclass(slots=True)
class SimulatedTrade:
    """One round trip, of which parts may have been added or taken off on the way.

    Attributes:
        side: +1 long, −1 short.
        entry_candle: Row of the candle in which it was opened.
        exit_candle: Row of the candle in which the last of it was closed; the last row where it is still open.
        quantity: Base units entered in all.
        entry_price: Mean price of what was entered.
        exit_price: Mean price of what left; of an open trade, the mean of that and the last close for the rest.
        fees: Quote units.
        slippage: Quote units.
        funding: Quote units paid, negative when received.
        profit: Quote units after fees and funding.
        worst: Worst price while it was held, as a fraction beside the mean entry: 0 or less.
        best: Best price likewise: 0 or more.
        reason: Why the last of it left; None while it is open.
    """

    side: int
    entry_candle: int
    exit_candle: int = -1
    quantity: float = 0.0
    entry_price: float = 0.0
    exit_price: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0
    profit: float = 0.0
    worst: float = 0.0
    best: float = 0.0
    reason: Reason | None = None
    entered: float = 0.0
    left: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether some of it was still held at the end."""
        return self.reason is None

    def settle(self, candle: int, reason: Reason | None, *, worst: float, best: float) -> None:
        """Write down how it ended; `worst` and `best` are the prices that it saw."""
        self.exit_candle = candle
        self.reason = reason
        self.entry_price = self.entered / self.quantity
        self.exit_price = self.left / self.quantity
        self.profit = self.side * (self.left - self.entered) - self.fees - self.funding
        self.worst = min(self.side * (worst / self.entry_price - 1), 0.0)
        self.best = max(self.side * (best / self.entry_price - 1), 0.0)


@dataclass(frozen=True, slots=True)
class SimulatedTrip:
    """A safeguard that has tripped.

    Attributes:
        candle: Row of the candle in which it did.
        rule: Its place in `safeguards.TRIPPING`.
        flattens: Whether the position was left.
        measured: A fraction that was lost, or a count.
        equity: Quote units at that moment; 0 of rules that count trades.
        base: What it is compared with: that at the day's beginning, or its peak; 0 likewise.
    """

    candle: int
    rule: int
    flattens: bool
    measured: float
    equity: float = 0.0
    base: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came of decisions.

    Attributes:
        trades: Round trips in order; the last may be open.
        fills: All executions in order.
        equity: Quote units at the close of each candle.
        denied: Orders that were too small.
        fees: Quote units paid.
        slippage: Quote units lost.
        candles_held: Candles at whose close there was a position.
        capped: Orders that got less than they wanted, as the candle's volume had no more.
        missed: Entries with a limit that the price did not come to.
        funding: Quote units paid, negative when received.
        refused: Entries and additions that a safeguard denied.
        limited: Entries and additions that one cut.
        trips: Safeguards that tripped, in order.
    """

    trades: tuple[SimulatedTrade, ...]
    fills: tuple[SimulatedFill, ...]
    equity: Floats
    denied: int
    fees: float
    slippage: float
    candles_held: int
    capped: int = 0
    missed: int = 0
    funding: float = 0.0
    refused: int = 0
    limited: int = 0
    trips: tuple[SimulatedTrip, ...] = ()


@dataclass(slots=True)
class Wish:
    """One row of `Decisions`; None instead of NaN."""

    flags: int = 0
    size: float | None = None
    stop: float | None = None
    target: float | None = None
    trailing: float | None = None
    adjust: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    limit: float | None = None
    target_2: float | None = None
    target_3: float | None = None
    take_profit_2: float | None = None
    take_profit_3: float | None = None
    part: float | None = None
    part_2: float | None = None
    part_3: float | None = None
