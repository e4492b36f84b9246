"""The paper exchange: accounts, balances, orders, fills, and up to where each symbol's prices were matched.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. New tables only.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_05"
down_revision = "20261125_03"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=38, scale=18)


def upgrade() -> None:
    _create_accounts()
    _create_balances()
    _create_orders()
    _create_fills()
    _create_markets()


def downgrade() -> None:
    op.drop_table("paper_markets")
    op.drop_table("paper_fills")
    op.drop_table("paper_orders")
    op.drop_table("paper_balances")
    op.drop_table("paper_accounts")


def _create_accounts() -> None:
    op.create_table(
        "paper_accounts",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("balance_usdt", _MONEY, nullable=False),
        sa.Column("maker_fee", _MONEY, nullable=False),
        sa.Column("taker_fee", _MONEY, nullable=False),
        sa.Column("last_order_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_trade_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_after_trade_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("balance_usdt > 0", name=op.f("ck_paper_accounts_balance_positive")),
        sa.CheckConstraint(
            "maker_fee >= 0 AND maker_fee < 1 AND taker_fee >= 0 AND taker_fee < 1", name=op.f("ck_paper_accounts_fees_are_fractions")
        ),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_paper_accounts_broker_id_brokers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("broker_id", name=op.f("pk_paper_accounts")),
    )


def _create_balances() -> None:
    op.create_table(
        "paper_balances",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("free", _MONEY, nullable=False),
        sa.Column("locked", _MONEY, nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("free >= 0", name=op.f("ck_paper_balances_free_not_negative")),
        sa.CheckConstraint("locked >= 0", name=op.f("ck_paper_balances_locked_not_negative")),
        sa.ForeignKeyConstraint(
            ["broker_id"], ["paper_accounts.broker_id"], name=op.f("fk_paper_balances_broker_id_paper_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("broker_id", "asset", name=op.f("pk_paper_balances")),
    )


def _create_orders() -> None:
    op.create_table(
        "paper_orders",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("post_only", sa.Boolean(), nullable=False),
        sa.Column("quantity", _MONEY, nullable=False),
        sa.Column("notional", _MONEY, nullable=True),
        sa.Column("price", _MONEY, nullable=True),
        sa.Column("trigger_price", _MONEY, nullable=True),
        sa.Column("trailing_delta", _MONEY, nullable=True),
        sa.Column("watermark", _MONEY, nullable=True),
        sa.Column("is_awake", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("filled_quantity", _MONEY, nullable=False),
        sa.Column("filled_notional", _MONEY, nullable=False),
        sa.Column("locked", _MONEY, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_paper_orders_side_known")),
        sa.CheckConstraint(
            "state IN ('intent', 'submitting', 'unknown', 'open', 'partial', 'filled', 'canceled', 'expired', 'rejected', 'denied', 'lost')",
            name=op.f("ck_paper_orders_state_known"),
        ),
        sa.CheckConstraint("time_in_force IN ('gtc', 'ioc', 'fok')", name=op.f("ck_paper_orders_time_in_force_known")),
        sa.CheckConstraint(
            "type IN ('market', 'limit', 'stop_market', 'stop_limit', 'take_profit', 'take_profit_limit', 'trailing_stop')",
            name=op.f("ck_paper_orders_type_known"),
        ),
        sa.CheckConstraint("filled_quantity >= 0 AND filled_quantity <= quantity", name=op.f("ck_paper_orders_filled_within_quantity")),
        sa.CheckConstraint("locked >= 0", name=op.f("ck_paper_orders_locked_not_negative")),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_paper_orders_quantity_not_negative")),
        sa.ForeignKeyConstraint(
            ["broker_id"], ["paper_accounts.broker_id"], name=op.f("fk_paper_orders_broker_id_paper_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("broker_id", "order_id", name=op.f("pk_paper_orders")),
    )
    op.create_index("ix_paper_orders_broker_id_client_order_id", "paper_orders", ["broker_id", "client_order_id"], unique=False)
    op.create_index(
        "uq_paper_orders_open_client_order_id",
        "paper_orders",
        ["broker_id", "client_order_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('open', 'partial')"),
    )


def _create_fills() -> None:
    op.create_table(
        "paper_fills",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", _MONEY, nullable=False),
        sa.Column("quantity", _MONEY, nullable=False),
        sa.Column("notional", _MONEY, nullable=False),
        sa.Column("fee", _MONEY, nullable=False),
        sa.Column("fee_asset", sa.Text(), nullable=False),
        sa.Column("liquidity", sa.Text(), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("liquidity IN ('maker', 'taker')", name=op.f("ck_paper_fills_liquidity_known")),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_paper_fills_side_known")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_paper_fills_quantity_positive")),
        sa.ForeignKeyConstraint(
            ["broker_id"], ["paper_accounts.broker_id"], name=op.f("fk_paper_fills_broker_id_paper_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("broker_id", "trade_id", name=op.f("pk_paper_fills")),
    )
    op.create_index("ix_paper_fills_broker_id_order_id", "paper_fills", ["broker_id", "order_id"], unique=False)


def _create_markets() -> None:
    op.create_table(
        "paper_markets",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("price", _MONEY, nullable=False),
        sa.Column("matched_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "symbol", name=op.f("pk_paper_markets")),
    )
