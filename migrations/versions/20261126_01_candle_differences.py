"""Candles that got other numbers, and what else there is to say of the live feed.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. The new columns have constant defaults or none: no rewrite.
`candle_gaps` has a row per hole, a few thousand after years, so its index is made in place.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261126_01"
down_revision = "20261125_78"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "candle_differences",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("open_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("was", postgresql.ARRAY(sa.DOUBLE_PRECISION()), nullable=False),
        sa.Column("became", postgresql.ARRAY(sa.DOUBLE_PRECISION()), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("cause IN ('revised', 'cross_check')", name=op.f("ck_candle_differences_cause_known")),
        sa.CheckConstraint("cardinality(was) = 5 AND cardinality(became) = 5", name=op.f("ck_candle_differences_five_numbers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candle_differences")),
    )
    op.create_index("ix_candle_differences_exchange_found_at", "candle_differences", ["exchange", "found_at"])
    op.create_index("ix_candle_differences_candle", "candle_differences", ["exchange", "symbol", "timeframe", "open_time"])
    op.create_index("ix_candle_gaps_exchange_start_at", "candle_gaps", ["exchange", "start_at"])
    op.add_column("heartbeat_status", sa.Column("lag_ms", sa.DOUBLE_PRECISION(), nullable=True))
    op.add_column("heartbeat_status", sa.Column("clock_offset_ms", sa.DOUBLE_PRECISION(), nullable=True))
    op.add_column("heartbeat_status", sa.Column("reconnects", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("heartbeat_status", sa.Column("connections", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False))


def downgrade() -> None:
    for name in ("connections", "reconnects", "clock_offset_ms", "lag_ms"):
        op.drop_column("heartbeat_status", name)
    op.drop_index("ix_candle_gaps_exchange_start_at", table_name="candle_gaps")
    op.drop_table("candle_differences")
