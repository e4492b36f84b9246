"""What the compiled loop keeps and is given: records in memory, and the places of what is in them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.domain.account import TARGETS
from app.domain.arrays import DECIDED
from app.domain.outcome import REASONS
from app.domain.safeguards import TRIPPING
from app.domain.simulated import Reason, SimulationCosts

#: Codes of reasons.
ENTRY: Final = REASONS.index(Reason.ENTRY)
ADD: Final = REASONS.index(Reason.ADD)
REDUCE: Final = REASONS.index(Reason.REDUCE)
EXITED: Final = REASONS.index(Reason.EXIT)
STOP: Final = REASONS.index(Reason.STOP)
TRAILING: Final = REASONS.index(Reason.TRAILING)
TARGET: Final = REASONS.index(Reason.TARGET)
LIQUIDATION: Final = REASONS.index(Reason.LIQUIDATION)
SAFEGUARD: Final = REASONS.index(Reason.SAFEGUARD)
NOBODY: Final = -1

#: Places of the columns of a decision.
SIZE: Final = DECIDED.index("size")
STOP_AT: Final = DECIDED.index("stop")
TRAIL_BY: Final = DECIDED.index("trailing")
ADJUST: Final = DECIDED.index("adjust")
STOP_LOSS: Final = DECIDED.index("stop_loss")
LIMIT: Final = DECIDED.index("limit")
#: Of each of the targets: its price, its distance, its part.
TARGET_AT: Final = tuple(DECIDED.index(name) for name in ("target", "target_2", "target_3"))
PROFIT: Final = tuple(DECIDED.index(name) for name in ("take_profit", "take_profit_2", "take_profit_3"))
PART: Final = tuple(DECIDED.index(name) for name in ("part", "part_2", "part_3"))

#: A NaN in place of a price or a fraction means that there is none; `pending` are the flags of a decision that waits for the next open.
_FLOATS: Final = (
    "cash", "quantity", "best", "worst", "stop", "target", "trailing", "entered", "resting", "fees", "slippage", "funding",
    "trade_entered", "trade_left", "trade_fees", "trade_slippage", "trade_funding",
)  # fmt: skip
_NUMBERS: Final = (
    "side", "pending", "resting_side", "leaving", "entry_candle", "denied", "capped", "missed", "held", "fills", "trades",
)  # fmt: skip
ACCOUNT: Final = np.dtype([(name, np.float64) for name in _FLOATS] + [(name, np.int64) for name in _NUMBERS])
SLOT: Final = np.dtype(
    [("price", np.float64), ("part", np.float64), ("owed", np.float64), ("cut_at", np.int64), ("new_in", np.int64), ("is_done", np.int64)]
)
COSTS: Final = np.dtype(
    [(name, np.float64) for name in ("fee", "maker_fee", "slippage", "step", "tick", "least_notional", "volume_share", "funding_rate")]
)
FILL: Final = np.dtype(
    [(name, np.float64) for name in ("quantity", "price", "fee", "slippage")] + [(name, np.int64) for name in ("candle", "side", "reason")]
)
TRADE: Final = np.dtype(
    [(name, np.float64) for name in ("quantity", "entry_price", "exit_price", "fees", "slippage", "funding", "profit", "worst", "best")]
    + [(name, np.int64) for name in ("side", "entry_candle", "exit_candle", "reason")]
)
#: Safeguards of an account and what it keeps for them, and their rules in the order of `TRIPPING`. A time is 0 where there is none.
GUARDS: Final = np.dtype(
    [(name, np.float64) for name in ("capital", "most_notional", "day_start", "peak")]
    + [
        (name, np.int64)
        for name in (
            "is_on", "timeframe_ms", "cooldown_ms", "is_after_losing", "stops_window_ms", "cooled_at", "counts_from", "day", "streak",
            "has_tripped", "refused", "limited", "trips",
        )
    ]
)  # fmt: skip
RULE: Final = np.dtype([("limit", np.float64)] + [(name, np.int64) for name in ("flattens", "rearm_ms", "rearms_at", "has_tripped")])
TRIP: Final = np.dtype(
    [(name, np.float64) for name in ("measured", "equity", "base")] + [(name, np.int64) for name in ("candle", "rule", "flattens")]
)
#: More fills than one candle can bring: an exit, an entry, targets at the open and later, and a stop.
MOST_IN_A_CANDLE: Final = 16
#: Each rule trips at most once before it is re-armed, which a candle does before it begins.
MOST_TRIPS: Final = len(TRIPPING)


def fresh_account(capital: float) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return an account that holds nothing, and its slots for targets."""
    account = np.zeros(1, dtype=ACCOUNT)
    account["cash"] = capital
    for name in ("stop", "target", "trailing", "resting"):
        account[name] = np.nan
    for name in ("pending", "leaving", "entry_candle"):
        account[name] = NOBODY
    slots = np.zeros(TARGETS, dtype=SLOT)
    slots["price"] = slots["part"] = np.nan
    slots["cut_at"] = slots["new_in"] = NOBODY
    return account, slots


def fresh_guards(costs: SimulationCosts) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return the safeguards of an account, and their rules."""
    guards, rules, given = np.zeros(1, dtype=GUARDS), np.zeros(len(TRIPPING), dtype=RULE), costs.safeguards
    guards["capital"] = guards["day_start"] = guards["peak"] = costs.capital
    guards["day"] = -1
    if given is None:
        return guards, rules
    guards["is_on"] = 1
    for name in ("timeframe_ms", "cooldown_ms", "is_after_losing", "stops_window_ms", "most_notional"):
        guards[name] = getattr(given, name)
    for place, rule in enumerate(given.rules):
        rules[place]["limit"], rules[place]["flattens"], rules[place]["rearm_ms"] = rule.limit, rule.flattens, rule.rearm_ms
    return guards, rules
