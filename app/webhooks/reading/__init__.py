"""Any message → what it asks for. Bytes in, a Reading out, or BadPayload with a reason that a trader can act on."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from app.webhooks.alert import Action, Alert, Level, Reading, Size, SizeKind
from app.webhooks.masking import masked_text
from app.webhooks.payload import body_key as delivery_key
from app.webhooks.payload import read_alert

__all__ = ["delivery_key", "masked_text", "read_message"]

_NOBODY: Final = UUID(int=0)


def read_message(raw: bytes) -> Reading:
    """Return what a message asks for.

    Raises:
        BadPayload: it cannot be read; the message says what and where.
    """
    found = read_alert(raw, webhook_id=_NOBODY, delivery_id=_NOBODY)
    intent = found.intent
    if intent is None:
        return Reading(alerts=(Alert(action=Action.PING, dialect="json"),), parsed=found.parsed)
    action = Action.CLOSE if intent.close_position else Action(intent.side.value)
    alert = Alert(action=action, dialect="json", symbol=intent.symbol, type=intent.type)
    sizes = ((SizeKind.BASE, intent.quantity), (SizeKind.QUOTE, intent.notional), (SizeKind.FREE, intent.percent))
    size = next((Size(kind=kind, value=value) for kind, value in sizes if value is not None), None)
    price = None if intent.price is None else Level(price=intent.price)
    return Reading(alerts=(replace(alert, size=size, price=price, time_in_force=intent.time_in_force),), parsed=found.parsed)
