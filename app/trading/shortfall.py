"""Coins of bots that are gone: a person sold them, here or at the exchange. Whoever runs bots is told, and suspends them.

The account's balance is one; ledgers of bots are ours. What is in the account is the bots' first, and the hand's what they leave.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog

from app.trading.desk import Desk
from app.trading.events import BotShort

log = structlog.get_logger(__name__)

#: What the exchange did on its own, a stop that fired, is counted some moments after its balance shows it: only what stays so is believed.
_CONFIRMED_AFTER_S: Final = 10.0
#: A balance says something of positions that were as they are when it was read, and while nothing is on its way.
_SHORT: Final = """
SELECT s.base, s.wanted, coalesce(l.free + l.locked, 0) AS there, p.symbol, array_agg(p.bot_id ORDER BY p.bot_id) AS bot_ids
  FROM (SELECT base, sum(quantity) AS wanted, max(updated_at) AS updated_at, array_agg(symbol) AS symbols FROM positions
         WHERE user_id = $1 AND broker_id = $2 AND bot_id IS NOT NULL AND status <> 'closed' AND quantity > 0 GROUP BY base) s
  JOIN brokers b ON b.id = $2 AND b.last_balance_update > s.updated_at + interval '5 seconds'
  LEFT JOIN balances l ON l.broker_id = $2 AND l.asset = s.base
  LEFT JOIN LATERAL (SELECT max(step_size) AS step FROM instruments
                      WHERE exchange = b.exchange AND symbol = ANY(s.symbols) AND type = 'spot') i ON true
  JOIN positions p ON p.broker_id = $2 AND p.base = s.base AND p.bot_id IS NOT NULL AND p.status <> 'closed' AND p.quantity > 0
 WHERE s.wanted > coalesce(l.free + l.locked, 0) + coalesce(i.step, 1e-8)
   AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.broker_id = $2 AND o.symbol = ANY(s.symbols)
                      AND (o.state IN ('submitting', 'unknown') OR o.fills_quantity <> o.filled_quantity))
 GROUP BY s.base, s.wanted, l.free, l.locked, p.symbol ORDER BY p.symbol
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """A symbol of which an account has less than its bots hold; amounts are units of `base`, of all the account's bots together."""

    symbol: str
    bot_ids: tuple[UUID, ...]
    base: str
    wanted: Decimal
    there: Decimal


async def read_short(connection: Any, user_id: UUID, broker_id: UUID) -> list[Short]:
    """Return of what an account has less than its bots hold, by the balances that the exchange last told; it may be on its way."""
    rows = await connection.fetch(_SHORT, user_id, broker_id)
    names = ("symbol", "base", "wanted", "there")
    return [Short(bot_ids=tuple(row["bot_ids"]), **{name: row[name] for name in names}) for row in rows]


class Shortfalls:
    """Tells of what stays short from one reading of the balances to a later one."""

    def __init__(self, desk: Desk, monotonic: Callable[[], float]) -> None:
        self._desk = desk
        #: A clock that is set forward brings no news of fills: what counts is the time that has passed.
        self._monotonic = monotonic
        #: Since when each account was seen to be short, by asset.
        self._since: dict[UUID, dict[str, float]] = {}

    async def look(self, user_id: UUID, broker_id: UUID) -> None:
        """Compare an account with its bots' ledgers, after its balances were read."""
        async with self._desk.database.connection() as connection:
            short = await read_short(connection, user_id, broker_id)
        now, before = self._monotonic(), self._since.pop(broker_id, {})
        if not short:
            return
        since = {each.base: before.get(each.base, now) for each in short}
        self._since[broker_id] = since
        if since.keys() - before.keys():
            self._desk.suspect(broker_id)  # what is on its way is asked for, before anybody is suspended for it
        for each in short:
            if now - since[each.base] >= _CONFIRMED_AFTER_S:
                log.warning("bots_short", broker_id=str(broker_id), symbol=each.symbol, wanted=str(each.wanted), there=str(each.there))
                names = ("symbol", "bot_ids", "base", "wanted", "there")
                found = {name: getattr(each, name) for name in names}
                self._desk.bus.publish(BotShort(user_id=user_id, broker_id=broker_id, **found))
