"""Whether an order ticket asks once more before it sends.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s; the new column has a constant default, so that no row is rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261126_07"
down_revision = "20261126_03"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("confirm_orders", sa.Boolean(), server_default=sa.text("true"), nullable=False))


def downgrade() -> None:
    op.drop_column("users", "confirm_orders")
