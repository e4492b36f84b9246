"""Shapes of the bots' API. Amounts of money are JSON strings."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.bots.log import Said
from app.bots.models import LONGEST_NAME, AtEnd, BotEvent, BotMode, BotSignal, BotState, BotTrip
from app.bots.monitor import BotRow
from app.bots.queries import BotTrade, EquityPoint
from app.bots.service import BotWish, Listed
from app.core.sentences import filled
from app.domain.safeguards import checked
from app.strategies.trial_schemas import Parameters, TimeframeName
from app.trading.schemas import Amount, MoneyOut

Capital = Annotated[Amount, Field(le=Decimal(10) ** 12, description="Quote units that it is given")]
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Limits = Annotated[dict[str, Any], BeforeValidator(checked), Field(description="Its safeguards: docs/safeguards.md")]


class BotIn(BaseModel):
    """A bot to make. What is left out is the strategy's, or the usual."""

    model_config = ConfigDict(extra="forbid")

    strategy_id: UUID
    version: Annotated[int | None, Field(ge=1, le=1_000_000, description="Its number; the newest if not given")] = None
    parameters: Parameters = {}
    broker_id: Annotated[UUID, Field(description="Where its orders go")]
    symbol: Annotated[str, Field(min_length=2, max_length=40, description="BTC/USDT, BTCUSDT or BINANCE:BTCUSDT")]
    timeframe: TimeframeName = None
    mode: BotMode
    capital: Capital
    name: Name = ""
    start_at: Annotated[AwareDatetime | None, Field(description="It decides nothing before")] = None
    end_at: Annotated[AwareDatetime | None, Field(description="Then it stops by itself")] = None
    at_end: Annotated[AtEnd, Field(description="What becomes of its position then")] = AtEnd.KEEP
    safeguards: Limits = {}
    backtest_id: Annotated[UUID | None, Field(description="Where it is promoted from")] = None

    def wish(self, idempotency_key: str | None) -> BotWish:
        """Return what is wished for."""
        return BotWish(**self.model_dump(), idempotency_key=idempotency_key)


class BotPatch(BaseModel):
    """What changes of a bot; dates, capital and mode only before its first start."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str | None, Field(min_length=1, max_length=LONGEST_NAME)] = None
    mode: BotMode | None = None
    capital: Capital | None = None
    start_at: AwareDatetime | None = None
    end_at: AwareDatetime | None = None
    at_end: AtEnd | None = None
    safeguards: Limits | None = None

    def changes(self) -> dict[str, Any]:
        """Return what was given, as columns have it; a date of null takes the date away."""
        dates = {"start_at", "end_at"}
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name: value.value if isinstance(value, BotMode | AtEnd) else value
            for name, value in given.items()
            if value is not None or name in dates
        }


class StopIn(BaseModel):
    """What becomes of the position of a bot that is stopped; needed while it has one."""

    model_config = ConfigDict(extra="forbid")

    position: Literal["keep", "sell"] | None = None


class SaidOut(BaseModel):
    """A sentence: the `message` with names for its `values`, and the whole of it in English."""

    message: str
    values: dict[str, str]
    text: str

    @classmethod
    def of(cls, told: Said | None) -> "SaidOut | None":
        """Return a sentence."""
        if told is None:
            return None
        return cls(message=told.message, values=dict(told.values), text=filled(told.message, told.values))

    @classmethod
    def stored(cls, document: dict[str, Any] | None) -> "SaidOut | None":
        """Return a sentence as rows keep it."""
        return None if document is None else cls.of(Said(message=document["message"], values=document["values"]))


class HeldOut(BaseModel):
    """What a bot holds."""

    position_id: UUID
    quantity: MoneyOut
    entry_price: MoneyOut | None
    stop_price: MoneyOut | None
    target_price: MoneyOut | None
    opened_at: datetime
    unrealized: MoneyOut | None


class BotOut(BaseModel):
    """A bot in a list."""

    id: UUID
    number: int
    name: str
    state: BotState
    state_reason: SaidOut | None
    mode: BotMode
    strategy_id: UUID
    strategy_name: str
    version: int
    version_id: UUID
    parameters: dict[str, Any]
    broker_id: UUID
    broker_name: str
    exchange: str
    symbol: str
    timeframe: str
    capital: MoneyOut
    peak_equity: MoneyOut | None
    start_at: datetime | None
    end_at: datetime | None
    at_end: AtEnd
    safeguards: dict[str, Any]
    backtest_id: UUID | None
    fault: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    last_candle_at: datetime | None
    last_signal_at: datetime | None

    @classmethod
    def of(cls, listed: Listed) -> "BotOut":
        """Return a bot."""
        return cls(**_fields(cls, listed))


class BotDetail(BotOut):
    """A bot with what it holds and what it is worth now."""

    equity: MoneyOut
    profit: MoneyOut
    today: MoneyOut
    trades: int
    won: int
    price: MoneyOut | None
    held: HeldOut | None
    next_candle_at: datetime | None
    waiting_id: UUID | None
    trips: int
    is_selling: bool

    @classmethod
    def with_row(cls, listed: Listed, row: BotRow) -> "BotDetail":
        """Return a bot and its row of the monitor."""
        own = set(cls.model_fields) - set(BotOut.model_fields) - {"held"}
        held = None if row.held is None else HeldOut.model_validate(row.held, from_attributes=True)
        return cls(**_fields(BotOut, listed), **{name: getattr(row, name) for name in own}, held=held)


def _fields(model: type[BotOut], listed: Listed) -> dict[str, Any]:
    named = {"strategy_name": listed.strategy_name, "version": listed.version, "broker_name": listed.broker_name}
    named |= {"state_reason": SaidOut.stored(listed.bot.state_reason)}
    return named | {name: getattr(listed.bot, name) for name in model.model_fields if name not in named}


class BotPage(BaseModel):
    """Bots, the newest first; `next` is the cursor of the page after, None at the end."""

    items: list[BotOut]
    next: str | None


class SignalOut(BaseModel):
    """What a strategy wanted at one candle, and what became of it. `decision` holds what it said, `decision.output` what it printed."""

    id: UUID
    open_time: datetime
    decided_at: datetime
    action: str
    state: str
    reason: SaidOut | None
    code: str | None
    price: MoneyOut | None
    decision: dict[str, Any]
    order_ids: list[UUID]
    latency_ms: dict[str, Any]

    @classmethod
    def of(cls, signal: BotSignal) -> "SignalOut":
        """Return a signal."""
        reason = SaidOut.stored(signal.reason)
        return cls(reason=reason, **{name: getattr(signal, name) for name in cls.model_fields if name != "reason"})


class SignalPage(BaseModel):
    """Signals, the newest candle first."""

    items: list[SignalOut]
    next: str | None


class EventOut(BaseModel):
    """A line of a bot's log; `text` is the whole sentence in English."""

    id: int
    bot_id: UUID
    at: datetime
    level: str
    kind: str
    message: str
    values: dict[str, Any]
    text: str

    @classmethod
    def of(cls, event: BotEvent) -> "EventOut":
        """Return a line."""
        told = filled(event.message, event.values)
        return cls(text=told, **{name: getattr(event, name) for name in cls.model_fields if name != "text"})


class EventPage(BaseModel):
    """Lines of a log, the newest first."""

    items: list[EventOut]
    next: str | None


class EquityPointOut(BaseModel):
    """What a bot was worth at a close."""

    at: datetime
    equity: MoneyOut
    position_quantity: MoneyOut
    price: MoneyOut

    @classmethod
    def of(cls, point: EquityPoint) -> "EquityPointOut":
        """Return a point."""
        return cls.model_validate(point, from_attributes=True)


class EquityList(BaseModel):
    """Equity, oldest first."""

    items: list[EquityPointOut]


class TradeOut(BaseModel):
    """A round trip of a bot, the open one too."""

    id: UUID
    symbol: str
    is_open: bool
    opened_at: datetime
    closed_at: datetime | None
    quantity: MoneyOut
    entry_price: MoneyOut | None
    exit_price: MoneyOut | None
    profit: MoneyOut
    fees: MoneyOut
    exit_role: str | None

    @classmethod
    def of(cls, trade: BotTrade) -> "TradeOut":
        """Return a round trip."""
        return cls.model_validate(trade, from_attributes=True)


class TradePage(BaseModel):
    """Round trips, the newest first."""

    items: list[TradeOut]
    next: str | None


class TripOut(BaseModel):
    """A safeguard that has tripped; `bot_id` is null for one of all bots together."""

    id: UUID
    bot_id: UUID | None
    rule: str
    at: datetime
    reason: SaidOut | None
    action: str
    rearmed_at: datetime | None
    rearmed_by: str | None

    @classmethod
    def of(cls, trip: BotTrip) -> "TripOut":
        """Return a trip."""
        reason = SaidOut.stored(trip.values) if trip.values else None
        return cls(reason=reason, **{name: getattr(trip, name) for name in cls.model_fields if name != "reason"})
