"""What is compared with the venue: checks of accounts, external orders and trades, marks of the trade feed, and the outbox.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. New tables, and one column without a default.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_40"
down_revision = "20261125_08"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=38, scale=18)


def upgrade() -> None:
    _create_account_checks()
    _create_external_orders()
    _create_external_trades()
    _create_trade_marks()
    _create_outbox()
    op.add_column("order_events", sa.Column("epoch", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("order_events", "epoch")
    for name in ("outbox", "trade_marks", "external_trades", "external_orders", "account_checks"):
        op.drop_table(name)


def _broker(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f(f"fk_{table}_broker_id_brokers"), ondelete="CASCADE")


def _create_account_checks() -> None:
    op.create_table(
        "account_checks",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        _broker("account_checks"),
        sa.PrimaryKeyConstraint("broker_id", name=op.f("pk_account_checks")),
    )
    op.create_index("ix_account_checks_next_at", "account_checks", ["next_at"])


def _create_external_orders() -> None:
    op.create_table(
        "external_orders",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=True),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("quantity", _MONEY, nullable=False),
        sa.Column("filled_quantity", _MONEY, nullable=False),
        sa.Column("price", _MONEY, nullable=True),
        sa.Column("trigger_price", _MONEY, nullable=True),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_external_orders_side_known")),
        _broker("external_orders"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_orders")),
    )
    op.create_index("uq_external_orders_venue_order_id", "external_orders", ["broker_id", "symbol", "venue_order_id"], unique=True)
    op.create_index("ix_external_orders_open", "external_orders", ["broker_id"], postgresql_where=sa.text("closed_at IS NULL"))
    op.create_index("ix_external_orders_user_id_id", "external_orders", ["user_id", "id"])


def _create_external_trades() -> None:
    op.create_table(
        "external_trades",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", _MONEY, nullable=False),
        sa.Column("quantity", _MONEY, nullable=False),
        sa.Column("fee", _MONEY, nullable=False),
        sa.Column("fee_asset", sa.Text(), nullable=False),
        sa.Column("liquidity", sa.Text(), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("liquidity IN ('maker', 'taker')", name=op.f("ck_external_trades_liquidity_known")),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_external_trades_side_known")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_external_trades_quantity_positive")),
        _broker("external_trades"),
        sa.PrimaryKeyConstraint("broker_id", "symbol", "trade_id", "venue_order_id", name=op.f("pk_external_trades")),
    )


def _create_trade_marks() -> None:
    op.create_table(
        "trade_marks",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=True),
        sa.Column("known_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("orders_known_until", sa.DateTime(timezone=True), nullable=True),
        _broker("trade_marks"),
        sa.PrimaryKeyConstraint("broker_id", "symbol", name=op.f("pk_trade_marks")),
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("broker_id", sa.UUID(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_waiting", "outbox", ["id"], postgresql_where=sa.text("done_at IS NULL"))
