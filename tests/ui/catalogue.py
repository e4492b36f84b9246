"""What there is to translate: every message marked in the templates and in the code, found as the extractor of `babel.cfg` finds it."""

from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg

ROOT = Path(__file__).resolve().parents[2]
KEYWORDS = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}


def messages() -> Iterator[tuple[str | tuple[str, ...], str | None, str]]:
    """Yield (message or (singular, plural), context or None, "file:line")."""
    with (ROOT / "babel.cfg").open() as source:
        methods, options = parse_mapping_cfg(source)  # type: ignore[no-untyped-call]  # Babel leaves this one untyped
    found = extract_from_dir(ROOT, methods, options, keywords=KEYWORDS)
    for filename, line, message, _comments, context in found:
        yield message, context, f"{filename}:{line}"


def template_catalogue() -> Catalog:
    """Return all messages as one empty catalogue."""
    catalogue = Catalog()
    for message, context, _place in messages():
        catalogue.add(message, context=context)
    return catalogue
