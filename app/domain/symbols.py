"""Symbols as traders write them (BTCUSDT, btc/usdt, BINANCE:BTCUSDT), resolved to the unified form BTC/USDT."""

from collections.abc import Mapping
from typing import Final

from app.domain.instruments import Instrument

_SEPARATORS: Final = "/-_"
#: Endings of derivatives: TradingView's perpetuals, and the words exchanges use.
_DERIVATIVE_ENDINGS: Final = (".P", ".PS", "-PERP", "_PERP", "PERP", "-SWAP")


def resolve_symbol(text: str, instruments: Mapping[str, Instrument]) -> str | None:
    """Return the unified symbol that `text` means, or None when it names none or more than one of `instruments`.

    `why_unresolved` says which. Nothing is looked up by guess: where a run of letters can be cut into two listed pairs, the one that
    trades wins; if both do, it is ambiguous.
    """
    found = _candidates(text, instruments)
    return found[0] if len(found) == 1 else None


def why_unresolved(text: str, instruments: Mapping[str, Instrument]) -> str:
    """Return the reason for which `resolve_symbol` gave None, for people."""
    name = text.strip()[:40]
    if not name:
        return "no symbol was given"
    if _is_derivative(_without_exchange(name.upper())):
        return f"{name} is a derivative; only spot symbols are traded here"
    found = _candidates(text, instruments)
    if len(found) > 1:
        return f"{name} could mean {' or '.join(found)}; write it with a slash"
    return f"{name} is not listed"


def _candidates(text: str, instruments: Mapping[str, Instrument]) -> list[str]:
    name = _without_exchange(text.strip().upper())
    if _is_derivative(name):
        return []
    for separator in _SEPARATORS:
        base, found, quote = name.partition(separator)
        if found:
            unified = f"{base}/{quote}"
            return [unified] if unified in instruments else []
    listed = [unified for cut in range(1, len(name)) if (unified := f"{name[:cut]}/{name[cut:]}") in instruments]
    if len(listed) < 2:
        return listed
    return [unified for unified in listed if instruments[unified].is_active] or listed


def _without_exchange(name: str) -> str:
    exchange, colon, rest = name.partition(":")
    # BTC/USDT:USDT is ccxt's way to write a contract, not an exchange's name before a symbol.
    return rest if colon and "/" not in exchange else name


def _is_derivative(name: str) -> bool:
    return ":" in name or name.endswith(_DERIVATIVE_ENDINGS)
