"""What happens to orders and balances once the matching engine has spoken: locks, fills, fees, endings."""

from collections import deque
from decimal import Decimal

from app.domain.enums import Liquidity, Side
from app.domain.fees import received_amount
from app.domain.matching import NOTHING, BookFill, Outcome
from app.emulator.changes import ExecutionType
from app.emulator.commission import commission_of
from app.emulator.ledger import ZERO, Account, Execution, NewOrder, OrderRecord, book_order, unit_reserve
from app.emulator.state import ExchangeState


class Settlement:
    """Writes orders and balances. Listeners are told of orders at once, of balances when the caller flushes the publisher."""

    def __init__(self, state: ExchangeState) -> None:
        self._state = state
        self.ended: deque[OrderRecord] = deque()
        """Orders of lists that have ended and whose lists do not know it yet."""

    def record(self, account: Account, request: NewOrder, *, received_ns: int, time: int) -> OrderRecord:
        """Give a request that was checked at `time` a number and a place in the indexes; `start` puts it into the book."""
        state = self._state
        state.last_order_id += 1
        order = OrderRecord(
            order_id=state.last_order_id,
            api_key=account.api_key,
            client_order_id=request.client_order_id or f"emu{state.last_order_id:019d}",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            price=request.price,
            quantity=request.quantity,
            notional=request.notional,
            stop_price=request.stop_price,
            trailing_delta=request.trailing_delta,
            time=time,
            update_time=time,
            received_ns=received_ns,
        )
        state.orders[order.order_id] = order
        account.keep(order)
        return order

    def start(self, order: OrderRecord, *, time: int) -> None:
        """Put an order into the book and settle what it takes there."""
        market = self._state.markets[order.symbol]
        order.status, order.update_time = "NEW", time
        order.unit_reserve = unit_reserve(order, market.last_price)
        if not order.waits:
            order.working_time = time
        elif not order.stop_price:
            order.trailing_time = time
        self._hold(order)
        self._state.publisher.order(order, ExecutionType.NEW, time=time)
        engine = self._state.engines[order.symbol]
        outcome = engine.submit(book_order(order, order.order_id, oco=order.oco), market.depth(), last_price=market.last_price)
        self.apply(outcome, time=time)

    def apply(self, outcome: Outcome, *, time: int) -> None:
        """Settle what one event of the engine did."""
        for order_id in outcome.displaced:
            self.close(self._state.orders[int(order_id)], ExecutionType.EXPIRED, time=time, reason="OCO_TRIGGER")
        for order_id in outcome.activated:
            self._state.orders[int(order_id)].trailing_time = time
            self._state.changes += 1
        for order_id in outcome.triggered:
            woken = self._state.orders[int(order_id)]
            woken.working_time = woken.update_time = time
            self._state.changes += 1
            self._state.publisher.order(woken, ExecutionType.NEW, time=time)
        refused = self._unaffordable(outcome) if outcome.triggered else frozenset[str]()
        for fill in outcome.fills:
            if fill.order_id not in refused:
                self._fill(fill, outcome, time=time)
        for order_id in refused:
            self.close(self._state.orders[int(order_id)], ExecutionType.EXPIRED, time=time, reason="REJECTED")
        for order_id in outcome.expired:
            order = self._state.orders[int(order_id)]
            if order_id not in refused:
                self.close(order, ExecutionType.EXPIRED, time=time, reason=_expiry_reason(order))

    def close(self, order: OrderRecord, ending: ExecutionType, *, time: int, reason: str = "", request_id: str = "") -> None:
        """End an order and give back what it held; the engine must not know it any more.

        Args:
            order: An open order.
            ending: CANCELED or EXPIRED.
            time: Of the ending, wall ms.
            reason: Why it expired, in the wire's words.
            request_id: The client id of the request that canceled it.
        """
        account = self._state.accounts[order.api_key]
        if order.notional:
            order.quantity = order.executed
        order.status, order.expiry_reason = ending.value, reason
        order.update_time = account.update_time = time
        self._hold(order)
        self._end(order)
        self._state.changes += 1
        original_id = order.client_order_id if request_id else ""
        self._state.publisher.order(order, ending, time=time, request_id=request_id, original_id=original_id)

    def fill_ended(self, order: OrderRecord, *, price: Decimal, quantity: Decimal, time: int) -> None:
        """Settle a fill (quote per base, base units) of an order that has ended: one that comes late, or more than was ordered.

        The order stays what it was unless that completes it.
        """
        fill = BookFill(order_id=str(order.order_id), price=price, quantity=quantity, liquidity=Liquidity.MAKER)
        self._fill(fill, NOTHING, time=time)

    def reduce(self, order: OrderRecord, quantity: Decimal, *, time: int) -> None:
        """Lower the whole quantity of an open order to `quantity` (base units), which keeps its place in the book."""
        order.quantity, order.update_time = quantity, time
        if order.status != "PENDING_NEW":
            self._state.engines[order.symbol].reduce(str(order.order_id), order.remaining)
        self._hold(order)
        self._state.changes += 1

    def _hold(self, order: OrderRecord) -> None:
        """Move what an order must keep back more, or less, than before from free to locked."""
        if order.type == "MARKET":
            return
        difference = self._state.hold(order)
        if difference:
            rules = self._state.markets[order.symbol].rules
            asset = rules.quote if order.side is Side.BUY else rules.base
            self._state.accounts[order.api_key].lock(asset, difference)
            self._state.publisher.touch(order.api_key, asset)

    def _unaffordable(self, outcome: Outcome) -> frozenset[str]:
        """Return the woken buys without limit that cost more than is there; the venue does not execute them."""
        found: set[str] = set()
        for order_id in outcome.triggered:
            order = self._state.orders[int(order_id)]
            if order.side is Side.BUY and not order.has_limit:
                quote = self._state.accounts[order.api_key].balance(self._state.markets[order.symbol].rules.quote)
                needed = sum((fill.price * fill.quantity for fill in outcome.fills if fill.order_id == order_id), ZERO)
                if needed > quote.free + sum((leg.held for leg in self._state.legs(order)), ZERO):
                    found.add(order_id)
        return frozenset(found)

    def _fill(self, fill: BookFill, outcome: Outcome, *, time: int) -> None:
        order = self._state.orders[int(fill.order_id)]
        has_ended = not order.is_open
        if order.notional and order.executed == ZERO and not has_ended:
            # What a notional order buys is known only now; the venue then reports it as the order's quantity.
            order.quantity = sum((each.quantity for each in outcome.fills if each.order_id == fill.order_id), ZERO)
        is_last = order.remaining == fill.quantity and fill.order_id not in outcome.expired
        account, rules = self._state.accounts[order.api_key], self._state.markets[order.symbol].rules
        cost = fill.price * fill.quantity
        is_buyer = order.side is Side.BUY
        received, paid = (rules.base, rules.quote) if is_buyer else (rules.quote, rules.base)
        amount = received_amount(order.side, fill.quantity, fill.price)
        account.balance(paid).free -= cost if is_buyer else fill.quantity
        account.balance(received).free += amount
        commission, fee_asset = commission_of(
            account,
            self._state.markets,
            quote=rules.quote,
            received=received,
            amount=amount,
            value=cost,
            rate=self._state.fees.rate(fill.liquidity),
        )
        account.balance(fee_asset).free -= commission
        order.executed += fill.quantity
        order.executed_quote += cost
        if has_ended:
            order.status = "FILLED" if order.executed >= order.quantity else order.status
        else:
            order.status = "FILLED" if is_last else "PARTIALLY_FILLED"
        account.update_time = order.update_time = time
        self._hold(order)
        if is_last and not has_ended:
            self._end(order)
        execution = self._execution(order, fill, commission=commission, commission_asset=fee_asset, time=time)
        self._state.publisher.touch(order.api_key, paid, received, fee_asset)
        self._state.publisher.order(order, ExecutionType.TRADE, time=time, execution=execution)

    def _end(self, order: OrderRecord) -> None:
        self._state.accounts[order.api_key].open_orders.pop(order.order_id, None)
        if order.list_id >= 0:
            self.ended.append(order)

    def _execution(self, order: OrderRecord, fill: BookFill, *, commission: Decimal, commission_asset: str, time: int) -> Execution:
        self._state.last_execution_id += 1
        execution = Execution(
            id=self._state.last_execution_id,
            order_id=order.order_id,
            symbol=order.symbol,
            price=fill.price,
            quantity=fill.quantity,
            commission=commission,
            commission_asset=commission_asset,
            time=time,
            is_buyer=order.side is Side.BUY,
            is_maker=fill.liquidity is Liquidity.MAKER,
        )
        order.executions.append(execution)
        self._state.accounts[order.api_key].executions.setdefault(order.symbol, []).append(execution)
        self._state.changes += 1
        return execution


def _expiry_reason(order: OrderRecord) -> str:
    if not order.has_limit:
        return "INSUFFICIENT_LIQUIDITY"
    return "UNFILLED_FOK_ORDER_EXPIRED" if order.time_in_force == "FOK" else "UNFILLED_IOC_QUANTITY_EXPIRED"
