"""What Binance's websocket API says of accounts: bytes in, frozen values out. Pure.

Source: binance-spot-api-docs web-socket-api.md ("Response format", "Event format") and user-data-stream.md.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from app.domain.candles import from_milliseconds
from app.domain.enums import Liquidity, OrderState
from app.domain.orders import Fill, Reported

#: Order status (`X`) to state; what rests becomes PARTIAL once something has filled. Source: enums.md "Order status".
_STATES: Final = {
    "NEW": OrderState.OPEN,
    "PENDING_NEW": OrderState.OPEN,
    "PENDING_CANCEL": OrderState.OPEN,
    "PARTIALLY_FILLED": OrderState.PARTIAL,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
    "REJECTED": OrderState.REJECTED,
}
#: Accepted, but perhaps not in the book: a stop before its trigger, or an order that waits for another.
_NOT_YET: Final = frozenset({"NEW", "PENDING_NEW"})
#: Reject (`r`) and expiry (`eR`) reasons. Source: user-data-stream.md "Order Reject Reason", "Order Expiry Reason".
_REASONS: Final = {
    "INSUFFICIENT_BALANCES": "the account does not hold enough",
    "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY": "the trigger price had been reached already",
    "WOULD_MATCH_IMMEDIATELY": "it would have traded at once",
    "OCO_BAD_PRICES": "the prices of the pair do not fit together",
    "REJECTED": "the exchange did not take it into its book",
    "EXCHANGE_CANCELED": "the exchange canceled it",
    "OCO_TRIGGER": "the other order of the pair took its place",
    "OTO_PHASE_ONE_EXPIRED": "the order it depended on expired",
    "UNFILLED_IOC_QUANTITY_EXPIRED": "what could not fill at once expired",
    "UNFILLED_FOK_ORDER_EXPIRED": "it could not fill completely at once",
    "INSUFFICIENT_LIQUIDITY": "the market had too few orders to fill it",
    "EXECUTION_RULE_PRICE_RANGE_EXCEEDED": "it would have traded too far from the market",
}
_SAME_OWNER: Final = "it would have traded with another order of the same owner"
_BALANCE_EVENTS: Final = frozenset({"outboundAccountPosition", "balanceUpdate", "externalLockUpdate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionReport:
    """An order has changed. `market` is the venue's own name (BTCUSDT).

    `client_order_id` is the one the order was placed under: a cancellation has an id of its own, and then names the order's apart.
    `report` holds a fill when this is the message of a trade.
    """

    market: str
    client_order_id: str
    venue_order_id: str
    report: Reported
    created_at: datetime
    event_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceChanged:
    """What the account holds has changed: by an order, a deposit, a withdrawal, a transfer or a lock."""

    event_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTerminated:
    """The venue ended the subscription; no more events will come of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An event that could not be read: what it said must be asked for. `reason` holds no part of it but its kind."""

    reason: str


EventBody = ExecutionReport | BalanceChanged | StreamTerminated | Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvent:
    """An event of the subscription with that id; the venue gave the id when the subscription was made."""

    subscription_id: int | None
    body: EventBody


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerShutdown:
    """The server is about to shut down: another connection is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to the request of that id. `code` and `message` are the venue's, None when it did what was asked.

    `subscription_id` and `server_time` are there when the request was for them; `retry_at` when the venue says how long to keep away.
    """

    request_id: int | None
    status: int
    code: int | None = None
    message: str | None = None
    subscription_id: int | None = None
    server_time: datetime | None = None
    retry_at: datetime | None = None

    @property
    def is_success(self) -> bool:
        """Whether the venue did what was asked."""
        return self.status == 200 and self.code is None


UserMessage = AccountEvent | ServerShutdown | Answer


def parse(frame: bytes | str) -> UserMessage | None:
    """Return what a frame says, or None for one that we have no use for (the state of an order list, which its orders tell too).

    An event of a known kind that cannot be read becomes `Unreadable`, so that its account is still known.

    Raises:
        ValueError: the frame is not JSON, or not an object.
    """
    message = orjson.loads(frame)
    if not isinstance(message, dict):
        raise ValueError("a message of the account stream is not an object")  # noqa: TRY004  # readers await ValueError alone
    event = message.get("event")
    if isinstance(event, dict):
        return _event(message.get("subscriptionId"), event)
    if "status" in message or "error" in message:
        return _answer(message)
    return None


def _event(subscription_id: Any, event: dict[str, Any]) -> UserMessage | None:
    kind = event.get("e")
    if kind == "serverShutdown":
        return ServerShutdown()
    try:
        body = _body(kind, event)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        body = Unreadable(reason=f"{kind}: {type(error).__name__} {error}"[:120])
    if body is None:
        return None
    return AccountEvent(subscription_id=subscription_id if isinstance(subscription_id, int) else None, body=body)


def _body(kind: Any, event: dict[str, Any]) -> EventBody | None:
    if kind == "executionReport":
        return _execution_report(event)
    if kind in _BALANCE_EVENTS:
        return BalanceChanged(event_time=from_milliseconds(event["E"]))
    if kind == "eventStreamTerminated":
        return StreamTerminated()
    return None


def _execution_report(event: dict[str, Any]) -> ExecutionReport:
    filled, cost = _number(event["z"]), _number(event["Z"])
    return ExecutionReport(
        market=event["s"],
        client_order_id=event.get("C") or event["c"],
        venue_order_id=str(int(event["i"])),
        report=Reported(
            state=_state(event, filled),
            venue_order_id=str(int(event["i"])),
            filled_quantity=filled,
            average_price=cost / filled if filled and cost else None,
            fills=_fills(event),
            detail=_detail(event),
            is_working=event["X"] not in _NOT_YET or bool(event["w"]) or filled > 0,
        ),
        created_at=from_milliseconds(event["O"]),
        event_time=from_milliseconds(event["E"]),
    )


def _state(event: dict[str, Any], filled: Decimal) -> OrderState:
    state = _STATES[event["X"]]
    if state is OrderState.OPEN and filled > 0:
        return OrderState.PARTIAL
    if state is OrderState.FILLED and filled < _number(event["q"]):
        return OrderState.CANCELED  # closed with a remainder: what was not filled is gone
    return state


def _fills(event: dict[str, Any]) -> tuple[Fill, ...]:
    """The execution a TRADE message is about. One whose fee is in no asset is left out: the venue's list of trades tells it whole."""
    if event["x"] != "TRADE" or event["N"] is None:
        return ()
    trade_id = int(event["t"])
    quantity, price = _number(event["l"]), _number(event["L"])
    if trade_id < 0 or quantity <= 0 or price <= 0:
        raise ValueError("a trade without an id, a quantity or a price")
    fill = Fill(
        trade_id=str(trade_id),
        price=price,
        quantity=quantity,
        fee=_number(event["n"]),
        fee_asset=str(event["N"]),
        liquidity=Liquidity.MAKER if event["m"] else Liquidity.TAKER,
        executed_at=from_milliseconds(event["T"]),
    )
    return (fill,)


def _detail(event: dict[str, Any]) -> str | None:
    if event["X"] == "EXPIRED_IN_MATCH":
        return _SAME_OWNER
    for name in ("r", "eR"):
        reason = event.get(name)
        if reason and reason != "NONE":
            return _REASONS.get(reason, f"the exchange's reason is {str(reason)[:40]}")
    return None


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite() or number < 0:
        raise ValueError(f"{number} is no quantity")
    return number


def _answer(message: dict[str, Any]) -> Answer:
    error = message.get("error")
    result = message.get("result")
    request_id = message.get("id")
    found = error if isinstance(error, dict) else {}
    told = found.get("data")
    retry_at = told.get("retryAfter") if isinstance(told, dict) else None
    values = result if isinstance(result, dict) else {}
    server_time = values.get("serverTime")
    return Answer(
        request_id=request_id if isinstance(request_id, int) else None,
        status=int(message.get("status", 400)),
        code=found.get("code") if found else None,
        message=str(found.get("msg", ""))[:160] if found else None,
        subscription_id=values.get("subscriptionId"),
        server_time=from_milliseconds(server_time) if isinstance(server_time, int) else None,
        retry_at=from_milliseconds(retry_at) if isinstance(retry_at, int) else None,
    )
