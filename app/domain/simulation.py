"""What one simulated candle means: decisions at closes, fills at opens, stops and targets in between.

1. A decision at the close of a candle becomes an order at the open of the next one. Leaving comes first, then adding or taking off, then
   entering. A market order is moved by slippage against the trader, put on the tick against the trader, and pays the taker's fee.
2. An entry with a limit rests for the next candle. Where the price opens at the limit or better it meets an offer and is a market order
   that pays no more than its limit. Otherwise the price must trade *through* it, and it fills at its price and pays the maker's fee. Of the
   same candle only what must have come after that counts: its worse end for the stop, its close for targets. An entry that is not
   reached is forgotten and counted.
3. Stops and targets live from the fill on. A candle that opens beyond a level fills at its open. Otherwise the stop goes first where both
   lie inside one candle. A stop fires by touch and is a market order; a target is a limit order: the price must trade *through* it, and it
   fills at its price and pays the maker's fee. There may be three targets, each for a part of what was entered in all; one without a part
   takes all that is left, and each is filled once in a trade; of those that one candle goes through the nearest goes first.
   One that is set or moved to where the next candle opens beyond it is a market order that takes no worse than its price.
4. A trailing stop follows the best price of the candles that have closed since the entry: what a candle's own high did before its low is
   not known, so it moves the stop from the next candle on.
5. With `detail`, what happens inside a candle is read off the shorter candles in it by the same rules, so that they tell whether stop or
   target came first. A candle whose extremes they do not reach, as some are missing, is taken as a whole.
6. Quantities are floored to the step. An entry or a partial exit below the least notional is denied and counted; leaving is never denied.
7. With a share of the volume, one order takes at most that share of the candle's volume, and less is counted. What an entry, an addition
   or a reduction does not get is forgotten. What is left of an exit or a stop leaves at the opens of the following candles, and until then
   nothing else is decided; what is left of a target goes on resting.
8. With a funding rate, a position pays for each funding (00, 08 and 16 UTC) since the candle before at the open of a candle, before
   anything else: rate times notional at that open, from longs to shorts. Of funding inside a candle that it did not survive it pays none.
9. Nothing is borrowed: an entry takes at most the equity. A short whose losses have eaten the equity is closed where they do.
10. With safeguards (`domain.guarded_account`) entries may be denied or cut, a position left, and the account suspended.
11. Equity is cash + position at the close. A position that is open at the end is marked there and shown as open.

All is pure: no time, no I/O. `Account` is one step at a time, which a strategy's per-candle methods see; `simulate` walks through decisions
that are already made and must come to the same fills. The compiled form of the same rules is `app.backtests.kernel`.
"""

from collections.abc import Callable

import numpy as np

from app.domain.account import Account
from app.domain.arrays import DECIDED, Candles, Decisions, deciding_rows, numbers
from app.domain.grid import minutes_within
from app.domain.guarded_account import made_account
from app.domain.simulated import Reason, SimulatedFill, SimulatedTrade, SimulatedTrip, Simulation, SimulationCosts, Wish

__all__ = [
    "Account", "Minutes", "Reason", "SimulatedFill", "SimulatedTrade", "SimulatedTrip", "Simulation", "SimulationCosts", "Wish",
    "made_account", "simulate",
]  # fmt: skip

Happening = Callable[[int, float, float, float, float], None]


def simulate(
    candles: Candles, decisions: Decisions, costs: SimulationCosts, start: int = 0, *, detail: Candles | None = None
) -> Simulation:
    """Walk through candles with decisions that are already made.

    Args:
        candles: Of the market that is traded.
        decisions: As many rows as there are candles.
        costs: Of the account.
        start: Row of the first decision that counts.
        detail: Shorter candles of the same market, from which is read what came first inside a candle.

    Raises:
        ValueError: decisions and candles differ in length.
    """
    if len(decisions) != len(candles):
        raise ValueError(f"there must be one decision a candle, was {len(decisions)} for {len(candles)}")
    account = made_account(costs, candles)
    equity = np.full(len(candles), costs.capital)
    wishes = _wishes(decisions, start)
    candles_held = 0
    opens, highs, lows, closes = (numbers(column) for column in (candles.open, candles.high, candles.low, candles.close))
    happen = account.step if detail is None else Minutes(candles, detail).happening(account)
    for row in range(start, len(candles)):
        if account.is_busy:
            happen(row, opens[row], highs[row], lows[row], closes[row])
        if (wish := wishes.get(row)) is not None:
            account.decide(wish)
        if account.quantity:
            candles_held += 1
            equity[row] = account.cash + account.quantity * closes[row]
        else:
            equity[row] = account.cash
    if len(candles):
        account.finish(len(candles) - 1, closes[-1])
    return Simulation(
        trades=tuple(account.trades),
        fills=tuple(account.fills),
        equity=equity,
        denied=account.denied,
        fees=account.fees,
        slippage=account.slippage,
        candles_held=candles_held,
        capped=account.capped,
        missed=account.missed,
        funding=account.funding,
        refused=account.refused,
        limited=account.limited,
        trips=tuple(account.trips),
    )


class Minutes:
    """The shorter candles inside each candle."""

    def __init__(self, candles: Candles, detail: Candles) -> None:
        first, end = minutes_within(candles, detail)
        self._first, self._end = numbers(first), numbers(end)
        self._columns = [numbers(column) for column in (detail.open, detail.high, detail.low, detail.close)]

    def happening(self, account: Account) -> Happening:
        """Return what lets a candle happen to an account as the shorter ones in it did, where they tell it."""

        def happen(row: int, open_: float, high: float, low: float, close: float) -> None:
            if within := self.of(row):
                account.walk(row, open_, within)
            else:
                account.step(row, open_, high, low, close)

        return happen

    def of(self, row: int) -> list[tuple[float, float, float, float]]:
        """Return open, high, low and close of each; empty where the candle is taken as a whole."""
        places = slice(self._first[row], self._end[row])
        return list(zip(*(column[places] for column in self._columns), strict=True))


def _wishes(decisions: Decisions, start: int) -> dict[int, Wish]:
    """Return the rows that decide anything."""
    rows = deciding_rows(decisions)
    rows = rows[rows >= start]
    flags = decisions.flags[rows].tolist()
    values = [[None if value != value else value for value in getattr(decisions, name)[rows].tolist()] for name in DECIDED]
    return {row: Wish(flag, *rest) for row, flag, *rest in zip(rows.tolist(), flags, *values, strict=True)}
