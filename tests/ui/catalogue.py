"""What there is to translate: every message marked in the templates and in the code, found as the extractor of `babel.cfg` finds it.

`python -m tests.ui.catalogue` brings the French catalogue up to date: new messages are added without a translation (a test lists them until
somebody writes one), messages nobody uses any more are dropped.
"""

import inspect
import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po

from app import errors
from app.core.i18n import CATALOGUES

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
    # What an error says when nothing better is known is its class's docstring.
    for _name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.AppError):
            yield inspect.cleandoc(kind.__doc__ or ""), None, "app/errors.py:0"


def updated(catalogue: Catalog) -> Catalog:
    """Return `catalogue` with exactly today's messages, keeping the translations it has."""
    fresh = Catalog(locale=catalogue.locale, header_comment=catalogue.header_comment, fuzzy=False)
    for message, context, place in messages():
        known = catalogue.get(message, context)
        filename = place.rsplit(":", 1)[0]
        # Line numbers would change the file with every edit elsewhere.
        fresh.add(message, known.string if known else None, locations=[(filename, None)], context=context)  # type: ignore[list-item]
    return fresh


def written(catalogue: Catalog) -> str:
    """Return the catalogue as a file, without the headers that say when and by whom."""
    target = io.BytesIO()
    write_po(target, catalogue, width=140, sort_output=True, include_lineno=False)
    kept = ("Language:", "MIME-Version:", "Content-T", "Plural-Forms:")
    lines = target.getvalue().decode().splitlines()
    return "\n".join(line for line in lines if not (line.endswith('\\n"') and ": " in line and not line[1:].startswith(kept))) + "\n"


if __name__ == "__main__":
    path = CATALOGUES / "fr" / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as source:
        french = read_po(source, locale="fr")
    path.write_text(written(updated(french)))
