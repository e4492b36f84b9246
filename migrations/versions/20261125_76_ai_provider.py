"""One column says which AI provider is on: `ai_enabled` beside it could say the opposite. OpenRouter is on only with a key.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. Nothing wrote these columns before, so no row is changed but one
that says OpenRouter without a key, which is switched off.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_76"
down_revision = "20261125_75"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL app.scope = 'platform'")
    op.execute("UPDATE users SET ai_provider = 'none' WHERE ai_provider = 'openrouter' AND ai_api_key IS NULL")
    op.drop_column("users", "ai_enabled")
    op.add_column("users", sa.Column("ai_key_hint", sa.Text(), server_default="", nullable=False))
    op.create_check_constraint(op.f("ck_users_ai_key_given"), "users", "ai_provider <> 'openrouter' OR ai_api_key IS NOT NULL")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_users_ai_key_given"), "users", type_="check")
    op.drop_column("users", "ai_key_hint")
    op.add_column("users", sa.Column("ai_enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute("SET LOCAL app.scope = 'platform'")
    op.execute("UPDATE users SET ai_enabled = ai_provider <> 'none'")
