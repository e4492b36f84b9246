"""What the venue refuses before an order reaches the book.

First the filters of the symbol, which look at the order alone (-1013), then what the matching engine would not take (-2010). A replacement
is checked against the first before the old order is canceled and against the second after.
"""

from collections.abc import Iterable
from decimal import Decimal

from app.domain.enums import Side
from app.domain.matching import is_marketable, is_triggered, take
from app.emulator.errors import VenueError
from app.emulator.ledger import ZERO, Account, NewOrder, OrderRecord, book_order, unit_reserve
from app.emulator.market import SymbolMarket

INSUFFICIENT = "Account has insufficient balance for requested action."


def check_filters(request: NewOrder | OrderRecord, market: SymbolMarket) -> None:
    """Refuse an order that breaks a trading rule of its symbol, and any order when the market is closed.

    Raises:
        VenueError: -1013 with the reason.
    """
    rules, last_price = market.rules, market.last_price
    rules.check_trading()
    is_market = request.type == "MARKET"
    if request.price:
        rules.check_price(request.price, last_price)
    if request.stop_price:
        rules.check_trigger_price(request.stop_price)
    if request.trailing_delta:
        rules.check_trailing_delta(request.trailing_delta)
    if request.quantity:
        rules.check_quantity(request.quantity)
        if not request.price:
            rules.check_market_quantity(request.quantity)
    rules.check_notional(request.notional or request.quantity * unit_reserve(request, last_price), is_market=is_market)


def check_matching(request: NewOrder, account: Account, market: SymbolMarket) -> None:
    """Refuse an order that the matching engine would not take.

    Raises:
        VenueError: -2010 with the reason, or -1013 LOT_SIZE for a notional that buys nothing.
    """
    check_client_id(request, account)
    check_prices(request, market)
    check_funds((request,), account, market)


def check_funds(requests: Iterable[NewOrder | OrderRecord], account: Account, market: SymbolMarket) -> None:
    """Refuse orders of one side that the account cannot pay; of several only one will ever fill.

    Raises:
        VenueError: -2010, or what `cost` raises.
    """
    needs = [cost(request, market) for request in requests]
    asset, needed = max(needs, key=lambda need: need[1])
    if account.balance(asset).free < needed:
        raise VenueError.rejected(INSUFFICIENT)


def check_client_id(request: NewOrder, account: Account) -> None:
    """Refuse an id that an open order carries.

    Raises:
        VenueError: -2010.
    """
    if request.client_order_id is not None and account.has_open_client_id(request.client_order_id):
        raise VenueError.rejected("Duplicate order sent.")


def check_prices(request: NewOrder | OrderRecord, market: SymbolMarket) -> None:
    """Refuse a stop that would trigger and a maker that would take at once.

    Raises:
        VenueError: -2010.
    """
    if not request.stop_price and request.type != "LIMIT_MAKER":
        return
    order = book_order(request, 0)
    if request.stop_price and is_triggered(order, market.last_price):
        raise VenueError.rejected("Stop price would trigger immediately.")
    if request.type == "LIMIT_MAKER" and is_marketable(order, market.depth()):
        raise VenueError.rejected("Order would immediately match and take.")


def cost(request: NewOrder | OrderRecord, market: SymbolMarket) -> tuple[str, Decimal]:
    """Return the asset an order pays with and how much of it must be free.

    Raises:
        VenueError: a market order finds nothing to take: -2010, or -1013 LOT_SIZE for a notional.
    """
    rules = market.rules
    asset = rules.quote if request.side is Side.BUY else rules.base
    if request.type != "MARKET":
        return asset, request.quantity * unit_reserve(request, market.last_price) if request.side is Side.BUY else request.quantity
    fills = take(book_order(request, 0), market.depth(), step_size=rules.step_size)
    if not fills:
        if request.notional:
            raise VenueError.filter_failure("LOT_SIZE")
        raise VenueError.rejected("Order book liquidity is less than symbol minimum quantity.")
    if request.side is Side.BUY:
        return asset, sum((fill.price * fill.quantity for fill in fills), ZERO)
    return asset, request.quantity or sum((fill.quantity for fill in fills), ZERO)
