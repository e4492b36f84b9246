"""`/api/strategies/assist`: ask the assistant, read and clear conversations, and see what they took."""

from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.core.http import SessionDep, problems
from app.core.streams import check_room, streaming
from app.strategies import assistant_store as store
from app.strategies.assistant import Assistant, Question
from app.strategies.assistant_models import Decision
from app.strategies.assistant_schemas import AssistIn, AssistMessageOut, ConversationOut, UsageList, UsageOut
from app.strategies.assistant_stream import AnswerStream

router = APIRouter(prefix="/api/strategies", tags=["strategies"])

_EVENTS: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def assistant_of(request: Request) -> Assistant:
    """Return the assistant of this application."""
    assistant: Assistant = request.app.state.assistant
    return assistant


@router.post(
    "/assist", summary="Ask the assistant", response_class=StreamingResponse, responses=_EVENTS | problems(401, 404, 409, 422, 429)
)
async def ask(request: Request, principal: CurrentUser, body: AssistIn) -> StreamingResponse:
    """Have your AI provider answer a question about a strategy, as server-sent events.

    `begun` has the ids; `words` more of the answer; `thinking` says that the model reasons; `proposal` has code that is proposed, which
    nothing applies but you; `ended` has the outcome (done, stopped, failed, interrupted), the code and the sentence of a failure, tokens
    and cost. To stop it, close the connection. Sent to the provider: what strategies can be written with, the code, the findings, the
    conversation so far and the question; nothing else.
    """
    check_room(request, principal.user_id)
    question = Question(
        strategy_id=body.strategy_id, message=body.message, source=body.source.replace("\x00", ""), findings=tuple(body.findings)
    )
    answer = await assistant_of(request).ask(principal.user_id, question, request.app.state.ai_providers)
    stream = AnswerStream(answer, request.app.state.stopping, language=principal.language.value)
    return streaming(request, principal.user_id, stream)


@router.get("/assist/usage", summary="What the assistant's answers took", responses=problems(401))
async def usage(request: Request, principal: CurrentUser, session: SessionDep) -> UsageList:
    """Return tokens and cost of the last twelve months, by month and model."""
    found = await store.usage_by_month(session, principal.user_id, now=request.app.state.clock.now())
    return UsageList(items=[UsageOut.of(month) for month in found])


@router.post(
    "/assist/messages/{message_id}/accept", status_code=204, summary="Say that you took proposed code", responses=problems(401, 404, 409)
)
async def accept(principal: CurrentUser, session: SessionDep, message_id: UUID) -> None:
    """Store that you took the code which an answer proposed. It changes no strategy: you did that."""
    await store.decide(session, principal.user_id, message_id, Decision.ACCEPTED)


@router.post(
    "/assist/messages/{message_id}/reject", status_code=204, summary="Say that you left proposed code", responses=problems(401, 404, 409)
)
async def reject(principal: CurrentUser, session: SessionDep, message_id: UUID) -> None:
    """Store that you did not take the code which an answer proposed; it is not proposed again in its conversation."""
    await store.decide(session, principal.user_id, message_id, Decision.REJECTED)


@router.get("/{strategy_id}/assist", summary="The conversation about a strategy", responses=problems(401, 404))
async def conversation(request: Request, principal: CurrentUser, session: SessionDep, strategy_id: UUID) -> ConversationOut:
    """Return what was said about a strategy, oldest first."""
    now = request.app.state.clock.now()
    found = await store.conversation(session, principal.user_id, strategy_id)
    return ConversationOut(items=[AssistMessageOut.of(line, now) for line in found])


@router.delete("/{strategy_id}/assist", status_code=204, summary="Forget a conversation", responses=problems(401, 404))
async def clear(principal: CurrentUser, session: SessionDep, strategy_id: UUID) -> None:
    """Forget what was said about a strategy. What the answers took stays counted."""
    await store.clear(session, principal.user_id, strategy_id)
