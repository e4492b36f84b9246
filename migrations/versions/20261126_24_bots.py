"""Bots, what they decided, what they were worth, their log, and their safeguards.

A strategy or a version that a bot names cannot be deleted, but with the user; nor can a broker account's row, which stays when the account
is removed. Runs in one transaction under lock_timeout 4 s; the foreign keys take a short lock on users, strategies, their versions and
brokers, and no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "20261126_24"
down_revision = "20261126_20"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_MONEY = sa.Numeric(precision=38, scale=18)
_OWNED = ("bots", "bot_signals", "bot_events", "bot_equity", "bot_trips", "user_safeguards", "bot_counters")
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
LIVE = "state IN ('running', 'suspended', 'faulted')"


def upgrade() -> None:
    op.create_table("bots", *_bot(), *_rules())
    op.create_index("ix_bots_version_id", "bots", ["version_id"])
    op.create_index("ix_bots_broker_id", "bots", ["broker_id"])
    op.create_index("ix_bots_strategy_id_user_id", "bots", ["strategy_id", "user_id"])
    op.create_index("uq_bots_user_id_idempotency_key", "bots", ["user_id", "idempotency_key"], unique=True)
    op.create_index("ix_bots_live", "bots", ["symbol", "timeframe"], postgresql_where=sa.text(LIVE))
    op.create_index("ix_bots_selling", "bots", ["id"], postgresql_where=sa.text("sell_asked_at IS NOT NULL"))
    _create_signals()
    _create_events()
    _create_equity()
    _create_trips()
    for name, column in (
        ("user_safeguards", _json("safeguards")),
        ("bot_counters", sa.Column("last_number", sa.Integer(), nullable=False)),
    ):
        op.create_table(
            name,
            sa.Column("user_id", sa.Uuid(), nullable=False),
            column,
            _of_user(name),
            sa.PrimaryKeyConstraint("user_id", name=op.f(f"pk_{name}")),
        )
    for table in _OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_OWN}) WITH CHECK ({_OWN})")


def _json(name: str) -> sa.Column:  # type: ignore[type-arg]  # of JSON
    return sa.Column(name, JSONB(), server_default=sa.text("'{}'"), nullable=False)


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id_users"), ondelete="CASCADE")


def _of_bot(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["bot_id"], ["bots.id"], name=op.f(f"fk_{table}_bot_id_bots"), ondelete="CASCADE")


def _bot() -> tuple[sa.Column, ...]:  # type: ignore[type-arg]  # of many types
    return (
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("parameters", JSONB(), nullable=False),
        sa.Column("broker_id", sa.Uuid(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("state_reason", JSONB(), nullable=True),
        sa.Column("capital", _MONEY, nullable=False),
        sa.Column("start_at", _MOMENT, nullable=True),
        sa.Column("end_at", _MOMENT, nullable=True),
        sa.Column("at_end", sa.Text(), server_default="keep", nullable=False),
        _json("safeguards"),
        sa.Column("backtest_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=True),
        sa.Column("stopped_at", _MOMENT, nullable=True),
        sa.Column("peak_equity", _MONEY, nullable=True),
        sa.Column("last_candle_at", _MOMENT, nullable=True),
        sa.Column("last_signal_at", _MOMENT, nullable=True),
        sa.Column("fault", JSONB(), nullable=True),
        sa.Column("sell_asked_at", _MOMENT, nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )


def _rules() -> tuple[sa.Constraint, ...]:
    return (
        sa.CheckConstraint("mode IN ('paper', 'ask', 'live')", name=op.f("ck_bots_mode_known")),
        sa.CheckConstraint("state IN ('ready', 'running', 'suspended', 'faulted', 'stopped')", name=op.f("ck_bots_state_known")),
        sa.CheckConstraint("at_end IN ('keep', 'sell')", name=op.f("ck_bots_at_end_known")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_bots_number_counts")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 60", name=op.f("ck_bots_name_length")),
        sa.CheckConstraint("capital > 0", name=op.f("ck_bots_capital_is_money")),
        sa.CheckConstraint("end_at IS NULL OR start_at IS NULL OR start_at < end_at", name=op.f("ck_bots_start_before_end")),
        sa.CheckConstraint("(started_at IS NULL) <= (state IN ('ready', 'stopped'))", name=op.f("ck_bots_started_has_its_time")),
        sa.CheckConstraint("(stopped_at IS NOT NULL) = (state = 'stopped')", name=op.f("ck_bots_end_has_its_time")),
        sa.CheckConstraint("state <> 'faulted' OR fault IS NOT NULL", name=op.f("ck_bots_fault_is_told")),
        _of_user("bots"),
        sa.ForeignKeyConstraint(["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], name="fk_bots_strategy"),
        sa.ForeignKeyConstraint(["version_id"], ["strategy_versions.id"], name=op.f("fk_bots_version_id_strategy_versions")),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_bots_broker_id_brokers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bots")),
        sa.UniqueConstraint("user_id", "number", name=op.f("uq_bots_user_id_number")),
    )


def _create_signals() -> None:
    op.create_table(
        "bot_signals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("open_time", _MOMENT, nullable=False),
        sa.Column("decided_at", _MOMENT, nullable=False),
        sa.Column("decision", JSONB(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", JSONB(), nullable=True),
        sa.Column("price", _MONEY, nullable=True),
        sa.Column("order_ids", ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        _json("latency_ms"),
        sa.CheckConstraint("action IN ('none', 'long', 'short', 'exit', 'adjust', 'levels')", name=op.f("ck_bot_signals_action_known")),
        sa.CheckConstraint(
            "state IN ('decided', 'waiting', 'submitted', 'done', 'denied', 'skipped', 'rejected', 'expired')",
            name=op.f("ck_bot_signals_state_known"),
        ),
        _of_bot("bot_signals"),
        _of_user("bot_signals"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_signals")),
        sa.UniqueConstraint("bot_id", "open_time", name=op.f("uq_bot_signals_bot_id_open_time")),
    )
    is_open = sa.text("state IN ('decided', 'waiting', 'submitted')")
    op.create_index("ix_bot_signals_open", "bot_signals", ["bot_id"], postgresql_where=is_open)
    op.create_index("ix_bot_signals_wanted", "bot_signals", ["bot_id", "open_time"], postgresql_where=sa.text("action <> 'none'"))
    op.create_index("ix_bot_signals_user_id", "bot_signals", ["user_id"])


def _create_events() -> None:
    op.create_table(
        "bot_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        _json("values"),
        sa.CheckConstraint("level IN ('info', 'warning', 'error')", name=op.f("ck_bot_events_level_known")),
        _of_bot("bot_events"),
        _of_user("bot_events"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_events")),
    )
    op.create_index("ix_bot_events_bot_id_id", "bot_events", ["bot_id", "id"])
    op.create_index("ix_bot_events_user_id_id", "bot_events", ["user_id", "id"])


def _create_equity() -> None:
    op.create_table(
        "bot_equity",
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("equity", _MONEY, nullable=False),
        sa.Column("position_quantity", _MONEY, nullable=False),
        sa.Column("price", _MONEY, nullable=False),
        _of_bot("bot_equity"),
        _of_user("bot_equity"),
        sa.PrimaryKeyConstraint("bot_id", "at", name=op.f("pk_bot_equity")),
    )
    op.create_index("ix_bot_equity_user_id_at", "bot_equity", ["user_id", "at"])


def _create_trips() -> None:
    op.create_table(
        "bot_trips",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        _json("values"),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("rearmed_at", _MOMENT, nullable=True),
        sa.Column("rearmed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("action IN ('suspend', 'flatten')", name=op.f("ck_bot_trips_action_known")),
        sa.CheckConstraint("(rearmed_at IS NULL) = (rearmed_by IS NULL)", name=op.f("ck_bot_trips_rearmed_by_somebody")),
        _of_bot("bot_trips"),
        _of_user("bot_trips"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_trips")),
    )
    op.create_index("ix_bot_trips_user_id", "bot_trips", ["user_id"])
    op.create_index("ix_bot_trips_bot_id", "bot_trips", ["bot_id"])
    op.create_index("ix_bot_trips_active", "bot_trips", ["user_id", "bot_id"], postgresql_where=sa.text("rearmed_at IS NULL"))


def downgrade() -> None:
    for table in reversed(_OWNED):
        op.drop_table(table)
