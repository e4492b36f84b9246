"""A copy that was given away stays counted when its strategy is deleted.

The rows went with the strategy, and with them what bounds how many copies a user may give away in an hour.
Runs in one transaction under lock_timeout 4 s; no table is rewritten, and that of the shares holds a week.
"""

from alembic import op

revision = "20261126_13"
down_revision = "20261126_12"
branch_labels = None
depends_on = None

_NAME = "fk_strategy_shares_version_id_strategy_versions"


def upgrade() -> None:
    op.alter_column("strategy_shares", "version_id", nullable=True)
    op.drop_constraint(_NAME, "strategy_shares", type_="foreignkey")
    op.create_foreign_key(_NAME, "strategy_shares", "strategy_versions", ["version_id"], ["id"], ondelete="SET NULL")


def downgrade() -> None:
    op.execute("DELETE FROM strategy_shares WHERE version_id IS NULL")
    op.drop_constraint(_NAME, "strategy_shares", type_="foreignkey")
    op.create_foreign_key(_NAME, "strategy_shares", "strategy_versions", ["version_id"], ["id"], ondelete="CASCADE")
    op.alter_column("strategy_shares", "version_id", nullable=False)
