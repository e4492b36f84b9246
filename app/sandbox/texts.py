"""Words of hostile code, made harmless for whoever reads them in a terminal, a log or a page."""

import re
from typing import Any, Final, TypeVar, cast

import msgspec

T = TypeVar("T")

#: Control characters but for tab and line feed, and those that turn the direction of writing around.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_IN_THEIR_PLACE: Final = "\ufffd"


def clean(text: str) -> str:
    """Return the text with a visible sign in the place of each control character; line ends become line feeds."""
    return _CONTROLS.sub(_IN_THEIR_PLACE, text.replace("\r\n", "\n"))


def cleaned(value: T) -> T:
    """Return a message, or a part of one, with all its texts clean. The guest cleans nothing: what it leaves out, an attacker would too."""
    found: Any = value
    match value:
        case str():
            found = clean(value)
        case list():
            found = [cleaned(each) for each in value]
        case dict():
            found = {clean(name): cleaned(each) for name, each in value.items()}
        case msgspec.Struct():
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            changed = {name: new for name, old in fields.items() if (new := cleaned(old)) != old}
            found = msgspec.structs.replace(value, **changed) if changed else value
    return cast("T", found)
