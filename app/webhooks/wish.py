"""A single alert → the intent of an order. What the alert asks beyond that is refused rather than left out."""

from app.domain.enums import Side, Source
from app.domain.intents import OrderIntent
from app.errors import BadPayload
from app.webhooks.alert import Action, Alert, Reading, SizeKind

_UNSUPPORTED_SIZES = frozenset({SizeKind.EQUITY, SizeKind.RISK})


def intent_of(reading: Reading, *, own_key: str, delivery_key: str) -> OrderIntent | None:
    """Return the order that a message asks for; None where there is nothing to trade.

    Args:
        reading: What the message means.
        own_key: What a name that the sender gave is put behind.
        delivery_key: The intent's key where the sender gave none.

    Raises:
        BadPayload: FIELD_UNSUPPORTED: it asks for what is not acted on yet; SYMBOL_MISSING.
    """
    if len(reading.alerts) != 1:
        raise _unsupported("several alerts in one message", "action")
    alert = reading.alerts[0]
    if alert.action in (Action.PING, Action.NONE):
        return None
    if alert.action not in (Action.BUY, Action.SELL, Action.CLOSE):
        raise _unsupported(f"the action {alert.action.value}", "action")
    _refuse_unsupported(alert)
    if alert.symbol is None:
        raise BadPayload('no symbol: add "ticker": "{{ticker}}" to the alert\'s message', code="SYMBOL_MISSING", field="symbol")
    kind, value = (None, None) if alert.size is None else (alert.size.kind, alert.size.value)
    return OrderIntent(
        symbol=alert.symbol,
        side=Side.BUY if alert.action is Action.BUY else Side.SELL,
        source=Source.WEBHOOK,
        key=delivery_key if alert.key is None else own_key + alert.key,
        type=alert.type,
        quantity=value if kind is SizeKind.BASE else None,
        notional=value if kind is SizeKind.QUOTE else None,
        percent=value if kind in (SizeKind.FREE, SizeKind.POSITION) else None,
        close_position=alert.action is Action.CLOSE and kind is None,
        price=None if alert.price is None else alert.price.price,
        time_in_force=alert.time_in_force,
        post_only=alert.post_only,
    )


def _refuse_unsupported(alert: Alert) -> None:
    wanted = {
        "stop_loss": alert.stop is not None,
        "take_profit": bool(alert.targets),
        "trailing_percent": alert.trailing_delta is not None,
        "price": alert.price is not None and alert.price.price is None,
        "broker": alert.account is not None,
        "size": alert.size is not None and alert.size.kind in _UNSUPPORTED_SIZES,
    }
    for name, is_wanted in wanted.items():
        if is_wanted:
            raise _unsupported(f"{name} as it stands in the message", name)


def _unsupported(what: str, field: str) -> BadPayload:
    return BadPayload(
        f"{what} cannot be honoured yet, so nothing was traded: an order without it is not what the alert asks for",
        code="FIELD_UNSUPPORTED",
        field=field,
    )
