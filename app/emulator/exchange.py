"""The venue itself: accounts, orders, settlement. It knows nothing of HTTP and nothing of sockets.

Every order goes through domain.matching; what it fills is settled here against balances, fee in the received asset.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from app.domain.enums import Liquidity, Side
from app.domain.fees import FeeRates, fee_on_received, received_amount
from app.domain.matching import BookFill, BookOrder, MatchingEngine, Outcome, TapePrint, is_marketable, is_triggered, take
from app.emulator.bars import Trade
from app.emulator.changes import ExecutionType, Listener, Publisher
from app.emulator.errors import VenueError
from app.emulator.ledger import ZERO, Account, Balance, Execution, NewOrder, OrderRecord, book_order
from app.emulator.market import SymbolMarket

INSUFFICIENT = "Account has insufficient balance for requested action."


class Exchange:
    """All accounts and all symbols of one venue."""

    def __init__(self, markets: Mapping[str, SymbolMarket], *, fees: FeeRates, wall_ms: Callable[[], int]) -> None:
        self.markets = markets
        self.fees = fees
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, OrderRecord] = {}
        self.engines = {symbol: MatchingEngine(step_size=market.rules.step_size) for symbol, market in markets.items()}
        self.last_order_id = 0
        self.last_execution_id = 0
        self.changes = 0
        """Counts every change of state, so that the snapshot knows when there is something to write."""
        self._wall_ms = wall_ms
        self._publisher = Publisher()
        self._revoked: set[str] = set()

    @property
    def listeners(self) -> list[Listener]:
        """Who is told of every change; add and remove freely."""
        return self._publisher.listeners

    def owner(self, api_key: str) -> Account:
        """Return the account whose key is let in.

        Raises:
            VenueError: -2015.
        """
        account = self.accounts.get(api_key)
        if account is None or api_key in self._revoked:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
        return account

    def revoke(self, api_key: str) -> None:
        """Let a key in no longer; its orders stay. Opening the account anew makes it good again."""
        self._revoked.add(api_key)

    def market(self, symbol: str) -> SymbolMarket:
        """Return a listed symbol's market.

        Raises:
            VenueError: -1121.
        """
        market = self.markets.get(symbol)
        if market is None:
            raise VenueError.bad_symbol()
        return market

    def open_account(self, api_key: str, api_secret: str, balances: Mapping[str, Decimal]) -> Account:
        """Create an account; one with the same key is replaced, its open orders canceled and its history forgotten."""
        old = self.accounts.get(api_key)
        if old is not None:
            self.cancel_all(old)
            for order_id in old.orders:
                del self.orders[order_id]
        account = Account(api_key=api_key, api_secret=api_secret, update_time=self._wall_ms())
        account.balances = {asset: Balance(free=amount) for asset, amount in balances.items()}
        self.accounts[api_key] = account
        self._revoked.discard(api_key)
        self.changes += 1
        return account

    def check(self, account: Account, request: NewOrder) -> None:
        """Refuse an order that the venue would refuse.

        Raises:
            VenueError: -1121, -1013 with the filter's name, or -2010 with the reason.
        """
        market = self.market(request.symbol)
        rules, last_price = market.rules, market.last_price
        is_market = request.type == "MARKET"
        if request.price:
            rules.check_price(request.price, last_price)
        if request.stop_price:
            rules.check_trigger_price(request.stop_price)
        if request.quantity:
            rules.check_quantity(request.quantity)
            if is_market:
                rules.check_market_quantity(request.quantity)
        rules.check_notional(request.notional or request.quantity * (request.price or last_price), is_market=is_market)
        if request.client_order_id is not None and account.has_open_client_id(request.client_order_id):
            raise VenueError.rejected("Duplicate order sent.")
        order = book_order(request, 0)
        if request.stop_price and is_triggered(order, last_price):
            raise VenueError.rejected("Stop price would trigger immediately.")
        if request.type == "LIMIT_MAKER" and is_marketable(order, market.depth()):
            raise VenueError.rejected("Order would immediately match and take.")
        asset, needed = self._needed(request, order, market)
        if account.balance(asset).free < needed:
            raise VenueError.rejected(INSUFFICIENT)

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
        market, engine = self.markets[request.symbol], self.engines[request.symbol]
        self.last_order_id += 1
        order = self._record(account, request, order_id=self.last_order_id, received_ns=received_ns)
        self.orders[order.order_id] = order
        account.keep(order)
        if not request.stop_price:
            order.working_time = order.time
        if order.type != "MARKET":
            self._lock(order, order.locked)
        self._publisher.order(order, ExecutionType.NEW, time=order.time)
        self._apply(engine.submit(book_order(order, order.order_id), market.depth()), time=order.time)
        self._publisher.flush(self.accounts, time=order.update_time)
        return order

    def cancel(self, order: OrderRecord, *, request_id: str | None = None) -> OrderRecord:
        """Cancel an open order and give back what it locked; `request_id` is the client id of the request, if it has one.

        Raises:
            VenueError: -2011, it is not open.
        """
        if not order.is_open:
            raise VenueError.unknown_on_cancel()
        self.engines[order.symbol].cancel(str(order.order_id))
        self._close(order, ExecutionType.CANCELED, time=self._wall_ms(), request_id=request_id or order.cancel_id)
        self._publisher.flush(self.accounts, time=order.update_time)
        return order

    def cancel_all(self, account: Account, symbol: str | None = None) -> list[OrderRecord]:
        """Cancel the account's open orders, of one symbol or all."""
        return [self.cancel(order) for order in list(account.open_orders.values()) if symbol in (None, order.symbol)]

    def match(self, symbol: str, trade: Trade, *, time: int) -> None:
        """Let a public trade of the market fill and wake orders; `time` is what their fills are stamped with, wall ms."""
        engine = self.engines[symbol]
        if len(engine) > 0:
            outcome = engine.trade(TapePrint(price=trade.price, quantity=trade.quantity), self.markets[symbol].depth())
            self._apply(outcome, time=time)
            self._publisher.flush(self.accounts, time=time)

    def restore(self, accounts: Iterable[Account], *, last_order_id: int, last_execution_id: int) -> None:
        """Take over what a snapshot held; open orders go back into the book in the order they came."""
        self.accounts = {account.api_key: account for account in accounts}
        self.orders = {order.order_id: order for account in self.accounts.values() for order in account.orders.values()}
        self.last_order_id, self.last_execution_id = last_order_id, last_execution_id
        for order in sorted(self.orders.values(), key=lambda order: (order.working_time, order.order_id)):
            if order.is_open and order.symbol in self.engines:
                self.engines[order.symbol].restore(book_order(order, order.order_id), remaining=order.remaining, is_awake=order.is_working)

    def _record(self, account: Account, request: NewOrder, *, order_id: int, received_ns: int) -> OrderRecord:
        now = self._wall_ms()
        return OrderRecord(
            order_id=order_id,
            api_key=account.api_key,
            client_order_id=request.client_order_id or f"emu{order_id:019d}",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            price=request.price,
            quantity=request.quantity,
            notional=request.notional,
            stop_price=request.stop_price,
            time=now,
            update_time=now,
            received_ns=received_ns,
        )

    def _needed(self, request: NewOrder, order: BookOrder, market: SymbolMarket) -> tuple[str, Decimal]:
        """Return the asset an order pays with and how much of it must be free."""
        rules = market.rules
        if request.type == "MARKET":
            fills = take(order, market.depth(), step_size=rules.step_size)
            if not fills:
                if request.notional:
                    raise VenueError.filter_failure("LOT_SIZE")
                raise VenueError.rejected("Order book liquidity is less than symbol minimum quantity.")
            if request.side is Side.BUY:
                return rules.quote, sum((fill.price * fill.quantity for fill in fills), ZERO)
            return rules.base, request.quantity or sum((fill.quantity for fill in fills), ZERO)
        if request.side is Side.BUY:
            return rules.quote, request.quantity * request.price
        return rules.base, request.quantity

    def _paying_asset(self, order: OrderRecord) -> str:
        rules = self.markets[order.symbol].rules
        return rules.quote if order.side is Side.BUY else rules.base

    def _lock(self, order: OrderRecord, amount: Decimal) -> None:
        """Move `amount` of what an order pays with from free to locked; negative gives it back."""
        asset = self._paying_asset(order)
        self.accounts[order.api_key].lock(asset, amount)
        self._publisher.touch(order.api_key, asset)

    def _apply(self, outcome: Outcome, *, time: int) -> None:
        for order_id in outcome.triggered:
            woken = self.orders[int(order_id)]
            woken.working_time = woken.update_time = time
            self.changes += 1
            self._publisher.order(woken, ExecutionType.NEW, time=time)
        for fill in outcome.fills:
            order = self.orders[int(fill.order_id)]
            if order.notional and order.executed == ZERO:
                # What a notional order buys is known only now; the venue then reports it as the order's quantity.
                order.quantity = sum((each.quantity for each in outcome.fills if each.order_id == fill.order_id), ZERO)
            self._settle(order, fill, is_last=order.remaining == fill.quantity and fill.order_id not in outcome.expired, time=time)
        for order_id in outcome.expired:
            self._close(self.orders[int(order_id)], ExecutionType.EXPIRED, time=time)

    def _settle(self, order: OrderRecord, fill: BookFill, *, is_last: bool, time: int) -> None:
        account, rules = self.accounts[order.api_key], self.markets[order.symbol].rules
        cost = fill.price * fill.quantity
        is_buyer = order.side is Side.BUY
        amount = received_amount(order.side, fill.quantity, fill.price)
        commission = fee_on_received(amount, self.fees.rate(fill.liquidity))
        received, paid = (rules.base, rules.quote) if is_buyer else (rules.quote, rules.base)
        if order.type != "MARKET":
            account.lock(paid, -(fill.quantity * order.price if is_buyer else fill.quantity))
        account.balance(paid).free -= cost if is_buyer else fill.quantity
        account.balance(received).free += amount - commission
        account.update_time = order.update_time = time
        order.executed += fill.quantity
        order.executed_quote += cost
        order.status = "FILLED" if is_last else "PARTIALLY_FILLED"
        if is_last:
            account.open_orders.pop(order.order_id, None)
        self.last_execution_id += 1
        execution = Execution(
            id=self.last_execution_id,
            order_id=order.order_id,
            symbol=order.symbol,
            price=fill.price,
            quantity=fill.quantity,
            commission=commission,
            commission_asset=received,
            time=time,
            is_buyer=is_buyer,
            is_maker=fill.liquidity is Liquidity.MAKER,
        )
        order.executions.append(execution)
        account.executions.setdefault(order.symbol, []).append(execution)
        self.changes += 1
        self._publisher.touch(order.api_key, paid, received)
        self._publisher.order(order, ExecutionType.TRADE, time=time, execution=execution)

    def _close(self, order: OrderRecord, ending: ExecutionType, *, time: int, request_id: str = "") -> None:
        account = self.accounts[order.api_key]
        if order.type != "MARKET":
            self._lock(order, -order.locked)
        if order.notional:
            order.quantity = order.executed
        order.status = ending.value
        order.update_time = account.update_time = time
        account.open_orders.pop(order.order_id, None)
        self.changes += 1
        self._publisher.order(order, ending, time=time, request_id=request_id)
