"""What the market data routes answer."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.domain.instruments import Instrument, plain
from app.marketdata.feed_health import Coherence, FeedReport, host_of
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
    """One watched symbol: its newest one-minute candle, seconds since that closed, its open holes and what was put right in a day."""

    model_config = ConfigDict(from_attributes=True)

    symbol: str
    last_closed: datetime | None
    age_s: float | None
    open_gaps: int
    differences_24h: int


class ConnectionOut(BaseModel):
    """One open connection to the exchange's streams: host and port, how many streams; `age_ms` is of its last data."""

    host: str
    streams: int
    opened_at: datetime
    age_ms: float


class SessionOut(BaseModel):
    """One run of the feed; without a stop it is running, or its process was killed."""

    model_config = ConfigDict(from_attributes=True)

    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None


class FeedAlertOut(BaseModel):
    """The feed (no symbol) or one symbol has been silent since then."""

    model_config = ConfigDict(from_attributes=True)

    symbol: str | None
    since: datetime


class HeartbeatOut(BaseModel):
    """How the live feed is doing. Only a fresh feed may be acted on.

    `lag_ms` is how long messages take from the exchange's clock to us, `clock_offset_ms` how far its clock is ahead of ours; null while not
    known. `reconnects` counts since the start. `coherence` is gaps while holes in the candles are open, differences when candles had to be
    put right within the last 24 hours, else ok; gaps and differences count for all symbols of the exchange.
    """

    exchange: str
    is_running: bool
    is_connected: bool
    is_fresh: bool
    last_heartbeat: datetime | None
    last_error: str | None
    symbols_monitored: list[SymbolStatusOut]
    started_at: datetime | None
    updated_at: datetime | None
    lag_ms: float | None
    clock_offset_ms: float | None
    reconnects: int
    connections: list[ConnectionOut]
    coherence: Coherence
    open_gaps: int
    differences_24h: int
    alerts: list[FeedAlertOut]
    sessions: list[SessionOut]

    @classmethod
    def of(cls, report: FeedReport) -> "HeartbeatOut":
        """Return the report as it is answered."""
        feed = report.feed
        return cls(
            exchange=feed.exchange,
            is_running=feed.is_running,
            is_connected=feed.is_connected,
            is_fresh=feed.is_fresh,
            last_heartbeat=feed.last_message_at,
            last_error=feed.last_error,
            symbols_monitored=[SymbolStatusOut.model_validate(symbol) for symbol in report.symbols],
            started_at=feed.started_at,
            updated_at=feed.updated_at,
            lag_ms=feed.lag_ms,
            clock_offset_ms=feed.clock_offset_ms,
            reconnects=feed.reconnects,
            connections=[ConnectionOut(host=host_of(connection), **connection) for connection in feed.connections],
            coherence=report.coherence,
            open_gaps=report.open_gaps,
            differences_24h=report.differences_24h,
            alerts=[FeedAlertOut.model_validate(alert) for alert in feed.alerts],
            sessions=[SessionOut.model_validate(session) for session in report.sessions],
        )
