"""Trades as they were lived through, from orders and fills, beside trades as the rules of backtests have them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from app.domain.arrays import Candles
from app.domain.candles import to_milliseconds
from app.domain.simulated import SimulatedFill, Simulation
from app.emulator.bars import MINUTE_MS
from tests.app.replaying import Replay
from tests.replay_venue import QUARTER_MS, ReplayVenue

_FILLS = """
SELECT f.executed_at, f.side, f.price, f.quantity, f.fee, f.fee_asset, f.position_id, o.role, o.id AS order_id
  FROM fills f JOIN orders o ON o.id = f.order_id
 WHERE f.broker_id = $1 AND f.symbol = $2 AND ($3::uuid IS NULL OR o.bot_id = $3)
 ORDER BY f.executed_at, o.created_at, f.trade_id
"""


@dataclass(frozen=True, slots=True)
class Happened:
    """One order's execution in one candle. `fee` in quote units, whatever it was taken in."""

    open_ms: int
    side: int
    quantity: Decimal
    price: Decimal
    fee: Decimal

    @property
    def shape(self) -> tuple[int, int, Decimal]:
        """Without what depends on how much there was to spend."""
        return self.open_ms, self.side, self.price


async def lived(replay: Replay, broker_id: UUID, symbol: str, *, bot_id: UUID | None = None, length_ms: int = MINUTE_MS) -> list[Happened]:
    """What an account, or one bot of it, has executed in candles of that length, each order once."""
    rows = await replay.rows(_FILLS, broker_id, symbol, bot_id)
    orders: dict[UUID, list[Any]] = defaultdict(list)
    for row in rows:
        orders[row["order_id"]].append(row)
    # What one trade of the market fills has one moment: the nearest target first, as the rules say.
    found = sorted(orders.values(), key=lambda fills: (_quarter(fills[0]), fills[0]["side"] == "sell", fills[0]["price"]))
    return merged([_of(fills, symbol, length_ms) for fills in found])


def _quarter(row: Any) -> int:
    return to_milliseconds(row["executed_at"]) // QUARTER_MS


def merged(all_of_them: Sequence[Happened]) -> list[Happened]:
    """One execution for those at one price in one candle: a stop that lies beside two targets is two orders, and one to the rules."""
    found: dict[tuple[int, int, Decimal], Happened] = {}
    for each in all_of_them:
        known = found.get(each.shape)
        found[each.shape] = each if known is None else replace(known, quantity=known.quantity + each.quantity, fee=known.fee + each.fee)
    return list(found.values())


def _of(fills: Sequence[Any], symbol: str, length_ms: int) -> Happened:
    quantity = sum((row["quantity"] for row in fills), Decimal(0))
    notional = sum((row["quantity"] * row["price"] for row in fills), Decimal(0))
    base = symbol.partition("/")[0]
    fee = sum((row["fee"] * (row["price"] if row["fee_asset"] == base else 1) for row in fills), Decimal(0))
    moment = to_milliseconds(fills[0]["executed_at"])
    side = 1 if fills[0]["side"] == "buy" else -1
    return Happened(moment - moment % length_ms, side, quantity, notional / quantity, fee)


def simulated(simulation: Simulation, candles: Candles, *, tick: Decimal, step: Decimal) -> list[Happened]:
    """What the rules say was executed; numbers as they are written on tick and step."""

    def of(fill: SimulatedFill) -> Happened:
        price, quantity = (round(Decimal(repr(value)) / unit) * unit for value, unit in ((fill.price, tick), (fill.quantity, step)))
        assert abs(float(price) - fill.price) <= float(tick) * 1e-6, "the rules put no price between two ticks"
        return Happened(int(candles.time[fill.candle]), fill.side, quantity, price, Decimal(repr(fill.fee)))

    return merged([of(fill) for fill in simulation.fills])


def candles_of(venue: ReplayVenue, symbol: str, *, first_ms: int, last_ms: int) -> Candles:
    """The minutes of a replayed market that open in [first, last], as a strategy sees them."""
    bars = list(venue.market(symbol).bars(first_ms, last_ms))
    columns = [np.array([float(getattr(bar, name)) for bar in bars]) for name in ("open", "high", "low", "close", "volume")]
    return Candles(np.array([bar.open_time for bar in bars], dtype=np.int64), *columns)


def close_to(ours: Happened, theirs: Happened, *, fee: float = 1e-6) -> bool:
    """Whether both are the same execution; fees may differ by the digits that a venue keeps of them."""
    return ours.shape == theirs.shape and ours.quantity == theirs.quantity and abs(float(ours.fee - theirs.fee)) <= fee
