import re

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from app.core import i18n
from app.core.sentences import said
from tests.ui.catalogue import messages, sentences

_FIELD = re.compile(r"%\((\w+)\)s")
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


@pytest.fixture(scope="module")
def french() -> Catalog:
    with (i18n.CATALOGUES / "fr/LC_MESSAGES/messages.po").open("rb") as source:
        return read_po(source, locale="fr")


@pytest.fixture(scope="module")
def wanted() -> list[tuple[str | tuple[str, ...], str | None, str]]:
    """Every message there is to translate; finding them reads every file."""
    return list(messages())


def test_every_message_has_a_french_translation(french: Catalog, wanted: list[tuple[str | tuple[str, ...], str | None, str]]) -> None:
    missing = []
    for message, context, place in wanted:
        found = french.get(message, context)
        if found is None or found.fuzzy or not all(found.string if isinstance(found.string, tuple) else (found.string,)):
            missing.append(f"{place}: {message!r}")
    assert missing == []


def test_no_translation_is_left_over(french: Catalog, wanted: list[tuple[str | tuple[str, ...], str | None, str]]) -> None:
    used = {(message[0] if isinstance(message, tuple) else message, context) for message, context, _place in wanted}
    known = {(entry.id[0] if isinstance(entry.id, tuple) else entry.id, entry.context) for entry in french if entry.id}
    assert known - used == set()


def test_translation_keeps_the_placeholders(french: Catalog) -> None:
    for entry in french:
        sources = entry.id if isinstance(entry.id, tuple) else (entry.id,)
        strings = entry.string if isinstance(entry.string, tuple) else (entry.string,)
        wanted = set(_FIELD.findall(str(sources[0])))
        assert all(set(_FIELD.findall(str(text))) == wanted for text in strings), entry.id


def test_every_sentence_an_error_can_say_is_said_in_french() -> None:
    """With any values: that is what is stored and shown."""
    unsaid = []
    for template, path in sentences():
        if " " not in template or not re.search(r"[A-Za-z]", _PLACEHOLDER.sub("", template)):
            continue
        sentence = _PLACEHOLDER.sub("7.25", template).replace("%%", "%")
        with i18n.use_language("fr"):
            if said(sentence) == sentence:
                unsaid.append(f"{path}: {sentence}")
    assert not [line for line in unsaid if "Authorization" not in line and "USDT" not in line.split(":")[-1][:1]]


def test_there_are_very_many_of_these_sentences() -> None:
    """A change of the search that finds none would let everything pass."""
    assert len({sentence for sentence, _ in sentences()}) > 250


@pytest.mark.parametrize(
    ("preference", "cookie", "header", "language"),
    [
        ("fr", "en", "en", "fr"),
        (None, "fr", "en", "fr"),
        (None, None, "fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        (None, None, "de, en;q=0.4, fr;q=0.7", "fr"),
        (None, None, "fr;q=0, en;q=0.1", "en"),
        (None, None, "de", "en"),
        ("xx", "../fr", "fr;q=banana", "en"),
        (None, None, None, "en"),
    ],
)
def test_language_comes_from_preference_then_cookie_then_browser(
    preference: str | None, cookie: str | None, header: str | None, language: str
) -> None:
    assert i18n.resolve_language(preference=preference, cookie=cookie, accept_language=header) == language


def test_language_holds_inside_its_block_only() -> None:
    with i18n.use_language("fr"):
        assert i18n.gettext("Brokers") == "Comptes"
        assert i18n.ngettext("%(count)s open order", "%(count)s open orders", 2) == "%(count)s ordres ouverts"
        assert i18n.pgettext("candle", "L") == "B"
    assert i18n.gettext("Brokers") == "Brokers"


def test_unknown_language_means_english() -> None:
    with i18n.use_language("xx"):
        assert i18n.current_language() == "en"
