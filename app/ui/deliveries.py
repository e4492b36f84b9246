"""One attempt as its page shows it: the message, what was understood, what was decided, and what came of it."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI

from app.core.i18n import N_, gettext
from app.domain.enums import Side
from app.domain.instruments import Instrument
from app.errors import ExchangeError
from app.ui.order_rows import order_row
from app.ui.views import ChainRow, DeliveryDetail, DeliveryOrder, DeliveryResult, FillLine, Latency, Said
from app.ui.webhooks import delivery_row, environment_of
from app.ui.wishes import wishes_in
from app.webhooks.log import Facts, facts_of
from app.webhooks.models import Decision
from app.webhooks.overview import paper_account
from app.webhooks.reading import masked_text, masked_value

#: Steps of an attempt, in their order; a step that is not among them is shown by its own name.
_STEPS: Final = {
    "received": N_("Message received"),
    "stored": N_("Stored in the inbox"),
    "answered": N_("Sender answered"),
    "begun": N_("Taken from the inbox"),
    "read": N_("Read"),
    "sent": N_("Order sent"),
    "acknowledged": N_("Exchange answered"),
    "filled": N_("Order filled"),
    "decided": N_("Decided"),
}
_LONGEST_VALUE: Final = 400


async def delivery_detail(app: FastAPI, user_id: UUID, delivery_id: UUID, *, is_admin: bool, replay_error: str = "") -> DeliveryDetail:
    """Return one attempt in full.

    Raises:
        DeliveryNotFound: no such attempt of this user; of nobody either, for administrators.
    """
    database = app.state.platform_database if is_admin else app.state.database
    facts = await facts_of(database, user_id, delivery_id, with_strangers=is_admin)
    row = facts.delivery
    is_stranger = row["user_id"] is None
    paper = None if is_stranger else await paper_account(app.state.database, user_id, row["webhook_id"])
    traded_on = facts.orders[0] if facts.orders else None
    return DeliveryDetail(
        row=delivery_row(row),
        raw=masked_text(row["raw"]),
        size=row["size"],
        content_type=row["content_type"] or "",
        dialect=row["dialect"] or "",
        alert_at=row["alert_at"],
        done_at=row["done_at"],
        broker=(traded_on["broker_name"] if traded_on else row["broker_name"]) or "",
        env=environment_of(app, traded_on["exchange"], is_testnet=traded_on["is_testnet"]) if traded_on else None,
        wishes=wishes_in(row["raw"]),
        members=_members(None if row["parsed"] is None else masked_value("", row["parsed"])),
        orders=await _orders(app, facts),
        results=tuple(_result(position) for position in facts.positions),
        latencies=_latencies(row["latencies_ms"]),
        chain=_chain(facts, delivery_id),
        paper="" if paper is None else paper["name"],
        cannot_replay=_cannot_replay(row, is_stranger=is_stranger, has_paper=paper is not None),
        replay_error=replay_error,
        is_stranger=is_stranger,
    )


def _cannot_replay(row: Any, *, is_stranger: bool, has_paper: bool) -> str:
    if is_stranger:
        return gettext("It came to an address that nobody has.")
    if row["decision"] == Decision.MISSED or not row["raw"]:
        return gettext("There is no message to repeat: none came.")
    if not has_paper:
        return gettext("You have no paper account. Add one under Brokers, then replay the alert.")
    return ""


def _members(parsed: Mapping[str, Any] | None) -> tuple[Said, ...]:
    """The message's members as they were read; of several messages in one, each with its number."""
    found = (parsed or {}).get("members", parsed or {})
    if isinstance(found, Mapping):
        return tuple(Said(name=str(name), value=_value(value)) for name, value in found.items())
    several = found if isinstance(found, list) else [found]
    return tuple(Said(name=str(number), value=_value(one)) for number, one in enumerate(several, start=1))


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


async def _rules(app: FastAPI, exchange: str, symbol: str) -> Instrument | None:
    try:
        found: Instrument | None = (await app.state.desk.instruments.all(exchange)).get(symbol)
    except ExchangeError:
        return None
    return found


async def _orders(app: FastAPI, facts: Facts) -> tuple[DeliveryOrder, ...]:
    fills: dict[UUID, list[FillLine]] = {}
    for fill in facts.fills:
        line = FillLine(
            at=fill["executed_at"],
            side=Side(fill["side"]),
            price=fill["price"],
            quantity=fill["quantity"],
            fee=fill["fee"],
            fee_asset=fill["fee_asset"],
        )
        fills.setdefault(fill["order_id"], []).append(line)
    found = []
    for row in facts.orders:
        rules = await _rules(app, row["exchange"], row["symbol"])
        found.append(
            DeliveryOrder(
                order=order_row(row, broker=row["broker_name"], rules=rules),
                code=row["code"] or "",
                sent_at=row["sent_at"],
                acknowledged_at=row["acknowledged_at"],
                fills=tuple(fills.get(row["id"], ())),
            )
        )
    return tuple(found)


def _result(position: Any) -> DeliveryResult:
    """Its first fill opened the position if none came before; its last one closed it if none came after."""
    is_opened = not position["has_sold"] and position["first_fill_at"] <= position["opened_at"]
    is_closed = position["closed_at"] is not None and position["has_sold"] and position["last_fill_at"] >= position["closed_at"]
    return DeliveryResult(
        symbol=position["symbol"],
        part="closed" if is_closed else "opened" if is_opened else "changed",
        realised=position["realized_pnl"],
        fees=position["fees"],
        quote=position["quote"],
        opened_at=position["opened_at"],
        closed_at=position["closed_at"],
    )


def _latencies(found: Mapping[str, Any]) -> tuple[Latency, ...]:
    steps = [(name, Decimal(str(ms))) for name, ms in found.items() if isinstance(ms, int | float)]
    longest = max((ms for _, ms in steps), default=Decimal(0))
    return tuple(
        Latency(label=_step(name), ms=ms, share=int(ms / longest * 100) if longest else 0)
        for name, ms in sorted(steps, key=lambda step: step[1])
    )


def _step(name: str) -> str:
    """A step's words; those of further orders are numbered."""
    first, _, number = name.rpartition("_")
    if first in _STEPS and number.isdigit():
        return gettext("%(step)s, order %(number)s") % {"step": gettext(_STEPS[first]), "number": number}
    return gettext(_STEPS[name]) if name in _STEPS else name


def _chain(facts: Facts, delivery_id: UUID) -> tuple[ChainRow, ...]:
    if len(facts.chain) < 2:
        return ()
    return tuple(
        ChainRow(
            id=str(row["id"]),
            received_at=row["received_at"],
            decision=row["decision"],
            broker=row["broker_name"] or "",
            is_this=row["id"] == delivery_id,
            is_first=row["replay_of"] is None,
        )
        for row in facts.chain
    )
