"""Any alert body → what it asks for. Pure: bytes in, an Alert out, or BadPayload with a reason a trader can act on.

JSON (whatever the content type says: TradingView sends text/plain as soon as a message is not strictly JSON), `key=value` words, or
plain words such as `buy BTCUSDT 0.01`. Unknown members are kept in `parsed` for the log and otherwise ignored; members that would
protect a position and cannot be honoured yet are refused, because an entry without its stop is not what was asked for.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

from app.domain.enums import OrderType, Side, Source, TimeInForce
from app.domain.intents import OrderIntent
from app.errors import BadPayload

_DEEPEST: Final = 8
_LONGEST_NUMBER: Final = 60
#: What NUMERIC(38, 18) holds before and behind the point.
_DIGITS: Final = 18
_BUY: Final = frozenset({"buy", "long", "enter_long", "enter-long", "open_long", "b"})
_SELL: Final = frozenset({"sell", "short", "enter_short", "enter-short", "open_short", "s"})
_CLOSE: Final = frozenset(
    {"close", "exit", "flat", "exit_long", "exit-long", "close_long", "exit_all", "exit-all", "close_position", "close_at_market_price"}
)
_PING: Final = frozenset({"ping", "test"})
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "symbol": ("symbol", "ticker", "pair", "instrument", "tv_instrument", "market"),
    "side": ("side", "action", "signal", "order_action", "direction"),
    "type": ("type", "order_type", "ordertype"),
    "quantity": ("quantity", "qty", "contracts", "amount", "size", "volume"),
    "notional": ("notional", "cost", "quote_quantity", "quoteorderqty"),
    "percent": ("percent", "percentage"),
    "price": ("price", "limit_price", "limitprice"),
    "time_in_force": ("time_in_force", "timeinforce", "tif"),
    "post_only": ("post_only", "postonly"),
    "key": ("client_intent_id",),
}
_TIMES: Final = ("timenow", "time", "timestamp", "alert_timestamp", "alerttimestamp", "sent_at")
_UNSUPPORTED: Final = (
    "stop_loss", "stoploss", "sl", "stop_loss_price", "stoplossprice", "take_profit", "takeprofit", "tp", "take_profit_price",
    "takeprofitprice", "trailing_percent", "trailing_stop", "trailingstop", "trigger_price", "stop_price", "stopprice",
)  # fmt: skip
_TYPES: Final = {"market": OrderType.MARKET, "mkt": OrderType.MARKET, "limit": OrderType.LIMIT, "lmt": OrderType.LIMIT}
_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d{1,3})?")
# A name starts at a word's start and is never given back: otherwise 64 KiB of letters cost seconds, and anybody can send them.
_PAIR: Final = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]*+)\s*+[=:]\s*+(\"[^\"]*\"|[^\s,;]+)")
_WORD: Final = re.compile(r"[^\s,;]+")
_NO_TEXT: Final = re.compile("[\x00\ufffd\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What a body says. `intent` is None for a ping. `parsed` is what was understood, for the log."""

    intent: OrderIntent | None
    parsed: dict[str, Any]


def read_alert(raw: bytes, *, webhook_id: UUID, delivery_id: UUID) -> Alert:
    """Return what the body asks for. A `client_intent_id` names the intent among its webhook's; without one the delivery does.

    Raises:
        BadPayload: it cannot be read or asks for something that cannot be; the message says what and where.
    """
    members = read_members(raw)
    parsed = {name: _loggable(value) for name, value in members.items()}
    action = _text(_find(members, "side")).lower()
    if action in _PING:
        return Alert(intent=None, parsed=parsed)
    for name in _UNSUPPORTED:
        if members.get(name) not in (None, "", "null", 0, "0", "na", "NaN"):
            raise BadPayload(
                f"{name} cannot be honoured yet, so nothing was traded: an entry without it is not what the alert asks for",
                code="FIELD_UNSUPPORTED",
                field=name,
            )
    given = _text(_find(members, "key"))
    key = f"webhook:{webhook_id}:id:{given}" if given else f"webhook:{webhook_id}:{delivery_id}"
    return Alert(intent=_intent(members, action, key), parsed=parsed)


def _intent(members: Mapping[str, Any], action: str, key: str) -> OrderIntent:
    symbol = _text(_find(members, "symbol"))
    if not symbol:
        raise BadPayload('no symbol: add "ticker": "{{ticker}}" to the alert\'s message', code="SYMBOL_MISSING", field="symbol")
    closes = action in _CLOSE
    order_type = _order_type(_find(members, "type"))
    quantity, percent = _amount(_find(members, "quantity"), "quantity"), _amount(_find(members, "percent"), "percent")
    if isinstance(quantity, _Percent):
        quantity, percent = None, quantity
    has_size = any(_find(members, name) is not None for name in ("quantity", "notional", "percent"))
    return OrderIntent(
        symbol=symbol,
        side=Side.SELL if closes else _side(action),
        source=Source.WEBHOOK,
        key=key,
        type=order_type,
        quantity=None if closes and not has_size else quantity,
        notional=_amount(_find(members, "notional"), "notional"),
        percent=None if percent is None else Decimal(percent) / 100,
        close_position=closes and not has_size,
        # In a market alert the price is only what the chart showed.
        price=_amount(_find(members, "price"), "price") if order_type is not OrderType.MARKET else None,
        time_in_force=_time_in_force(_find(members, "time_in_force")),
        post_only=_flag(_find(members, "post_only")),
    )


def read_members(raw: bytes) -> dict[str, Any]:
    """Return the body's members by lower-case name.

    Raises:
        BadPayload: it is empty, not text, not JSON though it looks like it, or no words we know.
    """
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadPayload(f"the message is not UTF-8 text (byte {error.start})", code="NOT_TEXT") from error
    _check_text(text)
    if not text:
        raise BadPayload("the message is empty", code="EMPTY")
    if text[0] in "{[":
        return _json_members(text)
    pairs = {name.lower(): value.strip('"') for name, value in _PAIR.findall(text)}
    return pairs if "=" in text and pairs else _words(text)


def _json_members(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_float=Decimal, parse_int=_integer, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise BadPayload(
            f"the message is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}", code="NOT_JSON"
        ) from error
    except (RecursionError, InvalidOperation) as error:
        raise BadPayload("the message is nested too deeply or has a number that cannot be read", code="NOT_JSON") from error
    if not isinstance(value, dict):
        raise BadPayload('the message must be one JSON object, like {"ticker": "BTCUSDT", "action": "buy"}', code="NOT_OBJECT")
    _check_shape(value)
    return {str(name).lower(): item for name, item in value.items()}


def _integer(text: str) -> Decimal:
    if len(text) > _LONGEST_NUMBER:
        raise BadPayload(f"a number has {len(text)} digits", code="NUMBER_INVALID")
    return Decimal(text)


def _refuse_constant(name: str) -> Any:
    raise BadPayload(f"{name} is not a number one can trade", code="NUMBER_INVALID")


def _check_shape(value: Any) -> None:
    """Refuse what is nested too deeply, and text that an escape made impossible. Level by level: recursion would end in a crash."""
    level = [value]
    for _ in range(_DEEPEST + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str):
                _check_text(item)
        level = inner
    if level:
        raise BadPayload(f"the message is nested deeper than {_DEEPEST} levels", code="NOT_JSON")


def _check_text(text: str) -> None:
    """Refuse characters that cannot be stored, and U+FFFD: it stands where the stored copy of a message lost a byte."""
    found = _NO_TEXT.search(text)
    if found is not None:
        raise BadPayload(f"the message has a character that is no text (U+{ord(found[0]):04X})", code="NOT_TEXT")


def _words(text: str) -> dict[str, Any]:
    """`buy BTCUSDT 0.01`: the action first, then what is a number is the quantity and what is not is the symbol."""
    words = _WORD.findall(text)[:20]
    action = words[0].lower() if words else ""
    if action not in _BUY | _SELL | _CLOSE | _PING:
        raise BadPayload(
            'the message must be JSON, key=value words, or start with buy, sell or close, like "buy BTCUSDT 0.01"', code="UNREADABLE_TEXT"
        )
    members: dict[str, Any] = {"action": action}
    for word in words[1:]:
        name = "quantity" if _NUMBER.fullmatch(word.rstrip("%")) else "symbol"
        members.setdefault(name, word)
    return members


def body_key(raw: bytes) -> tuple[bytes, bool]:
    """Return what identifies this body among its webhook's, and whether it does so for ever.

    A `client_intent_id` does. A body that carries the moment of the alert does. Any other may rightly come again later, when the same
    alert fires again, so only a repeat within a short window is one.
    """
    try:
        members = read_members(raw)
    except BadPayload:
        return hashlib.blake2b(raw, digest_size=16).digest(), False
    given = _text(members.get("client_intent_id"))
    if given:
        return hashlib.blake2b(b"id:" + given.encode(), digest_size=16).digest(), True
    return hashlib.blake2b(raw, digest_size=16).digest(), any(_is_moment(members.get(name)) for name in _TIMES)


def _is_moment(value: Any) -> bool:
    """Tell whether a time names a moment rather than a candle.

    TradingView's `{{time}}` is the candle's opening, a whole minute, the same for every alert of that candle; `{{timenow}}` almost never
    is a whole minute.
    """
    text = _text(value)
    if _NUMBER.fullmatch(text) and len(text) <= 20:
        seconds = Decimal(text.replace(",", "."))
        return (seconds / 1000 if seconds > 10**11 else seconds) % 60 != 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return bool(moment.second or moment.microsecond)


def _find(members: Mapping[str, Any], field: str) -> Any:
    for name in _NAMES[field]:
        value = members.get(name)
        if value not in (None, ""):
            return value
    return None


def _side(action: str) -> Side:
    if action in _BUY:
        return Side.BUY
    if action in _SELL:
        return Side.SELL
    if not action:
        raise BadPayload(
            'no action: add "action": "{{strategy.order.action}}" or "buy" to the alert\'s message', code="SIDE_MISSING", field="action"
        )
    raise BadPayload(f"the action must be buy, sell or close, was {action[:40]}", code="SIDE_UNKNOWN", field="action")


def _order_type(value: Any) -> OrderType:
    name = _text(value).lower()
    if not name:
        return OrderType.MARKET
    if name not in _TYPES:
        raise BadPayload(f"the type must be market or limit, was {name[:40]}", code="TYPE_UNKNOWN", field="type")
    return _TYPES[name]


def _time_in_force(value: Any) -> TimeInForce:
    name = _text(value).lower() or TimeInForce.GTC.value
    if name not in set(TimeInForce):
        raise BadPayload(f"the time in force must be GTC, IOC or FOK, was {name[:40]}", code="TIME_IN_FORCE_UNKNOWN", field="time_in_force")
    return TimeInForce(name)


class _Percent(Decimal):
    """A number that was written with a percent sign."""


def _amount(value: Any, field: str) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | Decimal):
        raise BadPayload(f"{field} must be a number, was {type(value).__name__}", code="NUMBER_INVALID", field=field)
    text = str(value).strip()
    is_percent = text.endswith("%")
    digits = text.rstrip("% ")
    if len(digits) > _LONGEST_NUMBER or not _NUMBER.fullmatch(digits):
        raise BadPayload(f"{field} must be a number like 0.01, was {text[:40]}", code="NUMBER_INVALID", field=field)
    number = Decimal(digits.replace(",", "."))
    if number and not -_DIGITS <= number.adjusted() <= _DIGITS:
        raise BadPayload(f"{field} is of a size no market knows, was {text[:40]}", code="NUMBER_INVALID", field=field)
    return _Percent(number) if is_percent else number


def _flag(value: Any) -> bool:
    return value is True or _text(value).lower() in ("true", "1", "yes")


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | Decimal) else ""


def _loggable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(name)[:100]: _loggable(item) for name, item in list(value.items())[:50]}
    if isinstance(value, list):
        return [_loggable(item) for item in value[:50]]
    return value.replace("\x00", "\ufffd")[:2000] if isinstance(value, str) else value
