"""Reads what a bot did: its row, its executions, its decisions, and what else may make it differ from its shadow."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.domain.candles import Timeframe, to_milliseconds
from app.shadow.causes import Cause
from app.shadow.lives import Signal, Span
from app.shadow.recorded import Recorded, RecordedFill, spans_of

#: So long signals at which nothing was wanted are kept at least; `bots.retention` lets go of them a day later.
SIGNALS_KEPT: Final = timedelta(days=13)
#: What a safeguard sells is sold within so many candles.
_SOLD_WITHIN: Final = 10
_BOT: Final = """
SELECT b.*, v.source, v.number AS version, k.exchange AS broker_exchange, k.removed_at AS broker_removed_at
  FROM bots b JOIN strategy_versions v ON v.id = b.version_id JOIN brokers k ON k.id = b.broker_id
 WHERE b.id = $1 AND b.user_id = $2
"""
_FILLS: Final = """
SELECT f.position_id, f.order_id, o.key, o.role, o.type, f.side, f.quantity, f.price, f.fee, f.fee_asset, f.fee_value, f.executed_at,
       o.price AS limit_price, o.trigger_price, p.base, p.status = 'closed' AS is_closed
  FROM positions p JOIN fills f ON f.position_id = p.id JOIN orders o ON o.id = f.order_id
 WHERE p.user_id = $1 AND p.bot_id = $2 AND f.executed_at < $3 ORDER BY f.executed_at, f.trade_id
"""
_SIGNALS: Final = """
SELECT id, open_time, decided_at, decision <> '{}' AS is_asked, action, state, reason, price, code, order_ids FROM bot_signals
 WHERE user_id = $1 AND bot_id = $2 AND open_time < $3 ORDER BY open_time
"""
_EVENTS: Final = """
SELECT at, kind, message, values FROM bot_events
 WHERE user_id = $1 AND bot_id = $2 AND kind IN ('started', 'suspended', 'stopped', 'tripped', 'faulted') ORDER BY id
"""
_TRIPS: Final = """
SELECT at, values FROM bot_trips WHERE user_id = $1 AND (bot_id = $2 OR bot_id IS NULL) AND action = 'flatten' AND at >= $3 ORDER BY at
"""
_REVISED: Final = """
SELECT open_time, max(found_at) AS found_at FROM candle_differences
 WHERE exchange = $1 AND symbol = $2 AND timeframe = $3 AND open_time >= $4 AND open_time < $5 AND was <> became GROUP BY open_time
"""
#: When what the shadow is simulated with was last changed on the way.
_CHANGED: Final = """
SELECT max(at) FROM audit_log
 WHERE user_id = $1 AND object = $2 AND action = 'bot_changed' AND at > $3 AND detail -> 'after' ? 'safeguards'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A bot and the range of its life: `first` is the first candle that it could decide at, `end` the close of the last one."""

    row: Mapping[str, Any]
    timeframe: Timeframe
    first: datetime
    end: datetime

    @property
    def is_over(self) -> bool:
        """Whether it has stopped."""
        return self.row["stopped_at"] is not None


def life_of(row: Mapping[str, Any], now: datetime) -> Life | None:
    """Return the range of a bot's life until now; None where no candle of it has closed yet.

    It decides at the candle that is open when it is started; `start_at` names the first one that opens after it. Of a stopped one the
    candle in which it was stopped is the last: what was decided before is filled in it.
    """
    started, stopped, timeframe = row["started_at"], row["stopped_at"], Timeframe(row["timeframe"])
    if started is None:
        return None
    first = timeframe.floor(started)
    if row["start_at"] is not None and row["start_at"] > first:
        first = timeframe.floor(row["start_at"])
        first += timeframe.duration if first < row["start_at"] else timedelta(0)
    end = timeframe.floor(now)
    if stopped is not None:
        end = min(end, timeframe.floor(stopped) + timeframe.duration)
    return Life(row=row, timeframe=timeframe, first=first, end=end) if first + timeframe.duration < end else None


async def read_bot(connection: Any, user_id: UUID, bot_id: UUID) -> Mapping[str, Any] | None:
    """Return a bot's row with the source and the number of its version; None where there is no such bot of this user."""
    found: Mapping[str, Any] | None = await connection.fetchrow(_BOT, bot_id, user_id)
    return found


async def read_life(connection: Any, life: Life, now: datetime) -> Recorded:
    """Return what a bot did until the end of the last candle, as of one moment."""
    row, first, end = life.row, life.first, life.end
    user_id, bot_id = row["user_id"], row["id"]
    fills = await connection.fetch(_FILLS, user_id, bot_id, end)
    signals = await connection.fetch(_SIGNALS, user_id, bot_id, end)
    events = await connection.fetch(_EVENTS, user_id, bot_id)
    trips = await connection.fetch(_TRIPS, user_id, bot_id, first)
    before = first - 500 * life.timeframe.duration
    revised = await connection.fetch(_REVISED, row["exchange"], row["symbol"], row["timeframe"], before, end)
    changed = await connection.fetchval(_CHANGED, user_id, f"bot:{bot_id}", row["started_at"])
    end_ms = to_milliseconds(end)
    told = [(to_milliseconds(one["at"]), one["kind"], one["message"], one["values"]) for one in events]
    return Recorded(
        capital=row["capital"],
        fills=tuple(_fill(one) for one in fills),
        signals={to_milliseconds(one["open_time"]): _signal(one) for one in signals},
        spans=spans_of(told, end_ms),
        trips=tuple(_trip(one, life.timeframe) for one in trips),
        revised={to_milliseconds(one["open_time"]): to_milliseconds(one["found_at"]) for one in revised},
        changed_at=None if changed is None else to_milliseconds(changed),
        first=to_milliseconds(first),
        end=end_ms,
        known_since=to_milliseconds(now - SIGNALS_KEPT),
        is_asking=row["mode"] == "ask",
    )


def _fill(row: Any) -> RecordedFill:
    is_coins = row["fee_asset"] == row["base"]
    level = row["limit_price"] if row["type"] in ("limit", "take_profit") and row["limit_price"] is not None else row["trigger_price"]
    return RecordedFill(
        position=str(row["position_id"]),
        order=str(row["order_id"]),
        key=row["key"],
        role=row["role"],
        is_buy=row["side"] == "buy",
        quantity=row["quantity"],
        price=row["price"],
        fee=row["fee_value"] or Decimal(0),
        coins=row["fee"] if is_coins else Decimal(0),
        level=level,
        at=to_milliseconds(row["executed_at"]),
        is_closed=row["is_closed"],
    )


def _signal(row: Any) -> Signal:
    reason = row["reason"] or {}
    return Signal(
        id=str(row["id"]),
        action=row["action"],
        state=row["state"],
        code=row["code"],
        message=reason.get("message", ""),
        values=reason.get("values", {}),
        price=row["price"],
        decided_at=to_milliseconds(row["decided_at"]),
        is_asked=row["is_asked"],
        order_ids=tuple(map(str, row["order_ids"])),
    )


def _trip(row: Any, timeframe: Timeframe) -> Span:
    at, told = to_milliseconds(row["at"]), row["values"]
    return Span(
        start=at, end=at + _SOLD_WITHIN * timeframe.milliseconds, cause=Cause.SAFEGUARD,
        message=str(told.get("message", "")), values=told.get("values", {}),
    )  # fmt: skip
