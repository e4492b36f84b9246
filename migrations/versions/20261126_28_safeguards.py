"""What safeguards of bots remember: the equity when one was armed again, and the highest profit of all of a user's bots together.

A rule trips once until it is armed again, also where two processes find it at the same moment. Runs in one transaction under lock_timeout
4 s; no table is rewritten, and what is indexed is small.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261126_28"
down_revision = "20261126_22"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bot_trips", sa.Column("rearmed_equity", sa.Numeric(precision=38, scale=18), nullable=True))
    op.add_column("user_safeguards", sa.Column("peaks", JSONB(), server_default=sa.text("'{}'"), nullable=False))
    op.create_index(
        "uq_bot_trips_of_bot",
        "bot_trips",
        ["bot_id", "rule"],
        unique=True,
        postgresql_where=sa.text("rearmed_at IS NULL AND bot_id IS NOT NULL"),
    )
    op.create_index(
        "uq_bot_trips_of_user",
        "bot_trips",
        ["user_id", "rule"],
        unique=True,
        postgresql_where=sa.text("rearmed_at IS NULL AND bot_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("uq_bot_trips_of_user", "bot_trips")
    op.drop_index("uq_bot_trips_of_bot", "bot_trips")
    op.drop_column("user_safeguards", "peaks")
    op.drop_column("bot_trips", "rearmed_equity")
