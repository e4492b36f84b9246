"""Row-level security on every table with a tenant: without `owned()` a query for one user still finds nothing of another.

The application says for whom it works (`app.user_id`), or that it works for the whole platform (`app.scope`); who says neither sees nothing.
Rows without a user belong to the platform: everybody may read the trading states among them, and nobody the others. FORCE puts the owner
behind the policies too, for where one role does everything. Runs in one transaction under lock_timeout 4 s; no table is rewritten.
"""

from alembic import op

revision = "20261125_70"
down_revision = "20261125_60"
branch_labels = None
depends_on = None

_OWNED = (
    "account_activity",
    "account_checks",
    "audit_findings",
    "balances",
    "brokers",
    "daily_results",
    "equity_snapshots",
    "external_orders",
    "external_trades",
    "fills",
    "kill_commands",
    "ledger_baselines",
    "order_events",
    "orders",
    "outbox",
    "paper_accounts",
    "paper_balances",
    "paper_fills",
    "paper_orders",
    "positions",
    "protections",
    "risk_limits",
    "trade_marks",
    "user_sessions",
    "webhook_deliveries",
    "webhooks",
)
_CONCERN_EVERYBODY = ("trading_states", "trading_state_log")
# Sub-selects are evaluated once for a statement, not once for each row.
_PLATFORM = "(SELECT current_setting('app.scope', true)) = 'platform'"
_MINE = "{column} = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"


def upgrade() -> None:
    for table in (*_OWNED, *_CONCERN_EVERYBODY, "users"):
        own = f"{_PLATFORM} OR {_MINE.format(column='id' if table == 'users' else 'user_id')}"
        seen = f"{own} OR user_id IS NULL" if table in _CONCERN_EVERYBODY else own
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({seen}) WITH CHECK ({own})")


def downgrade() -> None:
    for table in (*_OWNED, *_CONCERN_EVERYBODY, "users"):
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
