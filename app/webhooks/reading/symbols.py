"""Symbols as senders write them: the venue's name taken off, derivatives refused. What is listed is not known here."""

import re
from typing import Any, Final

from app.errors import BadPayload

_LONGEST: Final = 40
_SIGNS: Final = "/-_.:"
_PERPETUAL: Final = (".P", ".PS", "PERP", "-SWAP", "_SWAP", "-FUTURES")
#: Dated and continuous contracts: BTCUSDT_260327, BTC-27MAR26, BTC1!.
_DATED: Final = re.compile(r".*(?:[-_][0-9]{6}|-[0-9]{1,2}[A-Z]{3}[0-9]{2}(?:-.*)?|[12]!)")


def read_symbol(value: Any, field: str = "symbol") -> tuple[str, str | None]:
    """Return the symbol in capitals and the venue's name that stood before it.

    Raises:
        BadPayload: SYMBOL_DERIVATIVE for what is not traded on spot, SYMBOL_INVALID for what is no symbol.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST:
        raise _invalid(value, field)
    name = text.upper() if text.isascii() else text
    exchange: str | None = None
    before, colon, after = name.partition(":")
    # BTC/USDT:USDT is a contract's name, not a venue's before a symbol.
    if colon and "/" not in before:
        exchange, name = before.strip(), after.strip()
    if ":" in name or name.endswith(_PERPETUAL) or _DATED.fullmatch(name):
        raise BadPayload(
            f"{text} is a derivative (a perpetual, swap or future); only spot symbols such as BTCUSDT are traded here",
            code="SYMBOL_DERIVATIVE",
            field=field,
        )
    if not name or exchange == "" or not any(sign.isalpha() for sign in name):
        raise _invalid(value, field)
    if not all(sign.isalnum() or sign in _SIGNS for sign in name) or not name[0].isalnum() or not name[-1].isalnum():
        raise _invalid(value, field)
    return name, exchange


def quote_first(value: Any, field: str) -> str:
    """Return 3Commas's USDT_BTC as BTC/USDT; any other spelling as it is.

    Raises:
        BadPayload: it is no text.
    """
    if not isinstance(value, str):
        raise _invalid(value, field)
    quote, found, base = value.strip().partition("_")
    return f"{base}/{quote}" if found and quote and base and "_" not in base else value.strip()


def _invalid(value: Any, field: str) -> BadPayload:
    was = value.strip()[:40] if isinstance(value, str) else type(value).__name__
    return BadPayload(f"{field} must be a symbol such as BTCUSDT or BINANCE:BTCUSDT, was {was}", code="SYMBOL_INVALID", field=field)
