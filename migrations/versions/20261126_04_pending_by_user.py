"""What waits of one user's alerts is found at once: each alert that comes in asks for it, to keep the order of arrival.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s; the index holds only what is not decided yet, so it is small.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261126_04"
down_revision = "20261126_03"
branch_labels = None
depends_on = None

_NAME = "ix_webhook_deliveries_pending"
_WAITING = sa.text("decision = 'pending'")


def upgrade() -> None:
    op.drop_index(_NAME, "webhook_deliveries")
    op.create_index(_NAME, "webhook_deliveries", ["user_id", "received_at"], postgresql_where=_WAITING)


def downgrade() -> None:
    op.drop_index(_NAME, "webhook_deliveries")
    op.create_index(_NAME, "webhook_deliveries", ["received_at"], postgresql_where=_WAITING)
