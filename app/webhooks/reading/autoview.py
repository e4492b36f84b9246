"""Autoview's commands, one a line: `e=binance s=btcusdt b=buy q=5% t=market`; `c=order` cancels, `c=position` closes.

Source: autoview.com/syntax. Quantities in percent are of the balance (`y=equity`: of the equity), on a close of the position.
"""

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.alert import Alert
from app.webhooks.reading.common import alert_of, check_protection
from app.webhooks.reading.levels import read_percent
from app.webhooks.reading.members import Members
from app.webhooks.reading.numbers import is_nothing, read_amount
from app.webhooks.reading.secrets import masked_text
from app.webhooks.reading.text import check_count, leading_words, members_of_pairs

_LINES: Final = re.compile(r"[\r\n|]+")
_ALL: Final = frozenset({"", "all", "100%"})
_TYPES: Final[dict[str, tuple[str, str, str]]] = {
    "market": ("market", "", ""),
    "limit": ("limit", "", ""),
    "fok": ("limit", "fok", ""),
    "ioc": ("limit", "ioc", ""),
    "post": ("limit", "", "true"),
}
_SIDES: Final = frozenset({"buy", "sell", "long", "short"})


def is_autoview(members: Members) -> bool:
    """Tell whether the pairs of a line are an Autoview command."""
    return members.has("b", "c") and members.has("s", "e", "q", "t", "a")


def lines_of(text: str) -> list[str]:
    """Return the lines of a text that hold commands; comments and tags are left out."""
    return [line.strip() for line in _LINES.split(text) if line.strip() and not line.strip().startswith(("#", "//"))]


def autoview(text: str) -> tuple[list[Alert], list[dict[str, Any]]]:
    """Return the alerts of Autoview commands and their members, in order.

    Raises:
        BadPayload: a command or value that is not known here.
    """
    lines = lines_of(text)
    check_count(len(lines))
    alerts, members = [], []
    for line in lines:
        pairs = members_of_pairs(line)
        if leading_words(line) or not pairs or "&" in line:
            raise BadPayload(
                f"the command {masked_text(line)[:60]} is not known here: write name=value, one command a line",
                code="COMMAND_UNSUPPORTED",
            )
        members.append(dict(pairs))
        alerts.append(_command(Members(pairs)))
    return alerts, members


def _command(given: Members) -> Alert:
    ours = Members({})
    for name, to in (("s", "symbol"), ("e", "exchange"), ("delay", "delay"), ("d", "disabled")):
        value = given.take(name)
        if value is not None:
            ours.put(to, value)
    book = given.text("b").lower()
    if book and book not in (*_SIDES, "all"):
        raise BadPayload(f"b must be buy, sell, long or short, was {book[:40]}", code="SIDE_UNKNOWN", field="b")
    kind = given.text("c").lower()
    if kind == "order":
        _cancel(given, ours, book)
    elif kind == "position":
        _close(given, ours, book)
    elif kind:
        raise BadPayload(f"c must be order or position, was {kind[:40]}", code="SIDE_UNKNOWN", field="c")
    else:
        _order(given, ours, book)
    alert = alert_of(ours, "autoview")
    check_protection(alert.action, given.unread_protection())
    # The account of `a=` is Autoview's own name for a set of keys, not one of the accounts here.
    return replace(alert, ignored=given.unread())


def _cancel(given: Members, ours: Members, book: str) -> None:
    if book not in ("", "all") or given.text("cm") not in _ALL:
        raise BadPayload(
            "only all orders of a symbol can be canceled, not those of one side or number", code="FIELD_UNSUPPORTED", field="c"
        )
    ours.put("action", "cancel")


def _close(given: Members, ours: Members, book: str) -> None:
    most = given.text("cm")
    if most not in _ALL:
        if not most.endswith("%"):
            raise BadPayload("only a percentage of the position can be closed (cm=50%)", code="QUANTITY_INVALID", field="cm")
        ours.put("positionpercent", most)
    quantity = given.take("q")
    if not is_nothing(quantity):
        ours.put("quantity", quantity)
    given.take("t")
    ours.put("action", "exit_short" if book == "short" else "close")


def _order(given: Members, ours: Members, book: str) -> None:
    if book not in _SIDES:
        raise BadPayload("a command needs b=buy or b=sell, c=order or c=position", code="SIDE_MISSING", field="b")
    ours.put("action", book)
    quantity = given.take("q")
    if not is_nothing(quantity):
        of_equity = given.text("y").lower() == "equity" and read_amount(quantity, "q").unit == "%"
        ours.put("equitypercent" if of_equity else "quantity", quantity)
    kind = given.text("t").lower()
    price = given.take("p")
    if kind and kind not in _TYPES:
        raise BadPayload(f"t must be market, limit, fok, ioc or post, was {kind[:40]}", code="TYPE_UNKNOWN", field="t")
    name, force, post = _TYPES[kind or ("market" if is_nothing(price) else "limit")]
    ours.put("type", name)
    if force:
        ours.put("timeinforce", force)
    if post:
        ours.put("postonly", post)
    if name == "limit":
        ours.put("price", "0%" if is_nothing(price) else price)
    _protect(given, ours)


def _protect(given: Members, ours: Members) -> None:
    for name, to in (("sl", "stoplosspercent"), ("tp", "takeprofitpercent"), ("ts", "trailingpercent")):
        value = given.take(name)
        if is_nothing(value):
            continue
        if not str(value).strip().endswith("%"):
            raise BadPayload(
                f"{name}={value} counts in points of an exchange, which have no meaning here: write a percentage such as {name}=2%",
                code="FIELD_UNSUPPORTED",
                field=name,
            )
        ours.put(to, abs(read_percent(value, name)) if name != "ts" else Decimal(read_percent(value, name)))
