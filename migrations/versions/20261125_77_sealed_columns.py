"""Encrypted columns take ciphertext only, and the database knows which key seals and which processes have it.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s. Two new tables; each CHECK reads its small table once. A row that
violates one holds a secret in the clear, which no version of this program has ever read: empty the column by hand and enter it anew.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_77"
down_revision = "20261125_76"
branch_labels = None
depends_on = None

_CIPHERTEXT = "^gAAAA[A-Za-z0-9_-]{93,}={0,2}$"
_SEALED = (
    ("users", "ai_api_key"),
    ("brokers", "api_key"),
    ("brokers", "api_secret"),
    ("brokers", "api_password"),
    ("brokers", "api_uid"),
    ("second_factors", "secret"),
)


def upgrade() -> None:
    for table, column in _SEALED:
        op.create_check_constraint(op.f(f"ck_{table}_{column}_sealed"), table, f"{column} ~ '{_CIPHERTEXT}'")
    op.create_table(
        "encryption_keys",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("is_sealing", sa.Boolean(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("fingerprint ~ '^[0-9a-f]{16}$'", name=op.f("ck_encryption_keys_fingerprint_form")),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_encryption_keys")),
    )
    op.create_index("uq_encryption_keys_sealing", "encryption_keys", ["is_sealing"], unique=True, postgresql_where=sa.text("is_sealing"))
    op.create_table(
        "key_holders",
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("fingerprints", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("sealing", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("process", name=op.f("pk_key_holders")),
    )


def downgrade() -> None:
    op.drop_table("key_holders")
    op.drop_table("encryption_keys")
    for table, column in _SEALED:
        op.drop_constraint(op.f(f"ck_{table}_{column}_sealed"), table, type_="check")
