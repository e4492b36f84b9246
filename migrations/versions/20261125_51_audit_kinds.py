"""Whether an audit looked at everything or at what had changed lately.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. A column with a constant default: no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_51"
down_revision = "20261125_50"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_runs", sa.Column("is_full", sa.Boolean(), server_default=sa.text("true"), nullable=False))


def downgrade() -> None:
    op.drop_column("audit_runs", "is_full")
