"""What a person keeps of the trading page: favourite symbols, the symbol last looked at with an account, keys without a modifier.

Runs in one transaction under lock_timeout 4 s; new columns have constant defaults, so that no row is rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261126_08"
down_revision = "20261126_07"
branch_labels = None
depends_on = None

_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)


def upgrade() -> None:
    op.create_table(
        "favourite_symbols",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_favourite_symbols_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "exchange", "symbol", name=op.f("pk_favourite_symbols")),
    )
    op.execute("ALTER TABLE favourite_symbols ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE favourite_symbols FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON favourite_symbols USING ({_OWN}) WITH CHECK ({_OWN})")
    op.add_column("brokers", sa.Column("last_symbol", sa.Text(), nullable=True))
    op.add_column("users", sa.Column("has_shortcuts", sa.Boolean(), server_default=sa.text("true"), nullable=False))


def downgrade() -> None:
    op.drop_column("users", "has_shortcuts")
    op.drop_column("brokers", "last_symbol")
    op.drop_table("favourite_symbols")
