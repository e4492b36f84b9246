"""Protections: since when the mode holds, and until when the legs step aside. Replacements: what the old order had filled.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_03"
down_revision = "20261125_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("protections", sa.Column("mode_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False))
    op.add_column("protections", sa.Column("yield_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("orders", sa.Column("replaces_filled", sa.Numeric(precision=38, scale=18), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "replaces_filled")
    op.drop_column("protections", "yield_until")
    op.drop_column("protections", "mode_since")
