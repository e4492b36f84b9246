"""What a bot did, page by page: its signals, its log, its equity and its round trips. Plain reads; no exchange is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.bots.models import BotEvent, BotSignal, BotTrip, EventLevel, SignalState
from app.core.tenancy import owned
from app.errors import BotSignalNotFound

#: Points of equity that one answer has.
MOST_POINTS: Final = 5_000
_EQUITY: Final = text("""
SELECT at, equity, position_quantity, price FROM (
  SELECT at, equity, position_quantity, price, row_number() OVER (ORDER BY at DESC) AS place, count(*) OVER () AS points
    FROM bot_equity WHERE user_id = :user_id AND bot_id = :bot_id AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)) each
 WHERE place = 1 OR place = points OR place % (points / :most + 1) = 0 ORDER BY at
""")
_TRADES: Final = text("""
SELECT p.id, p.symbol, p.side, p.status, p.opened_at, p.closed_at, p.realized_pnl, p.fees, s.entry_quantity, s.entry_value,
       s.exit_quantity, s.exit_value, s.role
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT sum(f.quantity) FILTER (WHERE f.side = 'buy') AS entry_quantity,
           sum(f.quantity * f.price) FILTER (WHERE f.side = 'buy') AS entry_value,
           sum(f.quantity) FILTER (WHERE f.side = 'sell') AS exit_quantity,
           sum(f.quantity * f.price) FILTER (WHERE f.side = 'sell') AS exit_value,
           (array_agg(o.role ORDER BY f.executed_at DESC) FILTER (WHERE f.side = 'sell'))[1] AS role
      FROM fills f JOIN orders o ON o.id = f.order_id WHERE f.position_id = p.id) s
 WHERE p.user_id = :user_id AND p.bot_id = :bot_id AND (CAST(:before AS uuid) IS NULL OR p.id < :before)
 ORDER BY p.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class BotTrade:
    """A round trip of a bot, the open one too. Prices are quote per base, `profit` is after fees, in quote.

    `exit_role` is that of the order which sold last (`domain.enums.Role`); None while nothing was sold.
    """

    id: UUID
    symbol: str
    is_open: bool
    opened_at: datetime
    closed_at: datetime | None
    quantity: Decimal
    entry_price: Decimal | None
    exit_price: Decimal | None
    profit: Decimal
    fees: Decimal
    exit_role: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityPoint:
    """What a bot was worth at a close, in quote units."""

    at: datetime
    equity: Decimal
    position_quantity: Decimal
    price: Decimal


async def list_signals(
    session: AsyncSession,
    user_id: UUID,
    bot_id: UUID,
    *,
    before: datetime | None = None,
    limit: int = 50,
    is_wanted: bool = False,
    state: SignalState | None = None,
) -> list[BotSignal]:
    """Return signals, the newest candle first; `before`: of older candles only; `is_wanted`: where the strategy wanted something."""
    query = owned(BotSignal, user_id).where(BotSignal.bot_id == bot_id)
    if before is not None:
        query = query.where(BotSignal.open_time < before)
    if is_wanted:
        query = query.where(BotSignal.action != "none")
    if state is not None:
        query = query.where(BotSignal.state == state.value)
    return list(await session.scalars(query.order_by(BotSignal.open_time.desc()).limit(limit)))


async def get_signal(session: AsyncSession, user_id: UUID, signal_id: UUID) -> BotSignal:
    """Return one signal.

    Raises:
        BotSignalNotFound: no such signal of this user.
    """
    found: BotSignal | None = await session.scalar(owned(BotSignal, user_id).where(BotSignal.id == signal_id))
    if found is None:
        raise BotSignalNotFound
    return found


async def list_events(
    session: AsyncSession,
    user_id: UUID,
    *,
    bot_id: UUID | None = None,
    before: int | None = None,
    limit: int = 50,
    levels: Sequence[EventLevel] = (),
) -> list[BotEvent]:
    """Return lines of a bot's log, of all bots' without one, the newest first; `before`: only those with smaller ids."""
    query = owned(BotEvent, user_id)
    if bot_id is not None:
        query = query.where(BotEvent.bot_id == bot_id)
    if before is not None:
        query = query.where(BotEvent.id < before)
    if levels:
        query = query.where(BotEvent.level.in_([level.value for level in levels]))
    return list(await session.scalars(query.order_by(BotEvent.id.desc()).limit(limit)))


async def list_equity(
    session: AsyncSession, user_id: UUID, bot_id: UUID, *, since: datetime | None = None, most: int = 500
) -> list[EquityPoint]:
    """Return what a bot was worth, oldest first, in at most about so many points; the first and the last are among them."""
    rows = await session.execute(_EQUITY, {"user_id": user_id, "bot_id": bot_id, "since": since, "most": most})
    return [EquityPoint(**row._mapping) for row in rows]


async def list_trades(session: AsyncSession, user_id: UUID, bot_id: UUID, *, before: UUID | None = None, limit: int = 10) -> list[BotTrade]:
    """Return round trips, the newest first, the open one among them; `before`: only older ones than that."""
    rows = await session.execute(_TRADES, {"user_id": user_id, "bot_id": bot_id, "before": before, "limit": limit})
    return [
        BotTrade(
            id=row.id,
            symbol=row.symbol,
            is_open=row.status != "closed",
            opened_at=row.opened_at,
            closed_at=row.closed_at,
            quantity=row.entry_quantity or Decimal(0),
            entry_price=_mean(row.entry_value, row.entry_quantity),
            exit_price=_mean(row.exit_value, row.exit_quantity),
            profit=row.realized_pnl,
            fees=row.fees,
            exit_role=row.role,
        )
        for row in rows
    ]


def _mean(value: Decimal | None, quantity: Decimal | None) -> Decimal | None:
    return None if value is None or not quantity else round(value / quantity, 12)


async def active_trips(session: AsyncSession, user_id: UUID, bot_id: UUID | None) -> list[BotTrip]:
    """Return safeguards of all bots together, and of one, that have tripped and were not armed again; the newest first."""
    query = owned(BotTrip, user_id).where(BotTrip.rearmed_at.is_(None), (BotTrip.bot_id == bot_id) | BotTrip.bot_id.is_(None))
    return list(await session.scalars(query.order_by(BotTrip.at.desc())))
