"""Whose orders an account takes, a user id for the venues that want one, and what a venue says its key may do.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. New columns only: what was there takes everybody's orders as
before, and the default of a column is not written to the rows.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_74"
down_revision = "20261125_73"
branch_labels = None
depends_on = None


def upgrade() -> None:
    everybody = sa.text("ARRAY['manual', 'webhook', 'bot']")
    op.add_column("brokers", sa.Column("trading_modes", postgresql.ARRAY(sa.Text()), server_default=everybody, nullable=False))
    op.create_check_constraint(op.f("ck_brokers_trading_modes_known"), "brokers", "trading_modes <@ ARRAY['manual', 'webhook', 'bot']")
    op.add_column("brokers", sa.Column("api_uid", sa.Text(), nullable=True))
    op.add_column("brokers", sa.Column("key_rights", postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column("brokers", "key_rights")
    op.drop_column("brokers", "api_uid")
    op.drop_constraint(op.f("ck_brokers_trading_modes_known"), "brokers")
    op.drop_column("brokers", "trading_modes")
