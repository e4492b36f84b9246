"""Switches of the whole platform that outlive a restart: development mode is the first.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. One new table; there is one `dev` at most.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_73"
down_revision = "20261125_72"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "platform_settings",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_platform_settings")),
    )
    op.create_index("uq_users_is_dev", "users", ["is_dev"], unique=True, postgresql_where=sa.text("is_dev"))


def downgrade() -> None:
    op.drop_index("uq_users_is_dev", table_name="users")
    op.drop_table("platform_settings")
