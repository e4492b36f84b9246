"""What the websocket API tells of accounts: who listens to which account, and the events they are sent.

Source: Binance Spot API documentation, user-data-stream.md.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import orjson

from app.emulator.changes import AccountChanged, Change, ExecutionType, ListChange, OrderChange
from app.emulator.errors import VenueError
from app.emulator.event_faults import EventFaults
from app.emulator.filters import eight
from app.emulator.ledger import ZERO, Account
from app.emulator.sockets import Connection

Json = dict[str, object]

MOST_SUBSCRIPTIONS: Final = 1_000
MOST_SUBSCRIPTION_IDS: Final = 65_535


class _Session:
    """One connection: its subscriptions by id, and the ids it has used up."""

    def __init__(self, *, since: int) -> None:
        self.since = since
        self.accounts: dict[int, str] = {}
        self.ids: dict[str, int] = {}
        self.next_id = 0
        self.ended: list[int] = []


class UserSessions:
    """The connections of the websocket API and the accounts they listen to. A listener of the exchange's changes."""

    def __init__(self, faults: EventFaults[Json], *, now_ms: Callable[[], int]) -> None:
        self._faults = faults
        self._now_ms = now_ms
        self._sessions: dict[Connection, _Session] = {}
        self._listeners: dict[str, set[Connection]] = defaultdict(set)
        self._executions = itertools.count(1)

    @property
    def subscription_count(self) -> int:
        """How many subscriptions there are on all connections."""
        return sum(len(session.accounts) for session in self._sessions.values())

    def opened(self, connection: Connection) -> None:
        """A connection has come."""
        self._sessions[connection] = _Session(since=self._now_ms())

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        for api_key in self._sessions.pop(connection).accounts.values():
            self._listeners[api_key].discard(connection)

    def connected_since(self, connection: Connection) -> int:
        """Return when the connection came, wall ms."""
        return self._sessions[connection].since

    def subscriptions(self, connection: Connection) -> list[int]:
        """Return the ids of the connection's subscriptions."""
        return list(self._sessions[connection].accounts)

    def subscribe(self, connection: Connection, account: Account) -> int:
        """Let the connection hear of an account, and return the subscription's id.

        Raises:
            VenueError: -2035 when it does already, -1191 beyond a thousand, -2042 when the connection has used up its ids.
        """
        session = self._sessions[connection]
        if account.api_key in session.ids:
            raise VenueError(-2035, "User Data Stream subscription already active.")
        if len(session.accounts) >= MOST_SUBSCRIPTIONS:
            raise VenueError(-1191, f"Too many subscriptions. Connection may create up to '{MOST_SUBSCRIPTIONS}' subscriptions at a time.")
        if session.next_id >= MOST_SUBSCRIPTION_IDS:
            raise VenueError(-2042, "Maximum subscription ID reached for this connection.")
        subscription_id, session.next_id = session.next_id, session.next_id + 1
        session.accounts[subscription_id], session.ids[account.api_key] = account.api_key, subscription_id
        self._listeners[account.api_key].add(connection)
        return subscription_id

    def unsubscribe(self, connection: Connection, subscription_id: int | None) -> None:
        """End one subscription of a connection, or all of them.

        Raises:
            VenueError: -2036, there is no such subscription.
        """
        session = self._sessions[connection]
        if subscription_id is not None and subscription_id not in session.accounts:
            raise VenueError(-2036, "User Data Stream subscription not active.")
        for ended in [subscription_id] if subscription_id is not None else list(session.accounts):
            api_key = session.accounts.pop(ended)
            del session.ids[api_key]
            self._listeners[api_key].discard(connection)
            session.ended.append(ended)

    def tell_endings(self, connection: Connection) -> None:
        """Say of the subscriptions that have ended that they have."""
        session = self._sessions[connection]
        ended, session.ended = session.ended, []
        for subscription_id in ended:
            connection.send(_wrapped(subscription_id, {"e": "eventStreamTerminated", "E": self._now_ms()}))

    def end(self, api_key: str) -> None:
        """End every subscription of an account: its key is no longer let in."""
        for connection in tuple(self._listeners.get(api_key, ())):
            self.unsubscribe(connection, self._sessions[connection].ids[api_key])
            self.tell_endings(connection)

    def hear(self, change: Change) -> None:
        """Tell a change of the exchange to those who listen to its account."""
        if not self._listeners.get(change.api_key):
            return
        if isinstance(change, OrderChange):
            event = self._execution_report(change)
        elif isinstance(change, ListChange):
            event = self._list_status(change)
        else:
            event = self._account_position(change)
        self._faults.deliver(change.api_key, event, lambda event: self._send(change.api_key, event))

    def _send(self, api_key: str, event: Json) -> None:
        for connection in tuple(self._listeners.get(api_key, ())):
            connection.send(_wrapped(self._sessions[connection].ids[api_key], event))

    def _account_position(self, change: AccountChanged) -> Json:
        return {
            "e": "outboundAccountPosition",
            "E": self._now_ms(),
            "u": change.time,
            "B": [{"a": asset, "f": eight(balance.free), "l": eight(balance.locked)} for asset, balance in sorted(change.balances.items())],
        }

    def _execution_report(self, change: OrderChange) -> Json:
        order, execution = change.order, change.execution
        report: Json = {
            "e": "executionReport",
            "E": self._now_ms(),
            "s": order.symbol,
            "c": change.request_id or order.client_order_id,
            "S": order.side.name,
            "o": order.type,
            "f": order.time_in_force,
            "q": eight(order.quantity),
            "p": eight(order.price),
            "P": eight(order.stop_price),
            "F": eight(ZERO),
            "g": order.list_id,
            "C": change.original_id,
            "x": change.execution_type.value,
            "X": order.status,
            "r": "NONE",
            "i": order.order_id,
            "l": eight(execution.quantity if execution else ZERO),
            "z": eight(order.executed),
            "L": eight(execution.price if execution else ZERO),
            "n": eight(execution.commission) if execution else "0",
            "N": execution.commission_asset if execution else None,
            "T": change.time,
            "t": execution.id if execution else -1,
            "I": next(self._executions),
            "w": order.is_open and order.is_working,
            "m": execution.is_maker if execution else False,
            "M": False,
            "O": order.time,
            "Z": eight(order.executed_quote),
            "Y": eight(execution.quote_quantity if execution else ZERO),
            "Q": eight(order.notional),
            "V": "NONE",
        }
        if order.is_working:
            report["W"] = order.working_time
        if change.execution_type is ExecutionType.EXPIRED:
            report["eR"] = order.expiry_reason
        if order.trailing_delta:
            report["d"], report["D"] = order.trailing_delta, order.trailing_time
        return report

    def _list_status(self, change: ListChange) -> Json:
        shown = change.order_list
        return {
            "e": "listStatus",
            "E": self._now_ms(),
            "s": shown.symbol,
            "g": shown.list_id,
            "c": shown.contingency,
            "l": change.status_type,
            "L": "ALL_DONE" if shown.is_done else "EXECUTING",
            "r": "NONE",
            "C": shown.client_id,
            "T": change.time,
            "O": [{"s": order.symbol, "i": order.order_id, "c": order.client_order_id} for order in change.orders],
        }


def _wrapped(subscription_id: int, event: Json) -> str:
    return orjson.dumps({"subscriptionId": subscription_id, "event": event}).decode()
