"""Protections: a revision against decisions from a stale look, the position they guard, and since when their plan holds.

What made a protection step aside is now read from the orders that sell, so `yield_until` goes. Runs in one transaction under lock_timeout
4 s and statement_timeout 60 s. Constant defaults: no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_60"
down_revision = "20261125_51"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("protections", sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("protections", sa.Column("position_id", sa.Uuid(), nullable=True))
    op.add_column("protections", sa.Column("plan_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False))
    op.add_column("protections", sa.Column("plan_wished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False))
    op.execute("UPDATE protections SET plan_since = created_at, plan_wished_at = updated_at")
    op.execute(
        "UPDATE protections p SET position_id = s.id FROM positions s WHERE p.status = 'active' AND s.broker_id = p.broker_id"
        " AND s.symbol = p.symbol AND s.status <> 'closed' AND s.bot_id IS NULL"
    )
    op.drop_column("protections", "yield_until")


def downgrade() -> None:
    op.add_column("protections", sa.Column("yield_until", sa.DateTime(timezone=True), nullable=True))
    op.drop_column("protections", "plan_wished_at")
    op.drop_column("protections", "plan_since")
    op.drop_column("protections", "position_id")
    op.drop_column("protections", "revision")
