"""Bots beside their shadows for the statistics: what both came to within a time, out of the daily comparisons of their whole lives."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.statistics.shadow import ShadowLine

#: Each comparison is of a life until then: a time is the last one in it less the last one before it. That a bot has none before it is
#: younger, or was not kept so long; then all of it counts.
_LINES: Final = """
SELECT b.id AS bot_id, b.symbol, n.day, n.live, n.shadow, n.live_trades, n.shadow_trades, n.causes, n.rest, n.first_at, n.until_at,
       p.live AS live_before, p.shadow AS shadow_before, p.live_trades AS trades_before, p.shadow_trades AS shadow_trades_before,
       p.causes AS causes_before, p.rest AS rest_before, p.until_at AS until_before
  FROM bots b
  JOIN LATERAL (SELECT * FROM bot_shadows WHERE bot_id = b.id AND live IS NOT NULL AND ($4::timestamptz IS NULL OR until_at <= $4)
                 ORDER BY day DESC LIMIT 1) n ON true
  LEFT JOIN LATERAL (SELECT * FROM bot_shadows WHERE bot_id = b.id AND live IS NOT NULL AND until_at <= $3
                      ORDER BY day DESC LIMIT 1) p ON true
 WHERE b.user_id = $1 AND b.id = ANY ($2::uuid[]) AND ($3::timestamptz IS NULL OR n.until_at > $3)
 ORDER BY b.number
"""
#: How the statistics call what no cause was found for.
REST: Final = "unexplained"
_DAY_S: Final = 86_400


async def read_lines(
    database: Database, user_id: UUID, bot_ids: Sequence[UUID], *, since: datetime | None, until: datetime | None
) -> Sequence[ShadowLine]:
    """Return a line for each of the bots that was compared in that time. Fulfils `statistics.shadow.ShadowReader`."""
    async with database.connection() as connection:
        rows = await connection.fetch(_LINES, user_id, list(bot_ids), since, until)
    return [_line(row) for row in rows]


def _line(row: Any) -> ShadowLine:
    before: Mapping[str, str] = row["causes_before"] or {}
    causes = {name: Decimal(money) - Decimal(before.get(name, "0")) for name, money in row["causes"].items()}
    causes |= {name: -Decimal(money) for name, money in before.items() if name not in causes}
    rest = row["rest"] - (row["rest_before"] or Decimal(0))
    begun = row["until_before"] or row["first_at"]
    return ShadowLine(
        bot_id=row["bot_id"],
        quote=row["symbol"].partition("/")[2],
        days=max(1, round((row["until_at"] - begun).total_seconds() / _DAY_S)),
        trades=row["live_trades"] - (row["trades_before"] or 0),
        shadow_trades=row["shadow_trades"] - (row["shadow_trades_before"] or 0),
        profit=row["live"] - (row["live_before"] or Decimal(0)),
        shadow_profit=row["shadow"] - (row["shadow_before"] or Decimal(0)),
        causes=tuple((name, money) for name, money in {**causes, REST: rest}.items() if money),
    )
