"""What the heartbeat's routes answer."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.candles import Timeframe
from app.marketdata.models import CandleSource, GapOutcome


class SignalOut(BaseModel):
    """A closed candle of one symbol, as it is stored."""

    symbol: str
    timeframe: Timeframe
    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    source: CandleSource


class SignalsOut(BaseModel):
    """A page of signals, newest first; `next` goes on with older ones."""

    items: list[SignalOut]
    next: str | None


class GapOut(BaseModel):
    """A hole in the candles: open times from `start_at` inclusive to `end_at` exclusive, `candles` of them.

    `outcome`: open, filled, or exchange_has_none when the exchange was asked and has nothing there. `is_asked`: it is looked at just now.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    symbol: str
    timeframe: Timeframe
    start_at: datetime
    end_at: datetime
    candles: int
    found_at: datetime
    resolved_at: datetime | None
    outcome: GapOutcome
    is_asked: bool = False


class GapsOut(BaseModel):
    """A page of holes, the ones found last first; `next` goes on with older ones."""

    items: list[GapOut]
    next: UUID | None


class BackfillIn(BaseModel):
    """Which hole to look at again: the id of one, or nothing for all that are not filled (the latest 50)."""

    model_config = ConfigDict(extra="forbid")

    gap: Annotated[UUID | None, Field(description="Id of a hole; all that are not filled without one")] = None


class BackfillOut(BaseModel):
    """How many holes are looked at now."""

    gaps: int
