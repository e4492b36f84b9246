"""What was said with the assistant about a strategy, and what each answer took."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.models import AiProvider
from app.core.models import Base, Identified, Owned, one_of
from app.sandbox.messages import LONGEST_SOURCE

#: Characters of one message, whoever's.
LONGEST_TEXT: Final = 160_000
LONGEST_MODEL: Final = 200


class Role(StrEnum):
    """Who said something."""

    USER = "user"
    ASSISTANT = "assistant"


class Decision(StrEnum):
    """What the user did with proposed code."""

    NONE = "none"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Outcome(StrEnum):
    """How a request to a provider ended; `interrupted` by this server."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class AssistantCall(Identified, Owned, Base):
    """One request to a provider: when, to which model, how it ended and what it took. It outlives its conversation: the bill does, too.

    `seen_at` is written every few seconds while it runs: one that is silent belongs to a process that is gone.
    """

    __tablename__ = "assistant_calls"
    __table_args__ = (
        CheckConstraint(f"provider IN ('{AiProvider.OPENROUTER}', '{AiProvider.OLLAMA}')", name="provider_known"),
        one_of("outcome", Outcome),
        CheckConstraint(f"char_length(model) BETWEEN 1 AND {LONGEST_MODEL}", name="model_length"),
        CheckConstraint("(outcome = 'running') = (ended_at IS NULL)", name="end_is_known"),
        CheckConstraint("prompt_tokens >= 0 AND completion_tokens >= 0", name="tokens_counted"),
        CheckConstraint("cost >= 0", name="cost_is_none_or_more"),
        Index("uq_assistant_calls_running", "user_id", unique=True, postgresql_where=text("outcome = 'running'")),
        Index(None, "user_id", "started_at"),
        Index("ix_assistant_calls_running_seen_at", "seen_at", postgresql_where=text("outcome = 'running'")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    provider: Mapped[str]
    model: Mapped[str]
    outcome: Mapped[str] = mapped_column(server_default=Outcome.RUNNING.value)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    #: The provider's own word for why the model ended.
    finish_reason: Mapped[str | None]
    error_code: Mapped[str | None]
    prompt_tokens: Mapped[int | None] = mapped_column(Integer)
    completion_tokens: Mapped[int | None] = mapped_column(Integer)
    #: US dollars; None where the provider names no price.
    cost: Mapped[Decimal | None]


class AssistantMessage(Identified, Owned, Base):
    """One message of the conversation about a strategy. An answer names the call that it came from."""

    __tablename__ = "assistant_messages"
    __table_args__ = (
        ForeignKeyConstraint(["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], ondelete="CASCADE"),
        one_of("role", Role),
        one_of("decision", Decision),
        CheckConstraint(f"char_length(text) <= {LONGEST_TEXT}", name="text_length"),
        CheckConstraint(f"char_length(proposal) <= {LONGEST_SOURCE}", name="proposal_length"),
        CheckConstraint("decision = 'none' OR proposal IS NOT NULL", name="decision_is_about_something"),
        CheckConstraint("(role = 'assistant') = (call_id IS NOT NULL)", name="answer_has_its_call"),
        Index(None, "strategy_id", "id"),
    )

    user_id: Mapped[UUID]
    strategy_id: Mapped[UUID]
    role: Mapped[str]
    text: Mapped[str]
    #: The whole code that the answer proposes.
    proposal: Mapped[str | None]
    decision: Mapped[str] = mapped_column(server_default=Decision.NONE.value)
    call_id: Mapped[UUID | None] = mapped_column(ForeignKey("assistant_calls.id", ondelete="CASCADE"), index=True)
    said_at: Mapped[datetime]
