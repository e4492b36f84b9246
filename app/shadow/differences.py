"""What a comparison of a bot with its shadow finds."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from app.shadow.causes import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that went differently.

    Attributes:
        cause: Why.
        at: Open time of the candle, ms.
        money: What it makes of live − shadow, in quote; 0 where it cost nothing.
        message: An English sentence with names for its `values`.
        code: Of what refused it.
        signal: The id of the decision.
        order_ids: Of the bot's orders.
        bps: By how much a price was worse (positive) or better for the bot.
    """

    cause: Cause
    at: int
    money: Decimal
    message: str
    values: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    signal: str | None = None
    order_ids: tuple[str, ...] = ()
    bps: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both results in quote after fees, what is open marked at the last close; `rest` is what no cause was found for."""

    live: Decimal
    shadow: Decimal
    live_trades: int
    shadow_trades: int
    differences: tuple[Difference, ...]
    rest: Decimal

    @property
    def by_cause(self) -> dict[Cause, Decimal]:
        """What each cause makes, those that made nothing too."""
        sums: defaultdict[Cause, Decimal] = defaultdict(Decimal)
        for one in self.differences:
            sums[one.cause] += one.money
        return dict(sums)
