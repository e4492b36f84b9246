"""Orders, fills, positions, equity and webhooks.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261121_02"
down_revision = "20261121_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_orders()
    _create_order_events()
    _create_fills()
    _create_positions()
    _create_balances()
    _create_equity_snapshots()
    _create_webhooks()
    _create_webhook_deliveries()
    _create_webhook_replays()


def downgrade() -> None:
    op.drop_table("webhook_replays")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
    op.drop_table("equity_snapshots")
    op.drop_table("balances")
    op.drop_table("positions")
    op.drop_table("fills")
    op.drop_table("order_events")
    op.drop_table("orders")


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("filled_quantity", sa.Numeric(precision=38, scale=18), server_default=sa.text("0"), nullable=False),
        sa.Column("fills_quantity", sa.Numeric(precision=38, scale=18), server_default=sa.text("0"), nullable=False),
        sa.Column("average_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("trigger_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("post_only", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.UUID(), nullable=True),
        sa.Column("bot_id", sa.UUID(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_orders_side_known")),
        sa.CheckConstraint("source IN ('manual', 'webhook', 'bot')", name=op.f("ck_orders_source_known")),
        sa.CheckConstraint(
            "state IN ('intent', 'submitting', 'unknown', 'open', 'partial', 'filled', 'canceled', 'expired', 'rejected', 'denied', 'lost')",
            name=op.f("ck_orders_state_known"),
        ),
        sa.CheckConstraint("time_in_force IN ('gtc', 'ioc', 'fok')", name=op.f("ck_orders_time_in_force_known")),
        sa.CheckConstraint("type IN ('market', 'limit', 'stop_limit', 'take_profit_limit')", name=op.f("ck_orders_type_known")),
        sa.CheckConstraint("filled_quantity >= 0", name=op.f("ck_orders_filled_not_negative")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_orders_quantity_positive")),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_orders_broker_id_brokers"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
    )
    _index_orders()


def _index_orders() -> None:
    op.create_index("ix_orders_delivery_id", "orders", ["delivery_id"], unique=False, postgresql_where=sa.text("delivery_id IS NOT NULL"))
    op.create_index(
        "ix_orders_next_check_at", "orders", ["next_check_at"], unique=False, postgresql_where=sa.text("next_check_at IS NOT NULL")
    )
    op.create_index(
        "ix_orders_unsettled",
        "orders",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity"),
    )
    op.create_index("ix_orders_user_id_id", "orders", ["user_id", "id"], unique=False)
    op.create_index("uq_orders_broker_id_client_order_id", "orders", ["broker_id", "client_order_id"], unique=True)
    op.create_index("uq_orders_broker_id_venue_order_id", "orders", ["broker_id", "symbol", "venue_order_id"], unique=True)


def _create_order_events() -> None:
    op.create_table(
        "order_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_events_order_id_orders"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_events")),
    )
    op.create_index("ix_order_events_order_id_id", "order_events", ["order_id", "id"], unique=False)


def _create_fills() -> None:
    op.create_table(
        "fills",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("fee", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("fee_asset", sa.Text(), nullable=False),
        sa.Column("liquidity", sa.Text(), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("liquidity IN ('maker', 'taker')", name=op.f("ck_fills_liquidity_known")),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_fills_side_known")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_fills_quantity_positive")),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_fills_broker_id_brokers"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_fills_order_id_orders"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("broker_id", "symbol", "trade_id", "order_id", name=op.f("pk_fills")),
    )
    op.create_index("ix_fills_order_id", "fills", ["order_id"], unique=False)
    op.create_index("ix_fills_user_id_executed_at", "fills", ["user_id", "executed_at"], unique=False)


def _create_positions() -> None:
    op.create_table(
        "positions",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("bot_id", sa.UUID(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), server_default=sa.text("0"), nullable=False),
        sa.Column("average_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("realized_pnl", sa.Numeric(precision=38, scale=18), server_default=sa.text("0"), nullable=False),
        sa.Column("fees", sa.Numeric(precision=38, scale=18), server_default=sa.text("0"), nullable=False),
        sa.Column("stop_loss", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("take_profit", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("status IN ('open', 'closing', 'closed')", name=op.f("ck_positions_status_known")),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_positions_broker_id_brokers"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_positions")),
    )
    op.create_index("ix_positions_user_id_status", "positions", ["user_id", "status"], unique=False)
    op.create_index(
        "uq_positions_open",
        "positions",
        ["broker_id", "symbol"],
        unique=True,
        postgresql_where=sa.text("status <> 'closed' AND bot_id IS NULL"),
    )


def _create_balances() -> None:
    op.create_table(
        "balances",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("free", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("locked", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("value_usdt", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_balances_broker_id_brokers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("broker_id", "asset", name=op.f("pk_balances")),
    )


def _create_equity_snapshots() -> None:
    op.create_table(
        "equity_snapshots",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity_usdt", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_equity_snapshots_broker_id_brokers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("broker_id", "at", name=op.f("pk_equity_snapshots")),
    )
    op.create_index("ix_equity_snapshots_user_id_at", "equity_snapshots", ["user_id", "at"], unique=False)


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("broker_id", sa.UUID(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_webhooks_broker_id_brokers"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_webhooks_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_webhooks_secret_hash")),
    )
    op.create_index(
        "uq_webhooks_user_id_name",
        "webhooks",
        ["user_id", sa.literal_column("lower(name)")],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )


def _create_webhook_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("webhook_id", sa.UUID(), nullable=True),
        sa.Column("user_id", sa.UUID(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("parsed", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("latencies_ms", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "decision IN ('pending', 'executed', 'denied', 'stale', 'duplicate', 'unreadable', 'paused', 'ping', 'missed')",
            name=op.f("ck_webhook_deliveries_decision_known"),
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_deliveries_webhook_id_webhooks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_pending",
        "webhook_deliveries",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("decision = 'pending'"),
    )
    op.create_index("ix_webhook_deliveries_user_id_id", "webhook_deliveries", ["user_id", "id"], unique=False)


def _create_webhook_replays() -> None:
    op.create_table(
        "webhook_replays",
        sa.Column("webhook_id", sa.UUID(), nullable=False),
        sa.Column("body_key", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivery_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_replays_webhook_id_webhooks"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("webhook_id", "body_key", name=op.f("pk_webhook_replays")),
    )
    op.create_index(op.f("ix_webhook_replays_delivery_id"), "webhook_replays", ["delivery_id"], unique=False)
    op.create_index(op.f("ix_webhook_replays_expires_at"), "webhook_replays", ["expires_at"], unique=False)
