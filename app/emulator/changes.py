"""What the exchange tells those who listen: every change of an order or an order list, and the balances an event touched.

Listeners are called at once, in the order things happened, inside the event that caused it: they must be quick and must not raise.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from app.emulator.ledger import Account, Balance, Execution, OrderList, OrderRecord


class ExecutionType(StrEnum):
    """What happened to an order, in the wire's words.

    A stop that wakes is NEW a second time, then with a working time. An amended order is REPLACED.
    """

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    REPLACED = "REPLACED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChange:
    """One change of one order. `order` is a copy of how it stood right after; `time` is the change's, wall ms.

    `execution` is the fill of a TRADE. `request_id` is the client id of the request that canceled or amended it and `original_id` the
    client id that the order had before; both are empty otherwise.
    """

    api_key: str
    order: OrderRecord
    execution_type: ExecutionType
    time: int
    execution: Execution | None = None
    request_id: str = ""
    original_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanged:
    """The balances that one event touched, as they stand after it; `time` in wall ms."""

    api_key: str
    balances: Mapping[str, Balance]
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChange:
    """An order list has started, has got new client ids (UPDATED) or is done. `orders` are copies, `time` in wall ms."""

    api_key: str
    order_list: OrderList
    orders: tuple[OrderRecord, ...]
    status_type: str
    time: int


Change = OrderChange | AccountChanged | ListChange
Listener = Callable[[Change], None]


class Publisher:
    """Tells the listeners. Balances are collected while an event runs and told once at its end, by `flush`."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._touched: dict[str, dict[str, None]] = {}

    def order(
        self,
        order: OrderRecord,
        execution_type: ExecutionType,
        *,
        time: int,
        execution: Execution | None = None,
        request_id: str = "",
        original_id: str = "",
    ) -> None:
        """Tell that an order changed; see OrderChange."""
        if not self.listeners:
            return
        self._tell(
            OrderChange(
                api_key=order.api_key,
                order=order.copy(),
                execution_type=execution_type,
                time=time,
                execution=execution,
                request_id=request_id,
                original_id=original_id,
            )
        )

    def order_list(self, order_list: OrderList, orders: Iterable[OrderRecord], status_type: str, *, time: int) -> None:
        """Tell that an order list changed: EXEC_STARTED, UPDATED or ALL_DONE."""
        if self.listeners:
            shown = tuple(order.copy() for order in orders)
            self._tell(
                ListChange(api_key=order_list.api_key, order_list=replace(order_list), orders=shown, status_type=status_type, time=time)
            )

    def touch(self, api_key: str, *assets: str) -> None:
        """Note that the running event changed an account's balances of `assets`."""
        if self.listeners:
            self._touched.setdefault(api_key, {}).update(dict.fromkeys(assets))

    def flush(self, accounts: Mapping[str, Account], *, time: int) -> None:
        """Tell what the event that ends here touched."""
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        for api_key, assets in touched.items():
            account = accounts.get(api_key)
            if account is not None:
                self._tell(AccountChanged(api_key=api_key, balances={asset: account.balance(asset).copy() for asset in assets}, time=time))

    def _tell(self, change: Change) -> None:
        for listener in tuple(self.listeners):
            listener(change)
