"""The state file: accounts, orders, executions and where the market stands, in one JSON document.

It holds the API secrets of simulated accounts, so it is readable by its owner only. Finished orders never change and are encoded once.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from app.domain.enums import Side
from app.emulator.clock import MarketClock
from app.emulator.exchange import Exchange
from app.emulator.ledger import Account, Amendment, Balance, Execution, OrderList, OrderRecord
from app.errors import ConfigError

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketMark:
    """Where the market stood: the clock's line and pause, the shift of the source, up to when orders were matched (market ms)."""

    wall_origin: int
    market_origin: int
    speed: float
    paused_at: int | None
    shift_ms: int
    seed: int
    matched_to_ms: int
    stands_at: int | None = None
    """Where a virtual wall stood."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment, encoded; a later one has a higher number."""

    number: int
    document: bytes


class Snapshots:
    """Writes and reads one state file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        self._last_encoded = 0
        self._last_written = 0
        self._finished: dict[int, tuple[int, bytes]] = {}
        """Finished orders, as they were with so many executions: a late one changes them."""

    def encode(self, exchange: Exchange, mark: MarketMark) -> Snapshot:
        """Return the present. Runs on the loop, so that it shows one moment."""
        self._last_encoded += 1
        document = orjson.dumps(
            {
                "version": VERSION,
                "market": asdict(mark),
                "last_order_id": exchange.last_order_id,
                "last_execution_id": exchange.last_execution_id,
                "last_list_id": exchange.last_list_id,
                "last_amendment_id": exchange.last_amendment_id,
                "rules": {
                    symbol: {name: str(value) for name, value in changes.items()} for symbol, changes in exchange.rule_changes.items()
                },
                "watermarks": {str(order_id): str(price) for order_id, price in exchange.watermarks().items()},
                "accounts": [self._account(account) for account in exchange.accounts.values()],
            }
        )
        return Snapshot(self._last_encoded, document)

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file as a whole: a reader or a crash sees the old document or the new one. Blocks; run it in a thread.

        A thread goes on when who awaited it is cancelled, so the last write may meet one that is under way: they wait for each other, and
        an older snapshot never replaces a newer one.
        """
        with self._writing:
            if snapshot.number <= self._last_written:
                return
            temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(snapshot.document)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            self._last_written = snapshot.number

    def read(self) -> Mapping[str, Any] | None:
        """Return the document, or None when there is no file yet.

        Raises:
            ConfigError: the file is no state of this version.
        """
        if not self._path.exists():
            return None
        try:
            document = orjson.loads(self._path.read_bytes())
        except ValueError as error:
            raise ConfigError(f"{self._path}: this is not a state file: {error}") from error
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise ConfigError(f"{self._path}: the state file has another version than {VERSION}")
        return document

    def _account(self, account: Account) -> dict[str, object]:
        return {
            "api_key": account.api_key,
            "api_secret": account.api_secret,
            "update_time": account.update_time,
            **{name: getattr(account, name) for name in _ACCOUNT_FLAGS},
            "balances": {asset: [str(balance.free), str(balance.locked)] for asset, balance in account.balances.items()},
            "orders": [orjson.Fragment(self._order(order)) for order in account.orders.values()],
            "lists": [asdict(order_list) for order_list in account.lists.values()],
        }

    def _order(self, order: OrderRecord) -> bytes:
        executions, known = self._finished.get(order.order_id, (-1, b""))
        if executions != len(order.executions):
            known = orjson.dumps(
                {
                    **{name: getattr(order, name) for name in (*_PLAIN_FIELDS, *_NEWER_FIELDS)},
                    **{name: str(getattr(order, name)) for name in _DECIMAL_FIELDS},
                    "unit_reserve": str(order.unit_reserve),
                    "side": order.side.value,
                    "amendments": [_amendment(amendment) for amendment in order.amendments],
                    "executions": [_execution(execution) for execution in order.executions],
                }
            )
            if not order.is_open:
                self._finished[order.order_id] = len(order.executions), known
        return known


_ACCOUNT_FLAGS = ("pays_in_bnb", "pays_in_quote", "is_revoked", "is_read_only", "is_ip_allowed", "may_withdraw", "is_ip_bound")
_PLAIN_FIELDS = (
    "order_id",
    "api_key",
    "client_order_id",
    "symbol",
    "type",
    "time_in_force",
    "time",
    "received_ns",
    "update_time",
    "working_time",
    "status",
)
_NEWER_FIELDS = ("trailing_delta", "trailing_time", "list_id", "oco", "expiry_reason")
"""Files of earlier releases do not have these; their orders have the defaults."""
_DECIMAL_FIELDS = ("price", "quantity", "notional", "stop_price", "executed", "executed_quote")


def _execution(execution: Execution) -> list[object]:
    return [
        execution.id,
        str(execution.price),
        str(execution.quantity),
        str(execution.commission),
        execution.commission_asset,
        execution.time,
        execution.is_maker,
    ]


def _amendment(amendment: Amendment) -> list[object]:
    return [
        amendment.id,
        amendment.old_client_id,
        amendment.new_client_id,
        str(amendment.old_quantity),
        str(amendment.new_quantity),
        amendment.time,
    ]


def market_mark(document: Mapping[str, Any]) -> MarketMark:
    """Return where the market stood when `document` was written."""
    return MarketMark(**document["market"])


def current_mark(clock: MarketClock, *, shift_ms: int, seed: int, matched_to_ms: int) -> MarketMark:
    """Return where the market stands."""
    return MarketMark(
        wall_origin=clock.wall_origin,
        market_origin=clock.market_origin,
        speed=clock.speed,
        paused_at=clock.paused_at,
        shift_ms=shift_ms,
        seed=seed,
        matched_to_ms=matched_to_ms,
        stands_at=clock.wall.stands_at,
    )


def accounts_of(document: Mapping[str, Any]) -> list[Account]:
    """Return the accounts that `document` holds."""
    return [_read_account(entry) for entry in document["accounts"]]


def rule_changes_of(document: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    """Return what had been changed in the rules of symbols."""
    return {
        symbol: {name: value if name == "status" else Decimal(value) for name, value in changes.items()}
        for symbol, changes in document.get("rules", {}).items()
    }


def watermarks_of(document: Mapping[str, Any]) -> dict[int, Decimal]:
    """Return how far trailing stops had followed the market, by order id."""
    return {int(order_id): Decimal(price) for order_id, price in document.get("watermarks", {}).items()}


def _read_account(entry: Mapping[str, Any]) -> Account:
    account = Account(api_key=entry["api_key"], api_secret=entry["api_secret"], update_time=entry["update_time"])
    for name in _ACCOUNT_FLAGS:
        if name in entry:
            setattr(account, name, entry[name])
    account.balances = {asset: Balance(Decimal(free), Decimal(locked)) for asset, (free, locked) in entry["balances"].items()}
    for item in entry["orders"]:
        account.keep(_read_order(item))
    for item in entry.get("lists", ()):
        account.keep_list(OrderList(**item))
    executions = sorted((execution for order in account.orders.values() for execution in order.executions), key=lambda each: each.id)
    for execution in executions:
        account.executions.setdefault(execution.symbol, []).append(execution)
    return account


def _read_order(item: Mapping[str, Any]) -> OrderRecord:
    side = Side(item["side"])
    return OrderRecord(
        **{name: item[name] for name in _PLAIN_FIELDS},
        **{name: item[name] for name in _NEWER_FIELDS if name in item},
        price=Decimal(item["price"]),
        quantity=Decimal(item["quantity"]),
        notional=Decimal(item["notional"]),
        stop_price=Decimal(item["stop_price"]),
        executed=Decimal(item["executed"]),
        executed_quote=Decimal(item["executed_quote"]),
        unit_reserve=Decimal(item.get("unit_reserve", item["price"])),
        side=side,
        amendments=[
            Amendment(id=id_, old_client_id=old_id, new_client_id=new_id, old_quantity=Decimal(old), new_quantity=Decimal(new), time=time)
            for id_, old_id, new_id, old, new, time in item.get("amendments", ())
        ],
        executions=[
            Execution(
                id=id_,
                order_id=item["order_id"],
                symbol=item["symbol"],
                price=Decimal(price),
                quantity=Decimal(quantity),
                commission=Decimal(commission),
                commission_asset=asset,
                time=time,
                is_buyer=side is Side.BUY,
                is_maker=is_maker,
            )
            for id_, price, quantity, commission, asset, time, is_maker in item["executions"]
        ],
    )
