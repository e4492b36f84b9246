"""Say of closed positions what the order was for that closed them, and of all which webhook delivery opened them.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. It locks the rows that it changes and no table; each position finds
its first and its last fill by an index.
"""

from alembic import op

revision = "20261126_21"
down_revision = "20261126_24"
branch_labels = None
depends_on = None

_SAY = """
UPDATE positions p SET exit_role = CASE WHEN p.status = 'closed' THEN last.role END, delivery_id = first.delivery_id
  FROM positions s
 CROSS JOIN LATERAL (
   SELECT o.delivery_id FROM fills f JOIN orders o ON o.id = f.order_id
    WHERE f.position_id = s.id ORDER BY f.executed_at, f.trade_id LIMIT 1) first
 CROSS JOIN LATERAL (
   SELECT o.role FROM fills f JOIN orders o ON o.id = f.order_id
    WHERE f.position_id = s.id ORDER BY f.executed_at DESC, f.trade_id DESC LIMIT 1) last
 WHERE s.id = p.id AND (p.status = 'closed' OR first.delivery_id IS NOT NULL)
"""


def upgrade() -> None:
    op.execute("SET LOCAL app.scope = 'platform'")
    op.execute(_SAY)


def downgrade() -> None:
    """What was said stays until the columns go."""
