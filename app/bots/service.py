"""Bots of a user: make, find, change, delete. What a bot does once it is started is `bots.lifecycle`'s."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.bots.models import AtEnd, Bot, BotMode, BotState
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.tenancy import owned
from app.domain.candles import Timeframe
from app.errors import BotHoldsPosition, BotInvalid, BotLimit, BotNotFound, BotStateWrong
from app.sandbox.messages import Value
from app.strategies.models import Strategy, StrategyVersion
from app.strategies.versions import version_by_id

#: Bots that a user may have, stopped ones among them.
MOST_BOTS: Final = 5_000
_NUMBER: Final = text("""
INSERT INTO bot_counters (user_id, last_number) VALUES (:user_id, 1)
ON CONFLICT (user_id) DO UPDATE SET last_number = bot_counters.last_number + 1 RETURNING last_number
""")
_HOLDS: Final = text("SELECT EXISTS (SELECT 1 FROM positions WHERE user_id = :user_id AND bot_id = :bot_id AND status <> 'closed')")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotWish:
    """What is to trade by itself. What is None is decided when it is made.

    Attributes:
        strategy_id: Whose version it runs.
        version: Its number; None is the newest.
        parameters: Values that differ from the strategy's own.
        broker_id: Where its orders go.
        symbol: As people write it.
        timeframe: None is the strategy's own.
        mode: With what it trades, and who has the last word.
        capital: Quote units that it is given.
        name: Empty: of strategy, symbol and timeframe.
        start_at: It decides nothing before; None: as soon as it is started.
        end_at: It stops by itself then; None: never.
        at_end: What becomes of its position then.
        safeguards: See `domain.safeguards.Safeguards`.
        backtest_id: Where it was promoted from.
        idempotency_key: The same one again makes no second bot.
    """

    strategy_id: UUID
    broker_id: UUID
    symbol: str
    mode: BotMode
    capital: Decimal
    version: int | None = None
    parameters: dict[str, Value] = field(default_factory=dict)
    timeframe: str | None = None
    name: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None
    at_end: AtEnd = AtEnd.KEEP
    safeguards: dict[str, Any] = field(default_factory=dict)
    backtest_id: UUID | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What was decided about a wish before it is stored: the version, and the market that it decides on."""

    version_id: UUID
    exchange: str
    symbol: str
    timeframe: Timeframe


@dataclass(frozen=True, slots=True, kw_only=True)
class BotFilter:
    """Which bots: what is None asks for nothing."""

    state: BotState | None = None
    strategy_id: UUID | None = None
    broker_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A bot with the names that lists show: of its strategy, the number of its version, and of its account."""

    bot: Bot
    strategy_name: str
    version: int
    broker_name: str
    broker_exchange: str


async def create_bot(session: AsyncSession, user_id: UUID, wish: BotWish, settled: Settled, *, now: datetime) -> Bot:
    """Store a bot that is ready to be started.

    Raises:
        VersionNotFound: it was deleted meanwhile.
        BotInvalid: its dates are none.
        BotLimit: the user has as many as one may have.
    """
    version = await version_by_id(session, user_id, settled.version_id)
    check_dates(wish.start_at, wish.end_at, now=now)
    number = int(await session.scalar(_NUMBER, {"user_id": user_id}) or 0)  # its row lock makes two at once come one after the other
    if wish.idempotency_key is not None:
        earlier: Bot | None = await session.scalar(owned(Bot, user_id).where(Bot.idempotency_key == wish.idempotency_key))
        if earlier is not None:
            return earlier
    await _check_number(session, user_id)
    strategy = await session.scalar(select(Strategy.name).where(Strategy.user_id == user_id, Strategy.id == version.strategy_id))
    usual = f"{strategy} {settled.symbol} {settled.timeframe.value}"
    bot = Bot(
        id=new_id(), user_id=user_id, number=number, name=(wish.name.strip() or usual)[:60], strategy_id=version.strategy_id,
        version_id=version.id, parameters=dict(wish.parameters), broker_id=wish.broker_id, exchange=settled.exchange,
        symbol=settled.symbol, timeframe=settled.timeframe.value, mode=wish.mode.value, state=BotState.READY.value, capital=wish.capital,
        start_at=wish.start_at, end_at=wish.end_at, at_end=wish.at_end.value, safeguards=dict(wish.safeguards),
        backtest_id=wish.backtest_id, idempotency_key=wish.idempotency_key, created_at=now, revision=0,
    )  # fmt: skip
    session.add(bot)
    await session.flush()
    facts = {"symbol": bot.symbol, "timeframe": bot.timeframe, "mode": bot.mode, "capital": f"{bot.capital:f}"}
    await note_bot(session, Action.BOT_MADE, bot, **facts)
    return bot


def check_dates(start_at: datetime | None, end_at: datetime | None, *, now: datetime) -> None:
    """Pass when a bot can live between these.

    Raises:
        BotInvalid: with the field.
    """
    if end_at is not None and end_at <= now:
        raise BotInvalid(N_("the end must be in the future"), field="end_at")
    if start_at is not None and end_at is not None and start_at >= end_at:
        raise BotInvalid(N_("the start must be before the end"), field="start_at")


async def _check_number(session: AsyncSession, user_id: UUID) -> None:
    count = await session.scalar(select(func.count()).select_from(Bot).where(Bot.user_id == user_id)) or 0
    if count >= MOST_BOTS:
        raise BotLimit(N_(f"you have {count} bots, as many as one user may have: delete one that is stopped"))


async def get_bot(session: AsyncSession, user_id: UUID, which: UUID | int, *, is_locked: bool = False) -> Bot:
    """Return one bot by its id or its number; `is_locked`: as it is now, and nobody else changes it until the transaction ends.

    Raises:
        BotNotFound: no such bot of this user.
    """
    query = owned(Bot, user_id).where(Bot.number == which if isinstance(which, int) else Bot.id == which)
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    bot: Bot | None = await session.scalar(query)
    if bot is None:
        raise BotNotFound
    return bot


async def list_bots(
    session: AsyncSession, user_id: UUID, *, which: BotFilter | None = None, before: int | None = None, limit: int = 200
) -> list[Listed]:
    """Return bots with their names, the newest first; `before`: only those with smaller numbers."""
    query, asked = owned(Bot, user_id), which or BotFilter()
    if asked.state is not None:
        query = query.where(Bot.state == asked.state.value)
    if asked.strategy_id is not None:
        query = query.where(Bot.strategy_id == asked.strategy_id)
    if asked.broker_id is not None:
        query = query.where(Bot.broker_id == asked.broker_id)
    if before is not None:
        query = query.where(Bot.number < before)
    return await _with_names(session, user_id, list(await session.scalars(query.order_by(Bot.number.desc()).limit(limit))))


async def listed(session: AsyncSession, user_id: UUID, which: UUID | int) -> Listed:
    """Return one bot with its names. Raises as `get_bot`."""
    return (await _with_names(session, user_id, [await get_bot(session, user_id, which)]))[0]


async def _with_names(session: AsyncSession, user_id: UUID, bots: list[Bot]) -> list[Listed]:
    query = select(StrategyVersion.id, StrategyVersion.number, Strategy.name).join(Strategy, Strategy.id == StrategyVersion.strategy_id)
    versions = {bot.version_id for bot in bots}
    known = {
        row.id: row for row in await session.execute(query.where(StrategyVersion.user_id == user_id, StrategyVersion.id.in_(versions)))
    }
    accounts = await session.execute(_ACCOUNTS, {"user_id": user_id, "ids": list({bot.broker_id for bot in bots})})
    brokers = {row.id: row for row in accounts}
    return [
        Listed(
            bot=bot,
            strategy_name=known[bot.version_id].name,
            version=known[bot.version_id].number,
            broker_name=brokers[bot.broker_id].name,
            broker_exchange=brokers[bot.broker_id].exchange,
        )
        for bot in bots
    ]


_ACCOUNTS: Final = text("SELECT id, name, exchange FROM brokers WHERE user_id = :user_id AND id = ANY(:ids)")
#: What may be changed once a bot has been started: its life is one period with one version and one set of parameters.
_ALWAYS: Final = frozenset({"name", "end_at", "at_end", "safeguards"})
_WHILE_READY: Final = frozenset({"start_at", "capital", "mode"}) | _ALWAYS


async def change_bot(session: AsyncSession, user_id: UUID, which: UUID | int, changes: Mapping[str, Any], *, now: datetime) -> Bot:
    """Change a bot: its name, its end and its safeguards while it is not stopped; before its first start also its dates, capital and mode.

    Raises:
        BotNotFound: no such bot of this user.
        BotStateWrong: that cannot be changed any more.
        BotInvalid: its dates are none.
    """
    bot = await get_bot(session, user_id, which, is_locked=True)
    state = BotState(bot.state)
    allowed = _WHILE_READY if state is BotState.READY else _ALWAYS if state.is_live else frozenset({"name"})
    if changes.keys() - allowed:
        raise BotStateWrong(N_("that cannot be changed once a bot was started: clone it, and change the clone"))
    before = {name: getattr(bot, name) for name, value in changes.items() if getattr(bot, name) != value}
    if not before:
        return bot
    for name in before:
        setattr(bot, name, changes[name])
    if before.keys() & {"start_at", "end_at"}:
        check_dates(bot.start_at, bot.end_at, now=now)
    bot.revision += 1
    await session.flush()
    await note_bot(session, Action.BOT_CHANGED, bot, before=_plain(before), after=_plain({name: changes[name] for name in before}))
    return bot


async def delete_bot(session: AsyncSession, user_id: UUID, which: UUID | int) -> None:
    """Delete a bot that never ran, or is stopped, with its log and its signals; its orders and trades stay.

    Raises:
        BotNotFound: no such bot of this user.
        BotStateWrong: it runs, or is suspended.
        BotHoldsPosition: what it left open is still there.
    """
    bot = await get_bot(session, user_id, which, is_locked=True)
    if BotState(bot.state).is_live:
        raise BotStateWrong(N_("stop the bot before you delete it"))
    if await holds_position(session, user_id, bot.id):
        raise BotHoldsPosition(N_("the position that the bot left is still open: sell it first, then delete the bot"))
    await session.delete(bot)
    await session.flush()
    await note_bot(session, Action.BOT_DELETED, bot)


async def holds_position(session: AsyncSession, user_id: UUID, bot_id: UUID) -> bool:
    """Return whether a bot has an open position."""
    return bool(await session.scalar(_HOLDS, {"user_id": user_id, "bot_id": bot_id}))


async def note_bot(session: AsyncSession, action: Action, bot: Bot, **facts: Any) -> None:
    """Write what was done to a bot into the audit log: the last statement of its transaction."""
    await note(session, action, user_id=bot.user_id, object=f"bot:{bot.id}", detail={"name": bot.name, "number": bot.number, **facts})


def _plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns as the audit log takes them."""
    return {name: value if isinstance(value, str | dict | None) else str(value) for name, value in columns.items()}
