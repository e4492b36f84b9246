"""When a login last gave a code of its second factor: what a stranger at an open page must not do asks for a fresh one.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. One new column without a default: no rewrite.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_78"
down_revision = "20261125_77"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("user_sessions", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("user_sessions", "verified_at")
