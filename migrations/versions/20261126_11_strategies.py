"""Strategies of users, their versions, and what was shared with others.

Two triggers keep what was used: a version's source never changes, what tells what it is no more once it has been used, and neither it nor its
strategy can then be deleted, but with the user. They raise integrity violations that carry a constraint's name, as a CHECK does.
Runs in one transaction under lock_timeout 4 s; no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261126_11"
down_revision = "20261126_10"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_OWNED = ("strategies", "strategy_versions", "strategy_shares")
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
ORIGINS = "'written', 'template', 'imported', 'forked', 'shared'"
LONGEST_SOURCE = 131072
# A row that a removed user takes with it goes from inside another trigger.
_KEEP_STRATEGY = """
CREATE FUNCTION strategies_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() = 1 AND EXISTS (SELECT 1 FROM strategy_versions WHERE strategy_id = OLD.id AND first_used_at IS NOT NULL) THEN
    RAISE EXCEPTION 'strategies_used: a version of this strategy has been used'
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'strategies_used';
  END IF;
  RETURN OLD;
END $$
"""
_KEEP_VERSION = """
CREATE FUNCTION strategy_versions_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF pg_trigger_depth() = 1 AND OLD.first_used_at IS NOT NULL THEN
      RAISE EXCEPTION 'strategy_versions_used: this version has been used'
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'strategy_versions_used';
    END IF;
    RETURN OLD;
  END IF;
  IF (NEW.id, NEW.user_id, NEW.strategy_id, NEW.number, NEW.source, NEW.sha256, NEW.created_at)
     IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.strategy_id, OLD.number, OLD.source, OLD.sha256, OLD.created_at) THEN
    RAISE EXCEPTION 'strategy_versions_source: what a version consists of never changes'
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'strategy_versions_source';
  END IF;
  IF OLD.first_used_at IS NOT NULL
     AND (NEW.note, NEW.described, NEW.first_used_at) IS DISTINCT FROM (OLD.note, OLD.described, OLD.first_used_at) THEN
    RAISE EXCEPTION 'strategy_versions_used: this version has been used'
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'strategy_versions_used';
  END IF;
  IF OLD.first_used_at IS NULL AND NEW.first_used_at IS NOT NULL AND NOT NEW.is_valid THEN
    RAISE EXCEPTION 'strategy_versions_valid: this version has not passed its validation'
      USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'strategy_versions_valid';
  END IF;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    _create_strategies()
    _create_versions()
    op.create_table(
        "strategy_shares",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("to_name", sa.Text(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("settled_at", _MOMENT, nullable=True),
        sa.CheckConstraint("char_length(to_name) BETWEEN 1 AND 100", name=op.f("ck_strategy_shares_to_name_length")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_strategy_shares_user_id_users"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["strategy_versions.id"], name=op.f("fk_strategy_shares_version_id_strategy_versions"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategy_shares")),
    )
    op.create_index("ix_strategy_shares_version_id", "strategy_shares", ["version_id"])
    op.create_index("ix_strategy_shares_waiting", "strategy_shares", ["id"], postgresql_where=sa.text("settled_at IS NULL"))
    op.create_index("ix_strategy_shares_user_id_created_at", "strategy_shares", ["user_id", "created_at"])
    for table in _OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_OWN}) WITH CHECK ({_OWN})")
    op.execute(_KEEP_STRATEGY)
    op.execute(_KEEP_VERSION)
    op.execute("CREATE TRIGGER keep BEFORE DELETE ON strategies FOR EACH ROW EXECUTE FUNCTION strategies_keep()")
    op.execute("CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON strategy_versions FOR EACH ROW EXECUTE FUNCTION strategy_versions_keep()")


def _create_strategies() -> None:
    op.create_table(
        "strategies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("exchange", sa.Text(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("timeframe", sa.Text(), nullable=True),
        sa.Column("draft", sa.Text(), nullable=True),
        sa.Column("draft_saved_at", _MOMENT, nullable=True),
        sa.Column("draft_revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("origin", sa.Text(), server_default="written", nullable=False),
        sa.Column("origin_name", sa.Text(), nullable=True),
        sa.Column("origin_number", sa.Integer(), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("archived_at", _MOMENT, nullable=True),
        sa.CheckConstraint(f"origin IN ({ORIGINS})", name=op.f("ck_strategies_origin_known")),
        sa.CheckConstraint("char_length(name) BETWEEN 1 AND 60", name=op.f("ck_strategies_name_length")),
        sa.CheckConstraint("char_length(description) <= 2000", name=op.f("ck_strategies_description_length")),
        sa.CheckConstraint(f"char_length(draft) <= {LONGEST_SOURCE}", name=op.f("ck_strategies_draft_length")),
        sa.CheckConstraint("(draft IS NULL) = (draft_saved_at IS NULL)", name=op.f("ck_strategies_draft_has_its_time")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_strategies_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategies")),
        sa.UniqueConstraint("id", "user_id", name=op.f("uq_strategies_id_user_id")),
    )
    op.create_index(
        "uq_strategies_user_id_name", "strategies", ["user_id", sa.text("lower(name)")], unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )  # fmt: skip


def _create_versions() -> None:
    op.create_table(
        "strategy_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("described", JSONB(), nullable=True),
        sa.Column("report", JSONB(), nullable=True),
        sa.Column("is_valid", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("has_look_ahead", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("validated_at", _MOMENT, nullable=True),
        sa.Column("first_used_at", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_strategy_versions_number_counts")),
        sa.CheckConstraint(f"char_length(source) <= {LONGEST_SOURCE}", name=op.f("ck_strategy_versions_source_length")),
        sa.CheckConstraint(
            "sha256 = encode(sha256(convert_to(source, 'UTF8')), 'hex')", name=op.f("ck_strategy_versions_sha256_of_source")
        ),
        sa.CheckConstraint("char_length(note) <= 300", name=op.f("ck_strategy_versions_note_length")),
        sa.CheckConstraint("(validated_at IS NULL) = (report IS NULL)", name=op.f("ck_strategy_versions_report_has_its_time")),
        sa.CheckConstraint(
            "NOT is_valid OR (validated_at IS NOT NULL AND NOT has_look_ahead)", name=op.f("ck_strategy_versions_valid_is_validated")
        ),
        sa.ForeignKeyConstraint(
            ["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"],
            name=op.f("fk_strategy_versions_strategy_id_user_id_strategies"), ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategy_versions")),
        sa.UniqueConstraint("strategy_id", "number", name=op.f("uq_strategy_versions_number")),
    )  # fmt: skip


def downgrade() -> None:
    for table in ("strategy_shares", "strategy_versions", "strategies"):
        op.drop_table(table)
    op.execute("DROP FUNCTION strategy_versions_keep(), strategies_keep()")
