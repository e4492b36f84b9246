"""Control routes that move a market by hand: a trade at a price, a book with given offers."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from app.domain.matching import Depth, Level
from app.emulator import rendering
from app.emulator.control_http import guarded, read_amount, read_document, reply
from app.emulator.filters import eight
from app.emulator.market import SymbolMarket
from app.emulator.venue import Venue
from app.errors import InvalidInput, NotFound

_MAX_LEVELS = 5000


def add_market_control_routes(router: web.UrlDispatcher, venue: Venue) -> None:
    """Put these routes on a router."""
    control = _MarketControl(venue)
    router.add_post("/_price", guarded(control.price))
    router.add_post("/_depth", guarded(control.depth))
    router.add_post("/_fill", guarded(control.fill))


class _MarketControl:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def price(self, request: web.Request) -> web.Response:
        """Let one trade happen at `price`, of `quantity` (base units, one step if not given); orders and streams see it at once."""
        document = await read_document(request)
        market = find_market(self._venue, document)
        price = _positive(document, "price")
        quantity = _positive(document, "quantity") if "quantity" in document else market.rules.step_size
        trade = self._venue.feed.print(market.rules.symbol, price, quantity)
        self._venue.exchange.changes += 1
        return reply({"symbol": market.rules.symbol, "id": trade.id, "price": eight(price), "qty": eight(quantity), "time": trade.time})

    async def depth(self, request: web.Request) -> web.Response:
        """Show `bids` and `asks`, lists of [price, quantity] with the best first; both null give the market its own offers back."""
        document = await read_document(request)
        market = find_market(self._venue, document)
        bids, asks = document.get("bids"), document.get("asks")
        if bids is None and asks is None:
            market.forced_depth = None
        else:
            forced = Depth(bids=_levels(bids, "bids", lambda a, b: a > b), asks=_levels(asks, "asks", lambda a, b: a < b))
            if forced.bids and forced.asks and forced.bids[0].price >= forced.asks[0].price:
                raise InvalidInput(f"the best bid {forced.bids[0].price} must be below the best ask {forced.asks[0].price}", field="bids")
            market.forced_depth = forced
        self._venue.feed.nudge()
        return reply({"symbol": market.rules.symbol, "is_forced": market.forced_depth is not None})

    async def fill(self, request: web.Request) -> web.Response:
        """Report a fill of an order that has ended: `order_id`, `quantity` (base units), `price` (the order's or the last if not given)."""
        document = await read_document(request)
        exchange = self._venue.exchange
        order = exchange.orders.get(document["order_id"]) if isinstance(document.get("order_id"), int) else None
        if order is None:
            raise NotFound(f"there is no order {document.get('order_id')!r}")
        quantity = _positive(document, "quantity")
        price = _positive(document, "price") if "price" in document else order.price or exchange.markets[order.symbol].last_price
        exchange.fill_ended(order, price=price, quantity=quantity)
        return reply(rendering.order_query(order))


def find_market(venue: Venue, document: dict[str, Any]) -> SymbolMarket:
    """Return the market that a body's `symbol` names.

    Raises:
        NotFound: it is not listed.
    """
    market = venue.exchange.markets.get(str(document.get("symbol")))
    if market is None:
        raise NotFound(f"the symbol {document.get('symbol')!r} is not listed here")
    return market


def _positive(document: dict[str, Any], name: str) -> Decimal:
    value = read_amount(name, document.get(name), field=name)
    if value == 0:
        raise InvalidInput(f"{name} must be above 0", field=name)
    return value


def _levels(given: object, name: str, is_better: Callable[[Decimal, Decimal], bool]) -> tuple[Level, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > _MAX_LEVELS or not all(isinstance(each, list) and len(each) == 2 for each in given):
        raise InvalidInput(f"{name} must be a list of at most {_MAX_LEVELS} pairs of price and quantity", field=name)
    levels: list[Level] = []
    for pair in given:
        price, quantity = (read_amount(f"a number in {name}", text, field=name) for text in pair)
        if not price or not quantity or (levels and not is_better(levels[-1].price, price)):
            raise InvalidInput(f"{name} must be positive numbers with the best price first, was {price} × {quantity}", field=name)
        levels.append(Level(price=price, quantity=quantity))
    return tuple(levels)
