"""One order and one round trip in full, for their own pages: what happened, in words."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI

from app.core.formatters import price, quantity, share
from app.core.i18n import N_, gettext
from app.core.sentences import said
from app.domain.enums import OrderState, Source
from app.domain.instruments import Instrument
from app.domain.protection import load_plan
from app.trading import history
from app.trading.orphans import ADOPTED
from app.trading.sweep import MISSING
from app.ui.history import Rules
from app.ui.history_rows import fill_row, history_order, lasting, trade_row
from app.ui.views import HistoryFill, NoteForm, OrderEvent, OrderInFull, Reader, Said, TradeInFull
from app.ui.webhooks import environment_of


def _name(kind: str) -> str:
    """A kind of event as a name of lower-case words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()


#: Kinds of events in words; a kind that is not among them is shown by its own name.
_EVENTS: Final = {
    "intent": N_("The order was wished for and stored"),
    "claimed": N_("Taken to be sent"),
    "triggered": N_("Its trigger price was reached"),
    "denied": N_("Refused here, before anything was sent"),
    "rejected": N_("Refused by the exchange"),
    "in_doubt": N_("The exchange did not answer: the order may or may not exist, and is looked for"),
    "not_found_after_window": N_("Looked for until it could no longer arrive: it never reached the exchange"),
    "reported": N_("The exchange told how it stands"),
    "resurrected": N_("It appeared at the exchange after all"),
    "cancel_requested": N_("Its cancellation was asked for"),
    "amended": N_("It was changed"),
    _name(MISSING): N_("The exchange does not list it"),
    _name(ADOPTED): N_("Found at the exchange and taken back into the books"),
}
#: Longer than that, minutes are no measure: candles of hours are.
_FINE: Final = timedelta(days=2)
_EXTREMES: Final = """
SELECT min(low)::text::numeric AS worst, max(high)::text::numeric AS best FROM candles
 WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time >= date_trunc($4, $5::timestamptz) AND open_time <= $6
"""


async def order_in_full(app: FastAPI, user_id: UUID, order_id: UUID, *, reader: Reader) -> OrderInFull:
    """Return one order with its events, fills, origin and note.

    Raises:
        OrderNotFound: no such order of this user.
    """
    database = app.state.database
    row = await history.order_of(database, user_id, order_id)
    fills = await history.fills_of(database, user_id, order_id=order_id)
    events = await history.events_of(database, user_id, order_id)
    rules = (await Rules(app).of([row])).get((row["exchange"], row["symbol"]))
    received_at, hook = await _alert(app, user_id, row["delivery_id"])
    origin, href = _origin(row, hook)
    return OrderInFull(
        row=history_order(row, rules),
        events=tuple(_event(event, rules, reader) for event in events),
        fills=tuple(fill_row(fill, rules, names=row) for fill in fills),
        note=NoteForm(address=f"/history/orders/{order_id}/note", text=row["note"] or "", tags=", ".join(row["tags"] or ())),
        code=row["code"] or "",
        origin=origin,
        origin_href=href,
        facts=_facts(row),
        plan=_plan(row["protection"], rules, reader),
        latencies=_latencies(row, fills, received_at),
        trip_ids=await _trips(app, user_id, {fill["position_id"] for fill in fills}),
        env=environment_of(app, row["exchange"], is_testnet=row["is_testnet"]),
    )


async def _alert(app: FastAPI, user_id: UUID, delivery_id: UUID | None) -> tuple[datetime | None, str]:
    if delivery_id is None:
        return None, ""
    statement = """SELECT d.received_at, h.name FROM webhook_deliveries d LEFT JOIN webhooks h ON h.id = d.webhook_id
                    WHERE d.user_id = $1 AND d.id = $2"""
    async with app.state.database.connection() as connection:
        found = await connection.fetchrow(statement, user_id, delivery_id)
    return (found["received_at"], found["name"] or "") if found else (None, "")


async def _trips(app: FastAPI, user_id: UUID, position_ids: set[UUID | None]) -> tuple[str, ...]:
    known = [position_id for position_id in position_ids if position_id is not None]
    statement = "SELECT id FROM positions WHERE user_id = $1 AND id = ANY($2) AND status = 'closed' ORDER BY closed_at"
    async with app.state.database.connection() as connection:
        return tuple(str(row["id"]) for row in await connection.fetch(statement, user_id, known))


def _origin(row: Any, hook: str) -> tuple[str, str]:
    if row["delivery_id"] is not None:
        words = gettext("An alert of the webhook “%(name)s”") % {"name": hook} if hook else gettext("An alert")
        return words, f"/webhooks/deliveries/{row['delivery_id']}"
    return {
        Source.MANUAL: gettext("You, by hand"),
        Source.BOT: gettext("A bot"),
        Source.RECOVERED: gettext("Found at the exchange: this server did not know it"),
        Source.WEBHOOK: gettext("An alert"),
    }[Source(row["source"])], ""


def _event(event: Any, rules: Instrument | None, reader: Reader) -> OrderEvent:
    detail: Mapping[str, Any] = event["detail"]
    told = [said(str(detail[name])) for name in ("detail", "why") if detail.get(name)]
    filled = Decimal(detail["filled_quantity"]) if detail.get("filled_quantity") else Decimal(0)
    if filled:
        step = rules.step_size if rules else None
        told.append(gettext("filled %(quantity)s") % {"quantity": quantity(filled, step, language=reader.language)})
    if detail.get("price"):
        told.append(price(Decimal(detail["price"]), rules.tick_size if rules else None, language=reader.language))
    words = _EVENTS.get(_name(event["kind"]))
    return OrderEvent(
        at=event["at"],
        words=gettext(words) if words else event["kind"],
        state=OrderState(event["state"]),
        detail=" · ".join(told),
    )


def _facts(row: Any) -> tuple[Said, ...]:
    named = (
        (gettext("Account"), row["broker_name"]),
        (gettext("Valid"), row["time_in_force"].upper()),
        (gettext("Our id"), row["client_order_id"]),
        (gettext("The exchange's id"), row["venue_order_id"]),
    )
    return tuple(Said(name=name, value=value) for name, value in named if value)


def _plan(document: Mapping[str, Any] | None, rules: Instrument | None, reader: Reader) -> tuple[Said, ...]:
    if not document:
        return ()
    plan, tick = load_plan(document), rules.tick_size if rules else None
    found = []
    if plan.stop_price is not None:
        found.append(Said(name=gettext("Stop"), value=price(plan.stop_price, tick, language=reader.language)))
    if plan.trailing_delta is not None:
        found.append(Said(name=gettext("Trailing stop"), value=share(plan.trailing_delta, language=reader.language)))
    for target in plan.targets:
        part = share(target.fraction, language=reader.language)
        found.append(Said(name=gettext("Target"), value=f"{price(target.price, tick, language=reader.language)} ({part})"))
    return tuple(found)


def _latencies(row: Any, fills: list[Any], received_at: datetime | None) -> tuple[Said, ...]:
    """From the wish on: an alert's arrival, or the click. The exchange's own clock tells when it filled."""
    begun = received_at or row["created_at"]
    steps = (
        (gettext("until it was sent"), row["sent_at"]),
        (gettext("until the exchange answered"), row["acknowledged_at"]),
        (gettext("until the first fill, by the exchange's clock"), fills[0]["executed_at"] if fills else None),
        (gettext("until the last fill, by the exchange's clock"), fills[-1]["executed_at"] if len(fills) > 1 else None),
    )
    return tuple(Said(name=name, value=lasting(at - begun)) for name, at in steps if at is not None)


async def trade_in_full(app: FastAPI, user_id: UUID, trade_id: UUID) -> TradeInFull:
    """Return one round trip with its fills, and how far the price went against it and with it.

    Raises:
        NotFound: no such round trip of this user.
    """
    database = app.state.database
    row = await history.trade_of(database, user_id, trade_id)
    fills = await history.fills_of(database, user_id, position_id=trade_id)
    rules = (await Rules(app).of([row])).get((row["exchange"], row["symbol"]))
    shown: tuple[HistoryFill, ...] = tuple(fill_row(fill, rules, names={"broker_name": row["broker_name"]}) for fill in fills)
    low, high = await _extremes(app, row)
    is_short = row["side"] == "short"
    return TradeInFull(
        row=trade_row(row, rules),
        orders=tuple(dict.fromkeys(fill.order_id for fill in shown)),
        fills=shown,
        note=NoteForm(address=f"/history/trades/{trade_id}/note", text=row["note"] or "", tags=", ".join(row["tags"] or ())),
        worst=high if is_short else low,
        best=low if is_short else high,
    )


async def _extremes(app: FastAPI, row: Any) -> tuple[Decimal | None, Decimal | None]:
    """The lowest and the highest price while it was open, as far as candles are stored."""
    timeframe, unit = ("1m", "minute") if row["closed_at"] - row["opened_at"] <= _FINE else ("1h", "hour")
    exchange = app.state.instruments.source(row["exchange"])
    async with app.state.database.connection() as connection:
        found = await connection.fetchrow(_EXTREMES, exchange, row["symbol"], timeframe, unit, row["opened_at"], row["closed_at"])
    return found["worst"], found["best"]
