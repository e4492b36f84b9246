"""TradingView's strategy placeholders: from where a strategy came and where it stands now, said as what a spot account can do.

A spot account is long or flat. What a strategy holds short is nothing here, so its way from short to long is a buy of the new position,
not of the order's contracts, which hold the cover too.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.alert import Action, Size, SizeKind
from app.webhooks.reading.members import Members
from app.webhooks.reading.numbers import read_number
from app.webhooks.reading.words import NO_SHORT, NOTHING_SHORT, ONLY_FLAT, Wanted

_SIGNS: Final = {"long": 1, "bullish": 1, "flat": 0, "neutral": 0, "short": -1, "bearish": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a strategy stands: 1 long, 0 flat, −1 short; `quantity` in base units with that sign, None where only the side is known."""

    sign: int
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the placeholders come to. `size` None means whatever was said beside them."""

    action: Action
    size: Size | None = None
    position: Decimal | None = None
    note: str | None = None


def places_of(members: Members) -> tuple[Place | None, Place | None]:
    """Return where the strategy stands after its order and where it stood before, as far as the message says so.

    Raises:
        BadPayload: a word or number that cannot be one, or words and numbers that contradict each other.
    """
    after = _place(
        members.take_named("marketposition", "strategymarketposition", "sentiment"),
        members.take_named("marketpositionsize", "strategymarketpositionsize"),
        members.take_named("positionsize", "strategypositionsize", "targetposition"),
    )
    before = _place(
        members.take_named("prevmarketposition", "previousmarketposition", "strategyprevmarketposition"),
        members.take_named("prevmarketpositionsize", "previousmarketpositionsize", "strategyprevmarketpositionsize"),
        ("", None),
    )
    return after, before


def turn_of(wanted: Wanted | None, size: Size | None, after: Place | None, before: Place | None) -> Turn | None:
    """Return what a strategy's step means here; None when the message does not say where the strategy stands.

    Raises:
        BadPayload: POSITION_CONTRADICTS: an action that cannot lead there; SIDE_MISSING: neither says enough.
    """
    if after is None:
        return None
    action = None if wanted is None or wanted.goes_short else wanted.action
    if action not in (None, Action.BUY, Action.SELL, Action.CLOSE, Action.TARGET):
        return None
    if before is None:
        before = _before(action, size, after)
    _check(action, after, before)
    if after.sign == 0:
        return _to_flat(action, before)
    if after.sign < 0:
        return _to_short(after, before)
    return _to_long(action, size, after, before)


def _place(word: tuple[str, Any], amount: tuple[str, Any], signed: tuple[str, Any]) -> Place | None:
    sign = _sign(*word)
    quantity = None if amount[1] is None else read_number(amount[1], amount[0])
    if signed[1] is not None:
        number = read_number(signed[1], signed[0])
        own = (number > 0) - (number < 0)
        if sign is not None and own != sign:
            raise _contradicts(f"{word[0]} is {word[1]} but {signed[0]} is {signed[1]}", signed[0])
        return Place(sign=own, quantity=number)
    if sign is None:
        return None
    if quantity is None:
        return Place(sign=sign, quantity=Decimal(0) if sign == 0 else None)
    # market_position_size has no sign of its own.
    if bool(quantity) != bool(sign):
        raise _contradicts(f"{word[0]} is {word[1]} but {amount[0]} is {amount[1]}", amount[0])
    return Place(sign=sign, quantity=abs(quantity) * sign)


def _sign(name: str, value: Any) -> int | None:
    if value is None:
        return None
    text = str(value).strip().lower() if isinstance(value, str) else type(value).__name__
    if text not in _SIGNS:
        raise BadPayload(f"{name} must be long, flat or short, was {text[:40]}", code="POSITION_INVALID", field=name)
    return _SIGNS[text]


def _before(action: Action | None, size: Size | None, after: Place) -> Place | None:
    """Where it stood before, told by the order's contracts and what they led to."""
    if size is None or size.kind is not SizeKind.BASE or after.quantity is None or action not in (Action.BUY, Action.SELL):
        return None
    quantity = after.quantity - (size.value if action is Action.BUY else -size.value)
    return Place(sign=(quantity > 0) - (quantity < 0), quantity=quantity)


def _check(action: Action | None, after: Place, before: Place | None) -> None:
    """Refuse an action that cannot lead from there to here: a fixed word beside placeholders would trade the wrong way."""
    leads_down = before is not None and after.sign < before.sign
    leads_up = before is not None and after.sign > before.sign
    if (action is Action.BUY and leads_down) or (action is Action.SELL and leads_up):
        raise _contradicts(f"the action is {action.value}, but the position went the other way", "action")
    if action is Action.BUY and after.sign < 0 and before is None:
        raise _contradicts("the action is buy, but the position is short", "action")


def _to_flat(action: Action | None, before: Place | None) -> Turn:
    if before is not None and before.sign < 0:
        return Turn(action=Action.NONE, note=NOTHING_SHORT)
    if before is not None and before.sign == 0:
        return Turn(action=Action.NONE, note="the strategy was flat and stays so")
    if before is None and action is Action.BUY:
        return Turn(action=Action.NONE, note=NOTHING_SHORT)
    if before is None and action is None:
        return Turn(action=Action.TARGET, position=Decimal(0))
    return Turn(action=Action.CLOSE)


def _to_short(after: Place, before: Place | None) -> Turn:
    if before is None:
        return Turn(action=Action.TARGET, position=Decimal(0) if after.quantity is None else after.quantity, note=ONLY_FLAT)
    if before.sign > 0:
        return Turn(action=Action.CLOSE, note=ONLY_FLAT)
    return Turn(action=Action.NONE, note=NO_SHORT)


def _to_long(action: Action | None, size: Size | None, after: Place, before: Place | None) -> Turn:
    moves_from = None if before is None else before.quantity
    if before is not None and before.sign <= 0:
        return _opening(size, after, before)
    if action in (Action.BUY, Action.SELL) and (size is not None or after.quantity is None):
        return Turn(action=action, size=size)
    if action is Action.CLOSE:
        if size is None:
            raise _contradicts("the action closes the position, but the strategy stays long", "action")
        return Turn(action=action, size=size)
    if after.quantity is None:
        raise BadPayload(
            'no action: add "action": "{{strategy.order.action}}" to the alert\'s message', code="SIDE_MISSING", field="action"
        )
    if moves_from is None:
        return Turn(action=Action.TARGET, position=after.quantity)
    change = after.quantity - moves_from
    if not change:
        return Turn(action=Action.NONE, note="the strategy's position did not change")
    return Turn(action=Action.BUY if change > 0 else Action.SELL, size=Size(kind=SizeKind.BASE, value=abs(change)))


def _opening(size: Size | None, after: Place, before: Place) -> Turn:
    """From flat or short to long: what is bought is the new position."""
    if size is not None and size.kind is not SizeKind.BASE:
        bought: Size | None = size
    elif after.quantity is not None and (before.sign < 0 or size is None):
        bought = Size(kind=SizeKind.BASE, value=after.quantity)
    elif before.sign < 0 and size is not None:
        bought = _without_cover(size, before)
    else:
        bought = size
    note = "the strategy turned from short to long; only the long part was bought" if before.sign < 0 else None
    return Turn(action=Action.BUY, size=bought, note=note)


def _without_cover(size: Size, before: Place) -> Size:
    """The part of the order's contracts that is not the cover of a short."""
    if before.quantity is None or size.value <= -before.quantity:
        raise BadPayload(
            "the order turns a short position into a long one, and its contracts hold both; add "
            '"market_position_size": "{{strategy.market_position_size}}" to the message to say how much is long',
            code="QUANTITY_MISSING",
            field="market_position_size",
        )
    return Size(kind=SizeKind.BASE, value=size.value + before.quantity)


def _contradicts(what: str, field: str) -> BadPayload:
    return BadPayload(f"{what}; placeholders and fixed words do not fit together", code="POSITION_CONTRADICTS", field=field)
