"""Write the list of exchanges beyond the tested ones anew, from the installed ccxt: `uv run python -m tests.exchanges.untested_list`."""

from pathlib import Path
from typing import Any

import ccxt.async_support

import app.exchanges.untested
from app.exchanges.catalogue import EXCHANGES

_KEY = {"apiKey", "secret"}
_NEEDED = ("createOrder", "cancelOrder", "fetchBalance", "fetchTicker", "fetchMyTrades")
_HEAD = '''"""The other exchanges at which ccxt trades spot with a key and a secret: id, name, whether a passphrase is needed too.

Written by `uv run python -m tests.exchanges.untested_list` from the installed ccxt; a test compares the two.
"""

from typing import Final

UNTESTED_VENUES: Final = (
'''


def entries() -> list[tuple[str, str, bool]]:
    """Return what the list should hold: no second names of an exchange, and none whose orders could not be followed up."""
    found = []
    for name in ccxt.async_support.exchanges:
        exchange: Any = getattr(ccxt.async_support, name)()
        needed = {credential for credential, is_needed in exchange.requiredCredentials.items() if is_needed}
        is_usual = needed in (_KEY, _KEY | {"password"})
        can_trade = exchange.has["spot"] is True and all(exchange.has.get(ability) for ability in _NEEDED)
        can_be_found = exchange.has.get("fetchOrder") or exchange.has.get("fetchOpenOrders")
        if name not in EXCHANGES and not exchange.alias and is_usual and can_trade and can_be_found:
            found.append((name, str(exchange.name), "password" in needed))
    return found


def text() -> str:
    """Return the module's text."""
    lines = [f'    ("{key}", "{name}", {needs_password}),\n' for key, name, needs_password in entries()]
    return _HEAD + "".join(lines) + ")\n"


if __name__ == "__main__":
    Path(app.exchanges.untested.__file__).write_text(text(), encoding="utf-8")
