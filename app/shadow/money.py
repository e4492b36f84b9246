"""What trades came to, exactly: as they were filled, and as the rules of a backtest would have filled the same orders. Pure.

The fold is that of `domain.positions` without its rounding: what is left of a position that has ended, as it is too small to sell, counts
as nothing.
"""

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from typing import Final

from app.shadow.lives import ZERO, Act, Kind, Market, Trade

#: Room for products of prices, quantities and rates.
WIDE: Final = Context(prec=100)
#: What floats leave of a position that is sold whole; a fraction of it.
_ALL_BUT: Final = Decimal("1e-12")
#: What is kept of an amount.
KEPT: Final = Decimal("1e-12")


def kept(amount: Decimal) -> Decimal:
    """Return an amount as it is stored."""
    return amount.quantize(KEPT, context=WIDE)


def gain(trade: Trade, mark: Decimal, prices: Sequence[Decimal | None] = ()) -> Decimal:
    """Return what a trade gained before fees, in quote.

    Args:
        trade: Which one.
        mark: What is still held is worth this each.
        prices: Of each act in place of its own; None is its own.
    """
    with localcontext(WIDE):
        held = cost = gained = ZERO
        for act, price in zip(trade.acts, prices or [None] * len(trade.acts), strict=True):
            for quantity, own in act.parts:
                paid = quantity * (own if price is None else price)
                if act.kind.is_buy:
                    held, cost = held + quantity, cost + paid
                    continue
                left = held - quantity
                freed = cost if left <= held * _ALL_BUT else cost * quantity / held
                gained, cost, held = gained + paid - freed, cost - freed, max(left, ZERO)
        if trade.is_open:
            gained += held * mark - cost
        return -gained if trade.entry.is_short else gained


def fees(trade: Trade) -> Decimal:
    """Return what a trade paid, in quote."""
    return sum((act.fee for act in trade.acts), ZERO)


def profit(trade: Trade, mark: Decimal) -> Decimal:
    """Return what a trade came to after fees, in quote."""
    return gain(trade, mark) - fees(trade)


def expected_price(act: Act, market: Market) -> Decimal | None:
    """Return the price at which the rules of backtests would have filled a bot's order; None where they tell none."""
    open_ = market.open_at(act.candle)
    if act.kind is Kind.HAND or open_ is None:
        return None
    if act.kind is Kind.STOP:
        return None if act.level is None else market.market_price(min(float(act.level), open_), is_buy=False)
    if act.kind is Kind.TARGET:
        return None if act.level is None else max(act.level, Decimal(repr(open_)))
    price = market.market_price(open_, is_buy=act.kind.is_buy)
    if act.level is None:
        return price
    return min(price, act.level) if open_ <= act.level else act.level


def expected_fee(act: Act, price: Decimal, market: Market) -> Decimal:
    """Return what the rules of backtests take for an order at a price: the maker's rate for what rested."""
    open_ = market.open_at(act.candle)
    rests = act.kind is Kind.TARGET or (act.kind is Kind.ENTRY and act.level is not None and open_ is not None and open_ > act.level)
    with localcontext(WIDE):
        return act.quantity * price * (market.maker_fee if rests else market.fee)


def priced(trade: Trade, market: Market) -> list[Decimal | None]:
    """Return the expected price of each act of a bot's trade."""
    return [expected_price(act, market) for act in trade.acts]


def expected_profit(trade: Trade, market: Market, prices: Sequence[Decimal | None]) -> Decimal:
    """Return what a bot's orders would have come to at these prices with the fees of a backtest."""
    return gain(trade, market.mark, prices) - sum(expected_fees(trade, market, prices), ZERO)


def expected_fees(trade: Trade, market: Market, prices: Sequence[Decimal | None]) -> list[Decimal]:
    """Return what a backtest takes for each of a bot's orders at these prices; None is the order's own."""
    return [expected_fee(act, act.price if price is None else price, market) for act, price in zip(trade.acts, prices, strict=True)]
