"""What a position cost and which way it went, which fills are its own and what their fees were worth; notes; indices of the history's lists.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. Fills of before are given to the position that was open when they
happened; of one moment in which a position ended and the next began, to the next. What their fees were worth is worked out when it is read.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "20261126_06"
down_revision = "20261126_05"
branch_labels = None
depends_on = None

_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
_MONEY = sa.Numeric(precision=38, scale=18)
_CLOSED = "status = 'closed'"
#: One pass along each symbol's time line: a fill belongs to the last position that was opened until then.
_GIVE_FILLS = """
WITH line AS (
  SELECT broker_id, symbol, opened_at AS at, 0 AS is_fill, id AS position_id, NULL::text AS trade_id, NULL::uuid AS order_id FROM positions
  UNION ALL SELECT broker_id, symbol, executed_at, 1, NULL, trade_id, order_id FROM fills),
counted AS (
  SELECT *, count(position_id) OVER (PARTITION BY broker_id, symbol ORDER BY at, is_fill ROWS UNBOUNDED PRECEDING) AS number FROM line),
given AS (
  SELECT *, first_value(position_id) OVER (PARTITION BY broker_id, symbol, number ORDER BY at, is_fill) AS owner FROM counted)
UPDATE fills f SET position_id = g.owner FROM given g
 WHERE g.is_fill = 1 AND g.number > 0 AND f.broker_id = g.broker_id AND f.symbol = g.symbol AND f.trade_id = g.trade_id
   AND f.order_id = g.order_id
"""
_SAY_SIDES = """
UPDATE positions p SET side = CASE WHEN f.side = 'buy' THEN 'long' ELSE 'short' END
  FROM (SELECT DISTINCT ON (position_id) position_id, side FROM fills WHERE position_id IS NOT NULL ORDER BY position_id, executed_at) f
 WHERE f.position_id = p.id
"""


def upgrade() -> None:
    op.add_column("fills", sa.Column("fee_value", _MONEY, nullable=True))
    op.add_column("fills", sa.Column("position_id", sa.Uuid(), nullable=True))
    op.add_column("positions", sa.Column("cost", _MONEY, nullable=True))
    op.add_column("positions", sa.Column("unvalued_fees", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False))
    op.add_column("positions", sa.Column("side", sa.Text(), nullable=True))
    op.execute(_GIVE_FILLS)
    op.execute(_SAY_SIDES)
    op.create_check_constraint(op.f("ck_positions_side_known"), "positions", "side IN ('long', 'short')")
    _create_indices()
    _create_notes()


def _create_indices() -> None:
    op.drop_index("ix_fills_user_id_executed_at", "fills")
    op.create_index("ix_fills_position_id", "fills", ["position_id"], postgresql_where=sa.text("position_id IS NOT NULL"))
    place = ["user_id", "executed_at", "trade_id", "symbol", "broker_id", "order_id"]
    op.create_index("ix_fills_history", "fills", place, postgresql_include=["side"])
    facts = ["symbol", "broker_id", "side", "type", "state", "source"]
    op.create_index("ix_orders_history", "orders", ["user_id", "created_at", "id"], postgresql_include=facts)
    op.create_index(
        "ix_orders_reasons", "orders", ["user_id", "created_at"], postgresql_where=sa.text("detail IS NOT NULL OR code IS NOT NULL")
    )
    op.create_index(
        "ix_positions_history",
        "positions",
        ["user_id", "closed_at", "id"],
        postgresql_where=sa.text(_CLOSED),
        postgresql_include=["symbol", "broker_id", "side", "source", "quote", "realized_pnl", "fees"],
    )
    op.create_index(
        "ix_positions_unvalued",
        "positions",
        ["user_id", "closed_at"],
        postgresql_where=sa.text(f"{_CLOSED} AND unvalued_fees <> '{{}}'"),
    )

    op.create_index("ix_webhook_deliveries_history", "webhook_deliveries", ["user_id", "received_at", "id"])


def _create_notes() -> None:
    op.create_table(
        "notes",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("tags", ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("subject IN ('trade', 'order')", name=op.f("ck_notes_subject_known")),
        sa.CheckConstraint("length(text) <= 2000", name=op.f("ck_notes_text_length")),
        sa.CheckConstraint("cardinality(tags) <= 10", name=op.f("ck_notes_tags_count")),
        sa.CheckConstraint("text <> '' OR cardinality(tags) > 0", name=op.f("ck_notes_not_empty")),
        sa.PrimaryKeyConstraint("subject", "subject_id", name=op.f("pk_notes")),
    )
    op.create_index("ix_notes_user_id", "notes", ["user_id"])
    op.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE notes FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON notes USING ({_OWN}) WITH CHECK ({_OWN})")


def downgrade() -> None:
    op.drop_table("notes")
    op.drop_index("ix_webhook_deliveries_history", "webhook_deliveries")
    for name in ("unvalued", "history"):
        op.drop_index(f"ix_positions_{name}", "positions")
    for name in ("reasons", "history"):
        op.drop_index(f"ix_orders_{name}", "orders")
    for name in ("history", "position_id"):
        op.drop_index(f"ix_fills_{name}", "fills")
    op.create_index("ix_fills_user_id_executed_at", "fills", ["user_id", "executed_at"])
    op.drop_constraint(op.f("ck_positions_side_known"), "positions")
    for name in ("side", "unvalued_fees", "cost"):
        op.drop_column("positions", name)
    for name in ("position_id", "fee_value"):
        op.drop_column("fills", name)
