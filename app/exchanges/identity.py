"""How each venue takes our client order id and finds an order by it; ccxt's unified parameter is silently dropped by some of them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One venue's way with client order ids.

    `create_parameter` carries our id in `create_order`, and `prefix` is what the venue then puts before it. `lookup_parameter` finds an
    order by it, and None means that it is found in the venue's lists only. `trades_parameter` asks for the executions of one order by
    the venue's id.
    """

    create_parameter: str = "clientOrderId"
    prefix: str = ""
    lookup_parameter: str | None = "clientOrderId"
    trades_parameter: str | None = None


_DEFAULT: Final = Identity()
#: Source: the requests ccxt makes, tests/exchanges/wire/golden.
_IDENTITIES: Final = {
    "binance": Identity(create_parameter="newClientOrderId", lookup_parameter="origClientOrderId", trades_parameter="orderId"),
    "binanceus": Identity(create_parameter="newClientOrderId", lookup_parameter="origClientOrderId", trades_parameter="orderId"),
    "kraken": Identity(lookup_parameter=None),
    "coinbase": Identity(create_parameter="client_order_id", lookup_parameter=None, trades_parameter="order_ids"),
    "kucoin": Identity(create_parameter="clientOid", lookup_parameter="clientOid", trades_parameter="orderId"),
    "bitget": Identity(create_parameter="clientOid", lookup_parameter="clientOid", trades_parameter="orderId"),
    "okx": Identity(create_parameter="clOrdId", lookup_parameter="clOrdId", trades_parameter="ordId"),
    "bybit": Identity(create_parameter="orderLinkId", lookup_parameter=None, trades_parameter="orderId"),
    "gate": Identity(prefix="t-", trades_parameter="order_id"),
    "mexc": Identity(trades_parameter="orderId"),
}


def identity_of(exchange: str) -> Identity:
    """Return how `exchange` takes our ids; ccxt's unified way where nothing else is known."""
    return _IDENTITIES.get(exchange, _DEFAULT)
