"""What webhooks let their alerts do, who may send them, and what a delivery was.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s; new columns have constant defaults, so that no row is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "20261126_03"
down_revision = "20261126_02"
branch_labels = None
depends_on = None

_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
TIMEFRAMES = "'1m', '3m', '5m', '10m', '15m', '30m', '1h', '2h', '4h', '1d'"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("rules", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False))
    op.add_column("webhooks", sa.Column("allowed_ips", ARRAY(sa.Text()), nullable=True))
    op.add_column("webhooks", sa.Column("max_age_s", sa.Integer(), server_default=sa.text("60"), nullable=False))
    op.add_column("webhooks", sa.Column("per_minute", sa.Integer(), server_default=sa.text("120"), nullable=False))
    op.add_column("webhooks", sa.Column("interval", sa.Text(), nullable=True))
    op.add_column("webhooks", sa.Column("expected_from", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_webhooks_interval_known"), "webhooks", f"interval IN ({TIMEFRAMES})")
    op.create_check_constraint(op.f("ck_webhooks_max_age"), "webhooks", "max_age_s BETWEEN 1 AND 86400")
    op.create_check_constraint(op.f("ck_webhooks_rate"), "webhooks", "per_minute BETWEEN 1 AND 6000")

    op.add_column("webhook_deliveries", sa.Column("dialect", sa.Text(), nullable=True))
    op.add_column("webhook_deliveries", sa.Column("alert_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("webhook_deliveries", sa.Column("replay_of", sa.Uuid(), nullable=True))
    op.add_column("webhook_deliveries", sa.Column("broker_id", sa.Uuid(), nullable=True))
    op.add_column("webhook_deliveries", sa.Column("is_test", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_webhook_deliveries_webhook_id_id", "webhook_deliveries", ["webhook_id", "id"])
    op.create_index(
        "ix_webhook_deliveries_replay_of", "webhook_deliveries", ["replay_of"], postgresql_where=sa.text("replay_of IS NOT NULL")
    )

    # The newest moment that a webhook's alerts of a symbol were acted on: what is older comes out of order.
    op.create_table(
        "webhook_marks",
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("alert_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_marks_webhook_id_webhooks"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("webhook_id", "symbol", name=op.f("pk_webhook_marks")),
    )
    op.execute("ALTER TABLE webhook_marks ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE webhook_marks FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON webhook_marks USING ({_OWN}) WITH CHECK ({_OWN})")


def downgrade() -> None:
    op.drop_table("webhook_marks")
    op.drop_index("ix_webhook_deliveries_replay_of", "webhook_deliveries")
    op.drop_index("ix_webhook_deliveries_webhook_id_id", "webhook_deliveries")
    for name in ("is_test", "broker_id", "replay_of", "alert_at", "dialect"):
        op.drop_column("webhook_deliveries", name)
    for name in ("rate", "max_age", "interval_known"):
        op.drop_constraint(op.f(f"ck_webhooks_{name}"), "webhooks")
    for name in ("expected_from", "interval", "per_minute", "max_age_s", "allowed_ips", "rules"):
        op.drop_column("webhooks", name)
