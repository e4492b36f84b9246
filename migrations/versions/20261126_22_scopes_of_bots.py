"""A scope of all bots of a user for trading states and the kill switch.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. Both tables are small: a row for each cause that restrains
trading now, and one for each use of the switch.
"""

from alembic import op

revision = "20261126_22"
down_revision = "20261126_21"
branch_labels = None
depends_on = None

_TABLES = ("trading_states", "kill_commands")
_BEFORE = "scope IN ('platform', 'user', 'broker', 'strategy', 'symbol')"
_NOW = "scope IN ('platform', 'user', 'broker', 'bots', 'strategy', 'symbol')"


def upgrade() -> None:
    for table in _TABLES:
        op.drop_constraint(op.f(f"ck_{table}_scope_known"), table)
        op.create_check_constraint(op.f(f"ck_{table}_scope_known"), table, _NOW)


def downgrade() -> None:
    op.execute("SET LOCAL app.scope = 'platform'")
    for table in _TABLES:
        op.drop_constraint(op.f(f"ck_{table}_scope_known"), table)
        op.execute(f"DELETE FROM {table} WHERE scope = 'bots'")  # noqa: S608  # constants
        op.create_check_constraint(op.f(f"ck_{table}_scope_known"), table, _BEFORE)
