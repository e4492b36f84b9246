"""Shapes of the assistant's API."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.domain.instruments import plain
from app.sandbox.messages import LONGEST_SOURCE
from app.strategies.assistant_models import Decision, Outcome
from app.strategies.assistant_store import Line, Month

LONGEST_QUESTION = 8_000
MOST_FINDINGS = 50

Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_QUESTION)]
Finding = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)]


class AssistIn(BaseModel):
    """A question about the code as it stands in the editor."""

    model_config = ConfigDict(extra="forbid")

    strategy_id: UUID
    message: Question
    source: str = Field(max_length=LONGEST_SOURCE, description="the code that the question is about; an answer may propose another")
    findings: list[Finding] = Field([], max_length=MOST_FINDINGS, description="what the last validation found, a sentence each")


class AssistMessageOut(BaseModel):
    """One message of a conversation."""

    id: UUID
    role: Literal["user", "assistant"]
    text: str
    proposal: str | None = Field(description="the whole code that an answer proposes")
    decision: Decision
    said_at: datetime
    outcome: Outcome = Field(description="how the answer ended; a question is done")
    provider: str | None
    model: str | None
    finish_reason: str | None = Field(description="the provider's word for why the model ended, such as stop or length")
    error_code: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: str | None = Field(description="US dollars; null where the provider names no price")

    @classmethod
    def of(cls, line: Line, now: datetime) -> "AssistMessageOut":
        """Return a message as it is told."""
        message, call = line.message, line.call
        return cls(
            id=message.id,
            role="user" if call is None else "assistant",
            text=message.text,
            proposal=message.proposal,
            decision=Decision(message.decision),
            said_at=message.said_at,
            outcome=line.outcome(now),
            provider=call and call.provider,
            model=call and call.model,
            finish_reason=call and call.finish_reason,
            error_code=call and call.error_code,
            prompt_tokens=call and call.prompt_tokens,
            completion_tokens=call and call.completion_tokens,
            cost=money(call.cost) if call is not None else None,
        )


class ConversationOut(BaseModel):
    """What was said about a strategy, oldest first: the newest hundred messages."""

    items: list[AssistMessageOut]


class UsageOut(BaseModel):
    """What a month's answers of one model took."""

    month: str = Field(description="YYYY-MM, in UTC", examples=["2026-11"])
    provider: str
    model: str
    answers: int
    prompt_tokens: int
    completion_tokens: int
    cost: str | None = Field(description="US dollars; null where the provider names no price")

    @classmethod
    def of(cls, month: Month) -> "UsageOut":
        """Return a month as it is told."""
        return cls(
            month=f"{month.month:%Y-%m}",
            provider=month.provider,
            model=month.model,
            answers=month.answers,
            prompt_tokens=month.prompt_tokens,
            completion_tokens=month.completion_tokens,
            cost=money(month.cost),
        )


class UsageList(BaseModel):
    """The last twelve months, newest first."""

    items: list[UsageOut]


def money(cost: Decimal | None) -> str | None:
    """Return an amount as the API writes money."""
    return None if cost is None else plain(cost)
