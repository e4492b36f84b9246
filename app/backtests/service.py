"""Backtests of a user: make, find, cancel, delete. What runs them is `backtests.jobs`; results are read by `backtests.results`."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from secrets import randbits
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from app.backtests.bounds import Bounds, check_range
from app.backtests.models import UNDER_WAY, Backtest, BacktestState
from app.backtests.wish import BacktestWish, Rules
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.tenancy import owned
from app.domain.candles import Timeframe
from app.errors import BacktestLimit, BacktestNotFound
from app.strategies.models import Strategy, StrategyVersion
from app.strategies.versions import get_version, mark_used, version_by_id

_NUMBER: Final = text("""
INSERT INTO backtest_counters (user_id, last_number) VALUES (:user_id, 1)
ON CONFLICT (user_id) DO UPDATE SET last_number = backtest_counters.last_number + 1 RETURNING last_number
""")
_SEED_BITS: Final = 53  # what every reader of JSON keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What was decided about a wish before it is stored: the version, the market, the costs."""

    version_id: UUID
    exchange: str
    symbol: str
    timeframe: Timeframe
    rules: Rules
    fee: Decimal
    maker_fee: Decimal
    warm_up: int
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestFilter:
    """Which backtests: what is None or empty asks for nothing."""

    strategy_id: UUID | None = None
    symbol: str = ""
    state: BacktestState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A backtest in a list, without its report; with the name of its strategy, the number of its version, and that one's verdict.

    `sha256` is of that version's source, as hexadecimal digits.
    """

    backtest: Backtest
    strategy_name: str
    version_number: int
    has_look_ahead: bool
    is_validated: bool
    sha256: str


async def create_backtest(
    session: AsyncSession, user_id: UUID, wish: BacktestWish, settled: Settled, *, bounds: Bounds, now: datetime
) -> Backtest:
    """Store a backtest that waits for its turn. A version that may trade counts as used from now on.

    Raises:
        VersionNotFound: it was deleted meanwhile.
        InvalidInput: the range is no range, or one of candles that have not closed.
        TooManyCandles: it needs more memory than a backtest may have.
        BacktestLimit: the user has as many waiting, or stored, as one may have.
    """
    version = await version_by_id(session, user_id, settled.version_id)
    start, end = check_range(wish.start_at, wish.end_at, settled.timeframe, now=now)
    memory = bounds.memory_of(
        start, end, settled.timeframe, warm_up=settled.warm_up, others=settled.others, is_detailed=wish.options.is_detailed
    )
    number = int(await session.scalar(_NUMBER, {"user_id": user_id}) or 0)  # its row lock makes two at once come one after the other
    await _check_room(session, user_id, bounds)
    backtest = Backtest(
        id=new_id(), user_id=user_id, number=number, note=wish.note, strategy_id=version.strategy_id, version_id=version.id,
        parameters=dict(wish.parameters), broker_id=wish.broker_id, exchange=settled.exchange, symbol=settled.symbol,
        timeframe=settled.timeframe.value, start_at=start, end_at=end, capital=wish.capital, fee=settled.fee, maker_fee=settled.maker_fee,
        slippage=wish.slippage, options=msgspec.to_builtins(wish.options), rules=msgspec.to_builtins(settled.rules),
        seed=randbits(_SEED_BITS) if wish.seed is None else wish.seed, state=BacktestState.QUEUED.value, output="", memory_bytes=memory,
        attempts=0, epoch=0, created_at=now,
    )  # fmt: skip
    await _hold_version(session, user_id, version, now=now)
    session.add(backtest)
    await session.flush()
    return backtest


async def repeat_backtest(session: AsyncSession, user_id: UUID, backtest_id: UUID, *, bounds: Bounds, now: datetime) -> Backtest:
    """Store a backtest with the very header of another one: the same version, parameters, range, costs, rules and seed.

    Raises:
        BacktestNotFound: no such backtest of this user.
        BacktestLimit: as `create_backtest`.
    """
    old = await get_backtest(session, user_id, backtest_id)
    number = int(await session.scalar(_NUMBER, {"user_id": user_id}) or 0)
    await _check_room(session, user_id, bounds)
    same = {
        name: getattr(old, name)
        for name in (
            "user_id", "note", "strategy_id", "version_id", "parameters", "broker_id", "exchange", "symbol", "timeframe", "start_at",
            "end_at", "capital", "fee", "maker_fee", "slippage", "options", "rules", "seed", "memory_bytes",
        )
    }  # fmt: skip
    queued = {"state": BacktestState.QUEUED.value, "output": "", "attempts": 0, "epoch": 0, "created_at": now}
    backtest = Backtest(id=new_id(), number=number, **queued, **same)
    session.add(backtest)
    await session.flush()
    return backtest


async def get_backtest(session: AsyncSession, user_id: UUID, backtest_id: UUID, *, is_locked: bool = False) -> Backtest:
    """Return one backtest with its report.

    Raises:
        BacktestNotFound: no such backtest of this user.
    """
    query = owned(Backtest, user_id).where(Backtest.id == backtest_id)
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    found: Backtest | None = await session.scalar(query)
    if found is None:
        raise BacktestNotFound
    return found


async def backtest_numbered(session: AsyncSession, user_id: UUID, number: int) -> Backtest:
    """Return the user's backtest of that number. Raises as `get_backtest`."""
    found: Backtest | None = await session.scalar(owned(Backtest, user_id).where(Backtest.number == number))
    if found is None:
        raise BacktestNotFound
    return found


async def listed(session: AsyncSession, user_id: UUID, backtest_id: UUID) -> Listed:
    """Return one backtest, with its report, and what lists say of its strategy. Raises as `get_backtest`."""
    backtest = await get_backtest(session, user_id, backtest_id)
    return (await _with_names(session, user_id, [backtest]))[0]


async def list_backtests(
    session: AsyncSession, user_id: UUID, *, which: BacktestFilter, before: int | None = None, limit: int = 50
) -> list[Listed]:
    """Return backtests without their reports, the newest first; `before`: only those with smaller numbers."""
    query = owned(Backtest, user_id).options(defer(Backtest.report, raiseload=True), defer(Backtest.output, raiseload=True))
    if which.strategy_id is not None:
        query = query.where(Backtest.strategy_id == which.strategy_id)
    if which.symbol:
        query = query.where(func.replace(Backtest.symbol, "/", "") == which.symbol.upper().replace("/", ""))
    if which.state is not None:
        query = query.where(Backtest.state == which.state.value)
    if before is not None:
        query = query.where(Backtest.number < before)
    return await _with_names(session, user_id, list(await session.scalars(query.order_by(Backtest.number.desc()).limit(limit))))


async def cancel_backtest(session: AsyncSession, user_id: UUID, backtest_id: UUID, *, now: datetime) -> Backtest:
    """Cancel a backtest. One that waits is over at once; one that runs keeps what it has come to. One that is over stays as it is.

    Raises:
        BacktestNotFound: no such backtest of this user.
    """
    backtest = await get_backtest(session, user_id, backtest_id, is_locked=True)
    if BacktestState(backtest.state).is_over:
        return backtest
    backtest.cancel_asked_at = backtest.cancel_asked_at or now
    if backtest.state == BacktestState.QUEUED:
        backtest.state, backtest.finished_at = BacktestState.CANCELED.value, now
    await session.flush()
    return backtest


async def delete_backtest(session: AsyncSession, user_id: UUID, backtest_id: UUID) -> None:
    """Delete a backtest with its result. What still runs it finds its row gone, and stops.

    Raises:
        BacktestNotFound: no such backtest of this user.
    """
    backtest = await get_backtest(session, user_id, backtest_id, is_locked=True)
    await session.delete(backtest)
    await session.flush()


async def change_note(session: AsyncSession, user_id: UUID, backtest_id: UUID, *, note: str) -> Backtest:
    """Write another note to a backtest. Raises as `get_backtest`."""
    await get_backtest(session, user_id, backtest_id)
    await session.execute(update(Backtest).where(Backtest.user_id == user_id, Backtest.id == backtest_id).values(note=note))
    return await get_backtest(session, user_id, backtest_id, is_locked=True)


async def version_wished(session: AsyncSession, user_id: UUID, wish: BacktestWish) -> StrategyVersion:
    """Return the version that a wish names. Raises StrategyNotFound or VersionNotFound."""
    return await get_version(session, user_id, wish.strategy_id, wish.version)


async def version_number(session: AsyncSession, user_id: UUID, backtest: Backtest) -> int:
    """Return the number of a backtest's version."""
    return (await version_by_id(session, user_id, backtest.version_id)).number


async def _hold_version(session: AsyncSession, user_id: UUID, version: StrategyVersion, *, now: datetime) -> None:
    """One that may trade is marked as used; any other is held by the foreign key alone, for a mark would say that it may."""
    if version.is_valid and version.first_used_at is None:
        await mark_used(session, user_id, version.id, now=now)


async def _check_room(session: AsyncSession, user_id: UUID, bounds: Bounds) -> None:
    waits = Backtest.state.in_([state.value for state in UNDER_WAY])
    query = select(func.count(), func.count().filter(waits)).select_from(Backtest).where(Backtest.user_id == user_id)
    stored, waiting = (await session.execute(query)).one()
    if waiting >= bounds.waiting:
        raise BacktestLimit(N_(f"You have {waiting} backtests waiting or running, as many as one may have. Wait for one, or cancel one."))
    if stored >= bounds.stored:
        raise BacktestLimit(N_(f"You have {stored} backtests stored, as many as one may have. Delete some that you no longer need."))


async def _with_names(session: AsyncSession, user_id: UUID, backtests: list[Backtest]) -> list[Listed]:
    columns = (
        StrategyVersion.id,
        StrategyVersion.number,
        StrategyVersion.has_look_ahead,
        StrategyVersion.validated_at.is_not(None),
        Strategy.name,
        StrategyVersion.sha256,
    )
    wanted = {backtest.version_id for backtest in backtests}
    query = select(*columns).join(Strategy, Strategy.id == StrategyVersion.strategy_id)
    rows = (await session.execute(query.where(StrategyVersion.user_id == user_id, StrategyVersion.id.in_(wanted)))).all()
    known = {row[0]: row for row in rows}
    return [
        Listed(
            backtest=one, strategy_name=known[one.version_id][4], version_number=known[one.version_id][1],
            has_look_ahead=known[one.version_id][2], is_validated=known[one.version_id][3],
            sha256=known[one.version_id][5],
        )
        for one in backtests
    ]  # fmt: skip
