"""What a person does with a bot: start, suspend, stop, sell, say yes or no, arm a safeguard again.

Each writes the wish into the bot's row, its log and the audit log in one transaction, and then wakes the engine, which carries it out: at
once where it runs in this process, at its next look at the tables elsewhere, and after a crash too.
"""

from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.bots import words
from app.bots.events import BotAsked, BotChanged, BotLogged, BotSignalled
from app.bots.log import Line, Said, said, write_line
from app.bots.models import Bot, BotSignal, BotState, BotTrip, EventLevel, SignalState, UserSafeguards
from app.bots.queries import active_trips, get_signal
from app.bots.safeguard_state import worth
from app.bots.service import get_bot, holds_position, note_bot
from app.core.i18n import N_
from app.core.tenancy import owned
from app.domain.candles import Timeframe
from app.domain.enums import Source
from app.domain.safeguards import Rule
from app.errors import (
    BotHoldsNothing,
    BotHoldsPosition,
    BotNotStartable,
    BotStateWrong,
    BotTripNotFound,
    BotTripped,
    SignalDecided,
)
from app.strategies.versions import mark_used
from app.trading.desk import Desk

_ACCOUNT: Final = text("""
SELECT name, exchange, is_active, paused_reason, removed_at, trading_modes FROM brokers WHERE id = :id AND user_id = :user_id
""")


async def start(desk: Desk, user_id: UUID, bot_id: UUID, *, by: str) -> Bot:
    """Let a bot trade: for the first time, or again after it was suspended or its strategy failed. One that runs stays as it is.

    The engine brings its candles together and loads its strategy; what it waits for stands in `state_reason`.

    Raises:
        BotNotFound: no such bot of this user.
        BotStateWrong: it is stopped: clone it.
        BotTripped: a safeguard has tripped and was not armed again.
        BotNotStartable: its account, its symbol or its dates do not let it.
        StrategyNotValid: its version may not trade.
    """
    now = desk.clock.now()
    async with desk.database.transaction() as session:
        bot = await get_bot(session, user_id, bot_id, is_locked=True)
        if bot.state == BotState.RUNNING:
            return bot
        if bot.state == BotState.STOPPED:
            raise BotStateWrong(N_("a stopped bot is not started again: clone it"))
        await _check_start(desk, session, bot, now=now)
        await mark_used(session, user_id, bot.version_id, now=now)
        bot.started_at, bot.fault = bot.started_at or now, None
        _enter(bot, BotState.RUNNING, words.LOADING)
        await _noted(session, bot, Action.BOT_STARTED, "started", said(words.STARTED, by=by), at=now)
    _tell(desk, bot, "started")
    return bot


async def _check_start(desk: Desk, session: AsyncSession, bot: Bot, *, now: datetime) -> None:
    if bot.end_at is not None and bot.end_at <= now:
        raise BotNotStartable(N_("its end has passed: give it a later one"), field="end_at")
    if await active_trips(session, bot.user_id, bot.id):
        raise BotTripped
    account = (await session.execute(_ACCOUNT, {"id": bot.broker_id, "user_id": bot.user_id})).one()
    if account.removed_at is not None:
        raise BotNotStartable(N_(f"the account {account.name} was removed"))
    if not account.is_active or account.paused_reason is not None:
        raise BotNotStartable(N_(f"the account {account.name} is switched off or paused: {account.paused_reason or 'by you'}"))
    if Source.BOT.value not in account.trading_modes:
        raise BotNotStartable(N_(f"the account {account.name} takes no orders of bots: change its trading modes first"))
    for exchange in (bot.exchange, account.exchange):
        instrument = await desk.instruments.get(exchange, bot.symbol)
        if instrument is None or not instrument.is_active:
            raise BotNotStartable(N_(f"{bot.symbol} is not traded at {exchange} now"), field="symbol")


async def suspend(desk: Desk, user_id: UUID, bot_id: UUID, *, by: str, reason: Said | None = None) -> Bot:
    """Let a bot enter nothing more; what it holds keeps its stop and targets, and its strategy may leave.

    Raises:
        BotNotFound: no such bot of this user.
        BotStateWrong: it was never started, or is stopped.
    """
    now = desk.clock.now()
    async with desk.database.transaction() as session:
        bot = await get_bot(session, user_id, bot_id, is_locked=True)
        if bot.state == BotState.SUSPENDED:
            return bot
        if bot.state != BotState.RUNNING:
            raise BotStateWrong(N_(f"a bot that is {bot.state} cannot be suspended"))
        _enter(bot, BotState.SUSPENDED, reason or said(words.SUSPENDED_BY, by=by))
        await _let_go(session, bot, words.SUSPENDED_MEANWHILE)
        line = said(words.SUSPENDED_BECAUSE, why=reason.message % reason.values) if reason else said(words.SUSPENDED_BY, by=by)
        await _noted(session, bot, Action.BOT_SUSPENDED, "suspended", line, at=now, level=EventLevel.WARNING)
    _tell(desk, bot, "suspended")
    return bot


async def stop(desk: Desk, user_id: UUID, bot_id: UUID, *, by: str, position: Literal["keep", "sell"] | None = None) -> Bot:
    """End a bot. What it has resting is taken back; what it holds stays with its stop, or is sold. One that is stopped stays as it is.

    Raises:
        BotNotFound: no such bot of this user.
        BotHoldsPosition: it holds a position, and nobody said what becomes of it.
    """
    now = desk.clock.now()
    async with desk.database.transaction() as session:
        bot = await get_bot(session, user_id, bot_id, is_locked=True)
        if bot.state == BotState.STOPPED:
            return bot
        holds = await holds_position(session, user_id, bot_id)
        if holds and position is None:
            raise BotHoldsPosition
        if position == "keep":
            bot.sell_asked_at = None
        await stop_in(session, bot, at=now, told=said(words.STOPPED_BY, by=by), is_sold=position == "sell")
        await note_bot(session, Action.BOT_STOPPED, bot, position=position or "none")
    _tell(desk, bot, "stopped")
    return bot


async def stop_in(session: AsyncSession, bot: Bot, *, at: datetime, told: Said, is_sold: bool) -> None:
    """End a bot, whose row is locked, in the caller's transaction."""
    bot.stopped_at = at
    if is_sold:
        bot.sell_asked_at = bot.sell_asked_at or at
    _enter(bot, BotState.STOPPED, told)
    await _let_go(session, bot, words.STOPPED_MEANWHILE)
    await session.flush()
    await write_line(session, Line(bot_id=bot.id, user_id=bot.user_id, kind="stopped", told=told), at=at)


async def close_position(desk: Desk, user_id: UUID, bot_id: UUID, *, by: str) -> Bot:
    """Sell what a bot holds at the market; a bot that runs goes on. Asked twice it is sold once.

    Raises:
        BotNotFound: no such bot of this user.
        BotHoldsNothing: it holds nothing.
    """
    now = desk.clock.now()
    async with desk.database.transaction() as session:
        bot = await get_bot(session, user_id, bot_id, is_locked=True)
        if bot.sell_asked_at is not None:
            return bot
        if not await holds_position(session, user_id, bot_id):
            raise BotHoldsNothing
        bot.sell_asked_at = now
        bot.revision += 1
        await _noted(session, bot, Action.BOT_SOLD, "sell_asked", said(words.SELL_ASKED, by=by), at=now)
    _tell(desk, bot, "sell_asked")
    return bot


async def approve(desk: Desk, user_id: UUID, signal_id: UUID, *, by: str) -> BotSignal:
    """Let the orders of a signal that waits be sent. Raises as `reject`."""
    return await _answer(desk, user_id, signal_id, by=by, is_approved=True)


async def reject(desk: Desk, user_id: UUID, signal_id: UUID, *, by: str) -> BotSignal:
    """Let nothing come of a signal that waits.

    Raises:
        BotSignalNotFound: no such signal of this user.
        SignalDecided: it does not wait: it was answered, or its candle is over.
    """
    return await _answer(desk, user_id, signal_id, by=by, is_approved=False)


async def _answer(desk: Desk, user_id: UUID, signal_id: UUID, *, by: str, is_approved: bool) -> BotSignal:
    now = desk.clock.now()
    async with desk.database.transaction() as session:
        signal = await get_signal(session, user_id, signal_id)
        # The bot's row before the signal's, as whoever stops it does.
        bot = await get_bot(session, user_id, signal.bot_id, is_locked=True)
        query = owned(BotSignal, user_id).where(BotSignal.id == signal_id).with_for_update()
        signal = (await session.scalars(query.execution_options(populate_existing=True))).one()
        if signal.state != SignalState.WAITING or now >= answer_until(signal.open_time, Timeframe(bot.timeframe)):
            raise SignalDecided
        told = said(words.APPROVED_BY if is_approved else words.REJECTED_BY, by=by, action=signal.action)
        signal.answered_by = by
        signal.state = (SignalState.DECIDED if is_approved else SignalState.REJECTED).value
        signal.reason = told.stored()
        await session.flush()
        kind = "approved" if is_approved else "rejected"
        await write_line(session, Line(bot_id=bot.id, user_id=user_id, kind=kind, told=told), at=now)
        await note_bot(session, Action.BOT_SIGNAL_ANSWERED, bot, answer=kind, wanted=signal.action)
    _tell(desk, bot, kind)
    desk.bus.publish(signalled(signal))
    return signal


def answer_until(open_time: datetime, timeframe: Timeframe) -> datetime:
    """Return until when a signal waits for its owner: the next candle's close."""
    return open_time + 2 * timedelta(milliseconds=timeframe.milliseconds)


def signalled(signal: BotSignal) -> BotSignalled:
    """Return the event that tells of a signal."""
    return BotSignalled(
        user_id=signal.user_id,
        bot_id=signal.bot_id,
        signal_id=signal.id,
        open_time=signal.open_time,
        action=signal.action,
        state=signal.state,
    )


async def rearm(desk: Desk, user_id: UUID, trip_id: UUID, *, by: str) -> BotTrip:
    """Arm a safeguard again that has tripped; the bot stays suspended until it is started. One that is armed stays so.

    What happened before counts no more: it looks at the equity, and at the trades, from now on.

    Raises:
        BotTripNotFound: no such trip of this user.
    """
    now = desk.clock.now()
    async with desk.database.transaction() as session:
        trip: BotTrip | None = await session.scalar(owned(BotTrip, user_id).where(BotTrip.id == trip_id))
    if trip is None:
        raise BotTripNotFound
    async with desk.database.connection() as connection:
        counted = await worth(connection, user_id, trip.bot_id, now=now, price=desk.quotes.last_price)
    async with desk.database.transaction() as session:
        trip = await session.scalar(owned(BotTrip, user_id).where(BotTrip.id == trip_id).with_for_update())
        if trip is None:
            raise BotTripNotFound
        if trip.rearmed_at is not None:
            return trip
        trip.rearmed_at, trip.rearmed_by = now, by
        trip.rearmed_equity = counted.get(trip.values.get("quote", ""))
        await session.flush()
        if trip.bot_id is None and trip.rule == Rule.DRAWDOWN:
            peaks = {quote: f"{profit:f}" for quote, profit in counted.items()}
            await session.execute(update(UserSafeguards).where(UserSafeguards.user_id == user_id).values(peaks=peaks))
        if trip.bot_id is not None:
            told = said(words.REARMED, rule=trip.rule, by=by)
            await write_line(session, Line(bot_id=trip.bot_id, user_id=user_id, kind="rearmed", told=told), at=now)
        whose = f"bot:{trip.bot_id}" if trip.bot_id is not None else "bots"
        await note(session, Action.BOT_REARMED, user_id=user_id, object=whose, detail={"rule": trip.rule})
    if trip.bot_id is not None:
        desk.bus.publish(BotChanged(user_id=user_id, bot_id=trip.bot_id))
    return trip


def _enter(bot: Bot, state: BotState, reason: Said | str | None) -> None:
    told = said(reason) if isinstance(reason, str) else reason
    bot.state, bot.state_reason = state.value, None if told is None else told.stored()
    bot.revision += 1


async def _let_go(session: AsyncSession, bot: Bot, why: str) -> None:
    """Nobody's word is waited for any more; an entry that is decided and not handed over is not made."""
    waiting = BotSignal.state == SignalState.WAITING.value
    query = update(BotSignal).where(BotSignal.user_id == bot.user_id, BotSignal.bot_id == bot.id, waiting)
    await session.execute(query.values(state=SignalState.EXPIRED.value, reason=said(why).stored()))


async def _noted(
    session: AsyncSession, bot: Bot, action: Action, kind: str, told: Said, *, at: datetime, level: EventLevel = EventLevel.INFO
) -> None:
    await session.flush()
    await write_line(session, Line(bot_id=bot.id, user_id=bot.user_id, kind=kind, told=told, level=level), at=at)
    await note_bot(session, action, bot)


def _tell(desk: Desk, bot: Bot, kind: str) -> None:
    for event in _events(bot, kind):
        desk.bus.publish(event)


def _events(bot: Bot, kind: str) -> tuple[Any, ...]:
    return (
        BotAsked(bot_id=bot.id),
        BotChanged(user_id=bot.user_id, bot_id=bot.id),
        BotLogged(user_id=bot.user_id, bot_id=bot.id, level=EventLevel.INFO.value, kind=kind),
    )
