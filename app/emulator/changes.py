"""What the exchange tells those who listen: every change of an order, and the balances an event touched.

Listeners are called at once, in the order things happened, inside the event that caused it: they must be quick and must not raise.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.emulator.ledger import Account, Balance, Execution, OrderRecord


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

    `execution` is the fill of a TRADE. `request_id` is the client id of the request that canceled or amended it, empty otherwise.
    """

    api_key: str
    order: OrderRecord
    execution_type: ExecutionType
    time: int
    execution: Execution | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanged:
    """The balances that one event touched, as they stand after it; `time` in wall ms."""

    api_key: str
    balances: Mapping[str, Balance]
    time: int


Change = OrderChange | AccountChanged
Listener = Callable[[Change], None]


class Publisher:
    """Tells the listeners. Balances are collected while an event runs and told once at its end, by `flush`."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._touched: dict[str, dict[str, None]] = {}

    def order(
        self, order: OrderRecord, execution_type: ExecutionType, *, time: int, execution: Execution | None = None, request_id: str = ""
    ) -> None:
        """Tell that an order changed."""
        if not self.listeners:
            return
        shown = copy.copy(order)
        shown.executions = list(order.executions)
        self._tell(
            OrderChange(
                api_key=order.api_key, order=shown, execution_type=execution_type, time=time, execution=execution, request_id=request_id
            )
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
                self._tell(
                    AccountChanged(api_key=api_key, balances={asset: copy.copy(account.balance(asset)) for asset in assets}, time=time)
                )

    def _tell(self, change: Change) -> None:
        for listener in tuple(self.listeners):
            listener(change)
