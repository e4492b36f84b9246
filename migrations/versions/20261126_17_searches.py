"""Searches for better parameters, their trials, and how robust backtests are.

They go with their strategy or their backtest. Runs in one transaction under lock_timeout 4 s; the foreign keys take a short lock on users,
strategies, their versions and backtests, and no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB

revision = "20261126_17"
down_revision = "20261126_14"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_OWNED = ("searches", "search_trials", "robustness_checks")
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
UNDER_WAY = "state IN ('queued', 'running')"


def upgrade() -> None:
    _create_searches()
    _create_trials()
    _create_robustness()
    for table in _OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_OWN}) WITH CHECK ({_OWN})")


def _create_searches() -> None:
    op.create_table(
        "searches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("backtest_id", sa.Uuid(), nullable=True),
        sa.Column("header", JSONB(), nullable=False),
        sa.Column("parameters", JSONB(), nullable=False),
        sa.Column("space", JSONB(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("least_trades", sa.Integer(), nullable=False),
        sa.Column("test_percent", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("engine_version", sa.Text(), nullable=True),
        sa.Column("candles_sha256", sa.Text(), nullable=True),
        sa.Column("data", JSONB(), nullable=True),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("stop_asked_at", _MOMENT, nullable=True),
        sa.Column("tried", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("best", sa.Integer(), nullable=True),
        sa.Column("best_score", DOUBLE_PRECISION(), nullable=True),
        sa.Column("importance", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        *_work(),
        sa.CheckConstraint("state IN ('queued', 'running', 'stopped', 'completed', 'failed')", name=op.f("ck_searches_state_known")),
        sa.CheckConstraint("method IN ('grid', 'random', 'tpe')", name=op.f("ck_searches_method_known")),
        sa.CheckConstraint(
            "objective IN ('sharpe', 'sortino', 'calmar', 'net', 'profit_factor', 'sqn')", name=op.f("ck_searches_objective_known")
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_searches_number_counts")),
        sa.CheckConstraint("wanted BETWEEN 1 AND 5000", name=op.f("ck_searches_wanted_is_bounded")),
        sa.CheckConstraint("test_percent BETWEEN 0 AND 80", name=op.f("ck_searches_test_percent_is_a_part")),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('stopped', 'completed', 'failed'))", name=op.f("ck_searches_end_has_its_time")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_searches_user_id_users"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], name="fk_searches_strategy", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["strategy_versions.id"], name=op.f("fk_searches_version_id_strategy_versions"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["backtest_id"], ["backtests.id"], name=op.f("fk_searches_backtest_id_backtests"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_searches")),
        sa.UniqueConstraint("user_id", "number", name=op.f("uq_searches_user_id_number")),
    )
    op.create_index("ix_searches_under_way", "searches", ["user_id", "created_at"], postgresql_where=sa.text(UNDER_WAY))
    op.create_index("ix_searches_strategy_id_user_id", "searches", ["strategy_id", "user_id"])
    op.create_index("ix_searches_version_id", "searches", ["version_id"])
    op.create_index("ix_searches_backtest_id", "searches", ["backtest_id"])


def _work() -> tuple[sa.Column, ...]:  # type: ignore[type-arg]  # of many types
    return (
        sa.Column("progress", JSONB(), nullable=True),
        sa.Column("error", JSONB(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("wait_until", _MOMENT, nullable=True),
        sa.Column("served_at", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=True),
        sa.Column("finished_at", _MOMENT, nullable=True),
    )


def _create_trials() -> None:
    op.create_table(
        "search_trials",
        sa.Column("search_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("point", JSONB(), nullable=False),
        sa.Column("parameters", JSONB(), nullable=False),
        sa.Column("score", DOUBLE_PRECISION(), nullable=True),
        sa.Column("train", JSONB(), nullable=True),
        sa.Column("test", JSONB(), nullable=True),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("line", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_search_trials_number_counts")),
        sa.CheckConstraint("char_length(problem) <= 300", name=op.f("ck_search_trials_problem_length")),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name=op.f("fk_search_trials_search_id_searches"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_search_trials_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("search_id", "number", name=op.f("pk_search_trials")),
    )
    op.create_index("ix_search_trials_user_id", "search_trials", ["user_id"])


def _create_robustness() -> None:
    op.create_table(
        "robustness_checks",
        sa.Column("backtest_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("report", JSONB(), nullable=True),
        *_work(),
        sa.CheckConstraint("state IN ('queued', 'running', 'completed', 'failed')", name=op.f("ck_robustness_checks_state_known")),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('completed', 'failed'))", name=op.f("ck_robustness_checks_end_has_its_time")
        ),
        sa.ForeignKeyConstraint(
            ["backtest_id"], ["backtests.id"], name=op.f("fk_robustness_checks_backtest_id_backtests"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_robustness_checks_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("backtest_id", name=op.f("pk_robustness_checks")),
    )
    op.create_index("ix_robustness_checks_under_way", "robustness_checks", ["user_id", "created_at"], postgresql_where=sa.text(UNDER_WAY))


def downgrade() -> None:
    for table in reversed(_OWNED):
        op.drop_table(table)
