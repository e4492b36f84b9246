"""`/api/bots/…/shadow` and `/api/backtests/…/promote`: a bot beside its re-simulation, and a backtest that becomes a bot."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request

from app.accounts.dependencies import CurrentUser
from app.backtests.making import Backtests
from app.backtests.schemas import BacktestOut
from app.backtests.service import listed as listed_backtest
from app.bots.monitor import monitor_rows
from app.bots.schemas import BotDetail
from app.bots.service import listed
from app.core.http import SessionDep, database_of, problems
from app.errors import BotNotFound, ShadowTooEarly
from app.shadow.promotion import Promotions, life_wish
from app.shadow.reading import read_bot
from app.shadow.schemas import OfferOut, PromotedOut, PromoteIn, ShadowOut, WarnOut
from app.shadow.service import Shadows, of_day

router = APIRouter(prefix="/api", tags=["bots"])

_Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=100)]


def shadows_of(request: Request) -> Shadows:
    """Return the comparisons of this application."""
    shadows: Shadows = request.app.state.shadows
    return shadows


def promotions_of(request: Request) -> Promotions:
    """Return the promotions of this application."""
    promotions: Promotions = request.app.state.promotions
    return promotions


@router.get("/bots/{bot_id}/shadow", summary="A bot beside its shadow", responses=problems(401, 404, 422))
async def get_shadow(principal: CurrentUser, session: SessionDep, bot_id: UUID, *, day: date | None = None) -> ShadowOut:
    """Return how a bot did beside its re-simulation, and why they differ: newest, or of a `day` (UTC); 404 before it was first compared."""
    return ShadowOut.of(await of_day(session, principal.user_id, bot_id, day))


@router.post("/bots/{bot_id}/shadow", status_code=202, summary="Compare a bot with its shadow now", responses=problems(401, 404, 409))
async def compare_now(request: Request, principal: CurrentUser, bot_id: UUID) -> ShadowOut:
    """Ask for a comparison now; it is made once a day anyway. While one waits or runs, that one is the answer."""
    database = database_of(request)
    await shadows_of(request).compare_now(database, principal.user_id, bot_id)
    async with database.transaction() as session:
        return ShadowOut.of(await of_day(session, principal.user_id, bot_id, None))


@router.post("/bots/{bot_id}/backtest", status_code=201, summary="Backtest a bot", responses=problems(401, 404, 409, 422, 502, 503))
async def backtest_bot(request: Request, principal: CurrentUser, bot_id: UUID) -> BacktestOut:
    """Make a backtest over the bot's life until now, with its version, parameters, capital and the fees of its account."""
    made = await backtest_of_bot(request, principal.user_id, bot_id)
    async with database_of(request).transaction() as session:
        return BacktestOut.of(await listed_backtest(session, principal.user_id, made))


async def backtest_of_bot(request: Request, user_id: UUID, bot_id: UUID) -> UUID:
    """Make a backtest over a bot's life, and return its id.

    Raises:
        BotNotFound: no such bot of this user.
        ShadowTooEarly: no candle of it has closed yet.
    """
    state, database = request.app.state, database_of(request)
    backtests: Backtests = state.backtests
    async with database.connection() as connection:
        row = await read_bot(connection, user_id, bot_id)
    if row is None:
        raise BotNotFound
    is_same = state.instruments.source(row["broker_exchange"]) == row["exchange"]
    wish = life_wish(row, now=state.clock.now(), is_same_market=is_same)
    if wish is None:
        raise ShadowTooEarly
    return (await backtests.create(database, user_id, wish)).id


@router.get("/backtests/{backtest_id}/promotion", summary="What a bot of a backtest would be", responses=problems(401, 404, 409, 422))
async def get_offer(request: Request, principal: CurrentUser, backtest_id: UUID, *, broker_id: UUID | None = None) -> OfferOut:
    """Return what a bot of this backtest would be made of, and what it would do otherwise; `broker_id`: on that account."""
    found = await promotions_of(request).offer(database_of(request), principal.user_id, backtest_id, broker_id=broker_id)
    return OfferOut.of(found)


@router.post(
    "/backtests/{backtest_id}/promote",
    status_code=201,
    summary="Make a bot of a backtest",
    responses=problems(401, 404, 409, 422, 502, 503),
)
async def promote(
    request: Request, principal: CurrentUser, backtest_id: UUID, body: PromoteIn, idempotency_key: _Key = None
) -> PromotedOut:
    """Make a bot with the backtest's version, parameters, market, capital and safeguards; it does nothing before it is started."""
    database, user_id = database_of(request), principal.user_id
    bot, offer = await promotions_of(request).promote(database, user_id, backtest_id, body.choice(idempotency_key))
    state = request.app.state
    async with database.transaction() as session:
        one = await listed(session, user_id, bot.id)
        (row,) = await monitor_rows(
            session, user_id, now=state.clock.now(), price=state.desk.quotes.last_price, bot_id=bot.id, with_stopped=True
        )
    return PromotedOut(bot=BotDetail.with_row(one, row), warnings=[WarnOut.of(warn) for warn in offer.warnings])
