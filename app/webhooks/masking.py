"""Hides the secrets that senders put into their messages: before a message is stored, and when one is shown that was stored before that.

What stands in a secret's place keeps the message readable as what it was: JSON stays JSON.
"""

import re
from typing import Any, Final

_MASK: Final = "••••"
#: What senders of other platforms put into their messages to prove who they are.
_NAMES: Final = r"(?:secret|token|email_token|signaltoken|passphrase|password|api_?key|api_?secret|key)"
#: A member with its value: quoted, with whatever is escaped inside, or bare up to what ends a value. None of it is ever given back, so that
#: a long message costs no more than its length.
_SECRET: Final = re.compile(
    rf"(?i)(?P<head>(?<![^\W_]){_NAMES}(?P<quote>\"?)\s*+[:=]\s*+)(?:\"(?:[^\"\\]|\\.)*+\"?|(?P<bare>[^\"\s,}}&{{\[;]++))", re.DOTALL
)
_SECRET_NAME: Final = re.compile(rf"(?i){_NAMES}")


def masked_text(raw: str) -> str:
    """Return a message with the secrets it carries hidden."""
    return _SECRET.sub(_hidden, raw)


def _hidden(found: re.Match[str]) -> str:
    # A number or a word without quotes would be no JSON once it is hidden: as text it is.
    is_text = found["bare"] is None or found["quote"]
    return found["head"] + (f'"{_MASK}"' if is_text else _MASK)


def masked_members(parsed: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what was understood of a message with the secrets it carries hidden."""
    if parsed is None:
        return None
    return {name: _MASK if _SECRET_NAME.fullmatch(name) else value for name, value in parsed.items()}
