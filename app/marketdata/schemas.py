"""What the market data routes answer."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.domain.instruments import Instrument, plain
from app.marketdata.models import UpdateCause, UpdatePhase, UpdateState
from app.marketdata.update_store import Update

#: Money leaves as text without exponent or trailing zeros.
MoneyText = Annotated[Decimal, PlainSerializer(plain, return_type=str)]


class CandlesOut(BaseModel):
    """Candles, oldest first: open time in milliseconds UTC, open, high, low, close, volume. The last may still be open."""

    items: list[tuple[int, float, float, float, float, float]]
    exchange: str
    symbol: str
    timeframe: str
    is_last_open: bool


class InstrumentOut(BaseModel):
    """One symbol with the exchange's trading rules; null where the exchange sets no bound."""

    model_config = ConfigDict(from_attributes=True)

    symbol: str
    base: str
    quote: str
    is_active: bool
    tick_size: MoneyText
    step_size: MoneyText
    min_quantity: MoneyText | None
    max_quantity: MoneyText | None
    min_price: MoneyText | None
    max_price: MoneyText | None
    min_notional: MoneyText | None
    max_notional: MoneyText | None

    @classmethod
    def of(cls, instrument: Instrument) -> "InstrumentOut":
        """Return the instrument's rules as they are answered."""
        return cls.model_validate(instrument)


class InstrumentsOut(BaseModel):
    """A page of symbols."""

    items: list[InstrumentOut]
    next: str | None


class UpdateIn(BaseModel):
    """Whose instruments to update."""

    model_config = ConfigDict(extra="forbid")

    exchange: str = Field(pattern="^[a-z0-9]{2,32}$", description="Exchange id, such as binance")


class UpdateOut(BaseModel):
    """One update of an exchange's instruments. Whoever began it, the answer is everybody's.

    `done` of `total` symbols are stored, once the exchange has answered. The counts are null until it is done; `names` holds up to 20
    symbols behind each. `code` says why it failed or was interrupted.
    """

    id: UUID
    exchange: str
    cause: UpdateCause
    is_mine: bool
    state: UpdateState
    phase: UpdatePhase
    done: int
    total: int
    added: int | None
    updated: int | None
    removed: int | None
    names: dict[str, list[str]]
    code: str | None
    detail: str | None
    started_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, update: Update, user_id: UUID) -> "UpdateOut":
        """Return the update as that user may see it: who else began one is nobody's business."""
        shown = {name: getattr(update, name) for name in cls.model_fields if name != "is_mine"}
        return cls(**shown, is_mine=update.started_by == user_id)


class UpdatesOut(BaseModel):
    """Updates, newest first; `next` goes on with older ones."""

    items: list[UpdateOut]
    next: UUID | None


class TickerOut(BaseModel):
    """Best prices in quote per base; null where they are not known."""

    exchange: str
    symbol: str
    bid: MoneyText | None
    ask: MoneyText | None
    last: MoneyText | None
    at: datetime


class SymbolStatusOut(BaseModel):
    """One watched symbol: the newest candle that is stored."""

    symbol: str
    last_closed: datetime | None


class HeartbeatOut(BaseModel):
    """How the live feed is doing. Only a fresh feed may be acted on."""

    exchange: str
    is_connected: bool
    is_fresh: bool
    last_heartbeat: datetime | None
    last_error: str | None
    symbols_monitored: list[SymbolStatusOut]
    started_at: datetime | None
    connections: int
