"""What is asked of a bot's shadow: to be compared now, and a backtest of its life."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.backtests.service import get_backtest
from app.core.http import database_of
from app.core.i18n import use_language
from app.shadow.router import backtest_of_bot, shadows_of
from app.ui.pages.bot import Name, bot_named, regions_of_bot
from app.ui.surroundings import fragment, reader_of, see_other

router = APIRouter(include_in_schema=False)


@router.post("/bots/{bot_id}/shadow")
async def compare_now(request: Request, principal: CurrentUser, bot_id: Name) -> Response:
    """Ask for a comparison, and return the region, which says that it is under way."""
    bot = await bot_named(request, principal, bot_id)
    await shadows_of(request).compare_now(database_of(request), principal.user_id, bot.id)
    with use_language(reader_of(request, principal).language):
        region = await regions_of_bot(request, principal, bot).shadow()
        return fragment(request, principal, "fragments/bots/_shadow.html", region)


@router.post("/bots/{bot_id}/backtest")
async def backtest_bot(request: Request, principal: CurrentUser, bot_id: Name) -> Response:
    """Make a backtest over the bot's life, and go to its page."""
    bot = await bot_named(request, principal, bot_id)
    made: UUID = await backtest_of_bot(request, principal.user_id, bot.id)
    async with database_of(request).transaction() as session:
        found = await get_backtest(session, principal.user_id, made)
    return see_other(request, f"/backtests/{found.number}")
