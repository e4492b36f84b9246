"""A strategy that failed faults its bot alone: it is asked no more, what it holds keeps its stop, and its owner is told where it failed."""

from typing import Any, Final

from app.bots import words
from app.bots.cell import Fault
from app.bots.events import BotChanged
from app.bots.log import Line, said, write_lines
from app.bots.models import EventLevel
from app.bots.roster import LiveBot
from app.core.i18n import N_
from app.notifications import Notice, NoticeKind, Severity, put
from app.trading.desk import Desk

_FAULT: Final = """
UPDATE bots SET state = 'faulted', fault = $3, state_reason = $4, revision = revision + 1
 WHERE id = $1 AND user_id = $2 AND state IN ('running', 'suspended') RETURNING id
"""
_TITLE: Final = N_("%(name)s has stopped deciding: its strategy failed")
_TEXT: Final = N_("%(why)s. No new entries are made; what it holds keeps its stop. Put the strategy right, or start the bot again.")
_LONGEST_TRACEBACK: Final = 4_000


async def fault_bot(desk: Desk, bot: LiveBot, fault: Fault) -> None:
    """Write down that a bot's strategy failed, and tell its owner. One that is faulted, or stopped, already stays as it is."""
    now = desk.clock.now()
    why = fault.message if not fault.line else f"line {fault.line}: {fault.message}"
    stored: dict[str, Any] = {
        "code": fault.code,
        "message": fault.message,
        "line": fault.line,
        "traceback": fault.traceback[-_LONGEST_TRACEBACK:],
        "output": fault.output,
        "at": now.isoformat(),
    }
    told = said(words.FAULT, why=why)
    line = Line(bot_id=bot.id, user_id=bot.user_id, kind="faulted", told=told, level=EventLevel.ERROR)
    notice = Notice(
        kind=NoticeKind.BOT_FAULTED,
        severity=Severity.ERROR,
        title=_TITLE,
        text=_TEXT,
        values={"name": bot.name, "why": why},
        url=f"/bots/{bot.number}",
        key=f"fault:{bot.id}:{int(now.timestamp())}",
        at=now,
    )
    async with desk.database.raw_transaction() as connection:
        if await connection.fetchval(_FAULT, bot.id, bot.user_id, stored, told.stored()) is None:
            return
        await write_lines(connection, [line], at=now)
        await put(connection, notice, user_id=bot.user_id)
    desk.bus.publish(BotChanged(user_id=bot.user_id, bot_id=bot.id))
    desk.bus.publish(line.event())
