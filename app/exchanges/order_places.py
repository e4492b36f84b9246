"""The venues whose orders are not simply found by our id in one place. Source: ccxt's requests and the venues' documentation."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Final

from app.exchanges.identity import identity_of
from app.exchanges.venue_orders import CancelCall, Found, OrderRef, Reader, VenueOrders

_BINANCE_TRADES: Final = 1_000
_COINBASE_PAGE: Final = 250
#: Kraken tells at most 20 trades at once, and ccxt asks for none after exactly 20.
_KRAKEN_TRADES: Final = 19
_KUCOIN_TRADING: Final = frozenset({"trade", "trade_hf"})


class _Binance(VenueOrders):
    """All in one place, and no order is forgotten before its lists forget it."""

    asks_lists: ClassVar[bool] = False
    trades_limit: ClassVar[int | None] = _BINANCE_TRADES


class _Kraken(VenueOrders):
    """Finds by our id in its lists only: asked for one order, ccxt sends our id as a number that Kraken does not know."""

    async def _find_placed(self, ref: OrderRef) -> dict[str, Any] | None:
        if ref.venue_order_id is not None:
            return await self._fetch(ref.venue_order_id, ref.symbol, {})
        parameters = {"clientOrderId": ref.client_order_id}
        for method in (self._ccxt.fetch_open_orders, self._ccxt.fetch_closed_orders):
            order = self._ours(await self._read(method, ref.symbol, None, None, parameters), ref)
            if order is not None:
                return order
        return None

    async def _cancel_placed(self, ref: OrderRef) -> CancelCall | None:
        if ref.venue_order_id is not None:
            return CancelCall(method=self._ccxt.cancel_order, arguments=(ref.venue_order_id, ref.symbol, {}))
        return CancelCall(method=self._ccxt.cancel_order, arguments=("", ref.symbol, {"clientOrderId": ref.client_order_id}))

    def _ours(self, orders: Any, ref: OrderRef) -> dict[str, Any] | None:
        return next((dict(order) for order in orders if order["info"].get("cl_ord_id") == ref.client_order_id), None)

    async def trades_of(self, symbol: str, order: dict[str, Any]) -> list[dict[str, Any]]:
        named = (order.get("info") or {}).get("trades")
        if not named:
            return await super().trades_of(symbol, order)
        found: list[dict[str, Any]] = []
        for start in range(0, len(named), _KRAKEN_TRADES):
            some = {"trades": list(named[start : start + _KRAKEN_TRADES])}
            found += await self._read(self._ccxt.fetch_order_trades, str(order["id"]), symbol, None, None, some)
        return found


class _Coinbase(VenueOrders):
    """Finds by our id in its list only, and cancels by its own id only."""

    async def _recent_lists(self, symbol: str, since_ms: int | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._read(self._ccxt.fetch_orders, symbol, since_ms, _COINBASE_PAGE)
        return found


class _Kucoin(VenueOrders):
    """Keeps stops apart; a triggered one appears among the others under our id."""

    keeps_waiting_apart: ClassVar[bool] = True

    async def balances(self) -> dict[str, Any]:
        """The trading account goes by either of two names, by when it was opened; ccxt asks for one."""
        reply = await self._read(self._ccxt.private_get_accounts)
        accounts = [each for each in reply["data"] if each.get("type") in _KUCOIN_TRADING]
        return {
            "free": {self._ccxt.safe_currency_code(each["currency"]): each["available"] for each in accounts},
            "used": {self._ccxt.safe_currency_code(each["currency"]): each["holds"] for each in accounts},
        }

    async def _followed(self, ref: OrderRef, order: dict[str, Any]) -> Found | None:
        if order["info"].get("status") == "NEW":
            return Found(order=order)
        placed = await self._find_placed(OrderRef(symbol=ref.symbol, client_order_id=ref.client_order_id, venue_order_id=None, waits=False))
        return Found(order=order) if placed is None else Found(order=placed, waiting_id=str(order["id"]))

    async def _find_placed(self, ref: OrderRef) -> dict[str, Any] | None:
        if ref.waits and ref.venue_order_id is not None:
            # That id was the stop's; among the others it goes by ours.
            ref = OrderRef(symbol=ref.symbol, client_order_id=ref.client_order_id, venue_order_id=None, waits=False)
        return await super()._find_placed(ref)


class _Bitget(VenueOrders):
    """Keeps plan orders apart, in lists only; one that was triggered becomes an order whose client id is the plan's own id."""

    keeps_waiting_apart: ClassVar[bool] = True

    async def _find_waiting(self, ref: OrderRef) -> Found | None:
        for method in (self._ccxt.fetch_open_orders, self._ccxt.fetch_canceled_and_closed_orders):
            order = self._ours(await self._read(method, ref.symbol, None, None, self.waiting_parameters), ref)
            if order is not None:
                return await self._followed(ref, order)
        return None

    async def _followed(self, ref: OrderRef, order: dict[str, Any]) -> Found | None:
        if order.get("status") != "closed":
            return Found(order=order)
        plan_id = str(order["id"])
        placed = await self._find_placed(OrderRef(symbol=ref.symbol, client_order_id=plan_id, venue_order_id=None, waits=False))
        if placed is None:
            return Found(order={**order, "status": "open", "filled": None})  # triggered, and not placed yet
        return Found(order=placed, waiting_id=plan_id)

    async def _find_placed(self, ref: OrderRef) -> dict[str, Any] | None:
        return None if ref.waits else await super()._find_placed(ref)

    async def _cancel_placed(self, ref: OrderRef) -> CancelCall | None:
        return await self._cancel_found(ref) if ref.waits else await super()._cancel_placed(ref)

    async def _finished(self, symbol: str, since_ms: int | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._read(self._ccxt.fetch_canceled_and_closed_orders, symbol, since_ms)
        return found


class _Okx(VenueOrders):
    """Keeps algo orders apart; one that was triggered names the order it became."""

    keeps_waiting_apart: ClassVar[bool] = True

    def _spot_only(self) -> dict[str, Any]:
        return {"instType": "SPOT"}

    async def _followed(self, ref: OrderRef, order: dict[str, Any]) -> Found | None:
        info = order["info"]
        named = info.get("ordId") or next(iter(info.get("ordIdList") or ()), None)
        if info.get("state") not in ("effective", "partially_effective") or not named:
            return Found(order=order)
        placed = await self._fetch(str(named), ref.symbol, {})
        return Found(order=order) if placed is None else Found(order=placed, waiting_id=str(order["id"]))

    async def _find_placed(self, ref: OrderRef) -> dict[str, Any] | None:
        return None if ref.waits else await super()._find_placed(ref)

    async def _cancel_placed(self, ref: OrderRef) -> CancelCall | None:
        return await self._cancel_found(ref) if ref.waits else await super()._cancel_placed(ref)

    async def _open_waiting(self, symbol: str | None) -> Sequence[dict[str, Any]]:
        parameters = {"trigger": True, "ordType": "conditional,oco", "instType": "SPOT"}
        found: list[dict[str, Any]] = await self._read(self._ccxt.fetch_open_orders, symbol, None, None, parameters)
        return found

    async def _finished(self, symbol: str, since_ms: int | None) -> list[dict[str, Any]]:
        """The last seven days, canceled ones too; ccxt asks for those that filled only."""
        market = self._ccxt.market(symbol)
        asked = {"instType": "SPOT", "instId": market["id"]} | ({} if since_ms is None else {"begin": since_ms})
        reply = await self._read(self._ccxt.private_get_trade_orders_history, asked)
        found: list[dict[str, Any]] = self._ccxt.parse_orders(reply["data"], market)
        return found


class _Bybit(VenueOrders):
    """Finds by either id in its lists only; a waiting order must be canceled as one."""

    async def _find_placed(self, ref: OrderRef) -> dict[str, Any] | None:
        parameters = self._named(ref)
        for method in (self._ccxt.fetch_open_orders, self._ccxt.fetch_canceled_and_closed_orders):
            order = self._ours(await self._read(method, ref.symbol, None, None, parameters), ref)
            if order is not None:
                return order
        return None

    async def cancel_calls(self, ref: OrderRef) -> AsyncIterator[CancelCall]:
        for kind in ("tpslOrder", "Order") if ref.waits else ("Order",):
            parameters = {**self._named(ref), "orderFilter": kind}
            yield CancelCall(method=self._ccxt.cancel_order, arguments=(None, ref.symbol, parameters))

    async def _finished(self, symbol: str, since_ms: int | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._read(self._ccxt.fetch_canceled_and_closed_orders, symbol, since_ms)
        return found

    @staticmethod
    def _named(ref: OrderRef) -> dict[str, str]:
        return {"orderLinkId": ref.client_order_id} if ref.venue_order_id is None else {"orderId": ref.venue_order_id}


class _Gate(VenueOrders):
    """Cancels by our id as it stored it, with its prefix; ccxt puts the unified parameter where no order is."""

    async def _cancel_placed(self, ref: OrderRef) -> CancelCall | None:
        named = ref.venue_order_id or self._identity.prefix + ref.client_order_id
        return CancelCall(method=self._ccxt.cancel_order, arguments=(named, ref.symbol, {}))


_PLACES: Final[dict[str, type[VenueOrders]]] = {
    "binance": _Binance,
    "binanceus": _Binance,
    "kraken": _Kraken,
    "coinbase": _Coinbase,
    "kucoin": _Kucoin,
    "bitget": _Bitget,
    "okx": _Okx,
    "bybit": _Bybit,
    "gate": _Gate,
}


def venue_orders(exchange_id: str, exchange: Any, read: Reader) -> VenueOrders:
    """Return how orders are found and canceled at `exchange_id`, over ccxt's `exchange`."""
    return _PLACES.get(exchange_id, VenueOrders)(exchange, identity_of(exchange_id), read)
