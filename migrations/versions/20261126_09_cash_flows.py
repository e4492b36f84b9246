"""What came into accounts and left them without a trade, the readings it is found by, and the currency a person counts in.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s; the new column has a constant default, so no row is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261126_09"
down_revision = "20261126_08"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=38, scale=18)
_MOMENT = sa.DateTime(timezone=True)
_OWNED = ("balance_readings", "cash_flows", "flow_watches")
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
CURRENCIES = "'USDT', 'USD', 'EUR', 'USDC', 'BTC', 'ETH', 'BNB', 'GBP', 'TRY', 'BRL', 'JPY'"
NOTES = "'deposit', 'withdrawal', 'income', 'reset', 'unexplained'"
# A row that a removed account takes with it goes from inside another trigger.
_REFUSE = """
CREATE FUNCTION cash_flows_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF pg_trigger_depth() > 1 THEN
      RETURN OLD;
    END IF;
  ELSIF to_jsonb(NEW) - 'note' = to_jsonb(OLD) - 'note' THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'cash flows are append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""


def upgrade() -> None:
    op.add_column("users", sa.Column("currency", sa.Text(), server_default="USDT", nullable=False))
    op.create_check_constraint(op.f("ck_users_currency_known"), "users", f"currency IN ({CURRENCIES})")
    op.create_table(
        "balance_readings",
        sa.Column("broker_id", sa.Uuid(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("answered_at", _MOMENT, nullable=False),
        sa.Column("totals", JSONB(), nullable=False),
        sa.Column("prices", JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_balance_readings_broker_id_brokers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("broker_id", "at", name=op.f("pk_balance_readings")),
    )
    _create_cash_flows()
    op.create_table(
        "flow_watches",
        sa.Column("broker_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("read_at", _MOMENT, nullable=True),
        sa.Column("swept_at", _MOMENT, nullable=True),
        sa.Column("waiting", JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_flow_watches_broker_id_brokers"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("broker_id", name=op.f("pk_flow_watches")),
    )
    op.create_table(
        "rates",
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("usdt", _MONEY, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.CheckConstraint("usdt > 0", name=op.f("ck_rates_usdt_positive")),
        sa.PrimaryKeyConstraint("asset", name=op.f("pk_rates")),
    )
    op.create_index("ix_external_trades_broker_id_executed_at", "external_trades", ["broker_id", "executed_at"])
    for table in _OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_OWN}) WITH CHECK ({_OWN})")


def _create_cash_flows() -> None:
    op.create_table(
        "cash_flows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("broker_id", sa.Uuid(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", _MONEY, nullable=False),
        sa.Column("value_usdt", _MONEY, nullable=True),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("corrects_id", sa.Uuid(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint(f"note IN ({NOTES})", name=op.f("ck_cash_flows_note_known")),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_cash_flows_amount_is_something")),
        sa.CheckConstraint("(revision = 0) = (corrects_id IS NULL)", name=op.f("ck_cash_flows_correction_says_of_what")),
        sa.ForeignKeyConstraint(["broker_id"], ["brokers.id"], name=op.f("fk_cash_flows_broker_id_brokers"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["corrects_id"], ["cash_flows.id"], name=op.f("fk_cash_flows_corrects_id_cash_flows"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_flows")),
    )
    op.create_index("uq_cash_flows_reading", "cash_flows", ["broker_id", "at", "asset", "revision"], unique=True)
    op.create_index("ix_cash_flows_user_id_at", "cash_flows", ["user_id", "at"])
    op.execute(_REFUSE)
    op.execute("CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON cash_flows FOR EACH ROW EXECUTE FUNCTION cash_flows_refuse()")


def downgrade() -> None:
    op.drop_index("ix_external_trades_broker_id_executed_at", "external_trades")
    for table in ("rates", "flow_watches", "cash_flows", "balance_readings"):
        op.drop_table(table)
    op.execute("DROP FUNCTION cash_flows_refuse()")
    op.drop_constraint(op.f("ck_users_currency_known"), "users")
    op.drop_column("users", "currency")
