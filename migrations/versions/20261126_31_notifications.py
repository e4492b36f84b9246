"""Notices, where they are sent, each attempt at it, and how a user wants to be told.

Runs in one transaction under lock_timeout 4 s. Five new tables; the foreign keys take a short lock on users, and no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "20261126_31"
down_revision = "20261126_17"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_CIPHERTEXT = "^gAAAA[A-Za-z0-9_-]{93,}={0,2}$"
_TABLES = ("notification_targets", "notices", "notification_attempts", "notice_deliveries", "notification_settings")
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)


def upgrade() -> None:
    _create_targets()
    _create_notices()
    _create_attempts()
    _create_deliveries()
    _create_settings()
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_OWN}) WITH CHECK ({_OWN})")


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id_users"), ondelete="CASCADE")


def _severity(table: str, column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ('info', 'warning', 'error')", name=op.f(f"ck_{table}_{column}_known"))


def _create_targets() -> None:
    op.create_table(
        "notification_targets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("least_severity", sa.Text(), server_default="info", nullable=False),
        sa.Column("kinds", ARRAY(sa.Text()), nullable=True),
        sa.Column("created_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("rest_until", _MOMENT, nullable=True),
        sa.CheckConstraint(f"url ~ '{_CIPHERTEXT}'", name=op.f("ck_notification_targets_url_sealed")),
        _severity("notification_targets", "least_severity"),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 60", name=op.f("ck_notification_targets_name_length")),
        _of_user("notification_targets"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_targets")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_notification_targets_user_id_name")),
    )


def _create_notices() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("values", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("put_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("is_in_bell", sa.Boolean(), nullable=False),
        sa.Column("read_at", _MOMENT, nullable=True),
        _severity("notices", "severity"),
        _of_user("notices"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("user_id", "key", name=op.f("uq_notices_user_id_key")),
    )
    op.create_index("ix_notices_bell", "notices", ["user_id", "id"], postgresql_where=sa.text("is_in_bell"))
    op.create_index("ix_notices_put_at", "notices", ["put_at"])


def _create_attempts() -> None:
    op.create_table(
        "notification_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=True),
        sa.Column("target_name", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("is_test", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("covers", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('sending', 'sent', 'failed', 'limited', 'unknown')", name=op.f("ck_notification_attempts_state_known")
        ),
        sa.CheckConstraint("char_length(answer) <= 300", name=op.f("ck_notification_attempts_answer_length")),
        _of_user("notification_attempts"),
        sa.ForeignKeyConstraint(
            ["target_id"],
            ["notification_targets.id"],
            name=op.f("fk_notification_attempts_target_id_notification_targets"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_attempts")),
    )
    op.create_index("ix_notification_attempts_user_id", "notification_attempts", ["user_id", "id"])
    op.create_index("ix_notification_attempts_target_id", "notification_attempts", ["target_id", "started_at"])
    op.create_index("ix_notification_attempts_started_at", "notification_attempts", ["started_at"])


def _create_deliveries() -> None:
    op.create_table(
        "notice_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", _MOMENT, nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=True),
        sa.Column("claimed_until", _MOMENT, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'failed', 'quiet')", name=op.f("ck_notice_deliveries_state_known")),
        _of_user("notice_deliveries"),
        sa.ForeignKeyConstraint(["notice_id"], ["notices.id"], name=op.f("fk_notice_deliveries_notice_id_notices"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["target_id"],
            ["notification_targets.id"],
            name=op.f("fk_notice_deliveries_target_id_notification_targets"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["notification_attempts.id"],
            name=op.f("fk_notice_deliveries_attempt_id_notification_attempts"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_deliveries")),
        sa.UniqueConstraint("notice_id", "target_id", name=op.f("uq_notice_deliveries_notice_id_target_id")),
    )
    op.create_index(
        "ix_notice_deliveries_waiting", "notice_deliveries", ["target_id", "next_at"], postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index("ix_notice_deliveries_attempt_id", "notice_deliveries", ["attempt_id"])
    op.create_index("ix_notice_deliveries_user_id", "notice_deliveries", ["user_id"])


def _create_settings() -> None:
    op.create_table(
        "notification_settings",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("bell_kinds", ARRAY(sa.Text()), nullable=True),
        sa.Column("quiet_from", sa.Time(), nullable=True),
        sa.Column("quiet_until", sa.Time(), nullable=True),
        sa.Column("quiet_severity", sa.Text(), server_default="error", nullable=False),
        sa.Column("deadman_url", sa.Text(), nullable=True),
        sa.Column("deadman_hint", sa.Text(), server_default="", nullable=False),
        sa.Column("deadman_minutes", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column("deadman_tells_failure", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deadman_at", _MOMENT, nullable=True),
        sa.Column("deadman_next_at", _MOMENT, nullable=True),
        sa.Column("deadman_ok", sa.Boolean(), nullable=True),
        sa.Column("deadman_answer", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(f"deadman_url ~ '{_CIPHERTEXT}'", name=op.f("ck_notification_settings_deadman_url_sealed")),
        _severity("notification_settings", "quiet_severity"),
        sa.CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name=op.f("ck_notification_settings_quiet_has_both_ends")),
        sa.CheckConstraint("deadman_minutes BETWEEN 1 AND 1440", name=op.f("ck_notification_settings_deadman_minutes_bounded")),
        _of_user("notification_settings"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_notification_settings")),
    )


def downgrade() -> None:
    for table in ("notification_settings", "notice_deliveries", "notification_attempts", "notices", "notification_targets"):
        op.drop_table(table)
