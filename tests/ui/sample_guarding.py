"""Examples of guarded positions, orders from elsewhere and an audit, with awkward values in them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.enums import OrderState, OrderType, Side
from app.ui import views

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
CENT = Decimal("0.01")
STEP = Decimal("0.00001")


def guard() -> views.GuardRow:
    """A stop that is missing, and two targets of which one was reached."""
    return views.GuardRow(
        watch="mixed",
        stop=Decimal(56000),
        stop_limit=Decimal("55900.50"),
        targets=(
            views.TargetRow(price=Decimal(58500), fraction=Decimal("0.5"), is_reached=True),
            views.TargetRow(price=Decimal(61500), fraction=Decimal("0.25")),
            views.TargetRow(price=Decimal(64000), fraction=Decimal("0.25")),
        ),
        break_even_after=2,
        since=NOW - timedelta(seconds=41),
        alarm="Position BTC/USDT has no stop at the exchange (insufficient balance <b>). Retrying; you can close it now.",
    )


def position_facts() -> views.PositionFacts:
    """A position in an account with a long name."""
    return views.PositionFacts(
        id="p1",
        symbol="BTC/USDT",
        base="BTC",
        quote="USDT",
        quantity=Decimal("0.062"),
        average_price=Decimal("57102.10"),
        broker="Demo · main <b>with a long name</b>",
        env="testnet",
        mark_price=Decimal("58720.45"),
        worth=Decimal("3640.6679"),
        tick=CENT,
        step=STEP,
    )


def guard_form() -> views.GuardForm:
    """The form after a mistake in a target and a refusal."""
    return views.GuardForm(
        position=position_facts(),
        stop_loss="56000",
        stop_limit_price="55900.5",
        targets=(views.TargetField(price="61500", percent="fifty"), views.TargetField()),
        break_even_after="1",
        is_guarded=True,
        errors={"": "a position has one stop: a price or a trailing distance, not both", "percent-0": "This must be a number above 0."},
    )


def position_question() -> views.PositionQuestion:
    """Whether to close, after a refusal."""
    return views.PositionQuestion(
        action="close", position=position_facts(), key="k1", guard=guard(), error="trading is halted: it was stopped by hand"
    )


def external_orders() -> views.Region[views.ExternalOrderRow]:
    """A limit, and a stop of a kind nobody here knows."""
    limit = views.ExternalOrderRow(
        id="e1",
        venue_order_id="28457193001",
        symbol="BTC/USDT",
        side=Side.BUY,
        type=OrderType.LIMIT,
        state=OrderState.PARTIAL,
        quantity=Decimal("0.1"),
        filled_quantity=Decimal("0.04"),
        seen_at=NOW,
        placed_at=NOW - timedelta(hours=5),
        price=Decimal("12345.67"),
        broker="Demo · main",
        tick=CENT,
        step=STEP,
    )
    stop = views.ExternalOrderRow(
        id="e2",
        venue_order_id="28457193002",
        symbol="ETH/USDT",
        side=Side.SELL,
        type=None,
        state=OrderState.OPEN,
        quantity=Decimal(2),
        filled_quantity=Decimal(0),
        seen_at=NOW,
        trigger_price=Decimal(2900),
    )
    return views.Region(rows=(limit, stop))


def audit() -> views.AuditView:
    """A run with one finding that stopped entries and one after which trading was resumed."""
    return views.AuditView(
        ran_at=NOW - timedelta(minutes=3),
        findings=(
            views.FindingRow(
                id="f1",
                code="AUDIT_POSITION",
                detail="the position in BTC/USDT is 0.062, its fills say 0.05 <b>",
                where="Demo · main",
                found_at=NOW - timedelta(minutes=3),
                are_entries_off=True,
            ),
            views.FindingRow(
                id="f2",
                code="AUDIT_UNTOLD",
                detail="a notice has waited for more than five minutes",
                where="all your accounts",
                found_at=NOW - timedelta(hours=3),
                are_entries_off=False,
            ),
        ),
        more=4,
        unexplained=(views.UnexplainedRow(asset="USDT", amount=Decimal("-250.5"), broker="Demo · main", since=NOW - timedelta(days=3)),),
    )
