"""Backtests, their results, and each user's numbers.

A strategy or a version that a stored backtest names cannot be deleted, but with the user.
Runs in one transaction under lock_timeout 4 s; the foreign keys take a short lock on users, strategies, their versions and brokers, and no
table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

revision = "20261126_14"
down_revision = "20261126_13"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_MONEY = sa.Numeric(precision=38, scale=18)
_OWNED = ("backtests", "backtest_results", "backtest_counters")
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
STATES = "'queued', 'fetching', 'running', 'completed', 'canceled', 'failed'"
UNDER_WAY = "state IN ('queued', 'fetching', 'running')"


def upgrade() -> None:
    op.create_table("backtests", *_header(), *_work(), *_rules())
    op.create_index("ix_backtests_version_id", "backtests", ["version_id"])
    op.create_index("ix_backtests_broker_id", "backtests", ["broker_id"])
    op.create_index("ix_backtests_strategy_id_user_id", "backtests", ["strategy_id", "user_id"])
    op.create_index("ix_backtests_under_way", "backtests", ["user_id", "created_at"], postgresql_where=sa.text(UNDER_WAY))
    op.create_table(
        "backtest_results",
        sa.Column("backtest_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("trades", BYTEA(), nullable=False),
        sa.Column("fills", BYTEA(), nullable=False),
        sa.Column("equity", BYTEA(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backtest_id"], ["backtests.id"], name=op.f("fk_backtest_results_backtest_id_backtests"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_backtest_results_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("backtest_id", name=op.f("pk_backtest_results")),
    )
    op.create_index("ix_backtest_results_user_id", "backtest_results", ["user_id"])
    op.create_table(
        "backtest_counters",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("served_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_backtest_counters_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_backtest_counters")),
    )
    for table in _OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_OWN}) WITH CHECK ({_OWN})")


def _header() -> tuple[sa.Column, ...]:  # type: ignore[type-arg]  # of many types
    return (
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("parameters", JSONB(), nullable=False),
        sa.Column("broker_id", sa.Uuid(), nullable=True),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("start_at", _MOMENT, nullable=False),
        sa.Column("end_at", _MOMENT, nullable=False),
        sa.Column("capital", _MONEY, nullable=False),
        sa.Column("fee", _MONEY, nullable=False),
        sa.Column("maker_fee", _MONEY, nullable=False),
        sa.Column("slippage", _MONEY, nullable=False),
        sa.Column("options", JSONB(), nullable=False),
        sa.Column("rules", JSONB(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("engine_version", sa.Text(), nullable=True),
        sa.Column("candles_sha256", sa.Text(), nullable=True),
    )


def _work() -> tuple[sa.Column, ...]:  # type: ignore[type-arg]  # as above
    return (
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("progress", JSONB(), nullable=True),
        sa.Column("data", JSONB(), nullable=True),
        sa.Column("report", JSONB(), nullable=True),
        sa.Column("summary", JSONB(), nullable=True),
        sa.Column("error", JSONB(), nullable=True),
        sa.Column("output", sa.Text(), server_default="", nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("wait_until", _MOMENT, nullable=True),
        sa.Column("cancel_asked_at", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=True),
        sa.Column("finished_at", _MOMENT, nullable=True),
    )


def _rules() -> tuple[sa.Constraint, ...]:
    return (
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_backtests_state_known")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_backtests_number_counts")),
        sa.CheckConstraint("char_length(note) <= 300", name=op.f("ck_backtests_note_length")),
        sa.CheckConstraint("start_at < end_at", name=op.f("ck_backtests_start_before_end")),
        sa.CheckConstraint("capital > 0", name=op.f("ck_backtests_capital_is_money")),
        sa.CheckConstraint("fee >= 0 AND maker_fee > -1 AND slippage >= 0", name=op.f("ck_backtests_costs_are_costs")),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('completed', 'canceled', 'failed'))", name=op.f("ck_backtests_end_has_its_time")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_backtests_user_id_users"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], name="fk_backtests_strategy"),
        sa.ForeignKeyConstraint(["version_id"], ["strategy_versions.id"], name=op.f("fk_backtests_version_id_strategy_versions")),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_backtests_broker_id_brokers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backtests")),
        sa.UniqueConstraint("user_id", "number", name=op.f("uq_backtests_user_id_number")),
    )


def downgrade() -> None:
    for table in reversed(_OWNED):
        op.drop_table(table)
