"""The test door: what a message would do, told without doing it. Nothing is sent; the attempt stands in the log as a test."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.core.events import EventBus
from app.core.ids import new_id
from app.domain.instruments import Instrument
from app.domain.symbols import resolve_symbol, why_unresolved
from app.errors import AppError, BadPayload, ExchangeError, WebhookError
from app.trading.account import check_account
from app.trading.desk import Instruments
from app.webhooks.alert import Action, Alert, Reading, SizeKind
from app.webhooks.events import DeliveryChanged
from app.webhooks.models import Decision, Webhook
from app.webhooks.queries import masked, masked_members
from app.webhooks.reading import read_message
from app.webhooks.receive import account_of, as_text
from app.webhooks.rules import HookRules

_ACCOUNT: Final = """
SELECT id AS broker_id, exchange, is_active AS broker_is_active, paused_reason FROM brokers
 WHERE user_id = $1 AND removed_at IS NULL AND CASE WHEN $2::uuid IS NULL THEN is_default ELSE id = $2 END
"""
_KEEP: Final = """
INSERT INTO webhook_deliveries
       (id, webhook_id, user_id, received_at, raw, size, parsed, dialect, alert_at, broker_id, is_test, decision, code, reason, done_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, true, $11, $12, $13, $4)
"""
#: What a symbol is needed for.
_OF_A_SYMBOL: Final = frozenset({Action.BUY, Action.SELL, Action.CLOSE, Action.TARGET, Action.REVERSE, Action.PROTECT})
_OPENS: Final = frozenset({Action.BUY, Action.REVERSE})
_SELLS: Final = frozenset({Action.SELL, Action.CLOSE, Action.REVERSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What would be done. `reading` is None when the message cannot be read; `code` and `reason` say why nothing would be traded."""

    delivery_id: UUID
    decision: Decision
    reading: Reading | None
    code: str | None
    reason: str


async def rehearse(
    database: Database, bus: EventBus, instruments: Instruments, webhook: Webhook, raw: bytes, *, now: datetime
) -> Rehearsal:
    """Read a message as the webhook would, hold it against its rules and its account, keep the attempt, and tell what would be done."""
    async with database.connection() as connection:
        row = await connection.fetchrow(_ACCOUNT, webhook.user_id, webhook.broker_id)
    reading: Reading | None = None
    code: str | None = None
    reason = "a test: it was read, held against the rules, and not traded"
    decision = Decision.PING
    try:
        reading = read_message(raw)
        await _check(reading, webhook, row, instruments)
    except AppError as error:
        code, reason = error.code, error.message
        decision = Decision.UNREADABLE if isinstance(error, BadPayload) and reading is None else Decision.DENIED
    made = new_id()
    first = reading.alerts[0] if reading is not None and reading.alerts else None
    told = (None if first is None else first.dialect, None if first is None else first.at, None if row is None else row["broker_id"])
    parsed = None if reading is None else masked_members(reading.parsed)
    async with database.connection() as connection:
        await connection.execute(
            _KEEP, made, webhook.id, webhook.user_id, now, masked(as_text(raw)), len(raw), parsed, *told, decision.value, code, reason
        )
    bus.publish(DeliveryChanged(user_id=webhook.user_id, delivery_id=made, decision=decision))
    return Rehearsal(delivery_id=made, decision=decision, reading=reading, code=code, reason=reason)


async def _check(reading: Reading, webhook: Webhook, row: Mapping[str, Any] | None, instruments: Instruments) -> None:
    """Refuse what would not be traded, for the first reason there is.

    Raises:
        AppError: with that reason.
    """
    rules = HookRules.model_validate(webhook.rules)
    if not webhook.is_active:
        raise WebhookError("this webhook is paused", code="HOOK_PAUSED")
    if all(alert.action in (Action.PING, Action.NONE) for alert in reading.alerts):
        return
    account = None if row is None else account_of(row)
    if account is None:
        raise WebhookError("there is no broker account to trade on; add one, then send the alert again", code="NO_BROKER")
    check_account(account)
    try:
        listed = await instruments.all(account.exchange)
    except ExchangeError:
        listed = {}
    for alert in reading.alerts:
        _check_alert(alert, rules, listed)


def _check_alert(alert: Alert, rules: HookRules, listed: Mapping[str, Instrument]) -> None:
    if alert.action in _OF_A_SYMBOL:
        _check_symbol(alert.symbol or rules.symbol, rules, listed)
    sides = set(rules.sides or ("buy", "sell"))
    if (alert.action in _OPENS and "buy" not in sides) or (alert.action in _SELLS and "sell" not in sides):
        raise WebhookError(f"this webhook takes only {' and '.join(sorted(sides))} alerts", code="SIDE_NOT_ALLOWED")
    size = rules.size if alert.size is None or rules.always_default_size else alert.size
    if alert.action is Action.BUY and size is None:
        raise WebhookError("the message says no size, and this webhook has none of its own", code="SIZE_MISSING")
    if size is not None and size.kind is SizeKind.RISK and alert.stop is None and rules.stop_percent is None:
        raise WebhookError("a size by risk needs a stop: the message has none, and neither has this webhook", code="STOP_MISSING")


def _check_symbol(name: str | None, rules: HookRules, listed: Mapping[str, Instrument]) -> None:
    if not name:
        raise WebhookError("the message names no symbol, and this webhook has none of its own", code="SYMBOL_MISSING")
    symbol = resolve_symbol(name, listed) if listed else None
    if listed and symbol is None:
        raise WebhookError(why_unresolved(name, listed), code="SYMBOL_UNKNOWN")
    allowed = {resolve_symbol(text, listed) or text.upper() for text in rules.symbols or ()}
    if allowed and (symbol or name.upper()) not in allowed:
        raise WebhookError(f"this webhook does not trade {symbol or name}", code="SYMBOL_NOT_ALLOWED")
