"""Write the list of exchanges beyond the tested ones anew, from the installed ccxt: `uv run python -m tests.exchanges.untested_list`."""

from pathlib import Path
from typing import Any

import ccxt.async_support

import app.exchanges.untested
from app.exchanges.catalogue import EXCHANGES, OUR_NAMES

_KEY = {"apiKey", "secret"}
_NEEDED = ("createOrder", "cancelOrder", "fetchBalance", "fetchTicker", "fetchMyTrades")
_HEAD = '''"""The other exchanges at which ccxt trades spot with a key and a secret: id, name, and what else ccxt requires.

Written by `uv run python -m tests.exchanges.untested_list` from the installed ccxt; a test compares the two.
"""

from typing import Final

UNTESTED_VENUES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
'''


def entries() -> list[tuple[str, str, tuple[str, ...]]]:
    """Return what the list should hold: no second names of an exchange, and none whose orders could not be followed up."""
    found = []
    for name in ccxt.async_support.exchanges:
        exchange: Any = getattr(ccxt.async_support, name)()
        needed = {credential for credential, is_needed in exchange.requiredCredentials.items() if is_needed}
        is_usual = needed >= _KEY and needed <= OUR_NAMES.keys()
        can_trade = exchange.has["spot"] is True and all(exchange.has.get(ability) for ability in _NEEDED)
        can_be_found = exchange.has.get("fetchOrder") or exchange.has.get("fetchOpenOrders")
        if name not in EXCHANGES and not exchange.alias and is_usual and can_trade and can_be_found:
            found.append((name, str(exchange.name), tuple(ours for theirs, ours in OUR_NAMES.items() if theirs in needed - _KEY)))
    return found


def text() -> str:
    """Return the module's text."""
    lines = []
    for key, name, further in entries():
        quoted = ", ".join(f'"{field}"' for field in further)
        lines.append(f'    ("{key}", "{name}", ({quoted}{"," if len(further) == 1 else ""})),\n')
    return _HEAD + "".join(lines) + ")\n"


if __name__ == "__main__":
    Path(app.exchanges.untested.__file__).write_text(text(), encoding="utf-8")
