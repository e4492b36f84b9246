"""How much an alert means: from its size and the facts to base or quote units. Pure; nothing is rounded up."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from app.core.i18n import N_
from app.domain.instruments import plain
from app.domain.sizing import MARKET_MARGIN
from app.errors import DenialReason, OrderDenied
from app.webhooks.alert import Size, SizeKind
from app.webhooks.facts import Facts

#: More digits than any product of three numbers that we take.
DOWN: Final = Context(prec=150, rounding=ROUND_FLOOR)
UP: Final = Context(prec=150, rounding=ROUND_CEILING)
#: What the database keeps of a number.
_KEPT: Final = Decimal("1e-18")
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is traded: base units or quote units, one of them; and what is to be said of it."""

    quantity: Decimal | None = None
    notional: Decimal | None = None
    note: str | None = None

    def cost(self, price: Decimal | None, *, is_market: bool) -> Decimal | None:
        """Return the most that buying it costs in quote, when the price is `price`; None when nobody knows."""
        if self.notional is not None:
            return self.notional
        if self.quantity is None or price is None:
            return None
        return UP.multiply(UP.multiply(self.quantity, price), 1 + MARKET_MARGIN if is_market else Decimal(1))


def bought(size: Size, facts: Facts, *, price: Decimal | None, stop: Decimal | None, is_market: bool) -> Amount:
    """Return how much a buy of `size` buys.

    Args:
        size: What the alert or its webhook says.
        facts: The account and the market.
        price: What the order pays, in quote per base: its limit, else the market's price.
        stop: Where its stop sells at the worst; for a risk.
        is_market: Whether it takes what the market offers.

    Raises:
        OrderDenied: the size cannot be computed; the code and the sentence say what is missing.
    """
    if size.kind is SizeKind.BASE:
        return Amount(quantity=size.value)
    if size.kind is SizeKind.QUOTE:
        return Amount(notional=size.value)
    _check_fraction(size)
    if size.kind is SizeKind.POSITION:
        if facts.state.quantity <= 0:
            raise OrderDenied(DenialReason.NO_POSITION, f"there is no position in {facts.instrument.symbol} that could be enlarged")
        return Amount(quantity=_kept(DOWN.multiply(facts.state.quantity, size.value)))
    free = _free(facts)
    if size.kind is SizeKind.FREE:
        return Amount(notional=_kept(DOWN.multiply(free, size.value)))
    equity = equity_of(facts)
    if size.kind is SizeKind.EQUITY:
        wanted = DOWN.multiply(equity, size.value)
        return Amount(notional=_kept(min(wanted, free)), note=_capped(wanted, free, facts))
    return _by_risk(DOWN.multiply(equity, size.value), facts, free, price=price, stop=stop, is_market=is_market)


def _by_risk(loss: Decimal, facts: Facts, free: Decimal, *, price: Decimal | None, stop: Decimal | None, is_market: bool) -> Amount:
    """As many base units as lose `loss` between the entry and the stop, fees and slippage not counted; no more than can be paid."""
    if stop is None:
        raise OrderDenied(
            DenialReason.STOP_MISSING, "a size by risk needs a stop: neither the alert nor its webhook names one", field="stop_loss"
        )
    if price is None:
        raise OrderDenied(DenialReason.PRICE_UNKNOWN, "the market's price is not known yet, so the risk to the stop cannot be computed")
    if stop >= price:
        raise OrderDenied(
            DenialReason.PLAN_INVALID,
            f"the stop must be below the entry, which is about {plain(price)} {facts.instrument.quote}; was {plain(stop)}",
            field="stop_loss",
        )
    wanted = DOWN.divide(loss, price - stop)
    unit = UP.multiply(price, 1 + MARKET_MARGIN) if is_market else price
    affordable = DOWN.divide(max(free, _ZERO), unit)
    return Amount(quantity=_kept(min(wanted, affordable)), note=_capped(UP.multiply(wanted, unit), free, facts))


def _capped(wanted: Decimal, free: Decimal, facts: Facts) -> str | None:
    if wanted <= free:
        return None
    quote = facts.instrument.quote
    return N_(f"only {plain(round(free, 2))} {quote} are free, the size asked for {plain(round(wanted, 2))} {quote}")


def sold(size: Size, facts: Facts, *, price: Decimal | None) -> Decimal:
    """Return how many base units of an open position a size means, whether or not so many are held.

    Raises:
        OrderDenied: the size cannot be computed, or means nothing for what closes a position.
    """
    held = abs(facts.state.quantity)
    if size.kind is SizeKind.BASE:
        return size.value
    if size.kind is SizeKind.QUOTE:
        return _in_base(size.value, price)
    _check_fraction(size)
    if size.kind in (SizeKind.FREE, SizeKind.POSITION):
        return _kept(DOWN.multiply(held, size.value))
    if size.kind is SizeKind.EQUITY:
        return _in_base(DOWN.multiply(equity_of(facts), size.value), price)
    raise OrderDenied(DenialReason.QUANTITY_INVALID, "a size by risk says how much to buy, not how much to sell", field="quantity")


def _in_base(notional: Decimal, price: Decimal | None) -> Decimal:
    if price is None:
        raise OrderDenied(DenialReason.PRICE_UNKNOWN, "the market's price is not known yet, so an amount in quote cannot be converted")
    return _kept(DOWN.divide(notional, price))


def _kept(number: Decimal) -> Decimal:
    return number.quantize(_KEPT, context=DOWN)


def equity_of(facts: Facts) -> Decimal:
    """Return what the account is worth in quote.

    Raises:
        OrderDenied: EQUITY_UNKNOWN.
    """
    if facts.equity is None:
        raise OrderDenied(
            DenialReason.EQUITY_UNKNOWN,
            f"what this account is worth in {facts.instrument.quote} is not known now, so no share of it can be traded",
        )
    return facts.equity


def _free(facts: Facts) -> Decimal:
    if facts.free is None:
        raise OrderDenied(DenialReason.BALANCE_UNKNOWN, "the account's balance is not known yet, so a share of it cannot be traded")
    return facts.free


def _check_fraction(size: Size) -> None:
    if not 0 < size.value <= 1:
        raise OrderDenied(
            DenialReason.QUANTITY_INVALID, f"a share is above 0 and at most 100 percent, was {plain(size.value * 100)}", field="percent"
        )
