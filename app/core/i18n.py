"""Languages: which one to speak, and the catalogues that know the words.

The language of a piece of work is a ContextVar, so that one template environment serves everybody. Catalogues are the `.po` files
themselves, read once and compiled in memory: there is no build step, and no compiled file can be out of date.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.core import negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES = ("en", "fr")
SOURCE_LANGUAGE = "en"
LANGUAGE_COOKIE = "lang"
CATALOGUES = Path(__file__).resolve().parents[1] / "locale"

_language: ContextVar[str] = ContextVar("language", default=SOURCE_LANGUAGE)


def current_language() -> str:
    """Return the language spoken here and now, one of `LANGUAGES`."""
    return _language.get()


@contextmanager
def use_language(language: str) -> Iterator[None]:
    """Speak `language` inside the block; an unknown one means the source language."""
    token = _language.set(language if language in LANGUAGES else SOURCE_LANGUAGE)
    try:
        yield
    finally:
        _language.reset(token)


def resolve_language(*, preference: str | None = None, cookie: str | None = None, accept_language: str | None = None) -> str:
    """Return the language to speak: the user's preference, else the cookie, else the browser's wish, else English."""
    for choice in (preference, cookie):
        if choice in LANGUAGES:
            return choice
    wishes = _accepted(accept_language or "")
    return negotiate_locale(wishes, LANGUAGES, sep="-") or SOURCE_LANGUAGE


def _accepted(header: str) -> list[str]:
    weighted = []
    for position, item in enumerate(header[:1000].split(",")):
        tag, _, parameters = item.strip().partition(";")
        quality = _quality(parameters)
        if tag and quality > 0:
            weighted.append((-quality, position, tag))
    return [tag for _, _, tag in sorted(weighted)]


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


@cache
def _entries(language: str) -> Catalog:
    with (CATALOGUES / language / "LC_MESSAGES" / "messages.po").open("rb") as source:
        return read_po(source, locale=language)


@cache
def catalogue(language: str) -> NullTranslations:
    """Return the compiled catalogue of `language`; the source language needs none. Fuzzy entries are left out."""
    if language == SOURCE_LANGUAGE:
        return NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, _entries(language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def load_catalogues() -> None:
    """Read every catalogue now, so that a broken file stops the start and not a request."""
    for language in LANGUAGES:
        catalogue(language)


def translated_templates(language: str) -> list[tuple[str, str]]:
    """Return the messages of `language` that have places for values (`%(name)s`), each with its translation."""
    if language == SOURCE_LANGUAGE:
        return []
    return [
        (entry.id, entry.string)
        for entry in _entries(language)
        if isinstance(entry.id, str) and isinstance(entry.string, str) and "%(" in entry.id and entry.string and not entry.context
    ]


def gettext(message: str) -> str:
    """Return `message` in the current language."""
    return catalogue(current_language()).gettext(message)


def ngettext(singular: str, plural: str, n: int) -> str:
    """Return the form of a countable message that fits `n` in the current language."""
    return catalogue(current_language()).ngettext(singular, plural, n)


def pgettext(context: str, message: str) -> str:
    """Return `message` as it is meant in `context`, in the current language."""
    return catalogue(current_language()).pgettext(context, message)


def npgettext(context: str, singular: str, plural: str, n: int) -> str:
    """Return the countable form that fits `n` as it is meant in `context`."""
    return catalogue(current_language()).npgettext(context, singular, plural, n)


def N_(message: str) -> str:  # noqa: N802 — the name by which extractors know a message that is translated later
    """Mark `message` for translation without translating it yet."""
    return message
