"""Rows of the history's lists as their tables show them."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from babel.dates import format_timedelta

from app.core.i18n import current_language, gettext
from app.domain.enums import OrderType, Side, Source
from app.domain.instruments import Instrument
from app.trading.history import TradeSums
from app.trading.round_trips import trip_of
from app.ui.order_rows import order_row
from app.ui.views import AttemptRow, Fee, HistoryFill, HistoryOrder, QuoteTotal, TradeRow, TradeTotals
from app.ui.webhooks import asked_for
from app.webhooks.models import Decision


def _fees(found: Mapping[str, str] | None) -> tuple[Fee, ...]:
    return tuple(Fee(amount=Decimal(amount), asset=asset) for asset, amount in sorted((found or {}).items()) if Decimal(amount))


def history_order(row: Any, rules: Instrument | None) -> HistoryOrder:
    """Return one order of the list."""
    return HistoryOrder(
        order=order_row(row, broker=row["broker_name"], rules=rules),
        fees=_fees(row["fees"]),
        note=row["note"] or "",
        tags=tuple(row["tags"] or ()),
    )


def attempt_row(row: Any, rules: Instrument | None) -> AttemptRow:
    """Return one attempt: an order, or an alert that none came of."""
    is_order = row["kind"] == "order"
    is_done = not is_order and row["decision"] in (Decision.EXECUTED, Decision.PENDING)
    return AttemptRow(
        id=str(row["id"]),
        at=row["at"],
        href=f"/history/orders/{row['id']}" if is_order else f"/webhooks/deliveries/{row['id']}",
        state=row["state"],
        source=Source(row["source"]) if row["source"] else Source.WEBHOOK,
        symbol=row["symbol"] or "",
        side=Side(row["side"]) if row["side"] else None,
        type=OrderType(row["type"]) if row["type"] else None,
        asked="" if is_order else asked_for(row),
        quantity=row["quantity"],
        filled_quantity=row["filled_quantity"],
        price=row["average_price"] or row["price"] or row["trigger_price"],
        reason="" if is_done else row["reason"] or "",
        code=row["code"] or "",
        origin=row["webhook_name"] or "",
        broker=row["broker_name"] or "",
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )


def fill_row(row: Any, rules: Instrument | None, *, names: Mapping[str, str] | None = None) -> HistoryFill:
    """Return one execution; where its row has no order beside it, `names` has the order's type and source."""
    of_order = row if names is None else names
    return HistoryFill(
        id=f"{row['order_id']}-{row['trade_id']}",
        order_id=str(row["order_id"]),
        at=row["executed_at"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        price=row["price"],
        quantity=row["quantity"],
        fee=Fee(amount=row["fee"], asset=row["fee_asset"]),
        liquidity=row["liquidity"],
        quote=row["symbol"].partition("/")[2],
        worth=row["fee_worth"],
        type=OrderType(of_order["type"]) if of_order.get("type") else None,
        source=Source(of_order["source"]) if of_order.get("source") else None,
        broker=of_order.get("broker_name") or "",
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )


def trade_row(row: Any, rules: Instrument | None) -> TradeRow:
    """Return one round trip."""
    trip = trip_of(row)
    return TradeRow(
        id=str(trip.id),
        symbol=trip.symbol,
        side=trip.side,
        quantity=trip.quantity,
        opened_at=trip.opened_at,
        closed_at=trip.closed_at,
        duration=lasting(trip.closed_at - trip.opened_at),
        pnl=trip.pnl,
        quote=trip.quote,
        source=Source(trip.source),
        pnl_pct=None if trip.pnl_percent is None else trip.pnl_percent / 100,
        entry_price=trip.entry_price,
        exit_price=trip.exit_price,
        fees=_fees(trip.fees_by_asset),
        unvalued=_fees(trip.unvalued_fees),
        dust=trip.dust,
        broker=row["broker_name"],
        note=trip.note,
        tags=tuple(trip.tags),
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )


def totals_of(sums: TradeSums) -> TradeTotals:
    """Return what the round trips of a range come to."""
    return TradeTotals(
        trades=sums.trades,
        win_rate=sums.win_rate,
        quotes=tuple(QuoteTotal(quote=line.quote, pnl=line.pnl, fees=line.fees, trades=line.trades, won=line.won) for line in sums.quotes),
        unvalued=tuple(Fee(amount=amount, asset=asset) for asset, amount in sums.unvalued),
    )


def lasting(length: timedelta) -> str:
    """Return how long something lasted, in one rounded unit; milliseconds below a second."""
    ms = length / timedelta(milliseconds=1)
    if ms < 1000:
        return gettext("%(count)s ms") % {"count": max(0, round(ms))}
    return format_timedelta(length, granularity="second", threshold=1.2, format="short", locale=current_language())
