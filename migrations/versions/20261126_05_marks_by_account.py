"""The newest moment that a webhook's alerts of a symbol were acted on is one of an account: another account's alerts have their own order.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. Of a mark so far nobody knows which accounts it came from, so each
account of its user gets it: what was out of order before the upgrade still is. The table has one row for each webhook and symbol.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261126_05"
down_revision = "20261126_04"
branch_labels = None
depends_on = None

_TABLE = "webhook_marks"
_KEY = op.f("pk_webhook_marks")
_FOR_EACH_ACCOUNT = """
INSERT INTO webhook_marks (webhook_id, broker_id, symbol, user_id, alert_at, delivery_id)
SELECT m.webhook_id, b.id, m.symbol, m.user_id, m.alert_at, m.delivery_id
  FROM webhook_marks m JOIN brokers b ON b.user_id = m.user_id AND b.removed_at IS NULL
"""
_ALL_BUT_THE_NEWEST = """
DELETE FROM webhook_marks m USING webhook_marks newer
 WHERE newer.webhook_id = m.webhook_id AND newer.symbol = m.symbol AND (newer.alert_at, newer.broker_id) > (m.alert_at, m.broker_id)
"""


def upgrade() -> None:
    op.execute("SET LOCAL app.scope = 'platform'")
    op.drop_constraint(_KEY, _TABLE, type_="primary")
    op.add_column(_TABLE, sa.Column("broker_id", sa.Uuid(), nullable=True))
    op.execute(_FOR_EACH_ACCOUNT)
    op.execute("DELETE FROM webhook_marks WHERE broker_id IS NULL")
    op.create_primary_key(_KEY, _TABLE, ["webhook_id", "broker_id", "symbol"])
    op.create_foreign_key(op.f("fk_webhook_marks_broker_id_brokers"), _TABLE, "brokers", ["broker_id"], ["id"], ondelete="CASCADE")


def downgrade() -> None:
    op.execute("SET LOCAL app.scope = 'platform'")
    op.execute(_ALL_BUT_THE_NEWEST)
    op.drop_constraint(_KEY, _TABLE, type_="primary")
    op.drop_column(_TABLE, "broker_id")
    op.create_primary_key(_KEY, _TABLE, ["webhook_id", "symbol"])
