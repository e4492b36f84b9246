"""What the engine sees to between candles: ends that have come, sales that were asked for, words that nobody gave, what a crash left."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog

from app.bots import words
from app.bots.acting import Actor
from app.bots.apart import Apart, alone
from app.bots.events import BotAsked, BotChanged, BotSignalled
from app.bots.guarding import guarded
from app.bots.lifecycle import stop_in, suspend
from app.bots.log import Line, Said, said, write_lines
from app.bots.meaning import meaning_of
from app.bots.models import AtEnd, BotState, EventLevel, SignalState
from app.bots.roster import LiveBot
from app.bots.safeguards import look
from app.bots.service import get_bot
from app.bots.standing import Standings
from app.bots.verdicts import Verdict, decision_of, update_verdicts
from app.core.i18n import N_
from app.core.ids import client_order_id
from app.domain.candles import Candle, Timeframe, from_milliseconds
from app.domain.enums import OrderState, Role, Side
from app.domain.instruments import plain
from app.errors import BotNotFound, BotStateWrong
from app.notifications import Notice, NoticeKind, Severity, put
from app.trading.desk import Desk
from app.trading.events import BotShort

log = structlog.get_logger(__name__)

#: Signals that wait or were decided, of whichever bot; `period` is the length of their candles.
_OPEN: Final = """
SELECT s.*, b.timeframe FROM bot_signals s JOIN bots b ON b.id = s.bot_id
 WHERE s.state IN ('waiting', 'decided') ORDER BY s.open_time
"""
_EXPIRE: Final = """
UPDATE bot_signals SET state = 'expired', reason = $2 WHERE id = $1 AND state IN ('waiting', 'decided')
RETURNING user_id, bot_id, open_time, action
"""
#: What became of the orders of a signal `w`. `short_since`: when the first was made that did not trade all that it was to, though nobody
#: canceled it.
_ORDERS: Final = """
  CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state IN ('intent', 'submitting', 'unknown', 'open', 'partial')) AS live,
           max(coalesce(code, 'ORDER_' || upper(state))) FILTER (WHERE state IN ('denied', 'rejected', 'lost')) AS refused,
           max(detail) FILTER (WHERE state IN ('denied', 'rejected', 'lost', 'expired')) AS detail,
           bool_or(state = 'lost') AS is_lost,
           min(created_at) FILTER (WHERE state IN ('denied', 'rejected', 'lost', 'expired') AND filled_quantity < quantity
                                     AND cancel_requested_at IS NULL) AS short_since
      FROM orders WHERE id = ANY (w.order_ids)) o
"""
#: Signals to leave whose orders are all over and have not sold everything.
_UNSOLD: Final = f"""
SELECT w.id, w.user_id, w.bot_id, o.refused, o.detail, o.short_since FROM bot_signals w {_ORDERS}
 WHERE w.state = 'submitted' AND w.action = 'exit' AND o.live = 0 AND o.short_since IS NOT NULL
"""  # noqa: S608  # a constant
#: Signals whose orders are all over. What an order that was refused, or never arrived, says is what the signal says.
_SETTLE: Final = f"""
UPDATE bot_signals s SET state = CASE WHEN o.refused IS NULL THEN 'done' ELSE 'denied' END, code = coalesce(o.refused, s.code),
       reason = CASE WHEN o.refused IS NULL THEN s.reason
                     WHEN o.is_lost THEN jsonb_build_object('message', $2::text, 'values', '{{}}'::jsonb)
                     ELSE jsonb_build_object('message', $1::text, 'values', jsonb_build_object('why', coalesce(o.detail, o.refused))) END
  FROM bot_signals w {_ORDERS}
 WHERE w.id = s.id AND w.state = 'submitted' AND s.state = 'submitted' AND o.live = 0
   AND (w.action <> 'exit' OR o.short_since IS NULL OR w.id = ANY ($3::uuid[]))
RETURNING s.id, s.user_id, s.bot_id, s.open_time, s.action, s.state
"""  # noqa: S608  # a constant
_SOLD: Final = """
UPDATE bots SET sell_asked_at = NULL, revision = revision + 1
 WHERE id = $1 AND sell_asked_at = $2
   AND ($3::boolean OR NOT EXISTS (SELECT 1 FROM positions WHERE bot_id = $1 AND status <> 'closed'))
   AND NOT EXISTS (SELECT 1 FROM orders WHERE bot_id = $1 AND state IN ('intent', 'submitting', 'unknown', 'open', 'partial')
                      AND role NOT IN ('stop', 'target'))
RETURNING id
"""
_ORDER: Final = "SELECT * FROM orders WHERE broker_id = $1 AND client_order_id = $2"
_RESTING: Final = """
SELECT o.id, o.user_id, o.bot_id, o.key, b.state AS bot_state, b.timeframe FROM orders o JOIN bots b ON b.id = o.bot_id
 WHERE o.role = 'entry' AND o.type = 'limit' AND o.state IN ('intent', 'submitting', 'unknown', 'open', 'partial')
   AND o.cancel_requested_at IS NULL
"""
_TRADED: Final = """
SELECT o.id, o.user_id, o.bot_id, o.symbol, o.side, o.role, o.filled_quantity, o.average_price, b.name, b.number
  FROM orders o JOIN bots b ON b.id = o.bot_id WHERE o.id = ANY ($1::uuid[]) AND o.filled_quantity > 0 ORDER BY o.updated_at
"""
_IS_DECIDED: Final = "SELECT state = 'decided' FROM bot_signals WHERE id = $1"
_STOPPED: Final = N_("%(name)s has stopped")
_SUSPENDED: Final = N_("%(name)s is suspended")
_HAS_BOUGHT: Final = N_("%(name)s has bought")
_HAS_SOLD: Final = N_("%(name)s has sold")


class Upkeep:
    """Sees to bots between candles.

    Args:
        desk: What trading works with.
        actor: Carries things out.
        standings: Reads how bots stand.
    """

    def __init__(self, desk: Desk, actor: Actor, standings: Standings) -> None:
        self._desk = desk
        self._actor = actor
        self._standings = standings
        self._apart = Apart()
        #: Why what a bot holds could not be sold, as it was last told.
        self._unsold: dict[UUID, Said] = {}

    async def ends(self, bots: Sequence[LiveBot], now: datetime) -> None:
        """Stop bots whose end has come."""
        for bot in bots:
            if bot.end_at is not None and bot.end_at <= now and bot.state.is_live:
                await alone("end", self._end(bot, now))

    async def tend(
        self, bots: dict[UUID, LiveBot], venue_now: Callable[[], datetime], *, held: Callable[[UUID], AbstractContextManager[bool]]
    ) -> None:
        """Do all that asks an exchange something. Arguments as `finish`."""
        await asyncio.gather(self.take_back(venue_now()), self.sales(list(bots.values())), self.finish(bots, venue_now, held=held))

    async def _end(self, bot: LiveBot, now: datetime) -> None:
        async with self._desk.database.transaction() as session:
            row = await get_bot(session, bot.user_id, bot.id, is_locked=True)
            if not BotState(row.state).is_live or row.end_at is None or row.end_at > now:
                return
            await stop_in(session, row, at=now, told=said(words.STOPPED_AT_END), is_sold=row.at_end == AtEnd.SELL)
        await self._notify(bot, NoticeKind.BOT_STOPPED, _STOPPED, words.STOPPED_AT_END, key=f"end:{bot.id}")
        self._desk.bus.publish(BotAsked(bot_id=bot.id))
        self._desk.bus.publish(BotChanged(user_id=bot.user_id, bot_id=bot.id))

    async def _notify(self, bot: LiveBot, kind: NoticeKind, title: str, text: str, *, key: str) -> None:
        notice = Notice(
            kind=kind, severity=Severity.WARNING, title=title, text=text, values={"name": bot.name}, url=f"/bots/{bot.number}", key=key,
            at=self._desk.clock.now(),
        )  # fmt: skip
        async with self._desk.database.connection() as connection:
            await put(connection, notice, user_id=bot.user_id)

    async def sales(self, bots: Sequence[LiveBot]) -> None:
        """Sell what was asked to be sold, and forget the wish once nothing is left."""
        await self._apart.each("sale", {bot.id: partial(self._sale, bot) for bot in bots if bot.sell_asked_at is not None})

    async def _sale(self, bot: LiveBot) -> None:
        standing = (await self._standings.read([bot])).get(bot.id)
        if standing is not None and standing.resting:
            await self._actor.take_back(bot.user_id, bot.id, [order.id for order in standing.resting])
        # Nobody takes a crumb: the wish is over with all that could be sold.
        is_crumb = standing is not None and standing.is_crumb
        problem = None if is_crumb else await self._actor.sell(bot)
        async with self._desk.database.connection() as connection:
            is_done = await connection.fetchval(_SOLD, bot.id, bot.sell_asked_at, is_crumb) is not None
        if is_done:
            self._unsold.pop(bot.id, None)
            await self._actor.log_line(bot, "sold", said(words.CRUMB_LEFT if is_crumb else words.NOTHING_LEFT))
            self._desk.bus.publish(BotAsked(bot_id=bot.id))
            self._desk.bus.publish(BotChanged(user_id=bot.user_id, bot_id=bot.id))
        elif problem is not None and self._unsold.get(bot.id) != problem:
            self._unsold[bot.id] = problem
            await self._actor.log_line(bot, "not_sold", problem, level=EventLevel.ERROR)

    async def take_back(self, venue_now: datetime) -> None:
        """Take back what rests beyond its candle, as after a restart, and all that rests of bots that are to enter nothing."""
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_RESTING)
        over = [
            row
            for row in rows
            if row["bot_state"] != BotState.RUNNING or _rests_until(row["key"], Timeframe(row["timeframe"])) <= venue_now
        ]
        works = {row["id"]: partial(self._actor.take_back, row["user_id"], row["bot_id"], [row["id"]]) for row in over}
        await self._apart.each("take_back", works)

    async def short(self, event: BotShort) -> None:
        """Suspend bots whose account holds less than they believe to have: somebody sold their coins."""
        told = said(words.SHORTFALL, asset=event.base, there=plain(event.there), wanted=plain(event.wanted))
        for bot_id in event.bot_ids:
            try:
                bot = await suspend(self._desk, event.user_id, bot_id, by="Aristobot", reason=told)
            except (BotNotFound, BotStateWrong):
                continue
            notice = Notice(
                kind=NoticeKind.BOT_SUSPENDED, severity=Severity.ERROR, title=_SUSPENDED, text=told.message,
                values={**told.values, "name": bot.name}, url=f"/bots/{bot.number}", key=f"short:{bot_id}:{bot.revision}",
                at=self._desk.clock.now(),
            )  # fmt: skip
            async with self._desk.database.connection() as connection:
                await put(connection, notice, user_id=event.user_id)

    async def tell_orders(self, order_ids: Collection[UUID]) -> None:
        """Tell logs and owners of orders of bots that are over and have traded."""
        if not order_ids:
            return
        now = self._desk.clock.now()
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_TRADED, list(order_ids))
            lines = [Line(bot_id=row["bot_id"], user_id=row["user_id"], kind=_kind(row), told=_traded(row)) for row in rows]
            await write_lines(connection, lines, at=now)
            for row, line in zip(rows, lines, strict=True):
                await put(connection, _notice_of(row, line.told, at=now), user_id=row["user_id"])
        for line in lines:
            self._desk.bus.publish(line.event())
            self._desk.bus.publish(BotChanged(user_id=line.user_id, bot_id=line.bot_id))

    async def settle(self) -> None:
        """Let signals say that their orders are over; of an exit that has not sold everything, once the wish to sell is written down."""
        async with self._desk.database.connection() as connection:
            unsold = await connection.fetch(_UNSOLD)
        for row in unsold:
            await self._sell_again(row)
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_SETTLE, words.REFUSED, words.NEVER_ARRIVED, [row["id"] for row in unsold])
        for row in rows:
            self._tell(row, row["state"], row["id"])

    async def _sell_again(self, row: Any) -> None:
        why = row["detail"] or row["refused"] or OrderState.EXPIRED.value
        told = await self._actor.keep_selling(row["user_id"], row["bot_id"], code=row["refused"], why=why, exit_at=row["short_since"])
        if told is not None:
            line = Line(bot_id=row["bot_id"], user_id=row["user_id"], kind="not_sold", told=told, level=EventLevel.WARNING)
            async with self._desk.database.connection() as connection:
                await write_lines(connection, [line], at=self._desk.clock.now())
            self._desk.bus.publish(line.event())

    async def finish(
        self, bots: dict[UUID, LiveBot], venue_now: Callable[[], datetime], *, held: Callable[[UUID], AbstractContextManager[bool]]
    ) -> None:
        """Bring to an end what was approved, or decided by a process that died, while its next candle is open; let the rest expire.

        Args:
            bots: Those that are here, by id.
            venue_now: Tells the venue's time.
            held: Keeps rounds from a bot; says whether that can be had now.
        """
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_OPEN)
        works = {
            row["id"]: partial(self._bring_to_an_end, bots[row["bot_id"]], row, venue_now, held) for row in rows if row["bot_id"] in bots
        }
        await self._apart.each("finish", works)

    async def _bring_to_an_end(
        self, bot: LiveBot, row: Any, venue_now: Callable[[], datetime], held: Callable[[UUID], AbstractContextManager[bool]]
    ) -> None:
        with held(bot.id) as is_ours:
            if not is_ours or (row["state"] == "decided" and await self._was_handed_over(bot, row)):
                return
            if venue_now() >= row["open_time"] + 2 * bot.period:
                word = words.UNANSWERED if row["state"] == "waiting" else words.AWAY_TOO_LONG
                await self._expire(row, word)
            elif row["state"] == "decided":
                await self._finish(bot, row)

    async def _expire(self, row: Any, word: str) -> None:
        async with self._desk.database.connection() as connection:
            found = await connection.fetchrow(_EXPIRE, row["id"], said(word).stored())
        if found is not None:
            self._tell(found, SignalState.EXPIRED.value, row["id"])

    async def _was_handed_over(self, bot: LiveBot, row: Any) -> bool:
        """Whether nothing is left to be decided: its order is there, or a round has just brought it to its end.

        The order was handed over before the process died. Whatever has become of it since, `settle` looks at it as at any other.
        """
        known = client_order_id(bot.broker_id, bot.key(_open_ms(row)), leg=0, attempt=0)
        async with self._desk.database.connection() as connection:
            if not await connection.fetchval(_IS_DECIDED, row["id"]):
                return True
            earlier = await connection.fetchrow(_ORDER, bot.broker_id, known)
        if earlier is None:
            return False
        verdict = _verdict_of(bot, row)
        verdict.order_id, verdict.state = earlier["id"], SignalState.SUBMITTED
        await self._write(verdict, row)
        return True

    async def _finish(self, bot: LiveBot, row: Any) -> None:
        verdict = _verdict_of(bot, row)
        standing = (await self._standings.read([bot])).get(bot.id)
        if standing is None or verdict.decision is None:
            return
        verdict.standing = standing
        verdict.meaning = meaning_of(verdict.decision, standing, open_ms=_open_ms(row), close=row["price"], best=None)
        verdict.action = verdict.meaning.action
        seen = (await look(self._desk, {bot.id: bot.user_id}, now=verdict.closed_at, let_in=self._actor.let_in))[bot.id]
        verdict.meaning = guarded(verdict.meaning, seen, standing, close=row["price"])
        if verdict.meaning.needs_word and bot.state is not BotState.RUNNING:
            await self._expire(row, words.SUSPENDED_MEANWHILE)
            return
        await self._actor.carry_out(verdict)
        if verdict.meaning.intent is None and verdict.meaning.code is not None:
            verdict.state, verdict.told, verdict.code = SignalState.DENIED, verdict.meaning.told, verdict.meaning.code
        await self._write(verdict, row)

    async def _write(self, verdict: Verdict, row: Any) -> None:
        await update_verdicts(self._desk, [verdict])
        self._tell(row, verdict.state.value, row["id"])

    def _tell(self, row: Any, state: str, signal_id: UUID) -> None:
        event = BotSignalled(
            user_id=row["user_id"], bot_id=row["bot_id"], signal_id=signal_id, open_time=row["open_time"], action=row["action"], state=state
        )
        self._desk.bus.publish(event)
        self._desk.bus.publish(BotChanged(user_id=row["user_id"], bot_id=row["bot_id"]))


def _rests_until(key: str, timeframe: Timeframe) -> datetime:
    """Return until when an entry may rest: the close of the candle after the one that names it."""
    opened = key.split(":")[2]
    return from_milliseconds(int(opened)) + 2 * timeframe.duration if opened.isdecimal() else from_milliseconds(0)


def _kind(row: Any) -> str:
    return "bought" if row["side"] == Side.BUY else "sold"


def _traded(row: Any) -> Said:
    sold = {Role.STOP: words.SOLD_BY_STOP, Role.TARGET: words.SOLD_BY_TARGET, Role.FLATTEN: words.SOLD_BY_KILL_SWITCH}
    message = words.BOUGHT if row["side"] == Side.BUY else sold.get(Role(row["role"]), words.SOLD)
    base, _, quote = row["symbol"].partition("/")
    price = "?" if row["average_price"] is None else plain(row["average_price"].normalize())
    return said(message, quantity=plain(row["filled_quantity"]), base=base, price=price, quote=quote)


def _notice_of(row: Any, told: Said, *, at: datetime) -> Notice:
    is_entry = row["side"] == Side.BUY
    return Notice(
        kind=NoticeKind.BOT_ENTERED if is_entry else NoticeKind.BOT_EXITED,
        severity=Severity.INFO,
        title=_HAS_BOUGHT if is_entry else _HAS_SOLD,
        text=told.message,
        values={**told.values, "name": row["name"]},
        url=f"/bots/{row['number']}",
        key=f"order:{row['id']}",
        at=at,
    )


def _verdict_of(bot: LiveBot, row: Any) -> Verdict:
    told = said(row["reason"]["message"], **row["reason"]["values"])
    return Verdict(
        id=row["id"], bot=bot, candle=_candle_of(row), state=SignalState.DECIDED, told=told, code=row["code"],
        decision=decision_of(row["decision"]),
    )  # fmt: skip


def _open_ms(row: Any) -> int:
    return int(row["open_time"].timestamp() * 1000)


def _candle_of(row: Any) -> Candle:
    price = float(row["price"] or 0)
    return Candle(open_time=row["open_time"], open=price, high=price, low=price, close=price, volume=0.0)
