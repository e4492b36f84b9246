"""A small book and short words for orders, for tests of the matching engine."""

from decimal import Decimal

from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.instruments import plain
from app.domain.matching import BookFill, BookOrder, Depth, Level, MatchingEngine, Outcome, TapePrint

STEP = Decimal("0.01")
D = Decimal


def levels(*pairs: tuple[str, str]) -> tuple[Level, ...]:
    return tuple(Level(price=D(price), quantity=D(quantity)) for price, quantity in pairs)


BOOK = Depth(bids=levels(("99", "1"), ("98", "2"), ("97", "5")), asks=levels(("100", "1"), ("101", "2"), ("103", "5")))


def order(order_id: str, side: Side, type_: OrderType, **fields: object) -> BookOrder:
    fields = {
        name: D(value) if isinstance(value, str) and name not in ("time_in_force", "oco") else value for name, value in fields.items()
    }
    return BookOrder(order_id=order_id, side=side, type=type_, **fields)  # type: ignore[arg-type]  # keyword shorthand of these tests


def limit(order_id: str, side: Side, price: str, quantity: str, tif: TimeInForce = TimeInForce.GTC) -> BookOrder:
    return order(order_id, side, OrderType.LIMIT, price=price, quantity=quantity, time_in_force=tif)


def trade(engine: MatchingEngine, price: str, quantity: str, depth: Depth = BOOK) -> Outcome:
    return engine.trade(TapePrint(price=D(price), quantity=D(quantity)), depth)


def shown(fills: tuple[BookFill, ...]) -> list[tuple[str, str, str]]:
    return [(fill.order_id, plain(fill.price), plain(fill.quantity)) for fill in fills]
