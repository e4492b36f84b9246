"""Numbers as traders and their tools write them, read exactly or refused. Knows units, not what they are for."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.errors import BadPayload

_LONGEST_NUMBER: Final = 60
#: What NUMERIC(38, 18) holds before and behind the point.
_DIGITS: Final = 18
_NUMBER: Final = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]{1,3})?")
#: A number, and what stands before and behind it: `5%`, `45q`, `@60000`, `e2%`.
_AMOUNT: Final = re.compile(r"([A-Za-z@]?)([+-]?[0-9.,]++(?:[eE][+-]?[0-9]{1,3})?)\s*+([A-Za-z%$]{0,3})")
#: One comma before exactly three digits may be a decimal comma or a mark between thousands.
_EITHER: Final = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
#: What strategies write where they have no value.
_NOTHING: Final = frozenset({"", "null", "none", "na", "n/a", "undefined", "false"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number with what was written around it. `unit` is `%`, `q` and the like, lower-case, or empty; so is `prefix`."""

    value: Decimal
    unit: str = ""
    prefix: str = ""


def is_number(text: str) -> bool:
    """Tell whether a word is a number, perhaps with a percent sign."""
    return _NUMBER.fullmatch(text.removesuffix("%")) is not None


def is_nothing(value: Any) -> bool:
    """Tell whether a value says that there is none: null, an empty text, `na`, zero, an empty list. NaN does not say so."""
    if value is None or value is False or value in ({}, []):
        return True
    if isinstance(value, Decimal):
        return value.is_zero()
    if isinstance(value, str):
        text = value.strip().lower()
        return text in _NOTHING or (len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text.rstrip("% ")) is not None and not _digits(text))
    return False


def read_number(value: Any, field: str) -> Decimal:
    """Return a plain number.

    Raises:
        BadPayload: NUMBER_INVALID or NUMBER_AMBIGUOUS, with the field and what it was.
    """
    amount = read_amount(value, field)
    if amount.unit or amount.prefix:
        raise _invalid(field, str(value))
    return amount.value


def read_amount(value: Any, field: str) -> Amount:
    """Return a number with its unit.

    Raises:
        BadPayload: NUMBER_INVALID or NUMBER_AMBIGUOUS, with the field and what it was.
    """
    if isinstance(value, bool) or not isinstance(value, str | Decimal):
        raise BadPayload(f"{field} must be a number, was {_kind(value)}", code="NUMBER_INVALID", field=field)
    text = str(value).strip()
    if len(text) > _LONGEST_NUMBER + 4:
        raise _invalid(field, text)
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise _invalid(field, text)
    prefix, digits, unit = found[1].lower(), found[2], found[3].lower()
    if _EITHER.fullmatch(digits):
        raise BadPayload(
            f"{field} can be read in two ways, was {digits}: write it without a mark between thousands and with a decimal point",
            code="NUMBER_AMBIGUOUS",
            field=field,
        )
    if len(digits) > _LONGEST_NUMBER or _NUMBER.fullmatch(digits) is None:
        raise _invalid(field, text)
    number = Decimal(digits.replace(",", "."))
    if number and not -_DIGITS <= number.adjusted() <= _DIGITS:
        raise BadPayload(f"{field} is of a size no market knows, was {text[:40]}", code="NUMBER_INVALID", field=field)
    if not number:
        number = Decimal(0)  # "0e999" has no more digits than it needs either
    return Amount(value=number, unit=unit, prefix=prefix)


def read_whole(value: Any, field: str, *, least: int, most: int) -> int:
    """Return a whole number between two bounds.

    Raises:
        BadPayload: NUMBER_INVALID.
    """
    number = read_number(value, field)
    if number != number.to_integral_value() or not least <= number <= most:
        raise BadPayload(
            f"{field} must be a whole number from {least} to {most}, was {str(value)[:40]}", code="NUMBER_INVALID", field=field
        )
    return int(number)


def _invalid(field: str, text: str) -> BadPayload:
    marks = " (no marks between thousands)" if "," in text and "." in text else ""
    return BadPayload(f"{field} must be a number like 0.01{marks}, was {text[:40]}", code="NUMBER_INVALID", field=field)


def _digits(text: str) -> str:
    """The digits of a number that make it other than zero."""
    return re.sub(r"[eE].*|[^1-9]", "", text)


def _kind(value: Any) -> str:
    return {bool: "true or false", dict: "an object"}.get(type(value), type(value).__name__)
