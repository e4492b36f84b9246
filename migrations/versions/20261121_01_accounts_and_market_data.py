"""Accounts, brokers, leases and market data.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261121_01"
down_revision = None
branch_labels = None
depends_on = None

# The application's role has no DDL: it asks the owner, through this function, for the month a candle belongs to. The month is attached
# rather than created in place, since CREATE … PARTITION OF would lock every reader out.
ENSURE_PARTITION = """
CREATE OR REPLACE FUNCTION ensure_candle_partition(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    first_day timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    partition text := 'candles_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF moment IS NULL OR moment < '2009-01-01Z' OR moment >= '2100-01-01Z' THEN
        RAISE EXCEPTION 'a candle cannot have opened at %', moment USING ERRCODE = 'check_violation';
    END IF;
    IF to_regclass('public.' || partition) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_candle_partition', 0));
    -- Asked of the catalogue itself: to_regclass may answer from before the wait for the lock.
    IF EXISTS (SELECT 1 FROM pg_class WHERE relname = partition AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.candles INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
    EXECUTE format(
        'ALTER TABLE public.candles ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        partition,
        to_char(first_day, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(first_day + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
    );
END
$$;
"""


def upgrade() -> None:
    _create_users()
    _create_user_sessions()
    _create_brokers()
    _create_leases()
    _create_instruments()
    _create_candles()
    _create_candle_gaps()
    _create_heartbeat_status()
    _create_heartbeat_sessions()
    op.execute(ENSURE_PARTITION)


def downgrade() -> None:
    op.execute("DROP FUNCTION ensure_candle_partition(timestamptz)")
    op.drop_table("heartbeat_sessions")
    op.drop_table("heartbeat_status")
    op.drop_table("candle_gaps")
    op.drop_table("candles")
    op.drop_table("instruments")
    op.drop_table("leases")
    op.drop_table("brokers")
    op.drop_table("user_sessions")
    op.drop_table("users")


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_dev", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("ai_provider", sa.Text(), server_default="none", nullable=False),
        sa.Column("ai_enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("ai_api_key", sa.Text(), nullable=True),
        sa.Column("ai_endpoint_url", sa.Text(), server_default="http://localhost:11434", nullable=False),
        sa.Column("ai_model", sa.Text(), nullable=True),
        sa.Column("theme", sa.Text(), server_default="dark", nullable=False),
        sa.Column("display_timezone", sa.Text(), server_default="local", nullable=False),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("ai_provider IN ('none', 'openrouter', 'ollama')", name=op.f("ck_users_ai_provider_known")),
        sa.CheckConstraint("display_timezone IN ('utc', 'local')", name=op.f("ck_users_display_timezone_known")),
        sa.CheckConstraint("language IN ('en', 'fr')", name=op.f("ck_users_language_known")),
        sa.CheckConstraint("theme IN ('dark', 'light')", name=op.f("ck_users_theme_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(
        "uq_users_email", "users", [sa.literal_column("lower(email)")], unique=True, postgresql_where=sa.text("email IS NOT NULL")
    )
    op.create_index("uq_users_username", "users", [sa.literal_column("lower(username)")], unique=True)


def _create_user_sessions() -> None:
    op.create_table(
        "user_sessions",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_sessions_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_user_sessions_token_hash")),
    )
    op.create_index(op.f("ix_user_sessions_user_id"), "user_sessions", ["user_id"], unique=False)


def _create_brokers() -> None:
    op.create_table(
        "brokers",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("api_key", sa.Text(), nullable=True),
        sa.Column("api_secret", sa.Text(), nullable=True),
        sa.Column("api_password", sa.Text(), nullable=True),
        sa.Column("key_hint", sa.Text(), server_default="", nullable=False),
        sa.Column("subaccount_name", sa.Text(), nullable=True),
        sa.Column("is_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_testnet", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("last_connection_test", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_connection_success", sa.Boolean(), nullable=True),
        sa.Column("last_connection_message", sa.Text(), nullable=True),
        sa.Column("last_latency_ms", sa.Integer(), nullable=True),
        sa.Column("last_balance_update", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_brokers_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_brokers")),
    )
    op.create_index(
        "uq_brokers_user_id_default", "brokers", ["user_id"], unique=True, postgresql_where=sa.text("is_default AND removed_at IS NULL")
    )
    op.create_index(
        "uq_brokers_user_id_name",
        "brokers",
        ["user_id", sa.literal_column("lower(name)")],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("role", name=op.f("pk_leases")),
    )


def _create_instruments() -> None:
    op.create_table(
        "instruments",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("tick_size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("step_size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("min_quantity", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("max_quantity", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("min_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("max_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("min_notional", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("max_notional", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("raw_info", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instruments")),
        sa.UniqueConstraint("exchange", "symbol", "type", name=op.f("uq_instruments_exchange_symbol_type")),
    )
    op.create_index("ix_instruments_exchange_quote", "instruments", ["exchange", "quote"], unique=False)


def _create_candles() -> None:
    op.create_table(
        "candles",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("open_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("high", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("low", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("close", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("volume", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint("source IN ('stream', 'rest', 'import')", name=op.f("ck_candles_source_known")),
        sa.PrimaryKeyConstraint("exchange", "symbol", "timeframe", "open_time", name=op.f("pk_candles")),
        postgresql_partition_by="RANGE (open_time)",
    )


def _create_candle_gaps() -> None:
    op.create_table(
        "candle_gaps",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("outcome IN ('open', 'filled', 'exchange_has_none')", name=op.f("ck_candle_gaps_outcome_known")),
        sa.CheckConstraint("end_at > start_at", name=op.f("ck_candle_gaps_range_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candle_gaps")),
        sa.UniqueConstraint(
            "exchange", "symbol", "timeframe", "start_at", "end_at", name=op.f("uq_candle_gaps_exchange_symbol_timeframe_start_at_end_at")
        ),
    )
    op.create_index(
        "ix_candle_gaps_open", "candle_gaps", ["exchange", "symbol"], unique=False, postgresql_where=sa.text("outcome = 'open'")
    )


def _create_heartbeat_status() -> None:
    op.create_table(
        "heartbeat_status",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("is_connected", sa.Boolean(), nullable=False),
        sa.Column("is_fresh", sa.Boolean(), nullable=False),
        sa.Column("last_heartbeat", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("symbols_monitored", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("exchange", name=op.f("pk_heartbeat_status")),
    )


def _create_heartbeat_sessions() -> None:
    op.create_table(
        "heartbeat_sessions",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heartbeat_sessions")),
    )
    op.create_index("ix_heartbeat_sessions_exchange_started_at", "heartbeat_sessions", ["exchange", "started_at"], unique=False)
