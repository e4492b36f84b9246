"""Positions and protections by bot: each bot has its own in a symbol of an account, beside the other bots' and the hand's.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. So far no row has a bot, so that every row keeps its place. The
unique indices hold open positions and active protections only; those of orders and closed positions nothing yet. No table is rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261126_20"
down_revision = "20261126_31"
branch_labels = None
depends_on = None

_WHOSE = sa.text("coalesce(bot_id, '00000000-0000-0000-0000-000000000000'::uuid)")
_UNSETTLED = "state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity"
_ROLES = "('entry', 'exit', 'stop', 'target', 'flatten')"
#: Two of one symbol, of which an older program knows one only.
_ONE_EACH = """
UPDATE protections p SET status = 'done' WHERE p.status = 'active' AND p.bot_id IS NOT NULL
"""


def upgrade() -> None:
    op.add_column("protections", sa.Column("bot_id", sa.Uuid(), nullable=True))
    op.add_column("positions", sa.Column("exit_role", sa.Text(), nullable=True))
    op.add_column("positions", sa.Column("delivery_id", sa.Uuid(), nullable=True))
    op.create_check_constraint(op.f("ck_positions_exit_role_known"), "positions", f"exit_role IN {_ROLES}")
    op.drop_index("uq_positions_open", "positions")
    op.create_index(
        "uq_positions_open", "positions", ["broker_id", "symbol", _WHOSE], unique=True, postgresql_where=sa.text("status <> 'closed'")
    )
    op.drop_index("uq_protections_active", "protections")
    op.create_index(
        "uq_protections_active", "protections", ["broker_id", "symbol", _WHOSE], unique=True, postgresql_where=sa.text("status = 'active'")
    )
    _create_indices_of_bots()


def _create_indices_of_bots() -> None:
    op.create_index("ix_positions_of_bots", "positions", ["bot_id"], postgresql_where=sa.text("bot_id IS NOT NULL AND status <> 'closed'"))
    op.create_index(
        "ix_positions_closed_by_bots",
        "positions",
        ["bot_id", "closed_at"],
        postgresql_where=sa.text("bot_id IS NOT NULL AND status = 'closed'"),
        postgresql_include=["realized_pnl", "fees"],
    )
    op.create_index("ix_orders_of_bots", "orders", ["bot_id"], postgresql_where=sa.text(f"bot_id IS NOT NULL AND ({_UNSETTLED})"))


def downgrade() -> None:
    op.execute("SET LOCAL app.scope = 'platform'")
    op.drop_index("ix_orders_of_bots", "orders")
    op.drop_index("ix_positions_closed_by_bots", "positions")
    op.drop_index("ix_positions_of_bots", "positions")
    op.execute(_ONE_EACH)
    op.drop_index("uq_protections_active", "protections")
    op.create_index(
        "uq_protections_active", "protections", ["broker_id", "symbol"], unique=True, postgresql_where=sa.text("status = 'active'")
    )
    op.drop_index("uq_positions_open", "positions")
    op.create_index(
        "uq_positions_open",
        "positions",
        ["broker_id", "symbol"],
        unique=True,
        postgresql_where=sa.text("status <> 'closed' AND bot_id IS NULL"),
    )
    op.drop_constraint(op.f("ck_positions_exit_role_known"), "positions")
    op.drop_column("positions", "delivery_id")
    op.drop_column("positions", "exit_role")
    op.drop_column("protections", "bot_id")
