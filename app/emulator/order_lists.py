"""Order lists: one cancels the other (OCO), one triggers the other (OTO), one triggers an OCO (OTOCO).

The matching engine knows that the legs of an OCO exclude each other. What is left to do here is what follows from an order's end: a working
order that is filled puts those that wait for it into the book, one that is not ends them, and a list without open orders is done.

Source: Binance Spot API documentation, rest-api.md "Order lists", user-data-stream.md "Order Expiry Reason".
"""

from collections.abc import Sequence

from app.domain.enums import Side
from app.emulator.admission import check_client_id, check_filters, check_funds, check_matching, check_prices
from app.emulator.changes import ExecutionType
from app.emulator.errors import VenueError
from app.emulator.ledger import Account, NewList, NewOrder, OrderList, OrderRecord
from app.emulator.market import SymbolMarket
from app.emulator.settlement import Settlement
from app.emulator.state import ExchangeState

_STOP_LOSSES = ("STOP_LOSS", "STOP_LOSS_LIMIT")


class OrderLists:
    """Places, cancels and follows order lists."""

    def __init__(self, state: ExchangeState, settlement: Settlement) -> None:
        self._state = state
        self._settlement = settlement

    def place(self, account: Account, request: NewList, *, received_ns: int) -> tuple[OrderList, list[OrderRecord]]:
        """Execute a new order list; call `advance` afterwards.

        Args:
            account: The owner.
            request: What was asked.
            received_ns: Wall time at which the request's body had been read.

        Returns:
            The list, and copies of its orders before anything followed from the working one's end.

        Raises:
            VenueError: -1121, -1013 with the filter's name, or -2010 with the reason.
        """
        self._check(account, request)
        self._state.last_list_id += 1
        list_id = self._state.last_list_id
        now = self._state.wall_ms()
        orders = [self._settlement.record(account, each, received_ns=received_ns, time=now) for each in request.orders]
        legs = orders if request.working is None else orders[1:]
        for order in orders:
            order.list_id = list_id
        if len(legs) > 1:
            for leg in legs:
                leg.oco = str(list_id)
            self._state.pairs[str(list_id)] = legs
        order_list = OrderList(
            list_id=list_id,
            api_key=account.api_key,
            symbol=orders[0].symbol,
            client_id=request.client_id or f"emulist{list_id:015d}",
            order_ids=[order.order_id for order in orders],
            working_id=0 if request.working is None else orders[0].order_id,
            time=now,
            update_time=now,
        )
        account.keep_list(order_list)
        if request.working is not None:
            for leg in legs:
                leg.status = "PENDING_NEW"
        for order in orders:
            if order.status == "PENDING_NEW":
                self._state.publisher.order(order, ExecutionType.NEW, time=now)
            else:
                self._settlement.start(order, time=now)
        self._state.publisher.order_list(order_list, orders, "EXEC_STARTED", time=now)
        return order_list, [order.copy() for order in orders]

    def cancel(self, order_list: OrderList, *, request_id: str) -> list[OrderRecord]:
        """Cancel what is open of a list and return it; call `advance` afterwards. `request_id` is the client id of the request.

        Raises:
            VenueError: -2011, nothing is open.
        """
        now = self._state.wall_ms()
        found = [order for order in self._orders(order_list) if order.is_open]
        if not found:
            raise VenueError.unknown_on_cancel()
        for order in found:
            self._state.engines[order.symbol].cancel(str(order.order_id))
        for order in found:
            self._settlement.close(order, ExecutionType.CANCELED, time=now, request_id=request_id)
        return found

    def advance(self) -> None:
        """Draw the consequences of every order's end that has not been looked at yet."""
        ended = self._settlement.ended
        while ended:
            order = ended.popleft()
            order_list = self._state.accounts[order.api_key].lists[order.list_id]
            if order.order_id == order_list.working_id:
                waiting = [leg for leg in self._orders(order_list) if leg.status == "PENDING_NEW"]
                if order.status == "FILLED":
                    self._start_waiting(waiting, time=order.update_time)
                else:
                    for leg in waiting:
                        self._expire(leg, "OTO_PHASE_ONE_EXPIRED", time=order.update_time)
            self._finish(order_list, time=order.update_time)

    def _check(self, account: Account, request: NewList) -> None:
        orders = request.orders
        market = self._state.market(orders[0].symbol)
        for order in orders:
            check_filters(order, market)
        names = [order.client_order_id for order in orders if order.client_order_id is not None]
        if len(set(names)) != len(names) or any(request.client_id == each.client_id for each in account.open_lists.values()):
            raise VenueError.rejected("Duplicate order sent.")
        for order in orders:
            check_client_id(order, account)
        if request.working is not None:
            check_matching(request.working, account, market)
        else:
            _check_pair(request.legs, market)
            check_funds(request.legs, account, market)

    def _start_waiting(self, waiting: Sequence[OrderRecord], *, time: int) -> None:
        """Put orders into the book that have waited for another, or end them when it would not take them now."""
        if not waiting:
            return
        market, account = self._state.markets[waiting[0].symbol], self._state.accounts[waiting[0].api_key]
        refused: OrderRecord | None = None
        for leg in waiting:
            try:
                check_filters(leg, market)
                check_prices(leg, market)
                check_funds((leg,), account, market)
            except VenueError:
                refused = leg
                break
        if refused is None:
            for leg in waiting:
                self._settlement.start(leg, time=time)
            return
        for leg in waiting:
            self._expire(leg, "REJECTED" if leg is refused else "OCO_TRIGGER", time=time)

    def _expire(self, order: OrderRecord, reason: str, *, time: int) -> None:
        self._settlement.close(order, ExecutionType.EXPIRED, time=time, reason=reason)

    def _finish(self, order_list: OrderList, *, time: int) -> None:
        orders = self._orders(order_list)
        if order_list.is_done or any(order.is_open for order in orders):
            return
        order_list.is_done, order_list.update_time = True, time
        self._state.accounts[order_list.api_key].open_lists.pop(order_list.list_id, None)
        self._state.pairs.pop(str(order_list.list_id), None)
        self._state.publisher.order_list(order_list, orders, "ALL_DONE", time=time)

    def _orders(self, order_list: OrderList) -> list[OrderRecord]:
        return [self._state.orders[order_id] for order_id in order_list.order_ids]


def _check_pair(legs: Sequence[NewOrder], market: SymbolMarket) -> None:
    """Refuse an OCO whose legs do not lie on their own sides of the last price, or that would trade at once.

    Raises:
        VenueError: -2010.
    """
    last_price = market.last_price
    for leg in legs:
        is_stop = leg.type in _STOP_LOSSES
        price = leg.stop_price if is_stop else (leg.price or leg.stop_price)
        is_above = (leg.side is Side.SELL) != is_stop
        if price and not (price > last_price if is_above else price < last_price):
            raise VenueError.rejected("The relationship of the prices for the orders is not correct.")
    for leg in legs:
        check_prices(leg, market)
