"""Orders as their table shows them: ours, and those that were placed elsewhere."""

from typing import Any, Final

from app.domain.enums import Execution, OrderState, OrderType, Role, Side, Source
from app.domain.instruments import Instrument
from app.ui.views import ExternalOrderRow, OrderRow

_REFUSED: Final = (OrderState.DENIED, OrderState.REJECTED, OrderState.LOST, OrderState.UNKNOWN)
#: What `trading.amend` changes.
_RESTING: Final = (OrderState.OPEN, OrderState.PARTIAL)
_GUARDING: Final = (Role.STOP, Role.TARGET)


def order_row(row: Any, *, broker: str, rules: Instrument | None) -> OrderRow:
    """Return one of our orders."""
    state = OrderState(row["state"])
    is_watched = row["execution"] == Execution.SUPERVISED and state is OrderState.INTENT and row["triggered_at"] is None
    return OrderRow(
        id=str(row["id"]),
        created_at=row["created_at"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        type=OrderType(row["type"]),
        state=state,
        quantity=row["quantity"],
        source=Source(row["source"]),
        filled_quantity=row["filled_quantity"],
        price=row["price"],
        trigger_price=row["trigger_price"],
        average_price=row["average_price"],
        reason=(row["detail"] or "") if state in _REFUSED else "",
        broker=broker,
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
        is_watched=is_watched,
        is_guarding=row["role"] in _GUARDING,
        is_amendable=row["group_id"] is None and (is_watched or state in _RESTING) and (row["price"] or row["trigger_price"]) is not None,
    )


def external_row(row: Any, *, broker: str, rules: Instrument | None) -> ExternalOrderRow:
    """Return an open order that was placed elsewhere."""
    return ExternalOrderRow(
        id=str(row["id"]),
        venue_order_id=row["venue_order_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        type=OrderType(row["type"]) if row["type"] else None,
        state=OrderState.PARTIAL if row["filled_quantity"] else OrderState.OPEN,
        quantity=row["quantity"],
        filled_quantity=row["filled_quantity"],
        seen_at=row["last_seen_at"],
        placed_at=row["placed_at"],
        price=row["price"],
        trigger_price=row["trigger_price"],
        broker=broker,
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )
