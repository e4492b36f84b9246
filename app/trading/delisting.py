"""Tells everybody who uses a symbol that it trades no longer: whoever has an open order or a position there, or alerts that trade it.

The notice is committed with the list that says so, so it is told for each halt and each delisting once, whichever process learned of it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from app.exchanges.catalogue import venue_of
from app.marketdata.instruments import Stopped
from app.trading.outbox import NoticeKind, put


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A way to use a symbol. `sql` returns user_id, broker_id and symbol for exchanges $1 and symbols $2; `words` name it."""

    words: str
    sql: str


_AT: Final = "JOIN brokers b ON b.id = used.broker_id WHERE b.exchange = ANY($1::text[]) AND used.symbol = ANY($2::text[])"
#: What trading itself knows of; whoever else uses symbols gives more to `tell_users`.
USES: Final = (
    Use(
        words="an open order",
        sql=f"SELECT DISTINCT used.user_id, used.broker_id, used.symbol FROM orders used {_AT}"  # noqa: S608  # a constant
        " AND used.state IN ('intent', 'submitting', 'unknown', 'open', 'partial')",
    ),
    Use(
        words="a position",
        sql=f"SELECT DISTINCT used.user_id, used.broker_id, used.symbol FROM positions used {_AT} AND used.status <> 'closed'",  # noqa: S608
    ),
)


async def tell_users(connection: Any, stopped: Stopped, *, uses: Iterable[Use] = USES) -> None:
    """Put one notice for each account that uses any of the symbols, within the caller's transaction."""
    symbols = [*stopped.halted, *stopped.removed]
    found: dict[tuple[UUID, UUID], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for use in uses:
        for row in await connection.fetch(use.sql, list(stopped.exchanges), symbols):
            found[row["user_id"], row["broker_id"]][row["symbol"]].append(use.words)
    venue = venue_of(stopped.exchanges[0])
    name = stopped.exchanges[0] if venue is None else venue.name
    for (user_id, broker_id), used in found.items():
        listed = ", ".join(f"{symbol} ({_what(symbol, stopped)}; {' and '.join(used[symbol])})" for symbol in sorted(used))
        text = f"{name} has stopped trading what you use: {listed}. Orders there, stops too, may not be filled."
        about = {"exchange": stopped.exchanges[0], "symbols": ", ".join(sorted(used))}
        await put(connection, NoticeKind.SYMBOL_STOPPED, text, user_id=user_id, broker_id=broker_id, at=stopped.at, **about)


def _what(symbol: str, stopped: Stopped) -> str:
    return "no longer listed" if symbol in stopped.removed else "halted"
