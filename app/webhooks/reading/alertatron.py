"""Alertatron's command language: `mykeys(BTCUSDT) { market(side=buy, amount=0.01); stopOrder(side=sell, offset=e2%); }`.

Source: alertatron.com/docs/automated-trading (basic concepts, market, limit, stop order). A stop or a target that follows an entry in its
block becomes that entry's, so that the entry never stands without it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from app.domain.enums import OrderType
from app.errors import BadPayload
from app.webhooks.alert import Action, Alert, Level, Size, SizeKind, TargetLevel
from app.webhooks.reading.common import check_protection
from app.webhooks.reading.loose import loose_protection
from app.webhooks.reading.members import Members
from app.webhooks.reading.numbers import Amount, is_nothing, read_amount
from app.webhooks.reading.secrets import masked_text
from app.webhooks.reading.sizes import size_from, unit_kind
from app.webhooks.reading.symbols import read_symbol
from app.webhooks.reading.text import BLOCK, check_count
from app.webhooks.reading.words import ONLY_FLAT

_COMMAND: Final = re.compile(r"\s*+([A-Za-z]{1,30})\(([^()]*+)\)\s*+")
_LONGEST_WAIT_S: Final = 60
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass(slots=True)
class _Block:
    """What a block has come to so far."""

    symbol: str
    exchange: str | None
    alerts: list[Alert] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def add(self, action: Action, **fields: Any) -> None:
        self.alerts.append(Alert(action=action, dialect="alertatron", symbol=self.symbol, exchange=self.exchange, **fields))

    @property
    def entry(self) -> Alert | None:
        return self.alerts[-1] if self.alerts and self.alerts[-1].action is Action.BUY else None


def is_alertatron(text: str) -> bool:
    """Tell whether a text holds a block of commands."""
    return BLOCK.search(text) is not None


def alertatron(text: str) -> tuple[list[Alert], list[dict[str, Any]]]:
    """Return the alerts of all blocks and what they were read from, in order.

    Raises:
        BadPayload: a command or value that is not known here.
    """
    alerts: list[Alert] = []
    members: list[dict[str, Any]] = []
    for keys, name, body in BLOCK.findall(text):
        symbol, exchange = read_symbol(name)
        block = _Block(symbol=symbol, exchange=exchange)
        for command, arguments in _commands(body):
            members.append({"keys": keys, "symbol": name, "command": command, **arguments})
            _run(block, command, Members(arguments))
            check_count(len(members))
        alerts += [replace(alert, ignored=tuple(block.ignored)) for alert in block.alerts]
    if not alerts:
        raise BadPayload("the message has no command that trades", code="SIDE_MISSING")
    for alert in alerts:
        check_protection(alert.action, loose_protection(BLOCK.sub("\n", text)))
    return alerts, members


def _commands(body: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    for statement in body.split(";"):
        if not statement.strip():
            continue
        match = _COMMAND.fullmatch(statement)
        if match is None:
            raise BadPayload(f"the command {masked_text(statement.strip())[:60]} cannot be read", code="COMMAND_UNSUPPORTED")
        arguments: dict[str, str] = {}
        for part in match[2].split(","):
            name, equals, value = part.partition("=")
            if not part.strip():
                continue
            if not equals or name.strip() in arguments:
                if not arguments and not equals:
                    arguments["value"] = part.strip()
                    continue
                raise BadPayload(f"the command {masked_text(statement.strip())[:60]} cannot be read", code="COMMAND_UNSUPPORTED")
            arguments[name.strip()] = value.strip()
        found.append((match[1], arguments))
    return found


def _run(block: _Block, command: str, arguments: Members) -> None:
    name = command.lower()
    if name not in _COMMANDS:
        raise BadPayload(
            f"the command {command} is not known here, so nothing was traded", code="COMMAND_UNSUPPORTED", field=command.lower()
        )
    _COMMANDS[name](block, arguments)
    if block.alerts:
        check_protection(block.alerts[-1].action, arguments.unread_protection())
    block.ignored += arguments.unread()


def _market(block: _Block, arguments: Members) -> None:
    if _to_position(block, arguments, OrderType.MARKET, None):
        return
    _order(block, arguments, OrderType.MARKET, None)


def _limit(block: _Block, arguments: Members) -> None:
    side = _side(arguments)
    if side == "sell" and block.entry is not None and _is_of_entry(arguments):
        _target(block, block.entry, arguments)
        return
    price = _offset(arguments, -1 if side == "buy" else 1)
    if _to_position(block, arguments, OrderType.LIMIT, price):
        return
    _order(block, arguments, OrderType.LIMIT, price)


def _order(block: _Block, arguments: Members, kind: OrderType, price: Level | None) -> None:
    side = _side(arguments)
    size = _size(arguments)
    post = arguments.text("postonly").lower() == "true"
    if side == "sell" and size.kind is SizeKind.POSITION:
        block.add(Action.CLOSE, size=size, type=kind, price=price, post_only=post)
        return
    block.add(Action.BUY if side == "buy" else Action.SELL, size=size, type=kind, price=price, post_only=post)


def _to_position(block: _Block, arguments: Members, kind: OrderType, price: Level | None) -> bool:
    """`position=` says where the position is to end."""
    name, value = arguments.take_named("position")
    if value is None:
        return False
    amount = read_amount(value, name)
    if amount.unit or amount.prefix:
        raise BadPayload("position must be a quantity in base units, such as 0.01 or 0", code="QUANTITY_INVALID", field="position")
    arguments.take("side", "amount")
    if kind is not OrderType.MARKET and amount.value:
        raise BadPayload(
            "a position can only be reached by a market order; give side and amount for a limit order",
            code="TYPE_UNKNOWN",
            field="position",
        )
    if amount.value:
        block.add(Action.TARGET, position=amount.value, note=ONLY_FLAT if amount.value < 0 else None)
    else:
        block.add(Action.CLOSE, type=kind, price=price)
    return True


def _stop(block: _Block, arguments: Members) -> None:
    if _side(arguments) != "sell":
        raise BadPayload("a stop that buys is not known here: a spot account guards what it bought", code="FIELD_UNSUPPORTED", field="side")
    amount = arguments.take("amount")
    arguments.take("position", "reduceonly", "trigger", "tag")
    if not is_nothing(amount) and (read := read_amount(amount, "amount")) and (read.unit != "%p" or read.value != 100):
        entry = block.entry
        if entry is None or entry.size != _size_of(read):
            raise BadPayload(
                "a stop guards the whole position: write amount=100%p, or the amount of the entry", code="FIELD_UNSUPPORTED", field="amount"
            )
    stop = _offset(arguments, -1, of_entry=True)
    limit = _offset(arguments, -1, of_entry=True, name="limitoffset") if arguments.has("limitoffset") else None
    if limit is not None and limit.offset is not None:
        raise BadPayload("the limit of a stop must be a price such as @59000", code="FIELD_UNSUPPORTED", field="limitoffset")
    if block.entry is not None:
        if block.entry.stop is not None:
            raise BadPayload("an entry has one stop, and this one has two", code="PROTECTION_INVALID", field="stop")
        block.alerts[-1] = replace(block.entry, stop=stop, stop_limit=limit)
    else:
        block.add(Action.PROTECT, stop=stop, stop_limit=limit)


def _is_of_entry(arguments: Members) -> bool:
    amount, offset = arguments.peek("amount"), arguments.peek("offset")
    return not is_nothing(amount) and read_amount(amount, "amount").unit == "%p" and str(offset or "").strip().startswith(("e", "@"))


def _target(block: _Block, entry: Alert, arguments: Members) -> None:
    level = _offset(arguments, 1, of_entry=True)
    fraction = _size(arguments).value
    arguments.take("postonly", "reduceonly", "tag")
    if sum((target.fraction for target in entry.targets), fraction) > 1:
        raise BadPayload("the targets sell more than the whole position", code="PROTECTION_INVALID", field="amount")
    block.alerts[-1] = replace(entry, targets=(*entry.targets, TargetLevel(level=level, fraction=fraction)))


def _cancel(block: _Block, arguments: Members) -> None:
    which = (arguments.text("which", "value") or "all").lower()
    if which != "all":
        raise BadPayload("only all orders of a symbol can be canceled (which=all)", code="FIELD_UNSUPPORTED", field="which")
    block.add(Action.CANCEL)


def _close(block: _Block, arguments: Members) -> None:
    amount = arguments.take("amount")
    size = None if is_nothing(amount) else _size_of(read_amount(amount, "amount"))
    if size is not None and size.kind is not SizeKind.POSITION:
        raise BadPayload("a close takes a part of the position, such as amount=50%p", code="QUANTITY_INVALID", field="amount")
    block.add(Action.CLOSE, size=size)


def _wait(block: _Block, arguments: Members) -> None:
    """A short pause is needless: an alert is acted on when the one before it is settled."""
    text = arguments.text("value", "time", "delay", "seconds")
    amount = read_amount(text.replace(" ", ""), "wait")
    if amount.unit not in _SECONDS or not 0 <= amount.value * _SECONDS[amount.unit] <= _LONGEST_WAIT_S:
        raise BadPayload(
            f"wait may last at most {_LONGEST_WAIT_S} seconds, was {text[:40]}: commands follow each other at once",
            code="DELAY_UNSUPPORTED",
            field="wait",
        )
    block.ignored.append("wait")


def _nothing(block: _Block, arguments: Members) -> None:
    arguments.take("value", "text", "message", "leverage", "name")
    block.ignored.append("command without bearing")


_COMMANDS: Final[dict[str, Callable[[_Block, Members], None]]] = {
    "market": _market,
    "limit": _limit,
    "stoporder": _stop,
    "stopmarket": _stop,
    "stoplimit": _stop,
    "stop": _stop,
    "cancel": _cancel,
    "close": _close,
    "closeposition": _close,
    "wait": _wait,
    "sleep": _wait,
    "notify": _nothing,
    "exchangesettings": _nothing,
}


def _side(arguments: Members) -> str:
    side = arguments.text("side").lower()
    if not side and arguments.has("position"):
        return "buy"
    if side not in ("buy", "sell"):
        raise BadPayload(f"side must be buy or sell, was {side[:40] or 'not given'}", code="SIDE_UNKNOWN", field="side")
    return side


def _size(arguments: Members) -> Size:
    amount = arguments.take("amount")
    if is_nothing(amount):
        raise BadPayload("an order needs its amount, such as amount=0.01 or amount=5%%", code="QUANTITY_MISSING", field="amount")
    return _size_of(read_amount(amount, "amount"))


def _size_of(amount: Amount) -> Size:
    # A bare percentage is of the whole balance, what is in positions included.
    kind = SizeKind.EQUITY if amount.unit == "%" and not amount.prefix else unit_kind(amount, SizeKind.BASE, "amount")
    return size_from(Amount(value=amount.value), kind, "amount")


def _offset(arguments: Members, sign: int, *, of_entry: bool = False, name: str = "offset") -> Level:
    """`@60000` is a price, `2%` is off the market and `e2%` off the entry; below for `sign` −1, above for 1."""
    value = arguments.take(name)
    if is_nothing(value):
        if of_entry:
            raise BadPayload("a stop or target needs its offset, such as offset=e2%", code="PROTECTION_MISSING", field=name)
        return Level(offset=Decimal(0))
    amount = read_amount(value, name)
    if amount.prefix == "@" and not amount.unit and amount.value > 0:
        return Level(price=amount.value)
    is_known = amount.unit == "%" and (amount.prefix == "" or (of_entry and amount.prefix == "e"))
    if not is_known or not 0 <= amount.value < 100:
        raise BadPayload(
            f"{name} must be a price such as @60000 or a percentage, was {value[:40]}: distances in money are not known here",
            code="PRICE_INVALID",
            field=name,
        )
    return Level(offset=Decimal(sign) * amount.value / 100)
