"""The last look at an order's request: the numbers we meant must be in it.

ccxt drops a trigger it does not know on some venues, or sends it under its own name, which the venue ignores: what leaves is then an order
that trades at once. A version of ccxt that did so anew is stopped here.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.domain.instruments import plain
from app.errors import NotSent

_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
#: ccxt's own words, which no venue has: one that is still in a request was not understood.
_UNTRANSLATED: Final = re.compile(r"\b(?:stopLossPrice|takeProfitPrice|trailingPercent|trailingTriggerPrice)\b")
#: A venue's own step may cut so much off an amount to spend.
_SLACK: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A number that must be in the request, between two bounds."""

    name: str
    least: Decimal
    most: Decimal


def exactly(number: Decimal, name: str) -> Carried:
    """The number itself."""
    return Carried(name=name, least=number, most=number)


def up_to(number: Decimal, name: str) -> Carried:
    """The number, or a little less where the venue's step cuts it."""
    return Carried(name=name, least=number * (1 - _SLACK), most=number)


#: What the order that this task is sending must carry.
MUST_CARRY: ContextVar[tuple[Carried, ...]] = ContextVar("must_carry", default=())


class WireCheck:
    """Mixed in between our layer and an exchange class of ccxt."""

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Refuse an order whose request does not hold what was meant.

        Raises:
            NotSent: a number is missing, or a word was not translated; nothing was sent.
        """
        if method == "POST":
            check(MUST_CARRY.get(), url, body)
        return await super().fetch(url, method, headers, body)  # type: ignore[misc]  # ccxt's class comes after this one


def check(carried: tuple[Carried, ...], url: str, body: object) -> None:
    """Raise unless every number is in the query or the body, and none of ccxt's own words.

    Raises:
        NotSent: one is missing, or a word is there.
    """
    if not carried:
        return
    text = url.partition("?")[2] + " " + (body if isinstance(body, str) else "")
    if (word := _UNTRANSLATED.search(text)) is not None:
        raise NotSent(f"the request held {word[0]}, which the exchange would not understand; it was not sent")
    found = [Decimal(number) for number in _NUMBER.findall(text)]
    for each in carried:
        if not any(each.least <= number <= each.most for number in found):
            raise NotSent(f"the request did not hold the order's {each.name} of {plain(each.most)}; it was not sent")
