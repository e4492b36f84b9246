"""What came of a replay of bots: their trades, and what went wrong; a part of bot_chaos.py."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Trade:
    """One round trip of a bot: each execution as (open of its candle in ms, side, price, quantity)."""

    executions: tuple[tuple[int, str, Decimal, Decimal], ...]
    is_over: bool

    @property
    def entered_ms(self) -> int:
        """Open of the candle in which it began."""
        return self.executions[0][0]

    @property
    def left_ms(self) -> int:
        """Open of the candle of its last execution."""
        return self.executions[-1][0]

    def is_held_at(self, open_ms: int) -> bool:
        """Whether it was held before the candle of that open, so that no other could begin there."""
        return self.entered_ms < open_ms and (not self.is_over or open_ms <= self.left_ms)

    @property
    def shape(self) -> tuple[tuple[int, str, Decimal], ...]:
        """Without quantities, which depend on what was earned before."""
        return tuple((open_ms, side, price) for open_ms, side, price, _ in self.executions)


@dataclass(slots=True)
class Outcome:
    """What came of a replay; bots by their place in the list of specs, candles by their opens in ms."""

    trades: dict[int, list[Trade]] = field(default_factory=dict)
    missed: dict[int, set[int]] = field(default_factory=dict)
    #: Candles of whose orders the exchange never heard: the server died between claiming and sending them.
    cut_off: dict[int, set[int]] = field(default_factory=dict)
    first_ms: int = 0
    kills: int = 0
    reasons: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    missing_stops: list[str] = field(default_factory=list)
    stopped_while_dead: int = 0
    ledger_difference: Decimal = Decimal(0)
    audit: list[str] = field(default_factory=list)
    seconds: float = 0.0


def trades_of(fills: Sequence[Any], place: Mapping[UUID, int], length_ms: int) -> dict[int, list[Trade]]:
    """Return the round trips of bots, by their place in the list of specs, oldest first."""
    by_position: dict[UUID, list[Any]] = defaultdict(list)
    for row in fills:
        by_position[row["position_id"]].append(row)
    found: dict[int, list[Trade]] = defaultdict(list)
    for rows in by_position.values():
        executions: dict[tuple[int, str, Decimal], Decimal] = defaultdict(Decimal)
        for row in sorted(rows, key=lambda row: (row["executed_at"], row["side"] == "sell", row["price"])):
            moment = round(row["executed_at"].timestamp() * 1000)
            executions[moment // length_ms * length_ms, row["side"], row["price"]] += row["quantity"]
        held = sum((quantity if side == "buy" else -quantity for (_, side, _), quantity in executions.items()), Decimal(0))
        trade = Trade(tuple((*shape, quantity) for shape, quantity in executions.items()), is_over=held == 0)
        found[place[rows[0]["bot_id"]]].append(trade)
    return {number: sorted(trades, key=lambda trade: trade.entered_ms) for number, trades in found.items()}
