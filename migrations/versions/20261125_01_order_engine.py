"""Orders: more types, roles, supervision, pairs and replacements, reservations; protections of positions.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. New columns have constant defaults, so no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_01"
down_revision = "20261121_02"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=38, scale=18)
_TYPES_BEFORE = "type IN ('market', 'limit', 'stop_limit', 'take_profit_limit')"
_TYPES = "type IN ('market', 'limit', 'stop_market', 'stop_limit', 'take_profit', 'take_profit_limit', 'trailing_stop')"
_SOURCES_BEFORE = "source IN ('manual', 'webhook', 'bot')"
_SOURCES = "source IN ('manual', 'webhook', 'bot', 'recovered')"


def upgrade() -> None:
    _add_order_columns()
    _index_orders()
    _recheck(_TYPES, _SOURCES)
    op.create_check_constraint(op.f("ck_orders_role_known"), "orders", "role IN ('entry', 'exit', 'stop', 'target', 'flatten')")
    op.create_check_constraint(op.f("ck_orders_execution_known"), "orders", "execution IN ('native', 'supervised')")
    _create_protections()


def downgrade() -> None:
    op.drop_table("protections")
    op.drop_constraint(op.f("ck_orders_role_known"), "orders", type_="check")
    op.drop_constraint(op.f("ck_orders_execution_known"), "orders", type_="check")
    # What the older schema cannot say becomes the nearest it can.
    op.execute("UPDATE orders SET type = 'stop_limit' WHERE type IN ('stop_market', 'trailing_stop')")
    op.execute("UPDATE orders SET type = 'take_profit_limit' WHERE type = 'take_profit'")
    op.execute("UPDATE orders SET source = 'manual' WHERE source = 'recovered'")
    _recheck(_TYPES_BEFORE, _SOURCES_BEFORE)
    for name in ("ix_orders_held", "ix_orders_group_id", "ix_orders_replaces_id"):
        op.drop_index(name, "orders")
    for name in _NEW_COLUMNS:
        op.drop_column("orders", name)


_NEW_COLUMNS = (
    "notional",
    "trailing_delta",
    "watermark",
    "execution",
    "role",
    "group_id",
    "replaces_id",
    "triggered_at",
    "is_working",
    "is_overfilled",
    "protection",
    "reserved",
    "reserved_asset",
    "reconciled_at",
)


def _add_order_columns() -> None:
    for column in (
        sa.Column("notional", _MONEY, nullable=True),
        sa.Column("trailing_delta", _MONEY, nullable=True),
        sa.Column("watermark", _MONEY, nullable=True),
        sa.Column("execution", sa.Text(), server_default=sa.text("'native'"), nullable=False),
        sa.Column("role", sa.Text(), server_default=sa.text("'entry'"), nullable=False),
        sa.Column("group_id", sa.UUID(), nullable=True),
        sa.Column("replaces_id", sa.UUID(), nullable=True),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_working", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_overfilled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("protection", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("reserved", _MONEY, server_default=sa.text("0"), nullable=False),
        sa.Column("reserved_asset", sa.Text(), nullable=True),
        sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("orders", column)


def _index_orders() -> None:
    held = "state = 'intent' AND execution = 'supervised' AND triggered_at IS NULL"
    op.create_index("ix_orders_held", "orders", ["broker_id"], postgresql_where=sa.text(held))
    op.create_index("ix_orders_group_id", "orders", ["group_id"], postgresql_where=sa.text("group_id IS NOT NULL"))
    op.create_index("ix_orders_replaces_id", "orders", ["replaces_id"], postgresql_where=sa.text("replaces_id IS NOT NULL"))


def _recheck(types: str, sources: str) -> None:
    for name, condition in (("type", types), ("source", sources)):
        op.drop_constraint(op.f(f"ck_orders_{name}_known"), "orders", type_="check")
        op.create_check_constraint(op.f(f"ck_orders_{name}_known"), "orders", condition)


def _create_protections() -> None:
    op.create_table(
        "protections",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("broker_id", sa.UUID(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("base_quantity", _MONEY, nullable=False),
        sa.Column("entry_order_id", sa.UUID(), nullable=True),
        sa.Column("unprotected_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("alerted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("status IN ('active', 'done')", name=op.f("ck_protections_status_known")),
        sa.CheckConstraint("mode IN ('pairs', 'stop_at_venue', 'supervised')", name=op.f("ck_protections_mode_known")),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_protections_broker_id_brokers"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_protections")),
    )
    op.create_index(
        "uq_protections_active", "protections", ["broker_id", "symbol"], unique=True, postgresql_where=sa.text("status = 'active'")
    )
    op.create_index("ix_protections_user_id_id", "protections", ["user_id", "id"])
