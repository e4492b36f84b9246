"""What statistics are asked of: which trades of which accounts, in which time, on whose clock."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from app.domain.enums import Source


class Mode(StrEnum):
    """What an account trades with. One answer is about one of them: play money is never added to real money."""

    LIVE = "live"
    PAPER = "paper"
    TESTNET = "testnet"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsFilter:
    """Which round trips: None and "" ask for nothing. `since` is inclusive and `until` exclusive, of the moment at which a trip ended.

    `symbol` is a pair, or one asset (every pair that buys and sells it); `source` is who opened the trip. `zone` says where days begin and
    hours end.
    """

    mode: Mode = Mode.LIVE
    since: datetime | None = None
    until: datetime | None = None
    broker_ids: tuple[UUID, ...] = ()
    strategy_id: UUID | None = None
    symbol: str = ""
    source: Source | None = None
    bot_id: UUID | None = None
    webhook_id: UUID | None = None
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    @property
    def is_of_accounts(self) -> bool:
        """Whether it lets every trade of its accounts through: only then what they were worth says how these trades did."""
        return not (self.strategy_id or self.symbol or self.source or self.bot_id or self.webhook_id)
