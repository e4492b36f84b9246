"""Bots that the engine has to do with, as they stand in the tables, with what of their version and account it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from app.bots.models import LIVE_SQL, BotMode, BotState
from app.domain.candles import Timeframe
from app.sandbox.messages import Described, Value

#: Also those that are stopped and have something left to be sold or taken back.
_OURS: Final = f"({LIVE_SQL} OR sell_asked_at IS NOT NULL)"
_HEADS: Final = f"SELECT id, revision FROM bots WHERE {_OURS}"  # noqa: S608  # constants
_ROWS: Final = """
SELECT b.*, v.source, v.described, v.number AS version, s.name AS strategy_name, k.exchange AS broker_exchange, k.name AS broker_name
  FROM bots b JOIN strategy_versions v ON v.id = b.version_id JOIN strategies s ON s.id = b.strategy_id JOIN brokers k ON k.id = b.broker_id
 WHERE b.id = ANY ($1::uuid[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Candles of one symbol and length, of the exchange that the feed follows."""

    symbol: str
    timeframe: Timeframe


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBot:
    """A bot as it stood when it was read. `described` is None until its version was once validated."""

    id: UUID
    user_id: UUID
    number: int
    name: str
    version_id: UUID
    version: int
    strategy_name: str
    source: str
    described: Described | None
    parameters: dict[str, Value]
    broker_id: UUID
    broker_name: str
    broker_exchange: str
    exchange: str
    market: Market
    mode: BotMode
    state: BotState
    state_reason: dict[str, Any] | None
    capital: Decimal
    start_at: datetime | None
    end_at: datetime | None
    at_end: str
    safeguards: dict[str, Any]
    peak_equity: Decimal | None
    last_candle_at: datetime | None
    started_at: datetime | None
    sell_asked_at: datetime | None
    revision: int

    @property
    def period(self) -> timedelta:
        """The length of its candles."""
        return self.market.timeframe.duration

    def key(self, open_ms: int, ordinal: int = 0) -> str:
        """Return the name of an order of the candle that opened then."""
        return f"bot:{self.id}:{open_ms}:{ordinal}"


async def read_heads(connection: Any) -> dict[UUID, int]:
    """Return the bots that the engine has to do with, and their revisions."""
    return {row["id"]: row["revision"] for row in await connection.fetch(_HEADS)}


async def read_bots(connection: Any, ids: Sequence[UUID]) -> list[LiveBot]:
    """Return these bots; those that are gone are left out."""
    return [_bot(row) for row in await connection.fetch(_ROWS, list(ids))] if ids else []


_AS_THEY_ARE: Final = tuple(name for name in LiveBot.__dataclass_fields__ if name not in ("described", "market", "mode", "state"))


def _bot(row: Any) -> LiveBot:
    described = None if row["described"] is None else msgspec.convert(row["described"], Described)
    return LiveBot(
        **{name: row[name] for name in _AS_THEY_ARE},
        described=described,
        market=Market(symbol=row["symbol"], timeframe=Timeframe(row["timeframe"])),
        mode=BotMode(row["mode"]),
        state=BotState(row["state"]),
    )
