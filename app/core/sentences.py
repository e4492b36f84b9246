"""What the server says in English, said in the reader's language.

A refusal is written once, in English, with its values in it: it is stored with the order, sent to API clients, and read by people who speak
different languages on their pages, perhaps long after it was made. So it is translated where it is shown: the catalogue has the sentence
with names in place of the values (`%(price)s`), and a sentence that fits is put together again from the translation and the values.
`tests/ui/catalogue.py` finds the sentences in the code, so that none can be forgotten.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
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
    for template, translation in _templates(language):
        found = template.values_in(sentence)
        if found is not None:
            values = {name: _said(language, value, depth - 1) for name, value in found.items()}
            return "".join(values.get(piece, "") if place % 2 else piece.replace("%%", "%") for place, piece in enumerate(translation))
    return _in_parts(language, sentence, depth)


def _in_parts(language: str, sentence: str, depth: int) -> str:
    """A sentence that was put together of others: `what: why` or `what; and what more`."""
    for mark in (": ", "; "):
        head, _, tail = sentence.partition(mark)
        if head and tail:
            known, more = _said(language, head, depth - 1), _said(language, tail, depth - 1)
            if (known, more) != (head, tail):
                return known + mark + more
    return sentence


@dataclass(frozen=True, slots=True)
class _Template:
    """A sentence with values: the words between them, one more than there are names.

    Not a regular expression: a sentence can hold what a stranger wrote, and one of several values between short words could be made to
    take it hours. Each word is looked for once, at its first place, which finds the shortest values from the left, as `.+?` would.
    """

    words: tuple[str, ...]
    names: tuple[str, ...]

    def values_in(self, sentence: str) -> dict[str, str] | None:
        """Return what stands in place of the names, none of it empty; None when the sentence is another."""
        last = len(sentence) - len(self.words[-1])
        if not sentence.startswith(self.words[0]) or not sentence.endswith(self.words[-1]):
            return None
        values: dict[str, str] = {}
        at = len(self.words[0])
        for name, word in zip(self.names[:-1], self.words[1:-1], strict=True):
            found = sentence.find(word, at + 1, last)
            if found < 0:
                return None
            values[name] = sentence[at:found]
            at = found + len(word)
        return {**values, self.names[-1]: sentence[at:last]} if at < last else None


@cache
def _templates(language: str) -> tuple[tuple[_Template, list[str]], ...]:
    """Sentences with values and their translations in pieces; those with the most words of their own first: the rest may fit by chance."""
    known = [(_PLACEHOLDER.split(template), _PLACEHOLDER.split(translation)) for template, translation in translated_templates(language)]
    known.sort(key=lambda one: -sum(map(len, one[0][::2])))
    return tuple((_template(pieces), translation) for pieces, translation in known if len(pieces) > 1)


def _template(pieces: list[str]) -> _Template:
    # Every second piece is the name of a value.
    return _Template(tuple(piece.replace("%%", "%") for piece in pieces[::2]), tuple(pieces[1::2]))


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a sentence with its values in place of their names, in English.

    Unlike `%` it takes templates of strangers: what names no value, and any other sign, stays as it is.
    """
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template).replace("%%", "%")


def said_with(template: str, values: Mapping[str, str]) -> str:
    """Return a sentence with its values in the language spoken here.

    One whose values stand in it already is looked for as `said` does; in English where the catalogue has nothing that fits.
    """
    translated = gettext(template) if template else ""
    return filled(translated, values) if translated != template else said(filled(template, values))
