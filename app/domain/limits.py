"""The risk rules that an order must keep before it is stored. Pure: an order and how its account stands in, a denial out.

Only an order that opens or enlarges a position meets the limits. One that makes it smaller, by its role or by the position, must never be
held back by them; the balance is a fact and holds for every order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final

from app.domain.enums import OrderType, Role, Side
from app.domain.instruments import plain
from app.errors import DenialReason, OrderDenied

#: Counted one to one: what an account in these holds is what it is worth in USDT, to within a fraction of a percent.
DOLLARS: Final = frozenset({"USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USD"})
#: Open orders of one symbol. Source: Binance's MAX_NUM_ORDERS filter, 200 for every spot symbol; the others allow as many or more.
VENUE_OPEN_ORDERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """What may be traded. None means no such limit. Amounts in USDT, shares as fractions, counts as they are.

    `price_collar` is how far on the wrong side of the market a limit price may be; `price_deviation` how far the market may be from its
    last closed candle for a market order to be sent.
    """

    max_order_notional: Decimal | None = None
    max_position_notional: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_open_orders: int | None = None
    max_daily_orders: int | None = None
    orders_per_minute: int | None = None
    rejects_per_minute: int | None = None
    price_collar: Decimal | None = None
    price_deviation: Decimal | None = None

    def over(self, other: "RiskLimits") -> "RiskLimits":
        """Return these limits, and those of `other` where these have none."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        return RiskLimits(**{name: getattr(other, name) if value is None else value for name, value in mine.items()})


#: An account's limits where its owner has set none. How much money is much, nobody can guess; the counts are Binance's own (200 open
#: orders of a symbol, 100 orders in 10 seconds, 200,000 a day), and no honest market moves a twentieth within a minute often.
DEFAULTS: Final = RiskLimits(
    max_open_orders=200,
    max_daily_orders=200_000,
    orders_per_minute=600,
    rejects_per_minute=20,
    price_collar=Decimal("0.1"),
    price_deviation=Decimal("0.05"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An order that asks to be stored.

    `price` is its limit, `trigger_price` what it waits for, `market_price` what the market would pay or take now and `last_close` that of
    the last closed candle, all in quote per base, None where there is none or nobody knows. `usdt` is what one unit of quote is worth.
    """

    symbol: str
    base: str
    quote: str
    side: Side
    type: OrderType
    role: Role
    quantity: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    notional: Decimal | None = None
    market_price: Decimal | None = None
    last_close: Decimal | None = None
    usdt: Decimal | None = None

    @property
    def worth(self) -> Decimal | None:
        """Its price: what it says, else the market's."""
        return self.price or self.trigger_price or self.market_price

    def in_usdt(self, quantity: Decimal) -> Decimal | None:
        """Return what that many base units are worth; None when nobody knows."""
        return None if self.worth is None or self.usdt is None else quantity * self.worth * self.usdt

    @property
    def value(self) -> Decimal | None:
        """What it is worth in USDT; None when nobody knows."""
        if self.notional is not None:
            return None if self.usdt is None else self.notional * self.usdt
        return self.in_usdt(self.quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An asset of the account, as far as we know: `free` now, what our live orders keep back of it, and how many they are.

    `is_certain` is False when something has happened since the exchange told it.
    """

    asset: str
    free: Decimal
    reserved: Decimal = Decimal(0)
    reserved_by: int = 0
    is_certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an account, or all accounts of a user, stand. Quantities in base units, the loss in USDT; None where nobody could know.

    `position` is that of the bot, or of the hand, that the order is about. It is signed; `closing` is what others on the order's side may
    still take of it. `others` is what the account's other bots and the hand hold of the symbol, `opening` what orders may still add,
    whoever's. The counts of the minute and the day include the order that asks.
    """

    open_orders: int = 0
    open_in_symbol: int = 0
    orders_this_minute: int = 1
    orders_today: int = 1
    lost_today: Decimal | None = Decimal(0)
    position: Decimal = Decimal(0)
    closing: Decimal = Decimal(0)
    opening: Decimal = Decimal(0)
    others: Decimal = Decimal(0)


def lowers(ask: Ask, standing: Standing) -> bool:
    """Whether an order makes the position smaller: by its role, or because it is on the other side and not too large."""
    if ask.role is not Role.ENTRY:
        return True
    is_opposite = standing.position * ask.side.sign < 0
    return is_opposite and ask.quantity + standing.closing <= abs(standing.position)


def check_balance(needed: Decimal, money: Money, *, role: Role) -> None:
    """Refuse an order that the account cannot pay.

    What makes a position smaller is refused only by a balance that is certain: the exchange has the last word, and money is safer sold.

    Raises:
        OrderDenied: INSUFFICIENT_BALANCE.
    """
    if needed <= money.free or (role is not Role.ENTRY and not money.is_certain):
        return
    told = f"Not enough {money.asset}: needed {plain(needed)}, free {plain(max(money.free, Decimal(0)))}"
    if money.reserved_by:
        orders = "1 open order" if money.reserved_by == 1 else f"{money.reserved_by} open orders"
        told += f" ({plain(money.reserved)} reserved by {orders})"
    raise OrderDenied(DenialReason.INSUFFICIENT_BALANCE, f"{told}.", field="quantity")


def check_limits(ask: Ask, standing: Standing, limits: RiskLimits, *, whose: str = "on this account") -> None:
    """Refuse an order that breaks one of `limits`.

    Args:
        ask: The order.
        standing: How what the limits are about stands.
        limits: The limits.
        whose: What they are about, for the sentence: `on this account`, or `on all your accounts`.

    Raises:
        OrderDenied: with the rule's code and a sentence that names the limit and the value.
    """
    if ask.role is not Role.ENTRY:
        return
    rules = [_counts(ask, standing, limits, whose), _prices(ask, limits)]
    if not lowers(ask, standing):
        rules += [_deviation(ask, limits), _amounts(ask, standing, limits, whose)]
    for found in rules:
        for reason, sentence in found:
            raise OrderDenied(reason, sentence)


_Findings = Iterator[tuple[DenialReason, str]]


def _counts(ask: Ask, standing: Standing, limits: RiskLimits, whose: str) -> _Findings:
    if limits.orders_per_minute is not None and standing.orders_this_minute > limits.orders_per_minute:
        yield (
            DenialReason.ORDER_RATE,
            f"{standing.orders_this_minute - 1} orders were sent {whose} in this minute, the limit is {limits.orders_per_minute}",
        )
    if limits.max_daily_orders is not None and standing.orders_today > limits.max_daily_orders:
        yield (
            DenialReason.MAX_DAILY_ORDERS,
            f"{standing.orders_today - 1} orders were sent {whose} today (UTC), the limit is {limits.max_daily_orders}",
        )
    if ask.type is OrderType.MARKET:
        return
    if limits.max_open_orders is not None and standing.open_orders >= limits.max_open_orders:
        yield (
            DenialReason.MAX_OPEN_ORDERS,
            f"{standing.open_orders} orders are open {whose} already, the limit is {limits.max_open_orders}; cancel one first",
        )
    if standing.open_in_symbol >= VENUE_OPEN_ORDERS:
        yield (
            DenialReason.MAX_OPEN_ORDERS,
            f"there are {standing.open_in_symbol} open orders in {ask.symbol} already, the exchange takes {VENUE_OPEN_ORDERS}",
        )


def _prices(ask: Ask, limits: RiskLimits) -> _Findings:
    market = ask.trigger_price or ask.market_price
    if limits.price_collar is None or ask.price is None or market is None:
        return
    beyond = ask.side.sign * (ask.price - market) / market
    if beyond > limits.price_collar:
        where = "above" if ask.side is Side.BUY else "below"
        what = "its trigger price" if ask.trigger_price is not None else "the market"
        yield (
            DenialReason.PRICE_COLLAR,
            f"a {ask.side} at {plain(ask.price)} {ask.quote} is {_percent(beyond)} % {where} {what} of {plain(market)} {ask.quote}; "
            f"the limit is {_percent(limits.price_collar)} %",
        )


def _deviation(ask: Ask, limits: RiskLimits) -> _Findings:
    if limits.price_deviation is None or ask.type is not OrderType.MARKET or ask.market_price is None or ask.last_close is None:
        return
    deviation = abs(ask.market_price - ask.last_close) / ask.last_close
    if deviation > limits.price_deviation:
        yield (
            DenialReason.PRICE_DEVIATION,
            f"the price of {ask.symbol} is {plain(ask.market_price)} {ask.quote}, {_percent(deviation)} % away from its last closed candle "
            f"at {plain(ask.last_close)} {ask.quote}; the limit for a market order is {_percent(limits.price_deviation)} %",
        )


def _amounts(ask: Ask, standing: Standing, limits: RiskLimits, whose: str) -> _Findings:
    if limits.max_daily_loss is not None:
        yield from _daily_loss(standing, limits.max_daily_loss, whose)
    if limits.max_order_notional is not None:
        yield from _bounded(ask, ask.value, DenialReason.MAX_NOTIONAL, limits.max_order_notional, "the order", "an order")
    if limits.max_position_notional is not None and ask.side is Side.BUY:
        held = max(standing.position, Decimal(0)) + standing.others + standing.opening + ask.quantity
        what = f"the position in {ask.symbol} with this order"
        yield from _bounded(ask, ask.in_usdt(held), DenialReason.MAX_POSITION_NOTIONAL, limits.max_position_notional, what, "a position")


def _daily_loss(standing: Standing, limit: Decimal, whose: str) -> _Findings:
    if standing.lost_today is None:
        yield DenialReason.VALUE_UNKNOWN, f"today's result {whose} has no price in USDT, so the daily loss limit cannot be checked"
    elif standing.lost_today >= limit:
        yield (
            DenialReason.MAX_DAILY_LOSS,
            f"{plain(standing.lost_today)} USDT were lost {whose} today (UTC), the limit is {plain(limit)} USDT; "
            "positions can still be closed",
        )


def _bounded(ask: Ask, value: Decimal | None, reason: DenialReason, limit: Decimal, what: str, kind: str) -> _Findings:
    if value is None:
        yield (
            DenialReason.VALUE_UNKNOWN,
            f"{what} has no price in USDT now ({ask.symbol}), so the limit of {plain(limit)} USDT for {kind} cannot be checked",
        )
    elif value > limit:
        yield reason, f"{what} is worth {_cents(value)} USDT, the limit for {kind} is {plain(limit)} USDT"


def _percent(fraction: Decimal) -> str:
    return plain(round(fraction * 100, 2))


def _cents(value: Decimal) -> str:
    return plain(round(value, 2))
