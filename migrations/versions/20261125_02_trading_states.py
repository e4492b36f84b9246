"""Trading states and their log.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. Two new tables; nothing that is there is touched.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_02"
down_revision = "20261125_01"
branch_labels = None
depends_on = None

_SCOPES = "scope IN ('platform', 'user', 'broker', 'strategy', 'symbol')"


def upgrade() -> None:
    op.create_table(
        "trading_states",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("needs_rearm", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint(_SCOPES, name=op.f("ck_trading_states_scope_known")),
        sa.CheckConstraint("state IN ('reducing', 'reconciling', 'halted')", name=op.f("ck_trading_states_state_restrains")),
        sa.PrimaryKeyConstraint("key", "code", name=op.f("pk_trading_states")),
    )
    op.create_index("ix_trading_states_user_id", "trading_states", ["user_id"])
    op.create_table(
        "trading_state_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('active', 'reducing', 'reconciling', 'halted')", name=op.f("ck_trading_state_log_state_known")),
        sa.CheckConstraint("action IN ('tripped', 'rearmed', 'lifted')", name=op.f("ck_trading_state_log_action_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_state_log")),
    )
    op.create_index("ix_trading_state_log_key_code_id", "trading_state_log", ["key", "code", "id"])
    op.create_index("ix_trading_state_log_user_id_id", "trading_state_log", ["user_id", "id"])


def downgrade() -> None:
    op.drop_table("trading_state_log")
    op.drop_table("trading_states")
