"""What was said with the assistant about strategies, and what its answers took.

Runs in one transaction under lock_timeout 4 s; no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261126_12"
down_revision = "20261126_11"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_MONEY = sa.Numeric(precision=38, scale=18)
_OWNED = ("assistant_calls", "assistant_messages")
_OWN = (
    "(SELECT current_setting('app.scope', true)) = 'platform' OR user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
)
OUTCOMES = "'running', 'done', 'stopped', 'failed', 'interrupted'"
LONGEST_TEXT = 160000
LONGEST_SOURCE = 131072


def upgrade() -> None:
    _create_calls()
    _create_messages()
    for table in _OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({_OWN}) WITH CHECK ({_OWN})")


def _create_calls() -> None:
    op.create_table(
        "assistant_calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), server_default="running", nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("cost", _MONEY, nullable=True),
        sa.CheckConstraint("provider IN ('openrouter', 'ollama')", name=op.f("ck_assistant_calls_provider_known")),
        sa.CheckConstraint(f"outcome IN ({OUTCOMES})", name=op.f("ck_assistant_calls_outcome_known")),
        sa.CheckConstraint("char_length(model) BETWEEN 1 AND 200", name=op.f("ck_assistant_calls_model_length")),
        sa.CheckConstraint("(outcome = 'running') = (ended_at IS NULL)", name=op.f("ck_assistant_calls_end_is_known")),
        sa.CheckConstraint("prompt_tokens >= 0 AND completion_tokens >= 0", name=op.f("ck_assistant_calls_tokens_counted")),
        sa.CheckConstraint("cost >= 0", name=op.f("ck_assistant_calls_cost_is_none_or_more")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_assistant_calls_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assistant_calls")),
    )
    is_running = sa.text("outcome = 'running'")
    op.create_index("uq_assistant_calls_running", "assistant_calls", ["user_id"], unique=True, postgresql_where=is_running)
    op.create_index("ix_assistant_calls_user_id_started_at", "assistant_calls", ["user_id", "started_at"])
    op.create_index("ix_assistant_calls_running_seen_at", "assistant_calls", ["seen_at"], postgresql_where=is_running)


def _create_messages() -> None:
    op.create_table(
        "assistant_messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("proposal", sa.Text(), nullable=True),
        sa.Column("decision", sa.Text(), server_default="none", nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=True),
        sa.Column("said_at", _MOMENT, nullable=False),
        sa.CheckConstraint("role IN ('user', 'assistant')", name=op.f("ck_assistant_messages_role_known")),
        sa.CheckConstraint("decision IN ('none', 'accepted', 'rejected')", name=op.f("ck_assistant_messages_decision_known")),
        sa.CheckConstraint(f"char_length(text) <= {LONGEST_TEXT}", name=op.f("ck_assistant_messages_text_length")),
        sa.CheckConstraint(f"char_length(proposal) <= {LONGEST_SOURCE}", name=op.f("ck_assistant_messages_proposal_length")),
        sa.CheckConstraint("decision = 'none' OR proposal IS NOT NULL", name=op.f("ck_assistant_messages_decision_is_about_something")),
        sa.CheckConstraint("(role = 'assistant') = (call_id IS NOT NULL)", name=op.f("ck_assistant_messages_answer_has_its_call")),
        sa.ForeignKeyConstraint(
            ["strategy_id", "user_id"],
            ["strategies.id", "strategies.user_id"],
            name=op.f("fk_assistant_messages_strategy_id_user_id_strategies"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["call_id"], ["assistant_calls.id"], name=op.f("fk_assistant_messages_call_id_assistant_calls"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assistant_messages")),
    )
    op.create_index("ix_assistant_messages_strategy_id_id", "assistant_messages", ["strategy_id", "id"])
    op.create_index("ix_assistant_messages_call_id", "assistant_messages", ["call_id"])


def downgrade() -> None:
    op.drop_table("assistant_messages")
    op.drop_table("assistant_calls")
