"""Instruments: the largest market order, and how far a limit price may be from the market's.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_07"
down_revision = "20261125_06"
branch_labels = None
depends_on = None

_COLUMNS = ("max_market_quantity", "buy_min_ratio", "buy_max_ratio", "sell_min_ratio", "sell_max_ratio")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("instruments", sa.Column(name, sa.Numeric(precision=38, scale=18), nullable=True))


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("instruments", name)
