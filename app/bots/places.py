"""What bots stand on: an account that is to be removed, a symbol that trades no longer."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

from app.bots import words
from app.bots.log import Line, said, write_lines
from app.bots.models import LIVE_SQL, EventLevel
from app.core.i18n import N_
from app.errors import BrokerInUse
from app.marketdata.instruments import OnStopped, Stopped
from app.notifications import Notice, NoticeKind, Severity, put
from app.trading.desk import Desk

WindDown = Callable[[UUID, UUID], Awaitable[None]]

_LIVE: Final = f"SELECT name FROM bots WHERE broker_id = $1 AND user_id = $2 AND {LIVE_SQL} ORDER BY number"  # noqa: S608  # constants
#: Those that decide on its candles, and those whose account is there.
_SUSPEND: Final = """
UPDATE bots b SET state = 'suspended', revision = revision + 1,
       state_reason = jsonb_build_object('message', $3::text, 'values', jsonb_build_object('symbol', b.symbol, 'exchange', $4::text))
  FROM brokers k
 WHERE k.id = b.broker_id AND b.state = 'running' AND b.symbol = ANY ($2::text[]) AND (b.exchange = ANY ($1) OR k.exchange = ANY ($1))
RETURNING b.id, b.user_id, b.number, b.name, b.symbol
"""
_TITLE: Final = N_("%(name)s is suspended")
_MOST_NAMED: Final = 5


def unless_bots_trade(desk: Desk, wind_down: WindDown) -> WindDown:
    """Return what ends an account and refuses while bots trade on it.

    Raises:
        BrokerInUse: from what is returned, with the bots' names.
    """

    async def guarded(user_id: UUID, broker_id: UUID) -> None:
        async with desk.database.connection() as connection:
            names = [row["name"] for row in await connection.fetch(_LIVE, broker_id, user_id)]
        if names:
            named = ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
            raise BrokerInUse(N_(f"bots trade on this account ({named}): stop them first"))
        await wind_down(user_id, broker_id)

    return guarded


def and_suspend_bots(on_stopped: OnStopped | None) -> OnStopped:
    """Return what is done about symbols that trade no longer, and that suspends their bots and tells whose they are."""

    async def stopped_too(connection: Any, stopped: Stopped) -> None:
        if on_stopped is not None:
            await on_stopped(connection, stopped)
        symbols = [*stopped.halted, *stopped.removed]
        rows = await connection.fetch(_SUSPEND, list(stopped.exchanges), symbols, words.DELISTED, stopped.exchanges[0])
        lines = []
        for row in rows:
            values = {"symbol": row["symbol"], "exchange": stopped.exchanges[0]}
            told = said(words.DELISTED, **values)
            lines.append(Line(bot_id=row["id"], user_id=row["user_id"], kind="suspended", told=told, level=EventLevel.WARNING))
            notice = Notice(
                kind=NoticeKind.BOT_SUSPENDED, severity=Severity.WARNING, title=_TITLE, text=words.DELISTED,
                values={**values, "name": row["name"]}, url=f"/bots/{row['number']}", at=stopped.at,
            )  # fmt: skip
            await put(connection, notice, user_id=row["user_id"])
        await write_lines(connection, lines, at=stopped.at)

    return stopped_too
