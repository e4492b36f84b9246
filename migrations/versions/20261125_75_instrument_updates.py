"""Updates of the instruments as jobs that outlive a reload of the page, and since when a symbol is not listed any more.

Symbols that were found missing before now are told from halted ones by the time of their row: every listed row was written anew at each
refresh. Runs in one transaction under lock_timeout 4 s; the instruments are rewritten where they are not listed, a few rows an exchange.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_75"
down_revision = "20261125_74"
branch_labels = None
depends_on = None

_MISSING = """
UPDATE instruments AS gone SET delisted_at = gone.last_updated
  FROM (SELECT exchange, max(last_updated) AS at FROM instruments GROUP BY exchange) AS latest
 WHERE latest.exchange = gone.exchange AND NOT gone.is_active AND gone.last_updated < latest.at
"""


def upgrade() -> None:
    op.add_column("instruments", sa.Column("delisted_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(_MISSING)
    op.create_table(
        "instrument_updates",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("started_by", sa.UUID(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("added", sa.Integer(), nullable=True),
        sa.Column("updated", sa.Integer(), nullable=True),
        sa.Column("removed", sa.Integer(), nullable=True),
        sa.Column("names", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("cause IN ('person', 'nightly')", name=op.f("ck_instrument_updates_cause_known")),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'interrupted')", name=op.f("ck_instrument_updates_state_known")),
        sa.CheckConstraint("phase IN ('waiting', 'asking', 'storing')", name=op.f("ck_instrument_updates_phase_known")),
        sa.ForeignKeyConstraint(["started_by"], ["users.id"], name=op.f("fk_instrument_updates_started_by_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instrument_updates")),
    )
    op.create_index(
        "uq_instrument_updates_running", "instrument_updates", ["exchange"], unique=True, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index("ix_instrument_updates_exchange_id", "instrument_updates", ["exchange", "id"])


def downgrade() -> None:
    op.drop_table("instrument_updates")
    op.drop_column("instruments", "delisted_at")
