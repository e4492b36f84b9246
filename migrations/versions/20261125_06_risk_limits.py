"""Risk limits, each account's order count, each day's results, and the indexes by which an order is admitted.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. The three indexes on orders are partial and small: live orders,
finished ones by time, refusals.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_06"
down_revision = "20261125_05"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=38, scale=18)
_UNSETTLED = "state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity"


def upgrade() -> None:
    _create_limits()
    op.create_table(
        "account_activity",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("minute_orders", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("day_orders", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_account_activity_broker_id_brokers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("broker_id", name=op.f("pk_account_activity")),
    )
    op.create_index("ix_account_activity_user_id", "account_activity", ["user_id"])
    op.create_table(
        "daily_results",
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("realized", _MONEY, nullable=False),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_daily_results_broker_id_brokers"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("broker_id", "day", "quote", name=op.f("pk_daily_results")),
    )
    op.create_index("ix_daily_results_user_id_day", "daily_results", ["user_id", "day"])
    op.create_index("ix_orders_live", "orders", ["user_id", "broker_id"], postgresql_where=sa.text(_UNSETTLED))
    ended = "state IN ('filled', 'canceled', 'expired')"
    op.create_index("ix_orders_ended", "orders", ["broker_id", "updated_at"], postgresql_where=sa.text(ended))
    op.create_index("ix_orders_rejected", "orders", ["updated_at"], postgresql_where=sa.text("state = 'rejected'"))


def _create_limits() -> None:
    op.create_table(
        "risk_limits",
        sa.Column("scope_id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("broker_id", sa.UUID(), nullable=True),
        sa.Column("max_order_notional", _MONEY, nullable=True),
        sa.Column("max_position_notional", _MONEY, nullable=True),
        sa.Column("max_daily_loss", _MONEY, nullable=True),
        sa.Column("max_open_orders", sa.Integer(), nullable=True),
        sa.Column("max_daily_orders", sa.Integer(), nullable=True),
        sa.Column("orders_per_minute", sa.Integer(), nullable=True),
        sa.Column("rejects_per_minute", sa.Integer(), nullable=True),
        sa.Column("price_collar", _MONEY, nullable=True),
        sa.Column("price_deviation", _MONEY, nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_risk_limits_user_id_users"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_risk_limits_broker_id_brokers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("scope_id", name=op.f("pk_risk_limits")),
    )
    op.create_index("ix_risk_limits_user_id", "risk_limits", ["user_id"])


def downgrade() -> None:
    for name in ("ix_orders_rejected", "ix_orders_ended", "ix_orders_live"):
        op.drop_index(name, "orders")
    for name in ("daily_results", "account_activity", "risk_limits"):
        op.drop_table(name)
