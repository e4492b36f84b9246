"""The message builder: choices → the exact text for TradingView, the same with sample values, and a Pine script that sends it."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from app.core.i18n import gettext
from app.ui.hook_forms import size_choices
from app.ui.pine import script_of
from app.ui.views import BuilderFields, BuiltMessage, Choice

#: As the strategy orders: what it holds afterwards decides, so that a sell that ends a long is a close.
FOLLOW: Final = "strategy"
TICKER: Final = "{{ticker}}"
_NOW: Final = "{{timenow}}"
_CONTRACTS: Final = "{{strategy.order.contracts}}"
_FOLLOWED: Final[dict[str, str]] = {
    "action": "{{strategy.order.action}}",
    "market_position": "{{strategy.market_position}}",
    "market_position_size": "{{strategy.market_position_size}}",
    "prev_market_position": "{{strategy.prev_market_position}}",
    "prev_market_position_size": "{{strategy.prev_market_position_size}}",
}
#: The member in which each kind of size is written, our documented names.
SIZE_MEMBERS: Final = {
    "strategy": "quantity",
    "base": "quantity",
    "quote": "notional",
    "free": "percent",
    "equity": "equity_percent",
    "risk": "risk_percent",
}
_FRACTIONS: Final = frozenset({"free", "equity", "risk"})
#: What opens or enlarges a position has a size and a guard; what changes the guard has that alone.
_SIZED: Final = frozenset({FOLLOW, "buy", "sell"})
_GUARDED: Final = frozenset({FOLLOW, "buy", "reverse", "protect"})
_LIMITED: Final = frozenset({"buy", "sell"})
_NUMBER: Final = re.compile(r"\d{1,13}([.,]\d{0,18})?")
_PLACEHOLDER: Final = re.compile(r"\{\{[\w.\"'() -]{1,60}\}\}")
_SYMBOL: Final = re.compile(r"[\w/:.-]{1,40}")
_WIDEST: Final = Decimal(100)


class _Reader:
    """Reads fields and keeps what is wrong with them."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    def amount(self, name: str, text: str, *, most: Decimal | None = None) -> str | None:
        """Return a number, or one of TradingView's placeholders, as it is to stand in the message."""
        text = text.strip()
        if _PLACEHOLDER.fullmatch(text):
            return text
        if not _NUMBER.fullmatch(text) or Decimal(text.replace(",", ".")) <= 0:
            self.errors[name] = gettext("This must be a number above 0 such as 0.01, or a placeholder such as {{close}}.")
            return None
        if most is not None and Decimal(text.replace(",", ".")) > most:
            self.errors[name] = gettext("This must be a percentage above 0 and at most 100.")
            return None
        return text.replace(",", ".")

    def level(self, name: str, kind: str, text: str) -> str | None:
        """Return a price, or a percentage off the entry."""
        if kind not in ("price", "percent"):
            return None
        found = self.amount(name, text, most=_WIDEST if kind == "percent" else None)
        return f"{found}%" if found is not None and kind == "percent" else found


def members_of(chosen: BuilderFields) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the message's members, in their order, and what is wrong with the choices, by field."""
    reader = _Reader()
    members: dict[str, Any] = {}
    if chosen.action != "ping":
        symbol = chosen.symbol.strip() or TICKER
        if symbol != TICKER and not _SYMBOL.fullmatch(symbol):
            reader.errors["symbol"] = gettext("This is no symbol. Write it like BTC/USDT.")
        members["symbol"] = symbol
    members |= _FOLLOWED if chosen.action == FOLLOW else {"action": chosen.action}
    if chosen.action in _LIMITED and chosen.type == "limit":
        members["type"] = "limit"
        members["price"] = reader.amount("price", chosen.price)
    if chosen.action in _SIZED and chosen.size_kind in SIZE_MEMBERS:
        members[SIZE_MEMBERS[chosen.size_kind]] = _size(reader, chosen)
    if chosen.action == "close" and chosen.size_value.strip():
        members["percent"] = reader.amount("size_value", chosen.size_value, most=_WIDEST)
    if chosen.action in _GUARDED:
        members |= _guard(reader, chosen)
    members["timenow"] = _NOW
    return {name: value for name, value in members.items() if value is not None}, reader.errors


def _size(reader: _Reader, chosen: BuilderFields) -> str | None:
    if chosen.size_kind == "strategy":
        return _CONTRACTS
    return reader.amount("size_value", chosen.size_value, most=_WIDEST if chosen.size_kind in _FRACTIONS else None)


def _guard(reader: _Reader, chosen: BuilderFields) -> dict[str, Any]:
    found: dict[str, Any] = {"stop_loss": reader.level("stop_value", chosen.stop_kind, chosen.stop_value)}
    first = reader.level("target_value", chosen.target_kind, chosen.target_value)
    if first is not None and chosen.target2_value.strip():
        second = reader.level("target2_value", chosen.target_kind, chosen.target2_value)
        part = reader.amount("target_part", chosen.target_part or "50", most=_WIDEST - 1)
        if second is not None and part is not None and _NUMBER.fullmatch(part):
            rest = format(_WIDEST - Decimal(part), "f")
            found["targets"] = [{"price": first, "fraction": f"{part}%"}, {"price": second, "fraction": f"{rest}%"}]
    else:
        found["take_profit"] = first
    if chosen.trailing.strip():
        found["trailing_percent"] = reader.amount("trailing", chosen.trailing, most=_WIDEST)
    return found


def build(chosen: BuilderFields, *, hook_name: str, url: str, now: datetime) -> BuiltMessage:
    """Return the finished message and what goes with it.

    Args:
        chosen: The choices.
        hook_name: Of the webhook it is for; "" for none.
        url: Its address, with a placeholder where the secret is: that is stored nowhere.
        now: The moment that stands in the sample.
    """
    members, errors = members_of(chosen)
    message = json.dumps(members, indent=2, ensure_ascii=False)
    return BuiltMessage(
        message=message,
        sample=with_samples(message, symbol=chosen.symbol, now=now),
        script=script_of(members, is_strategy=chosen.kind == "strategy", version=chosen.pine),
        url=url,
        hook=chosen.hook,
        hook_name=hook_name,
        is_strategy=chosen.kind == "strategy",
        errors=errors,
    )


def with_samples(message: str, *, symbol: str, now: datetime) -> str:
    """Return a message with values in place of TradingView's placeholders, as a first long entry would have them."""
    samples: Mapping[str, str] = {
        "ticker": symbol if symbol and symbol != TICKER else "BTCUSDT",
        "exchange": "BINANCE",
        "interval": "60",
        "timenow": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "time": now.strftime("%Y-%m-%dT%H:00:00Z"),
        "strategy.order.action": "buy",
        "strategy.order.contracts": "0.01",
        "strategy.order.id": "long",
        "strategy.market_position": "long",
        "strategy.market_position_size": "0.01",
        "strategy.prev_market_position": "flat",
        "strategy.prev_market_position_size": "0",
        "strategy.position_size": "0.01",
    }
    return re.sub(r"\{\{\s*(.*?)\s*\}\}", lambda found: samples.get(found[1], "60000"), message)


def choices_of(chosen: BuilderFields) -> dict[str, tuple[Choice, ...]]:
    """Return what can be chosen in each field of the form, given what is chosen in the others."""
    is_strategy = chosen.kind == "strategy"
    strategy = (Choice(value="strategy", label=gettext("what the strategy orders")),) if is_strategy else ()
    return {
        "kinds": (
            Choice(value="strategy", label=gettext("a strategy")),
            Choice(value="indicator", label=gettext("an indicator, or a line on the chart")),
        ),
        "actions": _actions(is_strategy=is_strategy),
        "types": (Choice(value="market", label=gettext("Market")), Choice(value="limit", label=gettext("Limit"))),
        "sizes": (*strategy, *size_choices(), Choice(value="none", label=gettext("what the webhook's settings say"))),
        "levels": (
            Choice(value="", label=gettext("none")),
            Choice(value="percent", label=gettext("% off the entry")),
            Choice(value="price", label=gettext("a price")),
        ),
        "versions": (Choice(value="6", label=gettext("Pine 6")), Choice(value="5", label=gettext("Pine 5"))),
    }


def _actions(*, is_strategy: bool) -> tuple[Choice, ...]:
    follow = (Choice(value=FOLLOW, label=gettext("As the strategy orders")),) if is_strategy else ()
    return (
        *follow,
        Choice(value="buy", label=gettext("Buy")),
        Choice(value="sell", label=gettext("Sell")),
        Choice(value="close", label=gettext("Close the position")),
        Choice(value="reverse", label=gettext("Turn the position round")),
        Choice(value="protect", label=gettext("Change stop and targets")),
        Choice(value="cancel", label=gettext("Cancel the open orders")),
        Choice(value="ping", label=gettext("Only a test message")),
    )
