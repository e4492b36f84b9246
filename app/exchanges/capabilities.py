"""What each venue really does for a spot account, by our own table: ccxt's `has` and `features` promise stops that leave as market orders.

A capability is here only where the request was seen to carry it (tests/exchanges/wire). Whatever is missing, the engine does itself, and
the order is shown as supervised.
"""

from dataclasses import dataclass
from typing import Final

from app.domain.enums import OrderType, TimeInForce

_BASIC: Final = frozenset({OrderType.MARKET, OrderType.LIMIT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """One venue's abilities.

    `market_buy_by_base` and `market_buy_by_quote` say how a market buy may name its size; one of them holds everywhere. `has_oco` and
    `has_replace` are single atomic calls. `has_fence` means that the venue itself refuses a request that arrives too late.
    `is_tested` is False for a venue that is offered without our table: market and limit orders only.
    """

    order_types: frozenset[OrderType] = _BASIC
    time_in_force: frozenset[TimeInForce] = frozenset(TimeInForce)
    has_post_only: bool = True
    market_buy_by_base: bool = True
    market_buy_by_quote: bool = False
    has_oco: bool = False
    has_replace: bool = False
    has_fence: bool = False
    lists_all_open_orders: bool = True
    trades_by_id: bool = False
    is_tested: bool = True

    def is_native(self, kind: OrderType) -> bool:
        """Whether the venue itself watches an order of this kind."""
        return kind in self.order_types


#: A venue without a row: what every exchange has, and nothing that was not seen.
UNTESTED: Final = Capabilities(
    time_in_force=frozenset({TimeInForce.GTC}), has_post_only=False, lists_all_open_orders=False, is_tested=False
)

_STOPS: Final = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT})
_STOP_LIMITS: Final = frozenset({OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_TRAILING: Final = frozenset({OrderType.TRAILING_STOP})

#: Source of every line: the golden requests in tests/exchanges/wire.
_TABLE: Final[dict[str, Capabilities]] = {
    "paper": Capabilities(
        order_types=frozenset(OrderType), market_buy_by_quote=True, has_oco=True, has_replace=True, has_fence=True, trades_by_id=True
    ),
    "binance": Capabilities(
        order_types=_BASIC | _STOPS | _TRAILING,
        market_buy_by_quote=True,
        has_oco=True,
        has_replace=True,
        has_fence=True,
        trades_by_id=True,
    ),
    # No order lists of the new kind there.
    "binanceus": Capabilities(
        order_types=_BASIC | _STOPS | _TRAILING, market_buy_by_quote=True, has_replace=True, has_fence=True, trades_by_id=True
    ),
    "kraken": Capabilities(order_types=_BASIC | _STOPS | _TRAILING, market_buy_by_quote=True, has_fence=True),
    # Stops become limit orders there, never market orders.
    "coinbase": Capabilities(order_types=_BASIC | _STOP_LIMITS, market_buy_by_base=False, market_buy_by_quote=True),
    "kucoin": Capabilities(order_types=_BASIC | _STOPS, market_buy_by_quote=True, lists_all_open_orders=False),
    "bitget": Capabilities(order_types=_BASIC | _STOPS, market_buy_by_base=False, market_buy_by_quote=True, lists_all_open_orders=False),
    "okx": Capabilities(order_types=_BASIC | _STOPS, market_buy_by_quote=True),
    "bybit": Capabilities(order_types=_BASIC | _STOPS, market_buy_by_quote=True),
    # Its price-triggered orders carry no client order id: one whose answer was lost could never be told from another, so none is sent.
    "gate": Capabilities(market_buy_by_base=False, market_buy_by_quote=True),
    # It has no stops: ccxt's request for one leaves as a plain order with an unknown parameter.
    "mexc": Capabilities(market_buy_by_quote=True, lists_all_open_orders=False),
}


def capabilities_of(exchange: str) -> Capabilities:
    """Return what `exchange` does; for one that is not in the table, market and limit orders only."""
    return _TABLE.get(exchange, UNTESTED)
