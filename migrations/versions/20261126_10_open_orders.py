"""Open orders of a user by an index that holds nothing else.

Revision ID: 20261126_10
Revises: 20261126_09
"""

import sqlalchemy as sa
from alembic import op

revision = "20261126_10"
down_revision = "20261126_09"
branch_labels = None
depends_on = None

_OPEN = "state IN ('intent', 'submitting', 'unknown', 'open', 'partial')"


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_orders_open", "orders", ["user_id", "id"], postgresql_where=sa.text(_OPEN))


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_orders_open", table_name="orders")
