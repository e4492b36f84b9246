"""Typed reading of request parameters, with the venue's own complaints."""

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from urllib.parse import parse_qsl

import orjson

from app.emulator.errors import VenueError

MAX_DECIMALS = 8

_DECIMAL_RANGE = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_DECIMAL = re.compile(_DECIMAL_RANGE)
_ID_RANGE = r"^[a-zA-Z0-9-_]{1,36}$"
_ID = re.compile(_ID_RANGE)
_MAX_PARAMETERS = 100


def parse(query: str, body: str) -> dict[str, str]:
    """Return the parameters of a query string and a form body.

    Raises:
        VenueError: -1101 for a repeated parameter or too many.
    """
    try:
        pairs = [pair for text in (query, body) if text for pair in parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)]
    except ValueError as error:
        raise VenueError(-1101, "Too many parameters sent for this endpoint.") from error
    params = dict(pairs)
    if len(params) != len(pairs):
        raise VenueError(-1101, "Duplicate values for a parameter detected.")
    return params


def required(params: Mapping[str, str], name: str) -> str:
    """Return a parameter that must be there.

    Raises:
        VenueError: -1102.
    """
    value = params.get(name)
    if not value:
        raise VenueError.mandatory(name)
    return value


def decimal(params: Mapping[str, str], name: str) -> Decimal | None:
    """Return an unsigned decimal parameter, or None when it was not sent.

    Raises:
        VenueError: -1100 for anything that is no plain decimal, -1111 for more than eight decimals, -1105 when empty.
    """
    text = params.get(name)
    if text is None:
        return None
    if not text:
        raise VenueError(-1105, f"Parameter '{name}' was empty.")
    if _DECIMAL.match(text) is None:
        raise VenueError.illegal_characters(name, _DECIMAL_RANGE)
    if "." in text and len(text.rpartition(".")[2].rstrip("0")) > MAX_DECIMALS:
        raise VenueError.too_precise(name)
    return Decimal(text)


def integer(params: Mapping[str, str], name: str, *, largest: int | None = None) -> int | None:
    """Return an unsigned integer parameter, at most `largest`, or None when it was not sent.

    Raises:
        VenueError: -1100.
    """
    text = params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise VenueError.illegal_characters(name, "^[0-9]{1,20}$")
    return int(text) if largest is None else min(int(text), largest)


def client_order_id(params: Mapping[str, str], name: str) -> str | None:
    """Return a client order id, or None when it was not sent.

    Raises:
        VenueError: -1100.
    """
    text = params.get(name)
    if text is None:
        return None
    if _ID.match(text) is None:
        raise VenueError.illegal_characters(name, _ID_RANGE)
    return text


def member(params: Mapping[str, str], name: str, allowed: Collection[str], *, otherwise: VenueError) -> str:
    """Return a required parameter that must be one of `allowed`.

    Raises:
        VenueError: -1102 when missing, `otherwise` when it is none of them.
    """
    value = required(params, name)
    if value not in allowed:
        raise otherwise
    return value


def response_type(params: Mapping[str, str], *, otherwise: str) -> str:
    """Return how much of a new order is to be told: ACK, RESULT or FULL.

    Raises:
        VenueError: -1100.
    """
    kind = params.get("newOrderRespType") or otherwise
    if kind not in ("ACK", "RESULT", "FULL"):
        raise VenueError.illegal_characters("newOrderRespType", "^(ACK|RESULT|FULL)$")
    return kind


def symbols(params: Mapping[str, str]) -> list[str] | None:
    """Return the list of a `symbols=["A","B"]` parameter, or None when it was not sent.

    Raises:
        VenueError: -1100 or -1151.
    """
    text = params.get("symbols")
    if text is None:
        return None
    try:
        names = orjson.loads(text)
    except orjson.JSONDecodeError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise VenueError.illegal_characters("symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$')
    if len(set(names)) != len(names):
        raise VenueError(-1151, "Symbol is present multiple times in the list.")
    return names


def refuse_unread(params: Mapping[str, str], known: frozenset[str]) -> None:
    """Refuse parameters that the endpoint does not know.

    Raises:
        VenueError: -1104, as Binance answers junk such as a unified `stopLoss` field.
    """
    unread = [name for name in params if name not in known]
    if unread:
        raise VenueError(
            -1104,
            f"Not all sent parameters were read; read '{len(params) - len(unread)}' parameter(s) but was sent '{len(params)}'.",
        )
