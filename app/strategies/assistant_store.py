"""The assistant's tables: what was said, how calls end, and what they took by month. Knows no provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.ai import AiAccess
from app.core.ids import new_id
from app.core.tenancy import owned
from app.errors import AlreadyDecided, AssistantBusy, AssistantTooSoon, MessageNotFound, StrategyNotFound
from app.strategies.assistant_models import AssistantCall, AssistantMessage, Decision, Outcome, Role
from app.strategies.assistant_pieces import Usage
from app.strategies.assistant_prompt import MOST_TOLD, Earlier
from app.strategies.models import Strategy

#: Messages of one conversation that a page shows.
MOST_SHOWN: Final = 100
#: And that are kept when another question comes.
MOST_KEPT: Final = 200
#: A running call that was not written for so long belongs to a process that is gone.
SILENT: Final = timedelta(seconds=30)
_MINUTE: Final = timedelta(minutes=1)
_YEAR: Final = timedelta(days=366)
_MOST_ROWS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A question that was stored, and the answer that is to come: the ids of both, and what was said before."""

    question_id: UUID
    answer_id: UUID
    call_id: UUID
    history: tuple[Earlier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call ended."""

    outcome: Outcome
    finish_reason: str | None = None
    error_code: str | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a month's answers took. `cost` is in US dollars, of those that name one; None when none does."""

    month: datetime
    provider: str
    model: str
    answers: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A message with the call that it came from, None of the user's own."""

    message: AssistantMessage
    call: AssistantCall | None

    def outcome(self, now: datetime) -> Outcome:
        """How the answer ended; one that nobody writes any more was interrupted."""
        if self.call is None:
            return Outcome.DONE
        is_silent = self.call.outcome == Outcome.RUNNING and now - self.call.seen_at > SILENT
        return Outcome.INTERRUPTED if is_silent else Outcome(self.call.outcome)


async def check_strategy(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> None:
    """Pass when the user has that strategy.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    if await session.scalar(owned(Strategy, user_id).where(Strategy.id == strategy_id).with_only_columns(Strategy.id)) is None:
        raise StrategyNotFound


async def begin(
    session: AsyncSession, user_id: UUID, strategy_id: UUID, *, access: AiAccess, message: str, now: datetime, per_minute: int
) -> Begun:
    """Store a question and the beginning of its answer.

    Raises:
        StrategyNotFound: no such strategy of this user.
        AssistantBusy: another answer is on its way to this user.
        AssistantTooSoon: this user asks more often than one may.
    """
    await check_strategy(session, user_id, strategy_id)
    # Of two questions at one moment the second waits here, and then finds the first.
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"assistant:{user_id}"})
    await _interrupt_silent(session, now=now, user_id=user_id)
    await _check_turn(session, user_id, now=now, per_minute=per_minute)
    history = await _history(session, user_id, strategy_id)
    await _forget_oldest(session, user_id, strategy_id)
    call = AssistantCall(
        id=new_id(),
        user_id=user_id,
        provider=access.provider.value,
        model=access.model,
        started_at=now,
        seen_at=now,
        outcome=Outcome.RUNNING,
    )
    session.add(call)
    await session.flush()
    # Of two ids of one millisecond chance decides which is the later one, and a conversation is read in their order.
    first, second = sorted((new_id(), new_id()))
    shared = {"user_id": user_id, "strategy_id": strategy_id, "said_at": now}
    question = AssistantMessage(id=first, role=Role.USER.value, text=message, **shared)
    answer = AssistantMessage(id=second, role=Role.ASSISTANT.value, text="", call_id=call.id, **shared)
    session.add_all((question, answer))
    return Begun(question_id=question.id, answer_id=answer.id, call_id=call.id, history=history)


async def _check_turn(session: AsyncSession, user_id: UUID, *, now: datetime, per_minute: int) -> None:
    running = owned(AssistantCall, user_id).where(AssistantCall.outcome == Outcome.RUNNING).with_only_columns(AssistantCall.id)
    if await session.scalar(running) is not None:
        raise AssistantBusy
    lately = owned(AssistantCall, user_id).where(AssistantCall.started_at > now - _MINUTE).with_only_columns(AssistantCall.started_at)
    begun = sorted(await session.scalars(lately))
    if len(begun) >= per_minute:
        raise AssistantTooSoon.until(begun[-per_minute] + _MINUTE, now=now)


async def _history(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> tuple[Earlier, ...]:
    query = owned(AssistantMessage, user_id).where(AssistantMessage.strategy_id == strategy_id).order_by(AssistantMessage.id.desc())
    found = list(await session.scalars(query.limit(MOST_TOLD)))
    return tuple(
        Earlier(
            is_users=message.role == Role.USER,
            text=message.text,
            decision=None if message.proposal is None else Decision(message.decision),
        )
        for message in reversed(found)
    )


async def _forget_oldest(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> None:
    mine = (AssistantMessage.user_id == user_id, AssistantMessage.strategy_id == strategy_id)
    kept = select(AssistantMessage.id).where(*mine).order_by(AssistantMessage.id.desc()).offset(MOST_KEPT - 1).limit(1).scalar_subquery()
    await session.execute(delete(AssistantMessage).where(*mine, AssistantMessage.id < kept))


async def keep(session: AsyncSession, begun: Begun, user_id: UUID, *, words: str, now: datetime) -> None:
    """Store as much of the answer as there is, and that it is still being written."""
    await session.execute(_of(AssistantMessage, user_id, begun.answer_id).values(text=words))
    await session.execute(_of(AssistantCall, user_id, begun.call_id).where(AssistantCall.outcome == Outcome.RUNNING).values(seen_at=now))


async def end(
    session: AsyncSession, begun: Begun, user_id: UUID, *, words: str, proposal: str | None, ending: Ending, now: datetime
) -> None:
    """Store an answer and how its call ended."""
    await session.execute(_of(AssistantMessage, user_id, begun.answer_id).values(text=words, proposal=proposal))
    usage = ending.usage
    await session.execute(
        _of(AssistantCall, user_id, begun.call_id).values(
            outcome=ending.outcome.value,
            ended_at=now,
            seen_at=now,
            finish_reason=ending.finish_reason,
            error_code=ending.error_code,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost=usage.cost,
        )
    )


def _of(model: type[Any], user_id: UUID, row_id: UUID) -> Any:
    return update(model).where(model.id == row_id, model.user_id == user_id)


async def _interrupt_silent(session: AsyncSession, *, now: datetime, user_id: UUID | None = None) -> int:
    query = update(AssistantCall).where(AssistantCall.outcome == Outcome.RUNNING, AssistantCall.seen_at < now - SILENT)
    if user_id is not None:
        query = query.where(AssistantCall.user_id == user_id)
    found = await session.execute(query.values(outcome=Outcome.INTERRUPTED.value, ended_at=now))
    return cast("CursorResult[Any]", found).rowcount


async def interrupt_silent(session: AsyncSession, *, now: datetime) -> int:
    """Mark the answers of all users that a process which is gone was writing; return how many. For the platform's database."""
    return await _interrupt_silent(session, now=now)


async def conversation(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> list[Line]:
    """Return the newest messages about a strategy, oldest first.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    await check_strategy(session, user_id, strategy_id)
    query = owned(AssistantMessage, user_id).where(AssistantMessage.strategy_id == strategy_id).order_by(AssistantMessage.id.desc())
    messages = list(await session.scalars(query.limit(MOST_SHOWN)))
    ids = [message.call_id for message in messages if message.call_id is not None]
    calls = {call.id: call for call in await session.scalars(owned(AssistantCall, user_id).where(AssistantCall.id.in_(ids)))}
    return [Line(message=message, call=calls.get(message.call_id) if message.call_id else None) for message in reversed(messages)]


async def one_message(session: AsyncSession, user_id: UUID, strategy_id: UUID, message_id: UUID) -> Line:
    """Return one message of a conversation.

    Raises:
        MessageNotFound: no such message of this user about that strategy.
    """
    query = owned(AssistantMessage, user_id).where(AssistantMessage.id == message_id, AssistantMessage.strategy_id == strategy_id)
    message: AssistantMessage | None = await session.scalar(query)
    if message is None:
        raise MessageNotFound
    call = await session.scalar(owned(AssistantCall, user_id).where(AssistantCall.id == message.call_id)) if message.call_id else None
    return Line(message=message, call=call)


async def clear(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> None:
    """Forget what was said about a strategy; what the answers took stays.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    await check_strategy(session, user_id, strategy_id)
    await session.execute(delete(AssistantMessage).where(AssistantMessage.user_id == user_id, AssistantMessage.strategy_id == strategy_id))


async def decide(session: AsyncSession, user_id: UUID, message_id: UUID, decision: Decision) -> AssistantMessage:
    """Store what the user did with proposed code. The same again changes nothing.

    Raises:
        MessageNotFound: no such message of this user.
        AlreadyDecided: it was decided otherwise, or proposed nothing.
    """
    found: AssistantMessage | None = await session.scalar(
        owned(AssistantMessage, user_id).where(AssistantMessage.id == message_id).with_for_update()
    )
    if found is None:
        raise MessageNotFound
    if found.proposal is None or found.decision not in (Decision.NONE, decision):
        raise AlreadyDecided
    found.decision = decision.value
    return found


async def usage_by_month(session: AsyncSession, user_id: UUID, *, now: datetime) -> Sequence[Month]:
    """Return what the answers of the last twelve months took, by month in UTC and model, newest first."""
    month = func.date_trunc("month", AssistantCall.started_at, "UTC").label("month")
    query = (
        select(
            month,
            AssistantCall.provider,
            AssistantCall.model,
            func.count().label("answers"),
            func.coalesce(func.sum(AssistantCall.prompt_tokens), 0).label("prompt_tokens"),
            func.coalesce(func.sum(AssistantCall.completion_tokens), 0).label("completion_tokens"),
            func.sum(AssistantCall.cost).label("cost"),
        )
        .where(AssistantCall.user_id == user_id, AssistantCall.outcome != Outcome.RUNNING, AssistantCall.started_at > now - _YEAR)
        .group_by(month, AssistantCall.provider, AssistantCall.model)
        .order_by(month.desc(), func.count().desc(), AssistantCall.model)
        .limit(_MOST_ROWS)
    )
    return [Month(**row._asdict()) for row in await session.execute(query)]
