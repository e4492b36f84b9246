"""What the words for an action mean, alone and together. Pure tables: every order begins with one of these words."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from app.domain.enums import OrderType
from app.errors import BadPayload
from app.webhooks.alert import Action

Way = Literal["buy", "sell", "long", "short"]


class Verb(StrEnum):
    """What a word wants to be done, if it says more than a direction."""

    ENTER = "enter"
    EXIT = "exit"
    REDUCE = "reduce"
    REVERSE = "reverse"
    CANCEL = "cancel"
    PROTECT = "protect"
    BREAK_EVEN = "break_even"
    PING = "ping"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word's meaning: a verb, a direction or both; `type` where it names the kind of order too."""

    verb: Verb | None = None
    way: Way | None = None
    type: OrderType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What all words of an alert come to. `note` says why nothing is done, or less than the words say."""

    action: Action
    type: OrderType | None = None
    note: str | None = None
    is_reduction: bool = False
    to_break_even: bool = False
    goes_short: bool = False


NO_SHORT: Final = "a short position: a spot account cannot have one, so there was nothing to do; to sell what is held, send sell or close"
NOTHING_SHORT: Final = "the end of a short position: a spot account has none, so there was nothing to do"
ONLY_FLAT: Final = "a short position: a spot account cannot have one, so it only sells what is held"


def _spread(word: Word, text: str) -> dict[str, Word]:
    return dict.fromkeys(text.split(), word)


_TABLE: Final[dict[str, Word]] = {
    **_spread(Word(way="buy"), "buy b achat acheter"),
    **_spread(Word(way="buy", type=OrderType.MARKET), "buymarket marketbuy"),
    **_spread(Word(way="buy", type=OrderType.LIMIT), "buylimit limitbuy"),
    **_spread(Word(way="sell"), "sell s vente vendre"),
    **_spread(Word(way="sell", type=OrderType.MARKET), "sellmarket marketsell"),
    **_spread(Word(way="sell", type=OrderType.LIMIT), "selllimit limitsell"),
    **_spread(Word(way="long"), "long"),
    **_spread(Word(way="short"), "short"),
    **_spread(Word(verb=Verb.ENTER, way="long"), "enterlong entrylong longentry openlong golong startlong buytoopen"),
    **_spread(Word(verb=Verb.ENTER, way="short"), "entershort entryshort shortentry openshort goshort startshort selltoopen"),
    **_spread(Word(verb=Verb.EXIT, way="long"), "exitlong longexit closelong endlong selltoclose"),
    **_spread(Word(verb=Verb.EXIT, way="short"), "exitshort shortexit closeshort endshort buytoclose buytocover cover"),
    **_spread(Word(verb=Verb.EXIT), "close exit flat flatten exitall closeall closeposition closepositions closeatmarketprice liquidate"),
    **_spread(Word(verb=Verb.EXIT), "sellall fermer cloturer clôturer"),
    **_spread(Word(verb=Verb.ENTER), "open enter entry increase add"),
    **_spread(Word(verb=Verb.REDUCE), "reduce decrease partialclose partialexit"),
    **_spread(Word(verb=Verb.REVERSE), "reverse reversal flip stopandreverse inverser"),
    **_spread(Word(verb=Verb.CANCEL), "cancel cancelall cancelorder cancelorders cancelallorders annuler"),
    **_spread(
        Word(verb=Verb.PROTECT), "maj update modify protect amend updatesl updatetp updatesltp updatestop updatestoploss movestop movesl"
    ),
    **_spread(Word(verb=Verb.BREAK_EVEN), "breakeven movetobreakeven"),
    **_spread(Word(verb=Verb.PING), "ping test"),
    **_spread(Word(verb=Verb.NONE), "none hold wait neutral nothing"),
}
_LONGEST_WORD: Final = 40


def word_of(text: str) -> Word | None:
    """Return the meaning of a word in any case, with or without dashes and blanks; None for one we do not know."""
    return _TABLE.get(_plain(text)) if len(text) <= _LONGEST_WORD else None


def words() -> frozenset[str]:
    """Return every word that is known, without case and joints."""
    return frozenset(_TABLE)


def wanted_of(found: list[Word]) -> Wanted | None:
    """Return what the words of one alert come to, such as `close` and `long`; None when there are none.

    Raises:
        BadPayload: they contradict each other.
    """
    if not found:
        return None
    verbs = {word.verb for word in found if word.verb is not None}
    ways = {word.way for word in found if word.way is not None}
    types = {word.type for word in found if word.type is not None}
    if len(verbs) > 1 or len(types) > 1 or ways >= {"buy", "sell"} or ways >= {"long", "short"}:
        raise _contradiction(found)
    wanted = _with_verb(next(iter(verbs)), ways, found) if verbs else _without_verb(ways)
    return Wanted(
        action=wanted.action,
        type=next(iter(types), None),
        note=wanted.note,
        is_reduction=wanted.is_reduction,
        to_break_even=wanted.to_break_even,
        goes_short=wanted.goes_short,
    )


def _without_verb(ways: set[Way]) -> Wanted:
    if ways == {"buy", "short"}:
        return Wanted(action=Action.NONE, note=NOTHING_SHORT)
    if ways == {"sell", "short"}:
        return Wanted(action=Action.TARGET, note=ONLY_FLAT, goes_short=True)
    if ways == {"short"}:
        return Wanted(action=Action.NONE, note=NO_SHORT, goes_short=True)
    return Wanted(action=Action.SELL if "sell" in ways else Action.BUY)


def _with_verb(verb: Verb, ways: set[Way], found: list[Word]) -> Wanted:
    if verb is Verb.ENTER:
        return _entry(ways)
    if verb is Verb.EXIT or verb is Verb.REDUCE:
        return _exit(verb, ways, found)
    if verb is Verb.REVERSE:
        if ways & {"long", "buy"}:
            return Wanted(action=Action.BUY)
        if ways:
            return Wanted(action=Action.TARGET, note=ONLY_FLAT, goes_short=True)
        return Wanted(action=Action.REVERSE)
    if verb is Verb.CANCEL and ways:
        raise BadPayload("only all orders of a symbol can be canceled, not those of one side", code="FIELD_UNSUPPORTED", field="side")
    if verb in (Verb.PROTECT, Verb.BREAK_EVEN) and "short" in ways:
        return Wanted(action=Action.NONE, note=NOTHING_SHORT)
    if verb is Verb.BREAK_EVEN:
        return Wanted(action=Action.PROTECT, to_break_even=True)
    note = "the message says that nothing is to be done" if verb is Verb.NONE else None
    return Wanted(action=Action(verb.value), note=note)


def _entry(ways: set[Way]) -> Wanted:
    if not ways:
        raise BadPayload('the action opens something, but not what: add "side": "buy"', code="SIDE_MISSING", field="side")
    if ways & {"sell", "short"}:
        return Wanted(action=Action.NONE, note=NO_SHORT, goes_short=True)
    return Wanted(action=Action.BUY)


def _exit(verb: Verb, ways: set[Way], found: list[Word]) -> Wanted:
    if "short" in ways:
        return Wanted(action=Action.NONE, note=NOTHING_SHORT)
    if ways == {"buy"}:
        # A buy that ends a short, or the end of what was bought: nobody can tell.
        raise _contradiction(found)
    return Wanted(action=Action.CLOSE, is_reduction=verb is Verb.REDUCE)


def _contradiction(found: list[Word]) -> BadPayload:
    said = " and ".join(" ".join(part for part in (word.verb, word.way) if part) for word in found)
    return BadPayload(f"the message says {said}, which do not fit together", code="SIDE_CONTRADICTS", field="action")


def _plain(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign not in " _-.\t")
