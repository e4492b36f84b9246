"""A round: bots whose candle has closed are read together, asked side by side, written down together, and only then acted upon."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog

from app.bots import words
from app.bots.acting import Actor
from app.bots.apart import all_of, alone, as_they_come
from app.bots.cell import Cell, Fault, FaultError, NotYetError
from app.bots.events import BotChanged
from app.bots.fills import fills_of_many
from app.bots.guarding import guarded
from app.bots.log import Line, Said, said, write_lines
from app.bots.meaning import meaning_of
from app.bots.metrics import Figures
from app.bots.models import BotMode, BotState, SignalState
from app.bots.roster import LiveBot
from app.bots.safeguards import Look, look
from app.bots.standing import Standing, Standings
from app.bots.verdicts import Verdict, update_verdicts, write_equity, write_verdicts
from app.core.i18n import N_
from app.domain.candles import Candle, to_milliseconds
from app.domain.enums import Role, Side
from app.errors import Fenced
from app.sandbox.messages import Decision, Holding, LiveFill
from app.trading.bot_ledger import BotFill
from app.trading.desk import Desk

log = structlog.get_logger(__name__)

#: Strategies that are asked at a time: more would only wait for processors, and their own clocks run while they do.
_ASKED_AT_ONCE: Final = 24
#: Orders that are on their way at a time.
_SENT_AT_ONCE: Final = 32
#: Who has not been asked so long after its candle was heard of is not asked about it any more, seconds.
_OVERALL_S: Final = 10.0
#: Longest of what strategies print that the log keeps.
_LONGEST_OUTPUT: Final = 500

_UNANSWERED: Final = """
UPDATE bot_signals s SET state = 'expired', reason = $3
  FROM unnest($1::uuid[], $2::timestamptz[]) AS n (bot_id, open_time)
 WHERE s.bot_id = n.bot_id AND s.open_time < n.open_time AND s.state = 'waiting'
"""

_OURS: Final = N_("an error of this server")

OnFault = Callable[[LiveBot, Fault], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Due:
    """A bot that is to be asked at a candle. `is_loaded`: the strategy was loaded with it. `heard` is by the monotonic clock."""

    cell: Cell
    candle: Candle
    is_loaded: bool = False
    heard: float = field(default_factory=time.monotonic)

    @property
    def closed_at(self) -> datetime:
        """When the candle closed."""
        return self.candle.open_time + self.cell.bot.period


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What the market's feed is like: whether it may be acted upon, and the venue's time."""

    is_fresh: bool
    venue_now: datetime


class Rounds:
    """Runs rounds.

    Args:
        desk: What trading works with.
        standings: Reads how bots stand.
        actor: Carries decisions out.
        figures: Counts.
        feed: Tells how the feed is.
        on_fault: Told of a strategy that failed.
    """

    def __init__(
        self, desk: Desk, standings: Standings, actor: Actor, figures: Figures, *, feed: Callable[[], Feed], on_fault: OnFault
    ) -> None:
        self._desk = desk
        self._standings = standings
        self._actor = actor
        self._figures = figures
        self._feed = feed
        self._on_fault = on_fault
        self._asking = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._sending = asyncio.Semaphore(_SENT_AT_ONCE)
        #: Since when fills of a bot are to be told to its strategy; a bot that is not here has none.
        self.untold: dict[UUID, datetime] = {}

    async def run(self, dues: Sequence[Due]) -> None:
        """Ask these bots, each of which is here once, and act upon what they say; nothing is sent that is not written down.

        What fails is missed, or looked at again where it was written down, and says nothing of the others.
        """
        await self._unanswered(dues)
        standings = await self._standings.read([due.cell.bot for due in dues])
        # Nobody waits for the exchange that is to take back what another bot has resting.
        parts: dict[UUID | None, list[Due]] = {}
        for due in dues:
            standing = standings.get(due.cell.bot.id)
            parts.setdefault(due.cell.bot.broker_id if standing is not None and standing.resting else None, []).append(due)
        await asyncio.gather(*(alone("part", self._part(part, standings)) for part in parts.values()))

    async def _part(self, dues: Sequence[Due], known: dict[UUID, Standing]) -> None:
        bots = [due.cell.bot for due in dues]
        standings = await self._settled({bot.id: known[bot.id] for bot in bots if bot.id in known})
        fills, looks = await self._fills(bots), await self._looks(dues)
        feed = self._feed()
        async with asyncio.TaskGroup() as group:
            asked = {
                group.create_task(self._answer(due, standings.get(due.cell.bot.id), fills, feed, looks[due.cell.bot.id])) for due in dues
            }
            async for told in as_they_come(asked):
                group.create_task(alone("conclude", self._conclude(told)))

    async def _conclude(self, verdicts: Sequence[tuple[Verdict, Fault | None] | None]) -> None:
        """Write down what was answered, and act upon it."""
        told = [one for one in verdicts if one is not None]
        new = await write_verdicts(self._desk, [one for one, _ in told])
        faults = {one.id: fault for one, fault in told if fault is not None}
        acting = [one for one in new if one.state is SignalState.DECIDED]
        waiting = [one for one in new if one.state is SignalState.WAITING]
        kept = [one for one in new if one.state in (SignalState.WAITING, SignalState.SKIPPED) and one.meaning and one.meaning.levels]
        await all_of(*(self._act(one) for one in acting), *(alone("levels", self._move(one)) for one in kept))
        await update_verdicts(self._desk, acting)
        await self._actor.ask_owners(waiting)
        await self._tell(new)
        for one in new:
            if one.id in faults:
                await self._on_fault(one.bot, faults[one.id])

    async def _unanswered(self, dues: Sequence[Due]) -> None:
        """The next candle has closed: what waited for its owner's word waits no longer."""
        asking = [(due.cell.bot.id, due.candle.open_time) for due in dues if due.cell.bot.mode is BotMode.ASK]
        if asking:
            ids, moments = [list(column) for column in zip(*asking, strict=True)]
            async with self._desk.database.connection() as connection:
                await connection.execute(_UNANSWERED, ids, moments, said(words.UNANSWERED).stored())

    async def _settled(self, standings: dict[UUID, Standing]) -> dict[UUID, Standing]:
        """Take back the entries that have rested until this close; what they bought by then is held."""
        resting = [one for one in standings.values() if one.resting]
        if not resting:
            return standings
        await asyncio.gather(*(self._actor.take_back(one.bot.user_id, one.bot.id, [order.id for order in one.resting]) for one in resting))
        return standings | await self._standings.read([one.bot for one in resting])

    async def _looks(self, dues: Sequence[Due]) -> dict[UUID, Look]:
        """Let the safeguards look at these bots at the closes of their candles; what trips is written down before anybody is asked."""
        closes = {(due.cell.bot.exchange, due.cell.bot.market.symbol): Decimal(repr(due.candle.close)) for due in dues}

        def price(exchange: str, symbol: str) -> Decimal | None:
            return closes.get((exchange, symbol)) or self._desk.quotes.last_price(exchange, symbol)

        bots = {due.cell.bot.id: due.cell.bot.user_id for due in dues}
        now = max((due.closed_at for due in dues), default=self._feed().venue_now)
        return await look(self._desk, bots, now=now, price=price, let_in=self._actor.let_in)

    async def _fills(self, bots: Sequence[LiveBot]) -> dict[UUID, list[BotFill]]:
        wanted = {bot.id: (bot.user_id, self.untold.pop(bot.id)) for bot in bots if bot.id in self.untold}
        if not wanted:
            return {}
        async with self._desk.database.connection() as connection:
            return await fills_of_many(connection, wanted)

    async def _answer(
        self, due: Due, standing: Standing | None, fills: dict[UUID, list[BotFill]], feed: Feed, seen: Look
    ) -> tuple[Verdict, Fault | None] | None:
        """As `_verdict`; that something is odd about one bot says nothing of the others."""
        try:
            return await self._verdict(due, standing, fills, feed, seen)
        except Exception:
            bot = due.cell.bot
            log.exception("bot_not_asked", bot_id=str(bot.id))
            told = said(words.NOT_ASKED, why=_OURS)
            return Verdict(bot=bot, candle=due.candle, state=SignalState.SKIPPED, told=told, standing=standing, code="BOT_NOT_ASKED"), None

    async def _verdict(
        self, due: Due, standing: Standing | None, fills: dict[UUID, list[BotFill]], feed: Feed, seen: Look
    ) -> tuple[Verdict, Fault | None] | None:
        cell, bot, candle = due.cell, due.cell.bot, due.candle
        if _is_outside(due):
            cell.backlog.append(candle)
            return None
        heard_ms = _since(due.closed_at, feed.venue_now)
        skipped = _why_skipped(due, standing, feed)
        async with self._asking:
            if skipped is None and time.monotonic() - due.heard > _OVERALL_S:
                skipped = "BOT_OVERDUE", said(words.OVERDUE)
            if skipped is not None or standing is None:
                if not due.is_loaded:
                    cell.backlog.append(candle)
                code, told = skipped or ("SYMBOL_UNKNOWN", said(words.UNKNOWN_SYMBOL))
                return Verdict(bot=bot, candle=candle, state=SignalState.SKIPPED, told=told, standing=standing, code=code), None
            try:
                decision = await self._asked(due, standing, fills.get(bot.id, []))
            except FaultError as error:
                told = said(words.FAULTED_NOW, why=error.fault.message)
                failed = Verdict(bot=bot, candle=candle, state=SignalState.SKIPPED, told=told, standing=standing, code=error.fault.code)
                return failed, error.fault
            except NotYetError as error:
                told = said(words.NOT_ASKED, why=error.told.message % error.told.values)
                return Verdict(bot=bot, candle=candle, state=SignalState.SKIPPED, told=told, standing=standing, code="BOT_NOT_ASKED"), None
        self._figures.evaluated()
        verdict = self._meant(due, decision, standing, seen)
        verdict.latency_ms = {"heard": heard_ms, "decided": _since(due.closed_at, self._feed().venue_now)}
        return verdict, None

    async def _asked(self, due: Due, standing: Standing, fills: Sequence[BotFill]) -> Decision:
        cell, told = due.cell, [_told(fill, standing) for fill in fills]
        while cell.backlog:
            missed = cell.backlog.popleft()
            await cell.decide(missed, _holding(standing, Decimal(repr(missed.close))), [])
        close = Decimal(repr(due.candle.close))
        return await cell.decide(None if due.is_loaded else due.candle, _holding(standing, close), told)

    def _meant(self, due: Due, decision: Decision, standing: Standing, seen: Look) -> Verdict:
        bot, candle = due.cell.bot, due.candle
        best = due.cell.best_since(standing.ledger.opened_at)
        close, open_ms = Decimal(repr(candle.close)), to_milliseconds(candle.open_time)
        meaning = meaning_of(decision, standing, open_ms=open_ms, close=close, best=best)
        if bot.state is BotState.RUNNING:
            meaning = guarded(meaning, seen, standing, close=close)
        state, told, code = SignalState.DECIDED, meaning.told, meaning.code
        if meaning.intent is None:
            state = SignalState.DECIDED if meaning.levels else SignalState.DONE if code is None else SignalState.DENIED
        elif bot.state is not BotState.RUNNING and meaning.needs_word:
            state, told, code = SignalState.SKIPPED, said(words.NO_NEW_ENTRY), "BOT_SUSPENDED"
        elif bot.sell_asked_at is not None and meaning.needs_word:
            # Else what is bought now would be sold with the rest.
            state, told, code = SignalState.SKIPPED, said(words.IS_SELLING), "BOT_SELLING"
        elif standing.closed_because is not None:
            state, told, code = SignalState.SKIPPED, said(words.ACCOUNT_CLOSED, why=standing.closed_because), "ACCOUNT_CLOSED"
        elif bot.mode is BotMode.ASK and meaning.needs_word:
            state, told = SignalState.WAITING, said(words.ASKS)
        return Verdict(
            bot=bot,
            candle=candle,
            state=state,
            told=told,
            action=meaning.action,
            code=code,
            decision=decision,
            meaning=meaning,
            standing=standing,
        )

    async def _move(self, verdict: Verdict) -> None:
        """Its order is held back; what guards the position follows all the same."""
        async with self._sending:
            error = await self._actor.move(verdict)
        if error is not None:
            log.warning("bot_levels_not_moved", bot_id=str(verdict.bot.id), code=error.code)

    async def _act(self, verdict: Verdict) -> None:
        async with self._sending:
            try:
                await self._actor.carry_out(verdict)
            except Fenced:
                raise
            except Exception:  # what happens to one bot must not happen to the others; it stays decided, and is looked at again
                log.exception("bot_not_acted", bot_id=str(verdict.bot.id))
        verdict.latency_ms["acknowledged"] = _since(verdict.closed_at, self._feed().venue_now)
        if verdict.order_id is not None:
            self._figures.acknowledged(verdict.latency_ms["acknowledged"] / 1000)

    async def _tell(self, verdicts: Sequence[Verdict]) -> None:
        await write_equity(self._desk, verdicts)
        lines = [line for one in verdicts for line in (*one.lines(), *_printed(one))]
        async with self._desk.database.connection() as connection:
            await write_lines(connection, lines, at=self._desk.clock.now())
        bus = self._desk.bus
        for one in verdicts:
            bus.publish(one.event())
            bus.publish(BotChanged(user_id=one.bot.user_id, bot_id=one.bot.id))
        for line in lines:
            bus.publish(line.event())


def _is_outside(due: Due) -> bool:
    """Whether a candle is none of the bot's: before its start, or where an order would come after its end."""
    bot = due.cell.bot
    is_early = bot.start_at is not None and due.candle.open_time < bot.start_at
    return is_early or (bot.end_at is not None and due.closed_at >= bot.end_at)


def _why_skipped(due: Due, standing: Standing | None, feed: Feed) -> tuple[str, Said] | None:
    """Return the code and the sentence of why nothing may be decided at a candle; the strategy is not asked then."""
    age = feed.venue_now - due.closed_at
    if age >= due.cell.bot.period:
        return "CANDLE_TOO_OLD", said(words.TOO_LATE, seconds=int(age.total_seconds()))
    if not feed.is_fresh:
        return "FEED_STALE", said(words.STALE)
    return None if standing is not None else ("SYMBOL_UNKNOWN", said(words.UNKNOWN_SYMBOL))


def _holding(standing: Standing, close: Decimal) -> Holding:
    """Return what a strategy sees of its account at the close, in floats as all that it sees."""
    ledger = standing.ledger
    if standing.is_flat:
        return Holding(quantity=0.0, entry_price=0.0, equity=float(standing.equity(close)))
    target = min((one.price for one in ledger.targets if one.price is not None), default=None)
    return Holding(
        quantity=float(ledger.quantity),
        entry_price=float(ledger.average_price or 0),
        equity=float(standing.equity(close)),
        opened_at_ms=0 if ledger.opened_at is None else max(to_milliseconds(ledger.opened_at), 0),
        stop=None if ledger.stop_price is None else float(ledger.stop_price),
        target=None if target is None else float(target),
    )


def _told(fill: BotFill, standing: Standing) -> LiveFill:
    """Return a fill as `on_fill` is told of it."""
    reasons = {Role.STOP: "stop", Role.TARGET: "target"}
    if fill.side is Side.BUY:
        is_first = standing.ledger.opened_at is None or fill.executed_at <= standing.ledger.opened_at
        reason = "entry" if is_first else "add"
    else:
        is_rest = fill.role is Role.EXIT and standing.ledger.position_id == fill.position_id and standing.ledger.quantity > 0
        reason = reasons.get(fill.role, "reduce" if is_rest else "exit")
        if reason == "stop" and standing.trailing is not None:
            reason = "trailing"
    return LiveFill(
        side="buy" if fill.side is Side.BUY else "sell",
        quantity=float(fill.quantity),
        price=float(fill.price),
        fee=float(fill.fee_value or 0),
        reason=reason,  # type: ignore[arg-type]  # one of its words
        time=to_milliseconds(fill.executed_at),
    )


def _printed(one: Verdict) -> list[Line]:
    if one.decision is None or not one.decision.output.strip():
        return []
    told = said(words.PRINTED, output=one.decision.output.strip()[:_LONGEST_OUTPUT])
    return [Line(bot_id=one.bot.id, user_id=one.bot.user_id, kind="printed", told=told)]


def _since(moment: datetime, now: datetime) -> float:
    return round((now - moment) / timedelta(milliseconds=1), 1)
