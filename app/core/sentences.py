"""What the server says in English, said in the reader's language.

A refusal is written once, in English, with its values in it: it is stored with the order, sent to API clients, and read by people who speak
different languages on their pages, perhaps long after it was made. So it is translated where it is shown: the catalogue has the sentence
with names in place of the values (`%(price)s`), and a sentence that fits is put together again from the translation and the values.
`tests/ui/catalogue.py` finds the sentences in the code, so that none can be forgotten.
"""

import re
from functools import cache, lru_cache
from typing import Final

from app.core.i18n import SOURCE_LANGUAGE, current_language, gettext, translated_templates

_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)[sd]")
#: A value may be a sentence itself, such as the reason why an account is paused.
_DEEPEST: Final = 3
_LONGEST: Final = 2000


def said(sentence: str) -> str:
    """Return `sentence` in the language spoken here; as it is where the catalogue has nothing that fits."""
    language = current_language()
    if language == SOURCE_LANGUAGE or not sentence or len(sentence) > _LONGEST:
        return sentence
    return _said(language, sentence, _DEEPEST)


@lru_cache(maxsize=4096)
def _said(language: str, sentence: str, depth: int) -> str:
    exact = gettext(sentence)
    if exact != sentence or depth == 0:
        return exact
    for pattern, translation in _patterns(language):
        found = pattern.fullmatch(sentence)
        if found is not None:
            values = {name: _said(language, value, depth - 1) for name, value in found.groupdict().items()}
            return "".join(values.get(piece, "") if place % 2 else piece.replace("%%", "%") for place, piece in enumerate(translation))
    return _in_parts(language, sentence, depth)


def _in_parts(language: str, sentence: str, depth: int) -> str:
    """A sentence that was put together of others: `what: why` or `what; and what more`."""
    for mark in (": ", "; "):
        head, found, tail = sentence.partition(mark)
        if found:
            known, more = _said(language, head, depth - 1), _said(language, tail, depth - 1)
            if (known, more) != (head, tail):
                return known + mark + more
    return sentence


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], list[str]], ...]:
    """Sentences with values and their translations in pieces; those with the most words of their own first: the rest may fit by chance."""
    known = [(_PLACEHOLDER.split(template), _PLACEHOLDER.split(translation)) for template, translation in translated_templates(language)]
    known.sort(key=lambda one: -sum(map(len, one[0][::2])))
    return tuple((_pattern(pieces), translation) for pieces, translation in known)


def _pattern(pieces: list[str]) -> re.Pattern[str]:
    # Every second piece is the name of a value.
    parts = [f"(?P<{piece}>.+?)" if place % 2 else re.escape(piece.replace("%%", "%")) for place, piece in enumerate(pieces)]
    return re.compile("".join(parts), re.DOTALL)
