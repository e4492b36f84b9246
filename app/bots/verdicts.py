"""What came of asking a bot at one candle, and how that is written down: many bots in one statement, under the engine's role."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
import orjson

from app.bots.events import BotSignalled
from app.bots.log import Line, Said
from app.bots.meaning import Meaning
from app.bots.models import EventLevel, SignalAction, SignalState
from app.bots.roster import LiveBot
from app.bots.standing import Standing
from app.core.crash_points import reach
from app.core.ids import new_id
from app.core.leases import HOLD
from app.domain.candles import Candle
from app.sandbox.messages import Decision
from app.trading.desk import Desk

#: A signal is written once, by whoever holds the role; what is not returned was written before, and nothing is done about it again.
_INSERT: Final = f"""
WITH held AS ({HOLD.format(role="$11", owner="$12", epoch="$13")})
INSERT INTO bot_signals (id, bot_id, user_id, open_time, decided_at, decision, action, state, reason, price, code, latency_ms)
SELECT n.id, n.bot_id, n.user_id, n.open_time, $14, n.decision::jsonb, n.action, n.state, n.reason::jsonb, n.price, n.code, n.latency::jsonb
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::numeric[],
              $10::text[], $15::text[])
       AS n (id, bot_id, user_id, open_time, decision, action, state, reason, price, code, latency), held
 WHERE EXISTS (SELECT 1 FROM bots WHERE bots.id = n.bot_id)
ON CONFLICT (bot_id, open_time) DO NOTHING RETURNING id
"""  # noqa: S608  # constants
_UPDATE: Final = """
UPDATE bot_signals s
   SET state = n.state, reason = n.reason::jsonb, code = n.code, latency_ms = s.latency_ms || n.latency::jsonb,
       order_ids = CASE WHEN n.order_id IS NULL OR n.order_id = ANY (s.order_ids) THEN s.order_ids ELSE s.order_ids || n.order_id END
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[])
       AS n (id, state, reason, code, order_id, latency)
 WHERE s.id = n.id AND s.state IN ('decided', 'waiting', 'submitted')
"""
_EQUITY: Final = """
INSERT INTO bot_equity (bot_id, user_id, at, equity, position_quantity, price)
SELECT n.* FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::numeric[], $5::numeric[], $6::numeric[])
       AS n (bot_id, user_id, at, equity, position_quantity, price)
 WHERE EXISTS (SELECT 1 FROM bots WHERE bots.id = n.bot_id)
ON CONFLICT (bot_id, at) DO NOTHING
"""
_BOTS: Final = """
UPDATE bots b
   SET last_candle_at = greatest(b.last_candle_at, n.open_time), peak_equity = greatest(b.peak_equity, n.equity),
       last_signal_at = CASE WHEN n.is_wanted THEN greatest(b.last_signal_at, n.open_time) ELSE b.last_signal_at END
  FROM unnest($1::uuid[], $2::timestamptz[], $3::numeric[], $4::boolean[]) AS n (bot_id, open_time, equity, is_wanted)
 WHERE b.id = n.bot_id
"""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What came of one bot at one candle. `latency_ms` is counted from the candle's close, by the venue's clock."""

    bot: LiveBot
    candle: Candle
    state: SignalState
    told: Said
    action: SignalAction = SignalAction.NONE
    code: str | None = None
    decision: Decision | None = None
    meaning: Meaning | None = None
    standing: Standing | None = None
    order_id: UUID | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    id: UUID = field(default_factory=new_id)

    @property
    def closed_at(self) -> datetime:
        """When the candle closed."""
        return self.candle.open_time + self.bot.period

    @property
    def price(self) -> Decimal:
        """What the market would have taken, else the close."""
        known = None if self.standing is None else self.standing.price
        return known or Decimal(repr(self.candle.close))

    def event(self) -> BotSignalled:
        """Return the event that tells of it."""
        return BotSignalled(
            user_id=self.bot.user_id,
            bot_id=self.bot.id,
            signal_id=self.id,
            open_time=self.candle.open_time,
            action=self.action.value,
            state=self.state.value,
        )

    def lines(self) -> list[Line]:
        """Return what of it the log is told: what was wanted, what was refused, and what the strategy printed."""
        found = []
        if self.action is not SignalAction.NONE or self.code is not None:
            level = EventLevel.WARNING if self.state in _REFUSED else EventLevel.INFO
            found.append(self._line(_KINDS[self.action], self.told, level))
        return found

    def _line(self, kind: str, told: Said, level: EventLevel) -> Line:
        return Line(bot_id=self.bot.id, user_id=self.bot.user_id, kind=kind, told=told, level=level)


_REFUSED: Final = (SignalState.DENIED, SignalState.SKIPPED, SignalState.EXPIRED)
_KINDS: Final = {
    SignalAction.NONE: "no_action",
    SignalAction.LONG: "entry",
    SignalAction.SHORT: "short",
    SignalAction.EXIT: "exit",
    SignalAction.ADJUST: "adjust",
    SignalAction.LEVELS: "levels",
}


async def write_verdicts(desk: Desk, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Write signals before anything of them is done; return those that were new, which alone may be acted upon.

    Raises:
        Fenced: this process does not own the engine role.
    """
    if not verdicts:
        return []
    lease, rows = desk.lease, [_row(one) for one in verdicts]
    columns = [list(column) for column in zip(*rows, strict=True)]
    values = (*columns[:10], lease.role, lease.owner, lease.epoch, desk.clock.now(), columns[10])
    reach("B0")
    async with desk.database.connection() as connection:
        new = {row["id"] for row in await connection.fetch(_INSERT, *values)}
    return [one for one in verdicts if one.id in new]


def _row(one: Verdict) -> tuple[Any, ...]:
    return (
        one.id,
        one.bot.id,
        one.bot.user_id,
        one.candle.open_time,
        _json(stored_decision(one.decision)),
        one.action.value,
        one.state.value,
        _json(one.told.stored()),
        one.price,
        one.code,
        _json(one.latency_ms),
    )


def stored_decision(decision: Decision | None) -> dict[str, Any]:
    """Return a decision as rows keep it: what it does not say is left out."""
    if decision is None:
        return {}
    found = msgspec.to_builtins(decision)
    return {name: value for name, value in found.items() if name != "type" and value is not None and value != ""}


def decision_of(stored: dict[str, Any]) -> Decision:
    """Return a decision as it was stored."""
    return msgspec.convert({"type": "decision", **stored}, Decision)


async def update_verdicts(desk: Desk, verdicts: Sequence[Verdict]) -> None:
    """Write down what became of signals."""
    if not verdicts:
        return
    rows = [(one.id, one.state.value, _json(one.told.stored()), one.code, one.order_id, _json(one.latency_ms)) for one in verdicts]
    async with desk.database.connection() as connection:
        await connection.execute(_UPDATE, *(list(column) for column in zip(*rows, strict=True)))


async def write_equity(desk: Desk, verdicts: Sequence[Verdict]) -> None:
    """Write what bots were worth at the close, and how far they have come."""
    marked = [(one, one.standing) for one in verdicts if one.standing is not None]
    rows = []
    for one, standing in marked:
        close = Decimal(repr(one.candle.close))
        rows.append((one.bot.id, one.bot.user_id, one.closed_at, standing.equity(close), standing.ledger.quantity, close))
    known = {row[0]: row[3] for row in rows}
    bots = [
        (one.bot.id, one.candle.open_time, known.get(one.bot.id), one.action is not SignalAction.NONE) for one in _last_of_each(verdicts)
    ]
    async with desk.database.connection() as connection:
        if rows:
            await connection.execute(_EQUITY, *(list(column) for column in zip(*rows, strict=True)))
        if bots:
            await connection.execute(_BOTS, *(list(column) for column in zip(*bots, strict=True)))


def _last_of_each(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return list({one.bot.id: one for one in sorted(verdicts, key=lambda one: one.candle.open_time)}.values())


def _json(document: object) -> str:
    return orjson.dumps(document).decode()
