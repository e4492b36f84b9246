"""Kill switches: the commands that were given and how far they are.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. One new table.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_08"
down_revision = "20261125_07"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kill_commands",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("of_user_id", sa.UUID(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("progress", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("scope IN ('platform', 'user', 'broker', 'strategy', 'symbol')", name=op.f("ck_kill_commands_scope_known")),
        sa.CheckConstraint("action IN ('stop', 'cancel', 'flatten')", name=op.f("ck_kill_commands_action_known")),
        sa.CheckConstraint("state IN ('running', 'done', 'superseded')", name=op.f("ck_kill_commands_state_known")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_kill_commands_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kill_commands")),
    )
    op.create_index("uq_kill_commands_user_id_idempotency_key", "kill_commands", ["user_id", "idempotency_key"], unique=True)
    op.create_index("ix_kill_commands_running", "kill_commands", ["key"], postgresql_where=sa.text("state = 'running'"))
    op.create_index("ix_kill_commands_user_id_id", "kill_commands", ["user_id", "id"])


def downgrade() -> None:
    op.drop_table("kill_commands")
