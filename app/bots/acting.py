"""Carries out what was decided and written down: orders through the one door, other levels, questions to owners, sales."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from app.bots import words
from app.bots.events import BotAsked
from app.bots.log import Line, Said, said, write_lines
from app.bots.models import EventLevel, SignalAction, SignalState
from app.bots.roster import LiveBot
from app.bots.safeguards import LetIn
from app.bots.verdicts import Verdict
from app.core.crash_points import reach
from app.core.i18n import N_
from app.domain.enums import OrderState, Source
from app.domain.orders import TERMINAL
from app.errors import AppError, DenialReason, Fenced, OrderNotCancellable
from app.notifications import Notice, NoticeKind, Severity, put
from app.trading.cancel import CANCELED, cancel
from app.trading.close import close_position
from app.trading.desk import Desk
from app.trading.levels import move_levels
from app.trading.records import OrderRecord
from app.trading.submit import submit

log = structlog.get_logger(__name__)

_WANTED: Final = N_("%(name)s asks for your word")
_WANTED_TEXT: Final = N_("%(bot)s wants to trade %(symbol)s (%(action)s) and waits for your word until the next candle closes.")
#: What a bot holds, while it is still asked to be sold: its owner may have said otherwise since the bot was read.
_POSITION: Final = """
SELECT p.id FROM positions p JOIN bots b ON b.id = p.bot_id
 WHERE p.user_id = $1 AND p.bot_id = $2 AND p.status <> 'closed' AND b.sell_asked_at = $3
"""
#: Not of a bot that its owner has stopped: whether what it holds is kept or sold was said then. Nor what was bought after the exit.
_KEEP_SELLING: Final = """
UPDATE bots SET sell_asked_at = coalesce(sell_asked_at, $3), revision = revision + 1
 WHERE id = $1 AND user_id = $2 AND state <> 'stopped'
   AND EXISTS (SELECT 1 FROM positions
                WHERE bot_id = $1 AND user_id = $2 AND status <> 'closed' AND ($4::timestamptz IS NULL OR opened_at <= $4)) RETURNING id
"""
#: Sales under that name which are over, to the last fill: what is there beyond them, as of an entry that filled after the sale, is sold
#: under another name.
_OVER: Final = """
SELECT count(*) FROM orders WHERE user_id = $1 AND bot_id = $2 AND left(key, $4) = $3 AND fills_quantity = filled_quantity
   AND state IN ('filled', 'denied', 'rejected', 'canceled', 'expired', 'lost')
"""


#: The account takes no orders of bots, what is held is below the exchange's smallest order, or somebody canceled the order.
_NEVER: Final = (
    DenialReason.BROKER_MODE.value,
    DenialReason.QUANTITY_BELOW_MINIMUM.value,
    DenialReason.NOTIONAL_BELOW_MINIMUM.value,
    CANCELED,
)


#: A sale that was refused is tried again after so long, and after twice as long each time: an exchange refuses who asks too often.
_FIRST_REST_S: Final = 1.0
_LONGEST_REST_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Rest:
    """After a refused sale of a wish of that name: how long, and until when (monotonic seconds) it is not tried again."""

    name: str
    length_s: float
    until: float


class Actor:
    """Does things for bots; one for the engine."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        #: By safeguards, a moment ago.
        self.let_in = LetIn()
        self._rests: dict[UUID, _Rest] = {}

    async def carry_out(self, verdict: Verdict) -> None:
        """Move levels and send the order of a decision that is written down; its verdict says what became of it.

        Raises:
            Fenced: this process lost the engine role; whoever has it finds the signal and the order.
        """
        meaning = verdict.meaning
        if meaning is None:
            return
        error = await self.move(verdict)
        if error is not None:
            _refuse(verdict, error)
        else:
            verdict.state = SignalState.DONE
        if meaning.intent is not None:
            await self._send(verdict)

    async def move(self, verdict: Verdict) -> AppError | None:
        """Move the levels of a decision, which wait for nobody's word; return why they cannot be moved.

        Raises:
            Fenced: this process lost the engine role.
        """
        meaning, standing = verdict.meaning, verdict.standing
        if meaning is None or standing is None or not meaning.levels or standing.ledger.position_id is None:
            return None
        user_id, position_id = verdict.bot.user_id, standing.ledger.position_id
        try:
            await move_levels(self._desk, user_id, position_id, stop_price=meaning.levels.stop, targets=meaning.levels.targets)
        except Fenced:
            raise
        except AppError as error:
            return error
        return None

    async def _send(self, verdict: Verdict) -> None:
        assert verdict.meaning is not None  # noqa: S101  # its caller looked
        assert verdict.meaning.intent is not None  # noqa: S101  # as above
        reach("B1")
        try:
            made = await submit(self._desk, verdict.bot.user_id, verdict.meaning.intent, broker_id=verdict.bot.broker_id)
        except Fenced:
            raise
        except AppError as error:
            _refuse(verdict, error)
        else:
            reach("B2")
            ordered(verdict, made.order)
        if verdict.state is SignalState.DENIED and verdict.action is SignalAction.EXIT:
            why = verdict.told.values.get("why", "")
            verdict.told = await self.keep_selling(verdict.bot.user_id, verdict.bot.id, code=verdict.code, why=why) or verdict.told

    async def keep_selling(
        self, user_id: UUID, bot_id: UUID, *, code: str | None, why: str, exit_at: datetime | None = None
    ) -> Said | None:
        """Let an exit that did not come to its end be a wish that stays: leaving is never denied in a backtest either.

        Args:
            user_id: Whose bot it is.
            bot_id: The bot.
            code: Why its order was not taken, or not filled.
            why: The same in words.
            exit_at: When that order was made; None: a moment ago.

        Returns:
            What to tell of it; None where nothing is left to sell, or somebody forbade it.
        """
        if _is_forbidden(code):
            return None
        async with self._desk.database.connection() as connection:
            wished = await connection.fetchval(_KEEP_SELLING, bot_id, user_id, self._desk.clock.now(), exit_at)
        if wished is None:
            return None
        self._desk.bus.publish(BotAsked(bot_id=bot_id))
        return said(words.SELLS_AGAIN, why=why)

    async def take_back(self, user_id: UUID, bot_id: UUID, order_ids: Sequence[UUID]) -> None:
        """Cancel entries whose time is over. One that has filled meanwhile is held; what cannot be asked now is repeated by reconcile."""
        await asyncio.gather(*(self._take_back(user_id, bot_id, order_id) for order_id in order_ids))

    async def _take_back(self, user_id: UUID, bot_id: UUID, order_id: UUID) -> None:
        try:
            await cancel(self._desk, user_id, order_id)
        except OrderNotCancellable:
            return
        except AppError as error:
            log.warning("bot_entry_not_taken_back", bot_id=str(bot_id), order_id=str(order_id), code=error.code)

    async def ask_owners(self, verdicts: Sequence[Verdict]) -> None:
        """Tell owners that their bots wait for a word."""
        if not verdicts:
            return
        async with self._desk.database.connection() as connection:
            for one in verdicts:
                bot = one.bot
                values = {"name": bot.name, "bot": bot.name, "symbol": bot.market.symbol, "action": one.action.value}
                notice = Notice(
                    kind=NoticeKind.APPROVAL_WANTED,
                    severity=Severity.WARNING,
                    title=_WANTED,
                    text=_WANTED_TEXT,
                    values=values,
                    url=f"/bots/{bot.number}",
                    key=f"approval:{one.id}",
                    at=self._desk.clock.now(),
                )
                await put(connection, notice, user_id=bot.user_id)

    async def sell(self, bot: LiveBot) -> Said | None:
        """Sell what a bot holds, as its owner or a safeguard asked; return what keeps it from being sold, None when nothing new does.

        Orders are named after the moment at which it was asked and numbered: whatever comes between, each unit is sold once.
        """
        if bot.sell_asked_at is None:
            return None
        name = f"bot:{bot.id}:sell:{int(bot.sell_asked_at.timestamp() * 1000)}"
        rest = self._rests.get(bot.id)
        if rest is not None and rest.name == name and time.monotonic() < rest.until:
            return None
        async with self._desk.database.connection() as connection:
            position_id = await connection.fetchval(_POSITION, bot.user_id, bot.id, bot.sell_asked_at)
            over = await connection.fetchval(_OVER, bot.user_id, bot.id, name, len(name))
        if position_id is None:
            self._rests.pop(bot.id, None)
            return None
        key = f"{name}:{over}"
        try:
            made = await close_position(self._desk, bot.user_id, position_id, key=key, source=Source.BOT)
        except Fenced:
            raise
        except AppError as error:
            return said(words.NOT_SOLD, why=error.message)
        if made.order.state in (OrderState.DENIED, OrderState.REJECTED):
            length_s = _FIRST_REST_S if rest is None or rest.name != name else min(2 * rest.length_s, _LONGEST_REST_S)
            self._rests[bot.id] = _Rest(name, length_s, time.monotonic() + length_s)
            return said(words.NOT_SOLD, why=made.order.detail or made.order.code or made.order.state.value)
        return None

    async def log_line(self, bot: LiveBot, kind: str, told: Said, *, level: EventLevel = EventLevel.INFO) -> None:
        """Add a line to a bot's log."""
        line = Line(bot_id=bot.id, user_id=bot.user_id, kind=kind, told=told, level=level)
        async with self._desk.database.connection() as connection:
            await write_lines(connection, [line], at=self._desk.clock.now())
        self._desk.bus.publish(line.event())


def ordered(verdict: Verdict, order: OrderRecord) -> None:
    """Let a verdict say what became of its order."""
    verdict.order_id = order.id
    if order.state in (OrderState.DENIED, OrderState.REJECTED):
        verdict.state, verdict.code = SignalState.DENIED, order.code or order.state.value.upper()
        verdict.told = said(words.REFUSED, why=order.detail or verdict.code)
    else:
        verdict.state = SignalState.DONE if order.state in TERMINAL else SignalState.SUBMITTED


def _is_forbidden(code: str | None) -> bool:
    """Whether somebody forbade the order: a halt, a kill switch, an account that takes none of bots. Nothing is sold against that.

    What is too small to be sold is not tried again and again either: no later attempt does better, and the next candle asks anyway.
    """
    return code is not None and (code.startswith("TRADING_") or code in _NEVER)


def _refuse(verdict: Verdict, error: AppError) -> None:
    verdict.state, verdict.code = SignalState.DENIED, error.code
    verdict.told = said(words.REFUSED, why=error.message)
