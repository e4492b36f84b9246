"""The venue itself: what can be asked of it. It knows nothing of HTTP and nothing of sockets.

Every order is checked (admission), goes through domain.matching, and what it fills is booked (settlement).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial

from app.domain.enums import Side
from app.domain.fees import FeeRates
from app.domain.matching import TapePrint
from app.emulator.admission import check_filters, check_matching
from app.emulator.bars import Trade
from app.emulator.changes import ExecutionType
from app.emulator.errors import VenueError
from app.emulator.ideal import ENDLESS
from app.emulator.ledger import Account, Amendment, Balance, NewList, NewOrder, OrderList, OrderRecord, book_order
from app.emulator.market import SymbolMarket
from app.emulator.order_lists import OrderLists
from app.emulator.replace import amend
from app.emulator.settlement import Settlement
from app.emulator.state import ExchangeState
from app.errors import Conflict


class Exchange(ExchangeState):
    """All accounts and all symbols of one venue."""

    def __init__(self, markets: Mapping[str, SymbolMarket], *, fees: FeeRates, wall_ms: Callable[[], int]) -> None:
        super().__init__(markets, fees=fees, wall_ms=wall_ms)
        self._settlement = Settlement(self)
        self._lists = OrderLists(self, self._settlement)
        for symbol, market in markets.items():
            market.awaited = partial(self._awaited, symbol)

    def owner(self, api_key: str, *, is_trade: bool = False) -> Account:
        """Return the account whose key is let in, to trade or only to look.

        Raises:
            VenueError: -2015.
        """
        account = self.accounts.get(api_key)
        if account is None or account.is_revoked or not account.is_ip_allowed or (is_trade and account.is_read_only):
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
        return account

    def revoke(self, api_key: str) -> None:
        """Let a key in no longer; its orders stay. Opening the account anew makes it good again."""
        self.accounts[api_key].is_revoked = True
        self.changes += 1

    def open_account(
        self,
        api_key: str,
        api_secret: str,
        balances: Mapping[str, Decimal],
        *,
        pays_in_bnb: bool = False,
        pays_in_quote: bool = False,
    ) -> Account:
        """Create an account; one with the same key is replaced, its open orders canceled and its history forgotten."""
        old = self.accounts.get(api_key)
        if old is not None:
            self.cancel_all(old)
            for order_id in old.orders:
                del self.orders[order_id]
        account = Account(api_key=api_key, api_secret=api_secret, update_time=self.wall_ms())
        account.pays_in_bnb, account.pays_in_quote = pays_in_bnb, pays_in_quote
        account.balances = {asset: Balance(free=amount) for asset, amount in balances.items()}
        self.accounts[api_key] = account
        self.changes += 1
        return account

    def change_rules(self, symbol: str, **changes: object) -> None:
        """Change fields of a symbol's rules from now on; what is open stays as it is.

        Raises:
            KeyError: the symbol is not listed.
            TypeError: the rules have no such field.
        """
        market = self.markets[symbol]
        market.rules = replace(market.rules, **changes)  # type: ignore[arg-type]  # names and values are checked by who reads them
        self.engines[symbol].step_size = market.rules.step_size
        self.rule_changes.setdefault(symbol, {}).update(changes)
        self.changes += 1

    def check(self, account: Account, request: NewOrder) -> None:
        """Refuse an order that the venue would refuse.

        Raises:
            VenueError: -1121, -1013 with the filter's name, or -2010 with the reason.
        """
        self.check_filters(request)
        check_matching(request, account, self.markets[request.symbol])

    def check_filters(self, request: NewOrder) -> None:
        """Refuse an order for what it is, whatever the account has and the book offers.

        Raises:
            VenueError: -1121, or -1013 with the reason.
        """
        check_filters(request, self.market(request.symbol))

    def place(self, account: Account, request: NewOrder, *, received_ns: int) -> OrderRecord:
        """Execute a new order.

        Args:
            account: The owner.
            request: What was asked.
            received_ns: Wall time at which the request's body had been read.

        Raises:
            VenueError: see `check`.
        """
        self.check(account, request)
        order = self._settlement.record(account, request, received_ns=received_ns, time=self.wall_ms())
        self._settlement.start(order, time=order.time)
        self._conclude(time=order.update_time)
        return order

    def place_list(self, account: Account, request: NewList, *, received_ns: int) -> tuple[OrderList, list[OrderRecord]]:
        """Execute a new order list; see OrderLists.place.

        Raises:
            VenueError: -1121, -1013 with the filter's name, or -2010 with the reason.
        """
        order_list, orders = self._lists.place(account, request, received_ns=received_ns)
        self._conclude(time=order_list.time)
        return order_list, orders

    def cancel(self, order: OrderRecord, *, request_id: str | None = None) -> OrderRecord:
        """Cancel an open order, with its whole list if it is in one, and give back what it locked.

        Args:
            order: The order.
            request_id: The client id of the request, if it has one.

        Raises:
            VenueError: -2011, it is not open.
        """
        if not order.is_open:
            raise VenueError.unknown_on_cancel()
        if order.list_id >= 0:
            self.cancel_list(self.accounts[order.api_key].lists[order.list_id], request_id=request_id or order.cancel_id)
            return order
        self.engines[order.symbol].cancel(str(order.order_id))
        self._settlement.close(order, ExecutionType.CANCELED, time=self.wall_ms(), request_id=request_id or order.cancel_id)
        self._conclude(time=order.update_time)
        return order

    def cancel_list(self, order_list: OrderList, *, request_id: str) -> list[OrderRecord]:
        """Cancel what is open of a list and return it; `request_id` is the client id of the request.

        Raises:
            VenueError: -2011, nothing is open.
        """
        canceled = self._lists.cancel(order_list, request_id=request_id)
        self._conclude(time=canceled[0].update_time)
        return canceled

    def amend(self, order: OrderRecord, quantity: Decimal, client_order_id: str | None) -> Amendment:
        """Lower the quantity of an open order; see replace.amend.

        Raises:
            VenueError: -2038, -1013 or -2010.
        """
        amendment = amend(self, self._settlement, order, quantity=quantity, client_order_id=client_order_id)
        self._conclude(time=amendment.time)
        return amendment

    def cancel_all(self, account: Account, symbol: str | None = None) -> list[OrderRecord]:
        """Cancel the account's open orders, of one symbol or all; those of a list come one after the other."""
        canceled: list[OrderRecord] = []
        for order in list(account.open_orders.values()):
            if order.is_open and symbol in (None, order.symbol):
                if order.list_id >= 0:
                    canceled.extend(self.cancel_list(account.lists[order.list_id], request_id=order.cancel_id))
                else:
                    canceled.append(self.cancel(order))
        return canceled

    def list_orders(self, order_list: OrderList) -> list[OrderRecord]:
        """Return the orders of a list, in the order they are numbered."""
        return [self.orders[order_id] for order_id in order_list.order_ids]

    def match(self, symbol: str, trade: Trade, *, time: int) -> None:
        """Let a public trade of the market fill and wake orders, unless trading is halted; `time` is that of their fills, wall ms."""
        engine = self.engines[symbol]
        if len(engine) > 0 and self.markets[symbol].rules.is_trading:
            market = self.markets[symbol]
            quantity = trade.quantity if market.slippage is None else ENDLESS
            outcome = engine.trade(TapePrint(price=trade.price, quantity=quantity), market.depth())
            self._settlement.apply(outcome, time=time)
            self._conclude(time=time)

    def fill_ended(self, order: OrderRecord, *, price: Decimal, quantity: Decimal) -> None:
        """Report a fill (quote per base, base units) of an order that has ended, as real venues now and then do.

        Raises:
            Conflict: the order is open, or its account cannot pay for it.
        """
        if order.is_open:
            raise Conflict(f"order {order.order_id} is open; move the price and it fills by itself")
        rules = self.markets[order.symbol].rules
        asset, needed = (rules.quote, price * quantity) if order.side is Side.BUY else (rules.base, quantity)
        free = self.accounts[order.api_key].balance(asset).free
        if free < needed:
            raise Conflict(f"the account has {free} {asset} free, and that fill takes {needed}")
        self._settlement.fill_ended(order, price=price, quantity=quantity, time=self.wall_ms())
        self._conclude(time=order.update_time)

    def _awaited(self, symbol: str) -> list[Decimal]:
        """Return the prices at which orders of a symbol wake."""
        orders = (order for account in self.accounts.values() for order in account.open_orders.values())
        return [order.stop_price for order in orders if order.symbol == symbol and order.stop_price]

    def _conclude(self, *, time: int) -> None:
        self._lists.advance()
        self.publisher.flush(self.accounts, time=time)

    def restore(
        self,
        accounts: Iterable[Account],
        *,
        last_order_id: int,
        last_execution_id: int,
        last_list_id: int,
        last_amendment_id: int,
        watermarks: Mapping[int, Decimal],
    ) -> None:
        """Take over what a snapshot held; open orders go back into the book in the order they came."""
        self.accounts = {account.api_key: account for account in accounts}
        self.orders = {order.order_id: order for account in self.accounts.values() for order in account.orders.values()}
        self.last_order_id, self.last_execution_id = last_order_id, last_execution_id
        self.last_list_id, self.last_amendment_id = last_list_id, last_amendment_id
        for account in self.accounts.values():
            for order_list in account.open_lists.values():
                legs = [self.orders[order_id] for order_id in order_list.leg_ids]
                if len(legs) > 1:
                    self.pairs[str(order_list.list_id)] = legs
        for order in sorted(self.orders.values(), key=lambda order: (order.working_time, order.order_id)):
            if order.is_open and order.status != "PENDING_NEW" and order.symbol in self.engines:
                self.engines[order.symbol].restore(
                    book_order(order, order.order_id, oco=order.oco),
                    remaining=order.remaining,
                    is_awake=order.is_working,
                    watermark=watermarks.get(order.order_id),
                )
                self.hold(order)

    def watermarks(self) -> dict[int, Decimal]:
        """Return how far the trailing stops of all symbols have followed the market, by order id."""
        found: dict[int, Decimal] = {}
        for account in self.accounts.values():
            for order in account.open_orders.values():
                watermark = self.engines[order.symbol].watermark(str(order.order_id)) if order.trailing_delta else None
                if watermark is not None:
                    found[order.order_id] = watermark
        return found
