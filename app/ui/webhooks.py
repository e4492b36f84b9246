"""Regions of the webhooks page, read from the database."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import FastAPI

from app.core.i18n import gettext
from app.domain.instruments import plain
from app.ui.labels import label
from app.ui.moments import moment_of
from app.ui.views import (
    Choice,
    DeliveryLog,
    DeliveryRow,
    Environment,
    HookCount,
    HookPosition,
    HookRow,
    LogForm,
    PositionRow,
    Reader,
    Region,
)
from app.webhooks import log, overview
from app.webhooks.alert import SizeKind
from app.webhooks.models import Decision
from app.webhooks.reading import masked_text
from app.webhooks.senders import TRADINGVIEW

_LOG_ROWS: Final = 50
_SUMMARY_LENGTH: Final = 60
_LOG: Final = "/webhooks/log"
_EXPORT: Final = "/api/webhooks/deliveries/export"
_MOST_TEXT: Final = 100
#: Words of other platforms for the same, the first one that a message has.
_FIRST: Final = (
    ("action", "side", "signal", "order_action"), ("symbol", "ticker", "pair"),
    ("size", "quantity", "qty", "contracts", "notional", "percent"),
)  # fmt: skip


async def hook_list(app: FastAPI, user_id: UUID) -> Region[HookRow]:
    """Return the user's webhooks with what they did lately."""
    now = app.state.clock.now()
    return Region(rows=tuple(_hook(app, row, now) for row in await overview.list_hooks(app.state.database, user_id, now=now)))


def _hook(app: FastAPI, row: Any, now: datetime) -> HookRow:
    counts = row["counts"]
    late = overview.late_since(row["interval"], expected_from=row["expected_from"], last_at=row["last_at"], now=now)
    return HookRow(
        id=str(row["id"]),
        name=row["name"],
        broker=row["broker_name"] or gettext("none: its account is gone"),
        env=None if row["exchange"] is None else environment_of(app, row["exchange"], is_testnet=row["is_testnet"]),
        created_at=row["created_at"],
        is_active=row["is_active"],
        last_at=row["last_at"],
        last_decision=row["last_decision"],
        counts=tuple(HookCount(decision=decision.value, count=counts[decision]) for decision in Decision if counts.get(decision)),
        interval=row["interval"] or "",
        late_since=late if row["is_active"] else None,
        per_minute=row["per_minute"],
        max_age_s=row["max_age_s"],
        senders=None if row["allowed_ips"] is None else len(row["allowed_ips"]),
        is_from_tradingview=set(row["allowed_ips"] or ()) == set(TRADINGVIEW),
    )


def environment_of(app: FastAPI, exchange: str, *, is_testnet: bool) -> Environment:
    """Return what an account of that exchange trades with: real money unless it is known not to."""
    if is_testnet:
        return "testnet"
    if exchange == "paper":
        return "paper"
    return "simulated" if exchange == "binance" and app.state.settings.is_simulated else "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuestion:
    """What the page asks the log for, as its address says."""

    hook: str = ""
    decision: str = ""
    text: str = ""
    symbol: str = ""
    since: str = ""
    until: str = ""
    cursor: str = ""
    held: str = ""

    def which(self, reader: Reader) -> log.LogFilter:
        """Return the filter; what is no id, no decision and no day of the reader's asks for nothing."""
        return log.LogFilter(
            webhook_id=_uuid(self.hook),
            decision=self.decision if self.decision in set(Decision) else None,
            text=_printable(self.text),
            symbol=_printable(self.symbol),
            since=moment_of(self.since, reader),
            until=moment_of(self.until, reader, is_end=True),
        )

    def address(self, base: str, **changed: str) -> str:
        """Return the address at which the same is asked, but for what is changed."""
        values = {name: changed.get(name, getattr(self, name)) for name in self.__slots__}
        asked = urlencode({name: value for name, value in values.items() if value})
        return f"{base}?{asked}" if asked else base


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:_MOST_TEXT]


async def log_page(app: FastAPI, user_id: UUID, asked: LogQuestion, *, reader: Reader, is_admin: bool) -> DeliveryLog:
    """Return a page of the log."""
    # What nobody's address received is no tenant's.
    database = app.state.platform_database if is_admin else app.state.database
    which = asked.which(reader)
    cursor = asked.cursor if _uuid(asked.cursor) is not None else ""
    rows, following = await log.page_of_log(database, user_id, which=which, limit=_LOG_ROWS, cursor=cursor or None, with_strangers=is_admin)
    return DeliveryLog(
        rows=tuple(delivery_row(row) for row in rows),
        here=asked.address(_LOG),
        next=asked.address(_LOG, cursor=following) if following else "",
        first=asked.address(_LOG, cursor="") if cursor else "",
        turn=asked.address(_LOG, held="" if asked.held else "1"),
        export=_export(which),
        is_held=bool(asked.held or cursor),
        is_filtered=which != log.LogFilter(),
        searched=log.SEARCHED_AT_ONCE if following and len(rows) < _LOG_ROWS else 0,
    )


def _export(which: log.LogFilter) -> str:
    since, until = (None if moment is None else moment.isoformat() for moment in (which.since, which.until))
    values = {"webhook_id": which.webhook_id, "decision": which.decision, "text": which.text, "symbol": which.symbol}
    asked = urlencode({name: str(value) for name, value in {**values, "since": since, "until": until}.items() if value})
    return f"{_EXPORT}?{asked}" if asked else _EXPORT


def log_form(hooks: Region[HookRow], asked: LogQuestion, reader: Reader) -> LogForm:
    """Return the filter's form as it was sent."""
    return LogForm(
        hooks=tuple(Choice(value=hook.id, label=hook.name) for hook in hooks.rows),
        decisions=tuple(Choice(value=decision.value, label=label(decision.value)) for decision in Decision),
        hook=asked.hook,
        decision=asked.decision,
        text=asked.text[:_MOST_TEXT],
        symbol=asked.symbol[:_MOST_TEXT],
        since=asked.since,
        until=asked.until,
        timezone=reader.timezone,
    )


def delivery_row(row: Any) -> DeliveryRow:
    """Return one line of the log."""
    latency = row["latencies_ms"].get("acknowledged", row["latencies_ms"].get("decided"))
    return DeliveryRow(
        id=str(row["id"]),
        received_at=row["received_at"],
        hook=row["webhook_name"] or gettext("unknown address"),
        decision=row["decision"],
        summary=asked_for(row),
        reason=row["reason"] or "",
        code=row["code"] or "",
        order_count=len(row["order_ids"]),
        latency_ms=None if latency is None else round(latency),
        ip_address=row["ip_address"] or "",
        is_test=row["is_test"],
        is_replay=row["replay_of"] is not None,
    )


def _said(parsed: Mapping[str, Any]) -> str:
    """Action, symbol and size of the first wish, and how many come after it. Rows of older versions hold the members themselves."""
    alerts = parsed.get("alerts")
    wishes = [one for one in alerts if isinstance(one, dict)] if isinstance(alerts, list) else []
    first = wishes[0] if wishes else parsed
    words = [next((first[name] for name in names if first.get(name) not in (None, "")), None) for names in _FIRST]
    found = " ".join(str(word) for word in (*words[:2], _size(words[2])) if isinstance(word, str | int | float))
    return f"{found} (+{len(wishes) - 1})" if found and len(wishes) > 1 else found


def _size(size: Any) -> Any:
    if not isinstance(size, dict) or "value" not in size:
        return size
    try:
        return size["value"] if size.get("kind") in (SizeKind.BASE, SizeKind.QUOTE) else f"{plain(Decimal(size['value']) * 100)}%"
    except (InvalidOperation, TypeError, ValueError):
        return None


def asked_for(row: Any) -> str:
    """Return what a message asked for in a line, or how it began."""
    if row["decision"] == Decision.MISSED:
        return gettext("no alert came")
    if row["parsed"]:
        words = _said(row["parsed"])
        if words:
            return words[:_SUMMARY_LENGTH]
    line = " ".join(masked_text(row["raw"]).split())
    return line if len(line) <= _SUMMARY_LENGTH else line[: _SUMMARY_LENGTH - 1] + "…"


def hook_position(position: PositionRow, opened_by: Any) -> HookPosition:
    """Return an open position with the attempt that opened it, a row of `overview.openers`, or None when it is not known."""
    names = [one.name for one in fields(HookPosition) if one.name not in ("hook", "delivery_id")]
    return HookPosition(
        hook=(opened_by["webhook_name"] if opened_by else None) or "",
        delivery_id=str(opened_by["delivery_id"]) if opened_by else "",
        **{name: getattr(position, name) for name in names},
    )
