"""Random trading histories, and what they come to by plain fractions: an account of average cost that shares nothing with the engine's.

It keeps two sums and never an average: the money that moved, and what the open part cost. Profit is what moved and is not in the open part.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

from app.domain.enums import Liquidity, Side
from app.domain.orders import Fill

BASE, QUOTE = "BTC", "USDT"
#: Places that are kept of an amount.
PLACES = 18


@dataclass(frozen=True)
class Trade:
    """One fill of a history; `fee_price` is what a unit of its fee's asset cost then, None when nobody knows."""

    side: Side
    fill: Fill
    fee_price: Decimal | None = None


def half_up(amount: Fraction) -> Fraction:
    """To the places that are kept; what lies in the middle goes away from zero."""
    scaled = abs(amount) * 10**PLACES
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Fraction(whole if amount >= 0 else -whole, 10**PLACES)


@dataclass
class Account:
    """The reference. With `is_rounded` false nothing is ever rounded."""

    is_rounded: bool = True
    quantity: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    money: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    average: Fraction | None = None
    unvalued: dict[str, Fraction] = field(default_factory=dict)
    divisions: int = 0

    def count(self, trade: Trade) -> None:
        fill = trade.fill
        price, fee = Fraction(fill.price), Fraction(fill.fee)
        moved = Fraction(fill.quantity) * (1 if trade.side is Side.BUY else -1)
        worth = Fraction(0)
        if fill.fee_asset == QUOTE:
            worth = fee
        elif fill.fee_asset == BASE:
            worth = fee * price
            moved -= fee
        elif trade.fee_price is not None:
            worth = fee * Fraction(trade.fee_price)
        elif fee:
            self.unvalued[fill.fee_asset] = self.unvalued.get(fill.fee_asset, Fraction(0)) + fee
        self.money -= moved * price + worth
        self.fees += worth
        before, self.quantity = self.quantity, self.quantity + moved
        if before * moved >= 0:
            self.cost += abs(moved) * price
            is_opened = moved != 0
        elif before * self.quantity > 0:
            self.divisions += 1
            self.cost -= self._round(self.cost * abs(moved) / abs(before))
            is_opened = False
        else:
            self.cost = abs(self.quantity) * price
            is_opened = self.quantity != 0
        if self.quantity == 0:
            self.average = None
        elif is_opened:
            self.average = self._round(self.cost / abs(self.quantity))

    @property
    def profit(self) -> Fraction:
        return self.money + (self.cost if self.quantity > 0 else -self.cost)

    def _round(self, amount: Fraction) -> Fraction:
        return half_up(amount) if self.is_rounded else amount


def history(random: Random, *, length: int = 30) -> list[Trade]:
    """Fills of every size, with fees of every kind and none; some close all, some leave dust, some turn the position over."""
    trades: list[Trade] = []
    held = Decimal(0)
    price = Decimal(random.randint(1, 10**12)).scaleb(-random.choice([2, 5, 8]))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(length):
        price = max(Decimal("1e-8"), (price * Decimal(random.randint(900, 1100)) / 1000).quantize(Decimal("1e-8")))
        side, quantity = _next(random, held)
        asset = random.choice([BASE, QUOTE, "BNB", "BNB", "KCS", QUOTE])
        rate = random.choice([Decimal(0), Decimal("0.00075"), Decimal("0.001")])
        amount = {BASE: quantity, QUOTE: quantity * price}.get(asset, quantity * price / 600)
        at += timedelta(milliseconds=random.randint(0, 60_000))
        fill = Fill(
            trade_id=str(number + 1),
            price=price,
            quantity=quantity,
            fee=(amount * rate).quantize(Decimal("1e-8")),
            fee_asset=asset,
            liquidity=Liquidity.TAKER,
            executed_at=at,
        )
        known = Decimal(random.randint(50_000, 70_000)).scaleb(-2)
        trades.append(Trade(side, fill, known if asset == "BNB" and random.random() < 0.8 else None))
        held += side.sign * quantity - (fill.fee if asset == BASE else 0)
    return trades


def _next(random: Random, held: Decimal) -> tuple[Side, Decimal]:
    way_out = Side.SELL if held > 0 else Side.BUY
    chance = random.random()
    if held and chance < 0.15:
        return way_out, abs(held)
    if abs(held) > Decimal("1e-6") and chance < 0.3:
        return way_out, abs(held) - Decimal("1e-8") * random.randint(1, 9)
    if held and chance < 0.4:
        return way_out, abs(held) * 2
    size = Decimal(random.randint(1, 10 ** random.randint(1, 17))).scaleb(-8)
    return random.choice(list(Side)), size
