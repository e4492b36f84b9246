"""A round trip, from flat to flat, of a row of `history`: what was bought and sold for how much, and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final
from uuid import UUID

from app.domain.enums import Role
from app.domain.instruments import plain

_WIDE: Final = Context(prec=80, rounding=ROUND_HALF_UP)
#: Places of a mean price, and of a fraction.
_PRICE: Final = Decimal("1e-12")
_FRACTION: Final = Decimal("1e-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One round trip; prices are quote per base, quantities base units.

    `quantity` is what was opened. `pnl` is in quote, after all fees that have a price; `pnl_percent` is of what the entry cost, 0–100.
    `fees` are in quote, `fees_by_asset` as they were paid, `unvalued_fees` those that had no price. `dust` is what was left.
    `exit_role` is what the order was for that closed it, None where no fill did.
    A position of before its fills were told apart has no prices (None) and a quantity of 0.
    """

    id: UUID
    broker_id: UUID
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal | None
    exit_price: Decimal | None
    opened_at: datetime
    closed_at: datetime
    duration_s: int
    pnl: Decimal
    pnl_percent: Decimal | None
    quote: str
    fees: Decimal
    fees_by_asset: dict[str, str]
    unvalued_fees: dict[str, str]
    dust: Decimal
    source: str
    delivery_id: UUID | None
    bot_id: UUID | None
    exit_role: Role | None
    order_ids: list[UUID]
    fill_count: int
    note: str
    tags: list[str]


def trip_of(row: Any) -> Trip:
    """Return the round trip of a row of `history.page_of_trades`."""
    value = row["entry_value"]
    return Trip(
        id=row["id"],
        broker_id=row["broker_id"],
        symbol=row["symbol"],
        side=row["side"] or "long",
        quantity=row["entry_quantity"] or Decimal(0),
        entry_price=_mean(value, row["entry_quantity"]),
        exit_price=_mean(row["exit_value"], row["exit_quantity"]),
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        duration_s=max(0, int((row["closed_at"] - row["opened_at"]).total_seconds())),
        pnl=row["realized_pnl"],
        pnl_percent=_WIDE.divide(row["realized_pnl"] * 100, value).quantize(_FRACTION, context=_WIDE) if value else None,
        quote=row["quote"],
        fees=row["fees"],
        fees_by_asset=row["fees_by_asset"] or {},
        unvalued_fees={asset: plain(Decimal(fee)) for asset, fee in row["unvalued_fees"].items()},
        dust=row["quantity"],
        source=row["source"],
        delivery_id=row["delivery_id"],
        bot_id=row["bot_id"],
        exit_role=None if row["exit_role"] is None else Role(row["exit_role"]),
        order_ids=row["order_ids"] or [],
        fill_count=row["fill_count"] or 0,
        note=row["note"] or "",
        tags=row["tags"] or [],
    )


def _mean(value: Decimal | None, quantity: Decimal | None) -> Decimal | None:
    return _WIDE.divide(value, quantity).quantize(_PRICE, context=_WIDE) if value is not None and quantity else None
