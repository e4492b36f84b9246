"""What bots came to beside their re-simulation, one row a bot and day.

Runs in one transaction under lock_timeout 4 s; the foreign keys take a short lock on users and bots, and no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261126_37"
down_revision = "20261126_28"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_MONEY = sa.Numeric(precision=38, scale=18)
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)


def upgrade() -> None:
    op.create_table(
        "bot_shadows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bot_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("is_by_hand", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("asked_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("first_at", _MOMENT, nullable=True),
        sa.Column("until_at", _MOMENT, nullable=True),
        sa.Column("engine_version", sa.Text(), nullable=True),
        sa.Column("live", _MONEY, nullable=True),
        sa.Column("shadow", _MONEY, nullable=True),
        sa.Column("rest", _MONEY, nullable=True),
        sa.Column("live_trades", sa.Integer(), nullable=True),
        sa.Column("shadow_trades", sa.Integer(), nullable=True),
        sa.Column("header", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("causes", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("differences", JSONB(), nullable=True),
        sa.Column("curve", JSONB(), nullable=True),
        sa.Column("error", JSONB(), nullable=True),
        sa.CheckConstraint("state IN ('queued', 'running', 'completed', 'failed')", name=op.f("ck_bot_shadows_state_known")),
        sa.CheckConstraint("(live IS NULL) = (finished_at IS NULL)", name=op.f("ck_bot_shadows_result_has_its_time")),
        sa.CheckConstraint("state <> 'failed' OR error IS NOT NULL", name=op.f("ck_bot_shadows_failure_is_told")),
        sa.ForeignKeyConstraint(["bot_id"], ["bots.id"], name=op.f("fk_bot_shadows_bot_id_bots"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_bot_shadows_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_shadows")),
        sa.UniqueConstraint("bot_id", "day", name=op.f("uq_bot_shadows_bot_id_day")),
    )
    op.create_index("ix_bot_shadows_user_id_day", "bot_shadows", ["user_id", "day"])
    op.create_index("ix_bot_shadows_open", "bot_shadows", ["asked_at"], postgresql_where=sa.text("state IN ('queued', 'running')"))
    op.execute("ALTER TABLE bot_shadows ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE bot_shadows FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON bot_shadows USING ({_OWN}) WITH CHECK ({_OWN})")


def downgrade() -> None:
    op.drop_table("bot_shadows")
