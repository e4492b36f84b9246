"""The assistant's panel, which stands beside the editor; what is asked goes to `/api/strategies/assist`."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.strategies import assistant_store as store
from app.ui.assistant import assistant_content, assistant_line, assistant_usage
from app.ui.surroundings import fragment, reader_of, templating_of

router = APIRouter(include_in_schema=False)

_CONTENT: Final = "fragments/assistant/_content.html"
_MESSAGE: Final = "fragments/assistant/_message.html"
_USAGE: Final = "fragments/assistant/_usage.html"


@router.get("/strategies/{strategy_id}/assistant")
async def show_content(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """What was said about a strategy, and how to ask."""
    with use_language(reader_of(request, principal).language):
        content = await assistant_content(request.app, principal.user_id, strategy_id)
    return fragment(request, principal, _CONTENT, content)


@router.get("/strategies/{strategy_id}/assistant/{message_id}")
async def show_message(request: Request, principal: CurrentUser, strategy_id: UUID, message_id: UUID) -> Response:
    """One message, once its answer has ended or its proposal was decided, and what was taken until now."""
    now, reader = request.app.state.clock.now(), reader_of(request, principal)
    async with database_of(request).transaction() as session:
        found = await store.one_message(session, principal.user_id, strategy_id, message_id)
        months = await store.usage_by_month(session, principal.user_id, now=now)
    with use_language(reader.language):
        line, usage = assistant_line(found, now), assistant_usage(months, now)
    return fragment(request, principal, _MESSAGE, line, partials=templating_of(request).fragment(_USAGE, usage, reader=reader))


@router.post("/strategies/{strategy_id}/assistant/clear")
async def clear(request: Request, principal: CurrentUser, strategy_id: UUID) -> Response:
    """Forget what was said about a strategy."""
    async with database_of(request).transaction() as session:
        await store.clear(session, principal.user_id, strategy_id)
    with use_language(reader_of(request, principal).language):
        words = gettext("The conversation is forgotten.")
        content = await assistant_content(request.app, principal.user_id, strategy_id)
    return fragment(request, principal, _CONTENT, content, toast=("success", words), close_dialog="assistant-clear")
