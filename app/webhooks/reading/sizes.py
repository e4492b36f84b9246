"""How much an alert wants, said in one of many ways and only one."""

from decimal import Decimal
from typing import Final

from app.errors import BadPayload
from app.webhooks.alert import Action, Size, SizeKind
from app.webhooks.reading.members import Members
from app.webhooks.reading.numbers import Amount, read_amount

#: Plain names of a size and what it is counted in; a percent sign or a unit behind the number says more.
_NAMES: Final[dict[str, SizeKind]] = {
    **dict.fromkeys(
        ("quantity", "qty", "contracts", "ordercontracts", "strategyordercontracts", "amount", "size", "volume"), SizeKind.BASE
    ),
    **dict.fromkeys(("notional", "cost", "quotequantity", "quoteqty", "quoteorderqty", "quoteamount"), SizeKind.QUOTE),
    **dict.fromkeys(("percent", "percentage", "pourcent", "freepercent"), SizeKind.FREE),
    **dict.fromkeys(("equitypercent", "percentofequity"), SizeKind.EQUITY),
    **dict.fromkeys(("riskpercent", "percentrisk"), SizeKind.RISK),
    **dict.fromkeys(("positionpercent", "percentofposition", "closepercent"), SizeKind.POSITION),
}
#: What a percentage of the mission's field is of on a sell: the position, not the balance.
_OF_POSITION_ON_SELL: Final = frozenset({"pourcent"})
_UNITS: Final[dict[str, SizeKind]] = {
    "%": SizeKind.FREE,
    "%%": SizeKind.FREE,
    "a%": SizeKind.FREE,
    "%a": SizeKind.FREE,
    "%b": SizeKind.EQUITY,
    "p%": SizeKind.POSITION,
    "%p": SizeKind.POSITION,
    "%r": SizeKind.RISK,
    "q": SizeKind.QUOTE,
}


def size_of(members: Members, action: Action) -> Size | None:
    """Return the size that the members say; None when they say none.

    Raises:
        BadPayload: it is said in two ways, is not above zero, or is more than all there is.
    """
    given = members.take_all(*_NAMES)
    sizes = [(name, _one(members, name, value, action)) for name, value in given]
    different = {(size.kind, size.value) for _, size in sizes}
    if len(different) > 1:
        names = " and ".join(name for name, _ in sizes)
        raise BadPayload(f"the size is said in two ways, by {names}; give one of them", code="QUANTITY_INVALID", field=sizes[0][0])
    return sizes[0][1] if sizes else None


def size_from(amount: Amount, kind: SizeKind, field: str) -> Size:
    """Return a size of which it is known what it is counted in; percentages as fractions.

    Raises:
        BadPayload: QUANTITY_INVALID: not above zero, or more than 100 percent.
    """
    value = amount.value
    if value <= 0:
        raise BadPayload(f"{field} must be above zero, was {value.normalize():f}", code="QUANTITY_INVALID", field=field)
    if kind in (SizeKind.BASE, SizeKind.QUOTE):
        return Size(kind=kind, value=value)
    if value > 100:
        raise BadPayload(f"{field} is a percentage of 0 to 100 percent, was {value.normalize():f}", code="QUANTITY_INVALID", field=field)
    return Size(kind=kind, value=value / 100)


def unit_kind(amount: Amount, otherwise: SizeKind, field: str) -> SizeKind:
    """Return what the sign behind a number says that it is counted in.

    Raises:
        BadPayload: QUANTITY_INVALID: a sign that is not known here.
    """
    if not amount.unit and not amount.prefix:
        return otherwise
    if amount.prefix or amount.unit not in _UNITS:
        raise BadPayload(
            f"{field} has a sign behind its number that is not known here ({amount.prefix}{amount.unit}): write 0.01, 100q or 5%",
            code="QUANTITY_INVALID",
            field=field,
        )
    return _UNITS[amount.unit]


def _one(members: Members, name: str, value: object, action: Action) -> Size:
    plain = next(plain for plain in _NAMES if members.has(plain) and members.spelling(plain) == name)
    amount = read_amount(value, name)
    kind = _NAMES[plain]
    if amount.unit or amount.prefix:
        told = unit_kind(amount, kind, name)
        kind = told if kind is SizeKind.BASE or (kind, told) == (SizeKind.QUOTE, SizeKind.QUOTE) else _percent(kind, told, name)
    closes = action is Action.CLOSE
    if kind is SizeKind.FREE and (closes or (action is Action.SELL and plain in _OF_POSITION_ON_SELL)):
        kind = SizeKind.POSITION
    return size_from(Amount(value=amount.value), kind, name)


def _percent(kind: SizeKind, told: SizeKind, name: str) -> SizeKind:
    """A percent sign behind what is a percentage anyway says nothing more."""
    if kind is not SizeKind.QUOTE and told is SizeKind.FREE:
        return kind
    raise BadPayload(f"{name} says by its name and by its sign what it is counted in, and they differ", code="QUANTITY_INVALID", field=name)


def fraction(percent: Decimal) -> Decimal:
    """Return a percentage as a fraction."""
    return percent / 100
