"""What the assistant's panel shows, out of its tables."""

import inspect
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Final
from uuid import UUID

from fastapi import FastAPI

from app import errors
from app.accounts.models import User
from app.accounts.service import get_user
from app.core import formatters
from app.core.i18n import N_, current_language, gettext
from app.core.sentences import said
from app.errors import AppError
from app.strategies import assistant_store as store
from app.strategies.assistant_models import Decision, Role
from app.strategies.assistant_schemas import LONGEST_QUESTION
from app.strategies.assistant_store import Line, Month
from app.ui.views.assistant import AssistantContent, AssistantLine, AssistantState, AssistantUsage, UsageRow

#: What the preferences mend.
_IN_PREFERENCES: Final = frozenset(
    {"AI_KEY_REFUSED", "AI_MODEL_MISSING", "AI_OUT_OF_CREDIT", "AI_UNREACHABLE", "AI_UNREADABLE", "ADDRESS_REFUSED"}
)
_FAILED: Final = N_("The answer failed.")
_TOO_OFTEN: Final = N_("The provider is asked too often, or is overloaded. Try again in a moment.")
_CUT: Final = "length"
_PROVIDERS: Final = {"openrouter": "OpenRouter", "ollama": "Ollama"}


async def assistant_content(app: FastAPI, user_id: UUID, strategy_id: UUID) -> AssistantContent:
    """Return the conversation about a strategy and who answers.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    state = app.state
    now: datetime = state.clock.now()
    async with state.database.transaction() as session:
        lines = await store.conversation(session, user_id, strategy_id)
        months = await store.usage_by_month(session, user_id, now=now)
        condition, provider, model = _who_answers(await get_user(session, user_id))
    return AssistantContent(
        strategy_id=str(strategy_id),
        state=condition,
        provider=provider,
        model=model,
        lines=tuple(assistant_line(line, now) for line in lines),
        usage=assistant_usage(months, now),
        longest_question=LONGEST_QUESTION,
    )


def _who_answers(user: User) -> tuple[AssistantState, str, str]:
    if not user.ai_enabled:
        return "off", "", ""
    if not user.ai_model:
        return "unchosen", "", ""
    return "ready", _PROVIDERS[user.ai_provider], user.ai_model


def assistant_line(line: Line, now: datetime) -> AssistantLine:
    """Return a message as the page shows it; in the language that is spoken here."""
    message, call = line.message, line.call
    tokens = None if call is None or call.prompt_tokens is None else Decimal(call.prompt_tokens + (call.completion_tokens or 0))
    return AssistantLine(
        id=str(message.id),
        strategy_id=str(message.strategy_id),
        is_users=message.role == Role.USER,
        text=message.text,
        said_at=message.said_at,
        outcome=line.outcome(now).value,
        sentence=_sentence(call.error_code) if call is not None and call.error_code else "",
        is_own_doing=call is not None and call.error_code in _IN_PREFERENCES,
        is_cut=call is not None and call.finish_reason == _CUT,
        proposal=message.proposal if message.decision == Decision.NONE else None,
        decision=Decision(message.decision).value,
        tokens=tokens,
        cost=call.cost if call is not None else None,
    )


def _sentence(code: str) -> str:
    return said(_sentences().get(code, "")) or gettext(_FAILED)


@cache
def _sentences() -> dict[str, str]:
    """What the errors say of themselves, by their codes; the one that says when is told without."""
    kinds = (kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, AppError))
    return {kind.default_code: (kind.__doc__ or "").strip() for kind in kinds} | {"AI_RATE_LIMITED": _TOO_OFTEN}


def assistant_usage(months: Sequence[Month], now: datetime) -> AssistantUsage:
    """Return what answers took as the page shows it; in the language that is spoken here."""
    rows = tuple(
        UsageRow(
            # Months are counted in UTC: in another zone one would begin on the last day of the month before.
            month=formatters.dt(month.month, "month", zone="UTC", language=current_language()),
            model=month.model,
            answers=month.answers,
            tokens=Decimal(month.prompt_tokens + month.completion_tokens),
            cost=month.cost,
        )
        for month in months
    )
    present = [month for month in months if (month.month.year, month.month.month) == (now.year, now.month)]
    costs = [month.cost for month in present if month.cost is not None]
    tokens = sum(month.prompt_tokens + month.completion_tokens for month in present)
    return AssistantUsage(rows=rows, tokens=Decimal(tokens), cost=sum(costs, Decimal(0)) if costs else None)
