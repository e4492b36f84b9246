"""Texts without names: TradingView's default sentence, WunderTrading's codes, lines with pipes, and plain words."""

import re
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.alert import Action, Alert
from app.webhooks.reading.common import alert_of
from app.webhooks.reading.members import Members
from app.webhooks.reading.numbers import is_number
from app.webhooks.reading.platforms import WUNDER_CODE, wunder_code
from app.webhooks.reading.words import word_of

#: `MACD (12, 26, 9): order buy @ 0.05 filled on BTCUSDT. New strategy position is 0.05`, TradingView's default for strategies.
_DEFAULT: Final = re.compile(
    r"order (buy|sell) @ ([0-9.,]{1,40}) filled on ([^\s]{1,60}?)\. New strategy position is (-?[0-9.,]{1,40}?)\.?\s*+$", re.IGNORECASE
)
_WORD: Final = re.compile(r"[^\s,;]+")
_DEFAULT_PRICE: Final = re.compile(
    r"^[^\s]{1,40} (?:crossing|greater than|less than|moving|entering|exiting|inside|outside)\b", re.IGNORECASE
)
_MOST_WORDS: Final = 4
#: What no symbol is, though its letters would do: words of sentences that begin with buy or sell.
_HELP: Final = 'the message must be JSON, key=value words, or start with buy, sell or close, like "buy BTCUSDT 0.01"'


def default_sentence(text: str) -> tuple[Alert, dict[str, Any]] | None:
    """Return the alert of TradingView's default strategy message; None for any other text.

    Raises:
        BadPayload: its numbers or symbol cannot be read.
    """
    found = _DEFAULT.search(text)
    if found is None:
        return None
    # A full stop may end the sentence, the symbol or the number; only the last two have digits or letters before it.
    members = {"action": found[1], "contracts": found[2], "ticker": found[3], "position_size": found[4]}
    return alert_of(Members(members), "tradingview"), members


def code_line(text: str) -> tuple[Alert, dict[str, Any]] | None:
    """Return the alert of a WunderTrading code that stands alone; None for any other text.

    Raises:
        BadPayload: its symbol cannot be read.
    """
    if WUNDER_CODE.fullmatch(text) is None:
        return None
    members = Members({})
    wunder_code(members, text)
    return alert_of(members, "wundertrading"), {name: members.peek(name) for name in ("action", "exchange", "symbol", "indicator")}


def piped(text: str) -> tuple[Alert, dict[str, Any]] | None:
    """Return the alert of a line `key|strategy|action|ticker` with perhaps a quantity behind; None for any other text.

    Raises:
        BadPayload: the line has pipes, but not these parts.
    """
    if "|" not in text or "\n" in text or "=" in text:
        return None
    parts = [part.strip() for part in text.split("|")]
    if not 4 <= len(parts) <= 5 or word_of(parts[2]) is None:
        raise BadPayload("a line with pipes must be key|strategy|action|ticker, such as KEY|my macd|buy|BTCUSDT", code="UNREADABLE_TEXT")
    members = {"indicator": parts[1], "action": parts[2], "ticker": parts[3]}
    if len(parts) == 5:
        members["quantity"] = parts[4]
    return alert_of(Members(members), "pipe"), members


def plain_words(text: str) -> dict[str, str]:
    """Return the members of `buy BTCUSDT 0.01`: the action first, then a number is the quantity and a word the symbol.

    Raises:
        BadPayload: UNREADABLE_TEXT: any other text.
    """
    words = [match[0] for match in _WORD.finditer(text[:400])]
    word = word_of(words[0]) if words else None
    if word is None or len(words) > _MOST_WORDS or len(text) > 400:
        if _DEFAULT_PRICE.match(text):
            raise BadPayload(
                "this is TradingView's default message of a price alert; it does not say whether to buy or sell. Write for example"
                ' "buy BTCUSDT 0.01" or a JSON message into the alert',
                code="UNREADABLE_TEXT",
            )
        raise BadPayload(_HELP, code="UNREADABLE_TEXT")
    members = {"action": words[0]}
    for rest in words[1:]:
        name = "quantity" if is_number(rest) or is_number(rest.removesuffix("q")) else "symbol"
        if name in members:
            raise BadPayload(_HELP, code="UNREADABLE_TEXT")
        members[name] = rest
    return members


def needs_symbol(alert: Alert) -> None:
    """Refuse an order in plain words that names no symbol: too little to trade on.

    Raises:
        BadPayload: SYMBOL_MISSING.
    """
    if alert.symbol is None and alert.action in (Action.BUY, Action.SELL):
        raise BadPayload('no symbol: write for example "buy BTCUSDT 0.01"', code="SYMBOL_MISSING", field="symbol")
