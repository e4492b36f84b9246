"""How a venue finds, lists and cancels orders: by our id, by its own, in its lists, or in a place of its own for the waiting ones.

What comes back is ccxt's order; nothing here is a report yet.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from app.errors import ExchangeUnavailable
from app.exchanges.identity import Identity

_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRef:
    """Which order is meant: our id, the venue's where it is known, and whether it is a kind that waits for a trigger."""

    symbol: str
    client_order_id: str
    venue_order_id: str | None
    waits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """ccxt's order, and under which id of the venue its executions are listed.

    `waiting_id` is the id of the waiting order that became this one, where the venue gives what it became another.
    """

    order: dict[str, Any]
    waiting_id: str | None = None

    @property
    def executed_as(self) -> str:
        """The id that its executions name."""
        return str(self.order["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCall:
    """One way to cancel: a method of ccxt and its arguments."""

    method: Callable[..., Awaitable[Any]]
    arguments: tuple[Any, ...]


class Reader(Protocol):
    """Makes one request that changes nothing; its errors are ours. `none_if_unknown` turns "no such order" into None."""

    async def __call__(self, method: Callable[..., Awaitable[Any]], *arguments: Any, none_if_unknown: bool = False) -> Any:
        """Return what `method` returns."""


class VenueOrders:
    """The common way: all orders in one place, found by our id, listed by symbol. As it is, for venues without a class of their own."""

    #: Whether the lists are asked too before an order counts as unknown: by-id look-ups forget finished orders on some venues.
    asks_lists: ClassVar[bool] = True
    #: Whether waiting orders are kept apart.
    keeps_waiting_apart: ClassVar[bool] = False
    #: What every look at waiting orders is asked with.
    waiting_parameters: ClassVar[dict[str, Any]] = {"trigger": True}
    trades_limit: ClassVar[int | None] = None

    def __init__(self, exchange: Any, identity: Identity, read: Reader) -> None:
        self._ccxt = exchange
        self._identity = identity
        self._read = read

    async def find(self, ref: OrderRef) -> Found | None:
        """Return the order, or None when the venue does not know it."""
        if ref.waits and self.keeps_waiting_apart:
            found = await self._find_waiting(ref)
            if found is not None:
                return found
        order = await self._find_placed(ref)
        return None if order is None else Found(order=order)

    async def open(self, symbol: str | None) -> list[dict[str, Any]]:
        """Return the open orders, waiting ones too."""
        found = await self._read(self._ccxt.fetch_open_orders, symbol, None, None, self._spot_only())
        if self.keeps_waiting_apart:
            found = [*found, *await self._open_waiting(symbol)]
        return _once(found)

    async def recent(self, symbol: str, since_ms: int) -> list[dict[str, Any]]:
        """Return the orders created since then, finished ones too, oldest first."""
        lists = await self._recent_lists(symbol, since_ms)
        return sorted(
            (order for order in _once(lists) if (order.get("timestamp") or since_ms) >= since_ms),
            key=lambda each: each.get("timestamp") or 0,
        )

    async def cancel_calls(self, ref: OrderRef) -> AsyncIterator[CancelCall]:
        """Yield the ways to cancel the order, to be tried in turn while the venue says that it does not know it."""
        if ref.waits and self.keeps_waiting_apart:
            yield self._cancel_waiting(ref)
        placed = await self._cancel_placed(ref)
        if placed is not None:
            yield placed

    async def trades(self, symbol: str, *, since_ms: int | None, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the account's executions in `symbol`."""
        found: list[dict[str, Any]] = await self._read(self._ccxt.fetch_my_trades, symbol, since_ms, self.trades_limit, parameters)
        return found

    async def trades_of(self, symbol: str, order: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the executions of one order."""
        order_id = str(order["id"])
        named = self._identity.trades_parameter
        found = await self.trades(symbol, since_ms=None, parameters={} if named is None else {named: order_id})
        return [trade for trade in found if str(trade.get("order")) == order_id]

    async def balances(self) -> dict[str, Any]:
        """Return what the account holds: `free` and `used` by asset."""
        found: dict[str, Any] = await self._read(self._ccxt.fetch_balance)
        return found

    # What venues do differently.

    def _spot_only(self) -> dict[str, Any]:
        return {}

    async def _find_placed(self, ref: OrderRef) -> dict[str, Any] | None:
        order = None
        if ref.venue_order_id is not None:
            order = await self._fetch(ref.venue_order_id, ref.symbol, {})
        elif self._identity.lookup_parameter is not None:
            order = await self._fetch("", ref.symbol, {self._identity.lookup_parameter: ref.client_order_id})
        if order is None and self.asks_lists:
            order = self._ours(await self._recent_lists(ref.symbol, None), ref)
        return order

    async def _fetch(self, order_id: str, symbol: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
        order = await self._read(self._ccxt.fetch_order, order_id, symbol, parameters, none_if_unknown=True)
        if order is None:
            return None
        if not isinstance(order, dict) or not order.get("id"):
            raise ExchangeUnavailable("the exchange's answer does not name the order")
        return order

    async def _recent_lists(self, symbol: str, since_ms: int | None) -> list[dict[str, Any]]:
        if self._ccxt.has.get("fetchOrders"):
            return _listed(await self._read(self._ccxt.fetch_orders, symbol, since_ms))
        return [*await self.open(symbol), *await self._finished(symbol, since_ms)]

    async def _finished(self, symbol: str, since_ms: int | None) -> list[dict[str, Any]]:
        if self._ccxt.has.get("fetchClosedOrders"):
            return _listed(await self._read(self._ccxt.fetch_closed_orders, symbol, since_ms))
        return []

    def _ours(self, orders: Iterable[dict[str, Any]], ref: OrderRef) -> dict[str, Any] | None:
        names = {ref.client_order_id, self._identity.prefix + ref.client_order_id}
        for order in orders:
            if order.get("clientOrderId") in names or (ref.venue_order_id is not None and str(order.get("id")) == ref.venue_order_id):
                return dict(order)
        return None

    async def _cancel_placed(self, ref: OrderRef) -> CancelCall | None:
        if ref.venue_order_id is not None and not (ref.waits and self.keeps_waiting_apart):
            return CancelCall(method=self._ccxt.cancel_order, arguments=(ref.venue_order_id, ref.symbol, {}))
        if self._identity.lookup_parameter is None:
            return await self._cancel_found(ref)
        parameters = {self._identity.lookup_parameter: ref.client_order_id}
        return CancelCall(method=self._ccxt.cancel_order, arguments=("", ref.symbol, parameters))

    async def _cancel_found(self, ref: OrderRef) -> CancelCall | None:
        found = await self.find(ref)
        if found is None or (ref.waits and self.keeps_waiting_apart and found.waiting_id is None):
            return None
        return CancelCall(method=self._ccxt.cancel_order, arguments=(found.executed_as, ref.symbol, {}))

    async def _find_waiting(self, ref: OrderRef) -> Found | None:
        parameters = dict(self.waiting_parameters)
        if ref.venue_order_id is None and self._identity.lookup_parameter is not None:
            parameters[self._identity.lookup_parameter] = ref.client_order_id
        order = await self._read(self._ccxt.fetch_order, ref.venue_order_id or "", ref.symbol, parameters, none_if_unknown=True)
        return await self._followed(ref, order) if order is not None and order.get("id") else None

    async def _followed(self, ref: OrderRef, order: dict[str, Any]) -> Found | None:
        """Return the waiting order, or what it became when its trigger was reached."""
        del ref
        return Found(order=order)

    async def _open_waiting(self, symbol: str | None) -> Sequence[dict[str, Any]]:
        return _listed(await self._read(self._ccxt.fetch_open_orders, symbol, None, None, self.waiting_parameters))

    def _cancel_waiting(self, ref: OrderRef) -> CancelCall:
        if ref.venue_order_id is not None:
            return CancelCall(method=self._ccxt.cancel_order, arguments=(ref.venue_order_id, ref.symbol, self.waiting_parameters))
        assert self._identity.lookup_parameter is not None  # noqa: S101  # such venues find waiting orders by our id
        parameters = {**self.waiting_parameters, self._identity.lookup_parameter: ref.client_order_id}
        return CancelCall(method=self._ccxt.cancel_order, arguments=("", ref.symbol, parameters))


def _listed(orders: Any) -> list[dict[str, Any]]:
    if not isinstance(orders, list):
        raise ExchangeUnavailable("the exchange's answer is not a list of orders")
    return orders


def _once(orders: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each order once, as the last list tells it: one that finishes between two requests is in both."""
    return list({str(order.get("id")): order for order in orders}.values())
