"""Pine scripts that send a message of the builder: its members become expressions, so that nothing depends on placeholders in a script."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from app.core.i18n import gettext

_INDENT: Final = "    "
#: Written on one line; of several lines Pine makes the same text.
_EXPRESSIONS: Final = {
    "ticker": "syminfo.ticker",
    "exchange": "syminfo.prefix",
    "interval": "timeframe.period",
    "timenow": "moment()",
    "time": "str.format_time(time, \"yyyy-MM-dd'T'HH:mm:ss'Z'\", \"UTC\")",
    "strategy.order.contracts": "str.tostring(quantity)",
    "open": "str.tostring(open)",
    "high": "str.tostring(high)",
    "low": "str.tostring(low)",
    "close": "str.tostring(close)",
    "volume": "str.tostring(volume)",
}
_PLACEHOLDER: Final = re.compile(r"(\{\{.*?\}\})")
_QUANTITY: Final = "{{strategy.order.contracts}}"
_EXIT: Final = ("symbol", "timenow")


def script_of(members: Mapping[str, Any], *, is_strategy: bool, version: str) -> str:
    """Return a whole script whose entry sends these members, and whose exit closes.

    Args:
        members: Of the message, TradingView's placeholders among them.
        is_strategy: A strategy with `alert_message`, else an indicator with `alert()`.
        version: Of Pine, "5" or "6": the script is the same in both.
    """
    entry = {name: value for name, value in members.items() if not name.endswith(("market_position", "market_position_size"))}
    if str(entry.get("action", "")).startswith("{{"):
        entry["action"] = "buy"
    leaves: dict[str, Any] = {name: entry[name] for name in _EXIT if name in entry}
    leaves["action"] = "close"
    has_quantity = _QUANTITY in entry.values()
    kind = "strategy" if is_strategy else "indicator"
    lines = [
        f"//@version={version}",
        f'{kind}("Aristobot", overlay = true)',
        "",
        _comment(gettext("Your own rule: when to enter and when to leave.")),
        "fast = ta.ema(close, 24)",
        "slow = ta.ema(close, 72)",
        "enters = ta.crossover(fast, slow)",
        "leaves = ta.crossunder(fast, slow)",
        *(["quantity = input.float(0.01, 'Quantity')"] if has_quantity else []),
        "",
        _comment(gettext("The messages, as Aristobot reads them.")),
        "moment() => str.format_time(timenow, \"yyyy-MM-dd'T'HH:mm:ss'Z'\", \"UTC\")",
        f"entryMessage = {_expression(entry)}",
        f"exitMessage = {_expression(leaves)}",
        "",
        *(_strategy_orders(has_quantity=has_quantity) if is_strategy else _indicator_alerts()),
    ]
    return "\n".join(lines) + "\n"


def _comment(words: str) -> str:
    return f"// {words}"


def _strategy_orders(*, has_quantity: bool) -> list[str]:
    sized = ", qty = quantity" if has_quantity else ""
    return [
        _comment(gettext("In the alert, the field “Message” is {{strategy.order.alert_message}} and nothing else.")),
        "if enters",
        f'{_INDENT}strategy.entry("Long", strategy.long{sized}, alert_message = entryMessage)',
        "if leaves",
        f'{_INDENT}strategy.close("Long", alert_message = exitMessage)',
    ]


def _indicator_alerts() -> list[str]:
    return [
        _comment(gettext("In the alert, the condition is “Any alert() function call”; its message is the one of the script.")),
        "if enters",
        f"{_INDENT}alert(entryMessage, alert.freq_once_per_bar_close)",
        "if leaves",
        f"{_INDENT}alert(exitMessage, alert.freq_once_per_bar_close)",
    ]


def _expression(members: Mapping[str, Any]) -> str:
    """The message as Pine's text: fixed pieces in single quotes, and an expression in place of each placeholder."""
    pieces = []
    for place, piece in enumerate(_PLACEHOLDER.split(json.dumps(members, ensure_ascii=False))):
        if place % 2:
            pieces.append(_EXPRESSIONS.get(piece[2:-2].strip(), "str.tostring(close)"))
        elif piece:
            pieces.append("'" + piece.replace("\\", "\\\\").replace("'", "\\'") + "'")
    return " + ".join(pieces)
