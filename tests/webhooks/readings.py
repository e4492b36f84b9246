"""What the tests of reading share: read a body, or expect its refusal."""

import json
from decimal import Decimal
from typing import Any

import pytest

from app.errors import BadPayload
from app.webhooks.alert import Action, Alert, Level, Size, SizeKind
from app.webhooks.reading import read_message


def alerts_of(body: str | bytes | dict[str, Any] | list[Any]) -> tuple[Alert, ...]:
    """The alerts of a body; a dict or list is sent as JSON."""
    text = json.dumps(body) if isinstance(body, dict | list) else body
    return read_message(text.encode() if isinstance(text, str) else text).alerts


def alert_of(body: str | bytes | dict[str, Any]) -> Alert:
    """The one alert of a body."""
    (alert,) = alerts_of(body)
    return alert


def refused(body: str | bytes | dict[str, Any] | list[Any]) -> BadPayload:
    """The refusal of a body."""
    with pytest.raises(BadPayload) as caught:
        alerts_of(body)
    return caught.value


def buy(**members: Any) -> dict[str, Any]:
    return {"ticker": "BTCUSDT", "action": "buy", "quantity": "0.01"} | members


def base(value: str) -> Size:
    return Size(kind=SizeKind.BASE, value=Decimal(value))


def quote(value: str) -> Size:
    return Size(kind=SizeKind.QUOTE, value=Decimal(value))


def free(value: str) -> Size:
    return Size(kind=SizeKind.FREE, value=Decimal(value))


def equity(value: str) -> Size:
    return Size(kind=SizeKind.EQUITY, value=Decimal(value))


def of_position(value: str) -> Size:
    return Size(kind=SizeKind.POSITION, value=Decimal(value))


def price(value: str) -> Level:
    return Level(price=Decimal(value))


def offset(value: str) -> Level:
    return Level(offset=Decimal(value))


__all__ = ["Action", "alert_of", "alerts_of", "base", "buy", "equity", "free", "of_position", "offset", "price", "quote", "refused"]
