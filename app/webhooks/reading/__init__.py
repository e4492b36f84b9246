"""Any alert body → what it asks for. For now what `app.webhooks.payload` understands, in the terms of `app.webhooks.alert`."""

from typing import Final
from uuid import UUID

from app.domain.enums import Side
from app.webhooks.alert import Action, Alert, Level, Reading, Size, SizeKind
from app.webhooks.payload import read_alert, read_members

_NOBODY: Final = UUID(int=0)


def read_message(raw: bytes) -> Reading:
    """Return what the body asks for.

    Raises:
        BadPayload: it cannot be read or asks for something that cannot be; the message says what and where.
    """
    found = read_alert(raw, webhook_id=_NOBODY, delivery_id=_NOBODY)
    intent = found.intent
    if intent is None:
        return Reading(alerts=(Alert(action=Action.PING, dialect="own"),), parsed=found.parsed)
    size = None
    for kind, value in ((SizeKind.BASE, intent.quantity), (SizeKind.QUOTE, intent.notional), (SizeKind.FREE, intent.percent)):
        size = size if value is None else Size(kind=kind, value=value)
    side = Action.BUY if intent.side is Side.BUY else Action.SELL
    named = read_members(raw).get("client_intent_id")
    alert = Alert(
        action=Action.CLOSE if intent.close_position else side,
        dialect="own",
        symbol=intent.symbol,
        type=intent.type,
        price=None if intent.price is None else Level(price=intent.price),
        size=size,
        time_in_force=intent.time_in_force,
        post_only=intent.post_only,
        key=str(named).strip() if named else None,
    )
    return Reading(alerts=(alert,), parsed=found.parsed)
