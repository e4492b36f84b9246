"""What the monitor shows of a user's bots: one row each, read in one statement; the page, its stream and the API show the same."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.bots.log import Said, from_stored
from app.bots.models import BotMode, BotState
from app.domain.candles import Timeframe

#: What the market pays for one unit now, by exchange and symbol; None where that is not known.
Price = Callable[[str, str], Decimal | None]

_ROWS: Final = text("""
SELECT b.*, s.name AS strategy_name, v.number AS version, k.name AS broker_name, k.exchange AS broker_exchange,
       p.id AS position_id, p.quantity, p.average_price, p.opened_at, p.stop_loss, p.take_profit, r.realized, r.trades, r.won,
       e.price AS last_price, e.at AS last_price_at, d.equity AS equity_at_midnight,
       g.id AS signal_id, g.open_time AS signal_at, g.action, g.state AS signal_state, g.reason AS signal_reason,
       w.id AS waiting_id, t.trips, spark.points
  FROM bots b
  JOIN strategies s ON s.id = b.strategy_id JOIN strategy_versions v ON v.id = b.version_id JOIN brokers k ON k.id = b.broker_id
  LEFT JOIN LATERAL (SELECT * FROM positions WHERE bot_id = b.id AND user_id = b.user_id AND status <> 'closed'
                      ORDER BY opened_at DESC LIMIT 1) p ON true
  CROSS JOIN LATERAL (SELECT coalesce(sum(realized_pnl), 0) AS realized, count(*) FILTER (WHERE status = 'closed') AS trades,
                             count(*) FILTER (WHERE status = 'closed' AND realized_pnl > 0) AS won
                        FROM positions WHERE bot_id = b.id AND user_id = b.user_id) r
  LEFT JOIN LATERAL (SELECT price, at FROM bot_equity WHERE bot_id = b.id ORDER BY at DESC LIMIT 1) e ON true
  LEFT JOIN LATERAL (SELECT equity FROM bot_equity WHERE bot_id = b.id AND at <= :midnight ORDER BY at DESC LIMIT 1) d ON true
  LEFT JOIN LATERAL (SELECT * FROM bot_signals WHERE bot_id = b.id ORDER BY open_time DESC LIMIT 1) g ON true
  LEFT JOIN LATERAL (SELECT id FROM bot_signals WHERE bot_id = b.id AND state = 'waiting' LIMIT 1) w ON true
  CROSS JOIN LATERAL (SELECT count(*) AS trips FROM bot_trips WHERE user_id = b.user_id AND rearmed_at IS NULL
                         AND (bot_id = b.id OR bot_id IS NULL)) t
  CROSS JOIN LATERAL (SELECT array_agg(equity ORDER BY at) AS points FROM (
                        SELECT at, equity FROM bot_equity WHERE bot_id = b.id ORDER BY at DESC LIMIT 60) last) spark
 WHERE b.user_id = :user_id AND (CAST(:bot_id AS uuid) IS NULL OR b.id = :bot_id) AND (b.state <> 'stopped' OR :with_stopped)
 ORDER BY b.state = 'stopped', b.number DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSignal:
    """The last candle that a bot was asked about."""

    id: UUID
    open_time: datetime
    action: str
    state: str
    reason: Said | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a bot holds. Quantity in base units, prices in quote per base, `unrealized` in quote, None without a price."""

    position_id: UUID
    quantity: Decimal
    entry_price: Decimal | None
    stop_price: Decimal | None
    target_price: Decimal | None
    opened_at: datetime
    unrealized: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BotRow:
    """A bot on the monitor. Amounts are in quote units.

    `equity` is capital, realised profit and position at `price`; `today` is its change since 00:00 UTC. `next_candle_at` is when the next
    candle closes, None where none is waited for. `trips` counts safeguards that have tripped, those of all bots together among them.
    `waiting_id` is a signal that waits for its owner's word. `spark` is the equity at the last sixty closes, oldest first.
    """

    id: UUID
    number: int
    name: str
    strategy_id: UUID
    strategy_name: str
    version: int
    broker_id: UUID
    broker_name: str
    broker_exchange: str
    exchange: str
    symbol: str
    timeframe: str
    mode: BotMode
    state: BotState
    state_reason: Said | None
    fault: dict[str, Any] | None
    capital: Decimal
    equity: Decimal
    profit: Decimal
    today: Decimal
    trades: int
    won: int
    price: Decimal | None
    held: Held | None
    last_signal: LastSignal | None
    last_candle_at: datetime | None
    next_candle_at: datetime | None
    waiting_id: UUID | None
    trips: int
    is_selling: bool
    started_at: datetime | None
    end_at: datetime | None
    stopped_at: datetime | None
    spark: tuple[Decimal, ...]


async def monitor_rows(
    session: AsyncSession,
    user_id: UUID,
    *,
    now: datetime,
    price: Price = lambda _exchange, _symbol: None,
    bot_id: UUID | None = None,
    with_stopped: bool = False,
    limit: int = 500,
) -> list[BotRow]:
    """Return the user's bots as the monitor shows them: those that live first, the newest first.

    Args:
        session: Of the tenant.
        user_id: Whose bots.
        now: The present.
        price: Tells what the market pays now; where it does not know, the last close counts.
        bot_id: Only that one.
        with_stopped: Those that are stopped as well; `bot_id` of a stopped one needs it.
        limit: How many at most.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    values = {"user_id": user_id, "bot_id": bot_id, "with_stopped": with_stopped, "limit": limit, "midnight": midnight}
    return [_row(row, now, price) for row in await session.execute(_ROWS, values)]


def _row(row: Any, now: datetime, price: Price) -> BotRow:
    at = price(row.exchange, row.symbol) or row.last_price
    held = _held(row, at)
    unrealized = held.unrealized if held is not None and held.unrealized is not None else Decimal(0)
    equity = row.capital + row.realized + unrealized
    before = row.equity_at_midnight if row.equity_at_midnight is not None else row.capital
    state = BotState(row.state)
    plain = (
        "id", "number", "name", "strategy_id", "strategy_name", "version", "broker_id", "broker_name", "broker_exchange", "exchange",
        "symbol", "timeframe", "fault", "capital", "trades", "won", "last_candle_at", "waiting_id", "trips", "started_at", "end_at",
        "stopped_at",
    )  # fmt: skip
    return BotRow(
        **{name: getattr(row, name) for name in plain},
        mode=BotMode(row.mode),
        state=state,
        state_reason=from_stored(row.state_reason),
        equity=equity,
        profit=equity - row.capital,
        today=equity - before,
        price=at,
        held=held,
        last_signal=_last_signal(row),
        next_candle_at=next_close(Timeframe(row.timeframe), now) if state.is_live else None,
        is_selling=row.sell_asked_at is not None,
        spark=tuple(row.points or ()),
    )


def _held(row: Any, at: Decimal | None) -> Held | None:
    if row.position_id is None or not row.quantity:
        return None
    known = at is not None and row.average_price is not None
    return Held(
        position_id=row.position_id,
        quantity=row.quantity,
        entry_price=row.average_price,
        stop_price=row.stop_loss,
        target_price=row.take_profit,
        opened_at=row.opened_at,
        unrealized=row.quantity * (at - row.average_price) if known else None,
    )


def _last_signal(row: Any) -> LastSignal | None:
    if row.signal_id is None:
        return None
    return LastSignal(
        id=row.signal_id, open_time=row.signal_at, action=row.action, state=row.signal_state, reason=from_stored(row.signal_reason)
    )


def next_close(timeframe: Timeframe, now: datetime) -> datetime:
    """Return when the candle that is open now closes."""
    return timeframe.floor(now) + timedelta(milliseconds=timeframe.milliseconds)
