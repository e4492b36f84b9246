"""What an order ticket computes before anything is sent: sizes in every unit, fee, slippage, risk and reward. Pure.

Quantities are floored, never raised: a size that goes from quantity to amount and back is never more than it was. A size by risk counts
the fees of both ways and what the visible book costs, so that the stop, filled at its price, loses no more than was asked.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from typing import Final

from app.domain.book import BookOrder, Depth, take
from app.domain.enums import Liquidity, OrderType, Side, TimeInForce
from app.domain.fees import FeeRates
from app.domain.instruments import Instrument, plain
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan
from app.domain.sizing import MARKET_MARGIN, asked_quantity
from app.errors import DenialReason, OrderDenied

_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_QUOTE_QUANTUM: Final = Decimal("0.00000001")
_SHARE_QUANTUM: Final = Decimal("0.000001")
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


class SizeBy(StrEnum):
    """In which unit a trader says how much."""

    QUANTITY = "quantity"
    AMOUNT = "amount"
    PERCENT = "percent"
    RISK = "risk"
    RISK_PERCENT = "risk_percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much: base units, quote units, a fraction of what is free, quote units or a fraction of equity lost at the stop."""

    by: SizeBy
    value: Decimal


class FeeSource(StrEnum):
    """Where a fee's rate is known from: the account's terms, its own last fills, or nowhere (the usual rate)."""

    ACCOUNT = "account"
    FILLS = "fills"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeTerms:
    """Rates as fractions of what a fill brings in, and where they are known from."""

    rates: FeeRates
    source: FeeSource

    @property
    def dearer(self) -> Decimal:
        """The larger of the two rates: nobody knows beforehand whether a limit rests."""
        return max(self.rates.maker, self.rates.taker)


#: What most spot venues charge who has neither volume nor a discount.
USUAL_FEES: Final = FeeTerms(rates=FeeRates(maker=Decimal("0.001"), taker=Decimal("0.001")), source=FeeSource.ASSUMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketNow:
    """The market and the account as they stand, None where nobody knows.

    `price` is what a market order of the side would pay or get, quote per base; `free` the free balance of the asset the side spends;
    `equity` what the account is worth in quote.
    """

    price: Decimal | None
    free: Decimal | None = None
    equity: Decimal | None = None
    depth: Depth | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slippage:
    """What taking so much from the visible book costs. Prices in quote per base.

    `fraction` is how much worse than the best level the average is; `held` the fraction of the order that the visible book holds: of the
    rest nobody knows the price.
    """

    average_price: Decimal
    worst_price: Decimal
    fraction: Decimal
    held: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """What the order's fills are expected to cost: `amount` of `asset`, worth `in_quote`; `liquidity` says which rate."""

    amount: Decimal
    asset: str
    in_quote: Decimal
    rate: Decimal
    liquidity: Liquidity
    source: FeeSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything a ticket shows of one order. Quantity in base units, the rest in quote; fractions as fractions.

    `price` is what the order is expected to pay or get. `free_after` is what is left of the asset it spends. `risk` is lost at the stop,
    fees of both ways included, `reward` won if every target is reached; both None without a stop or targets.
    """

    quantity: Decimal
    price: Decimal
    amount: Decimal
    share: Decimal | None
    fee: Fee
    slippage: Slippage | None
    free_before: Decimal | None
    free_after: Decimal | None
    risk: Decimal | None = None
    reward: Decimal | None = None

    @property
    def reward_to_risk(self) -> Decimal | None:
        """How many times the risk the reward is, cut to two decimals."""
        if self.risk is None or self.reward is None or self.risk <= 0:
            return None
        return _DOWN.divide(self.reward, self.risk).quantize(Decimal("0.01"), ROUND_DOWN, context=_DOWN)


def sized_intent(intent: OrderIntent, size: Size, instrument: Instrument, market: MarketNow, fees: FeeTerms) -> OrderIntent:
    """Return `intent` with its size said as orders say it; a risk becomes a quantity, which no later rounding makes larger.

    Raises:
        OrderDenied: the size needs something that is not known, or a stop that is not there.
    """
    bare = replace(intent, quantity=None, notional=None, percent=None)
    match size.by:
        case SizeBy.QUANTITY:
            return replace(bare, quantity=size.value)
        case SizeBy.AMOUNT:
            return replace(bare, notional=size.value)
        case SizeBy.PERCENT:
            return replace(bare, percent=size.value)
        case SizeBy.RISK | SizeBy.RISK_PERCENT:
            return replace(bare, quantity=_by_risk(bare, size, instrument, market, fees))


def _by_risk(intent: OrderIntent, size: Size, instrument: Instrument, market: MarketNow, fees: FeeTerms) -> Decimal:
    loss = _loss(intent, size, instrument, market)
    entry = _dearest_entry(intent, instrument, market)
    if entry is None:
        raise OrderDenied(DenialReason.PRICE_UNKNOWN, "the market's price is not known yet, so the risk to the stop cannot be computed")
    quantity = _DOWN.divide(loss, _lost_per_unit(entry, _stop_below(intent, entry, instrument), fees))
    if intent.type is OrderType.MARKET and market.depth is not None:
        # The average rises with the quantity, so that what a dearer average allows is bought at no more than that average.
        found = slippage_of(intent.side, quantity, instrument, market.depth, limit=None)
        if found is not None and found.worst_price > entry:
            entry = max(entry, found.average_price if found.held >= 1 else found.worst_price)
            quantity = min(quantity, _DOWN.divide(loss, _lost_per_unit(entry, _stop_below(intent, entry, instrument), fees)))
    if market.free is not None:
        quantity = min(quantity, _DOWN.divide(max(market.free, _ZERO), entry))
    return instrument.floor_quantity(quantity)


def _loss(intent: OrderIntent, size: Size, instrument: Instrument, market: MarketNow) -> Decimal:
    """How much quote may be lost."""
    if intent.side is Side.SELL:
        raise OrderDenied(DenialReason.QUANTITY_INVALID, "a size by risk says how much to buy, not how much to sell", field="risk")
    if not size.value.is_finite() or size.value <= 0:
        raise OrderDenied(DenialReason.QUANTITY_INVALID, f"risk must be more than 0, was {plain(size.value)}", field="risk")
    if size.by is SizeBy.RISK:
        return size.value
    if size.value > 1:
        raise OrderDenied(DenialReason.QUANTITY_INVALID, f"risk may be at most 100 percent, was {plain(size.value * 100)}", field="risk")
    if market.equity is None:
        raise OrderDenied(
            DenialReason.EQUITY_UNKNOWN,
            f"what this account is worth in {instrument.quote} is not known now, so no share of it can be risked",
            field="risk",
        )
    return _DOWN.multiply(market.equity, size.value)


def _stop_below(intent: OrderIntent, entry: Decimal, instrument: Instrument) -> Decimal:
    stop = worst_exit(intent.protection, entry)
    if stop is None:
        raise OrderDenied(DenialReason.STOP_MISSING, "a size by risk needs a stop: say where the position is to be sold", field="stop_loss")
    if stop >= entry:
        raise OrderDenied(
            DenialReason.PLAN_INVALID,
            f"the stop must be below the entry, which is about {plain(entry)} {instrument.quote}; was {plain(stop)}",
            field="stop_loss",
        )
    return stop


def _dearest_entry(intent: OrderIntent, instrument: Instrument, market: MarketNow) -> Decimal | None:
    """What a buy pays at the most, as far as can be known: its limit; else its trigger or the market, and what they may move."""
    if intent.type.has_limit and intent.price is not None:
        return instrument.round_price(intent.side, intent.price)
    at = market.price if intent.trigger_price is None else instrument.round_price(intent.side, intent.trigger_price)
    return None if at is None else _UP.multiply(at, 1 + MARKET_MARGIN)


def worst_exit(plan: ProtectionPlan | None, entry: Decimal) -> Decimal | None:
    """Return the lowest price at which the plan's stop sells, were it filled as asked; None without a stop."""
    if plan is None:
        return None
    if plan.trailing_delta is not None:
        return _DOWN.multiply(entry, _ONE - plan.trailing_delta)
    return plan.stop_limit_price or plan.stop_price


def _lost_per_unit(entry: Decimal, stop: Decimal, fees: FeeTerms) -> Decimal:
    """What one base unit costs, bought at `entry` and sold at `stop`, both fees paid; positive for a stop below the entry."""
    kept = _ONE - fees.dearer
    back = _DOWN.multiply(_DOWN.multiply(stop, kept), _ONE - fees.rates.taker)
    return _UP.subtract(entry, back)


def slippage_of(side: Side, quantity: Decimal, instrument: Instrument, depth: Depth, *, limit: Decimal | None) -> Slippage | None:
    """Return what taking `quantity` (base units) from the book costs, at `limit` at the worst; None when it takes nothing."""
    levels = depth.facing(side)
    if not levels or quantity <= 0:
        return None
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    order = BookOrder(order_id="", side=side, type=kind, quantity=quantity, price=limit, time_in_force=TimeInForce.IOC)
    fills = take(order, depth, step_size=instrument.step_size)
    taken = sum((fill.quantity for fill in fills), _ZERO)
    if taken <= 0:
        return None
    best = levels[0].price
    paid = sum((fill.quantity * fill.price for fill in fills), _ZERO)
    average = (_UP if side is Side.BUY else _DOWN).divide(paid, taken)
    return Slippage(
        average_price=average,
        worst_price=fills[-1].price,
        fraction=_UP.divide(abs(average - best), best).quantize(_SHARE_QUANTUM, ROUND_CEILING, context=_UP),
        held=min(_DOWN.divide(taken, quantity), _ONE),
    )


def figures(intent: OrderIntent, instrument: Instrument, market: MarketNow, fees: FeeTerms) -> Figures | None:
    """Return the figures of an order as it is wished for, whether or not a rule forbids it; None when they cannot be computed yet.

    Args:
        intent: The wish, sized (`sized_intent`).
        instrument: The exchange's rules.
        market: The market and the account.
        fees: What fills cost.
    """
    limit = instrument.round_price(intent.side, intent.price) if intent.type.has_limit and intent.price is not None else None
    trigger = None if intent.trigger_price is None else instrument.round_price(intent.side, intent.trigger_price)
    if limit == 0 or trigger == 0:
        return None  # less than a tick
    try:
        asked = asked_quantity(intent, price=limit or trigger, reference_price=market.price, free=market.free)
    except OrderDenied:
        return None
    quantity = instrument.floor_quantity(asked)
    expected = limit or trigger or market.price
    if expected is None:
        return None
    slippage = None
    if not intent.type.waits and market.depth is not None and not intent.post_only:
        slippage = slippage_of(intent.side, quantity, instrument, market.depth, limit=limit)
    price = expected
    if slippage is not None and limit is None:
        price = slippage.average_price if slippage.held >= 1 else slippage.worst_price
    amount = _DOWN.multiply(quantity, expected).quantize(_QUOTE_QUANTUM, ROUND_FLOOR, context=_DOWN)
    spent = quantity if intent.side is Side.SELL else _UP.multiply(quantity, price)
    risk, reward = _risk_and_reward(intent, quantity, price, fees)
    return Figures(
        quantity=quantity,
        price=price,
        amount=amount,
        share=_share(market.free, quantity if intent.side is Side.SELL else amount),
        fee=_fee(intent, instrument, quantity, price, fees, is_taking=limit is None or (slippage is not None and slippage.held >= 1)),
        slippage=slippage,
        free_before=market.free,
        free_after=None if market.free is None else _DOWN.subtract(market.free, spent),
        risk=risk,
        reward=reward,
    )


def _share(free: Decimal | None, spent: Decimal) -> Decimal | None:
    if free is None or free <= 0:
        return None
    return min(_DOWN.divide(spent, free).quantize(_SHARE_QUANTUM, ROUND_FLOOR, context=_DOWN), _ONE)


def _fee(intent: OrderIntent, instrument: Instrument, quantity: Decimal, price: Decimal, fees: FeeTerms, *, is_taking: bool) -> Fee:
    liquidity = Liquidity.TAKER if is_taking and not intent.post_only else Liquidity.MAKER
    rate = fees.rates.rate(liquidity)
    received, asset = (quantity, instrument.base) if intent.side is Side.BUY else (_DOWN.multiply(quantity, price), instrument.quote)
    amount = _UP.multiply(received, rate).quantize(_QUOTE_QUANTUM, ROUND_CEILING, context=_UP)
    in_quote = _UP.multiply(amount, price) if intent.side is Side.BUY else amount
    return Fee(amount=amount, asset=asset, in_quote=in_quote, rate=rate, liquidity=liquidity, source=fees.source)


def _risk_and_reward(intent: OrderIntent, quantity: Decimal, entry: Decimal, fees: FeeTerms) -> tuple[Decimal | None, Decimal | None]:
    plan = intent.protection
    if plan is None or intent.side is Side.SELL:
        return None, None
    stop = worst_exit(plan, entry)
    risk = None if stop is None else _UP.multiply(quantity, _lost_per_unit(entry, stop, fees))
    if not plan.targets:
        return risk, None
    won = _ZERO
    for target in plan.targets:
        # A target rests and pays as a maker, or is sent when its price is reached: the dearer rate is the honest one.
        back = _DOWN.multiply(_DOWN.multiply(target.at, _ONE - fees.dearer), _ONE - fees.dearer)
        won += _DOWN.multiply(_DOWN.multiply(quantity, target.fraction), back - entry)
    return risk, won
