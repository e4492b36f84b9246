"""`/api/bots`: bots, what they decided and why, what they are worth, and what a person can do with them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.dependencies import CurrentUser
from app.bots import lifecycle, queries, service
from app.bots.events import BotChanged
from app.bots.making import Bots
from app.bots.models import Bot, BotState, EventLevel, SignalState
from app.bots.monitor import monitor_rows
from app.bots.schemas import (
    BotDetail,
    BotIn,
    BotOut,
    BotPage,
    BotPatch,
    EquityList,
    EquityPointOut,
    EventOut,
    EventPage,
    SignalOut,
    SignalPage,
    StopIn,
    TradeOut,
    TradePage,
    TripOut,
)
from app.bots.service import BotFilter
from app.core.http import SessionDep, database_of, problems
from app.errors import InvalidInput
from app.trading.desk import Desk

router = APIRouter(prefix="/api/bots", tags=["bots"])

_Cursor = Annotated[str | None, Query(max_length=60, description="`next` of the page before")]
_Limit = Annotated[int, Query(ge=1, le=500)]
_Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=100)]


def bots_of(request: Request) -> Bots:
    """Return the bots of this application."""
    bots: Bots = request.app.state.bots
    return bots


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdecimal() or not cursor.isascii() or len(cursor) > 18:
        raise InvalidInput("cursor must be `next` of the page before", field="cursor")
    return int(cursor)


@router.get("", summary="Bots", responses=problems(401, 422))
async def list_bots(
    principal: CurrentUser,
    session: SessionDep,
    *,
    state: BotState | None = None,
    strategy_id: UUID | None = None,
    broker_id: UUID | None = None,
    limit: _Limit = 100,
    cursor: _Cursor = None,
) -> BotPage:
    """Return the user's bots, the newest first."""
    which = BotFilter(state=state, strategy_id=strategy_id, broker_id=broker_id)
    rows = await service.list_bots(session, principal.user_id, which=which, before=_before(cursor), limit=limit + 1)
    page = rows[:limit]
    return BotPage(items=[BotOut.of(row) for row in page], next=str(page[-1].bot.number) if len(rows) > limit else None)


@router.post("", status_code=201, summary="Make a bot", responses=problems(401, 404, 409, 422, 429, 502, 503))
async def create_bot(request: Request, principal: CurrentUser, body: BotIn, idempotency_key: _Key = None) -> BotDetail:
    """Make a bot; it does nothing before it is started. The same Idempotency-Key again answers with the bot that it made the first time."""
    made = await bots_of(request).create(database_of(request), principal.user_id, body.wish(idempotency_key))
    return await _one(request, principal.user_id, made)


@router.get("/events", summary="The logs of all bots", responses=problems(401, 422))
async def all_events(
    principal: CurrentUser, session: SessionDep, *, level: EventLevel | None = None, limit: _Limit = 50, cursor: _Cursor = None
) -> EventPage:
    """Return lines of the logs of all the user's bots, the newest first."""
    return await _events(session, principal.user_id, None, level=level, limit=limit, cursor=cursor)


@router.get("/{bot_id}", summary="One bot", responses=problems(401, 404))
async def get_bot(request: Request, principal: CurrentUser, session: SessionDep, bot_id: UUID) -> BotDetail:
    """Return one bot, what it holds and what it is worth now."""
    return await _detail(request, session, principal.user_id, bot_id)


@router.patch("/{bot_id}", summary="Change a bot", responses=problems(401, 404, 409, 422))
async def change_bot(request: Request, principal: CurrentUser, bot_id: UUID, body: BotPatch) -> BotDetail:
    """Change its name, its end and its safeguards; before its first start also dates, capital and mode."""
    changed = await bots_of(request).change(database_of(request), principal.user_id, bot_id, body.changes())
    return await _one(request, principal.user_id, changed)


@router.delete("/{bot_id}", status_code=204, summary="Delete a bot", responses=problems(401, 404, 409))
async def delete_bot(request: Request, principal: CurrentUser, bot_id: UUID) -> Response:
    """Delete a bot that never ran or is stopped, with its log and its signals; its orders and trades stay."""
    async with database_of(request).transaction() as session:
        await service.delete_bot(session, principal.user_id, bot_id)
    _desk(request).bus.publish(BotChanged(user_id=principal.user_id, bot_id=bot_id))
    return Response(status_code=204)


@router.post("/{bot_id}/start", summary="Start a bot", responses=problems(401, 404, 409))
async def start(request: Request, principal: CurrentUser, bot_id: UUID) -> BotDetail:
    """Let it trade: for the first time, or again after it was suspended or its strategy failed."""
    return await _one(request, principal.user_id, await lifecycle.start(_desk(request), principal.user_id, bot_id, by=principal.username))


@router.post("/{bot_id}/suspend", summary="Suspend a bot", responses=problems(401, 404, 409))
async def suspend(request: Request, principal: CurrentUser, bot_id: UUID) -> BotDetail:
    """Let it enter nothing more. What it holds keeps its stop and targets, and its strategy may leave."""
    return await _one(request, principal.user_id, await lifecycle.suspend(_desk(request), principal.user_id, bot_id, by=principal.username))


@router.post("/{bot_id}/stop", summary="Stop a bot", responses=problems(401, 404, 409, 422))
async def stop(request: Request, principal: CurrentUser, bot_id: UUID, body: StopIn | None = None) -> BotDetail:
    """End it. With an open position `position` says whether that is kept with its stop or sold; without a word the answer is 409."""
    wanted = body.position if body is not None else None
    stopped = await lifecycle.stop(_desk(request), principal.user_id, bot_id, by=principal.username, position=wanted)
    return await _one(request, principal.user_id, stopped)


@router.post("/{bot_id}/close_position", summary="Sell what a bot holds", responses=problems(401, 404, 409))
async def close_position(request: Request, principal: CurrentUser, bot_id: UUID) -> BotDetail:
    """Sell its position at the market; a bot that runs goes on. Asked twice it is sold once."""
    asked = await lifecycle.close_position(_desk(request), principal.user_id, bot_id, by=principal.username)
    return await _one(request, principal.user_id, asked)


@router.get("/{bot_id}/signals", summary="What a bot decided", responses=problems(401, 404, 422))
async def list_signals(
    principal: CurrentUser,
    session: SessionDep,
    bot_id: UUID,
    *,
    wanted: Annotated[bool, Query(description="Only candles at which its strategy wanted something")] = False,
    state: SignalState | None = None,
    limit: _Limit = 50,
    before: Annotated[AwareDatetime | None, Query(description="`next` of the page before")] = None,
) -> SignalPage:
    """Return what its strategy wanted at each candle, and what became of it, the newest first."""
    await service.get_bot(session, principal.user_id, bot_id)
    rows = await queries.list_signals(session, principal.user_id, bot_id, before=before, limit=limit + 1, is_wanted=wanted, state=state)
    page = rows[:limit]
    following = page[-1].open_time.isoformat().replace("+00:00", "Z") if len(rows) > limit else None
    return SignalPage(items=[SignalOut.of(row) for row in page], next=following)


@router.post("/{bot_id}/signals/{signal_id}/approve", summary="Approve what a bot wants", responses=problems(401, 404, 409))
async def approve(request: Request, principal: CurrentUser, bot_id: UUID, signal_id: UUID) -> SignalOut:
    """Let its orders be sent; 409 once the candle after it has closed."""
    await _own(request, principal.user_id, bot_id)
    return SignalOut.of(await lifecycle.approve(_desk(request), principal.user_id, signal_id, by=principal.username))


@router.post("/{bot_id}/signals/{signal_id}/reject", summary="Reject what a bot wants", responses=problems(401, 404, 409))
async def reject(request: Request, principal: CurrentUser, bot_id: UUID, signal_id: UUID) -> SignalOut:
    """Let nothing come of it."""
    await _own(request, principal.user_id, bot_id)
    return SignalOut.of(await lifecycle.reject(_desk(request), principal.user_id, signal_id, by=principal.username))


@router.get("/{bot_id}/events", summary="A bot's log", responses=problems(401, 404, 422))
async def list_events(
    principal: CurrentUser,
    session: SessionDep,
    bot_id: UUID,
    *,
    level: EventLevel | None = None,
    limit: _Limit = 50,
    cursor: _Cursor = None,
) -> EventPage:
    """Return the lines of its log, the newest first."""
    await service.get_bot(session, principal.user_id, bot_id)
    return await _events(session, principal.user_id, bot_id, level=level, limit=limit, cursor=cursor)


@router.get("/{bot_id}/equity", summary="What a bot was worth", responses=problems(401, 404, 422))
async def list_equity(
    principal: CurrentUser,
    session: SessionDep,
    bot_id: UUID,
    *,
    since: AwareDatetime | None = None,
    points: Annotated[int, Query(ge=8, le=queries.MOST_POINTS)] = 500,
) -> EquityList:
    """Return its equity at the closes of its candles, in so many points as a chart can draw."""
    await service.get_bot(session, principal.user_id, bot_id)
    rows = await queries.list_equity(session, principal.user_id, bot_id, since=since, most=points)
    return EquityList(items=[EquityPointOut.of(row) for row in rows])


@router.get("/{bot_id}/trades", summary="Round trips of a bot", responses=problems(401, 404, 422))
async def list_trades(
    principal: CurrentUser,
    session: SessionDep,
    bot_id: UUID,
    *,
    limit: _Limit = 50,
    before: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> TradePage:
    """Return its round trips, the newest first, the open one among them."""
    await service.get_bot(session, principal.user_id, bot_id)
    rows = await queries.list_trades(session, principal.user_id, bot_id, before=before, limit=limit + 1)
    page = rows[:limit]
    return TradePage(items=[TradeOut.of(row) for row in page], next=str(page[-1].id) if len(rows) > limit else None)


@router.post("/trips/{trip_id}/rearm", summary="Arm a safeguard again", responses=problems(401, 404))
async def rearm(request: Request, principal: CurrentUser, trip_id: UUID) -> TripOut:
    """Arm a safeguard again that has tripped; its bot stays suspended until it is started."""
    return TripOut.of(await lifecycle.rearm(_desk(request), principal.user_id, trip_id, by=principal.username))


async def _events(
    session: AsyncSession, user_id: UUID, bot_id: UUID | None, *, level: EventLevel | None, limit: int, cursor: str | None
) -> EventPage:
    levels = () if level is None else (level,)
    rows = await queries.list_events(session, user_id, bot_id=bot_id, before=_before(cursor), limit=limit + 1, levels=levels)
    page = rows[:limit]
    return EventPage(items=[EventOut.of(row) for row in page], next=str(page[-1].id) if len(rows) > limit else None)


async def _own(request: Request, user_id: UUID, bot_id: UUID) -> None:
    async with database_of(request).transaction() as session:
        await service.get_bot(session, user_id, bot_id)


async def _one(request: Request, user_id: UUID, bot: Bot) -> BotDetail:
    async with database_of(request).transaction() as session:
        return await _detail(request, session, user_id, bot.id)


async def _detail(request: Request, session: AsyncSession, user_id: UUID, bot_id: UUID) -> BotDetail:
    state = request.app.state
    listed = await service.listed(session, user_id, bot_id)
    (row,) = await monitor_rows(
        session, user_id, now=state.clock.now(), price=state.desk.quotes.last_price, bot_id=bot_id, with_stopped=True
    )
    return BotDetail.with_row(listed, row)
