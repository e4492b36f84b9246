"""Says in a bot's row what it waits for; the state itself changes by a person's word, a fault, a safeguard or its end only."""

from typing import Final

from app.bots.events import BotChanged
from app.bots.log import Line, Said, write_lines
from app.bots.models import EventLevel
from app.bots.roster import LiveBot
from app.trading.desk import Desk

_EXPLAIN: Final = """
UPDATE bots SET state_reason = $3 WHERE id = $1 AND user_id = $2 AND state = 'running' AND state_reason IS DISTINCT FROM $3 RETURNING id
"""


async def explain(desk: Desk, bot: LiveBot, told: Said | None) -> None:
    """Write what a running bot waits for, and into its log when that is new; None: it waits for nothing."""
    stored = None if told is None else told.stored()
    async with desk.database.connection() as connection:
        if await connection.fetchval(_EXPLAIN, bot.id, bot.user_id, stored) is None:
            return
        if told is not None:
            line = Line(bot_id=bot.id, user_id=bot.user_id, kind="waits", told=told, level=EventLevel.WARNING)
            await write_lines(connection, [line], at=desk.clock.now())
    desk.bus.publish(BotChanged(user_id=bot.user_id, bot_id=bot.id))
