"""Shapes of the API of shadows and promotions. Amounts of money are JSON strings."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.bots.models import AtEnd, BotMode
from app.bots.schemas import BotDetail, Capital, Limits, Name
from app.core.sentences import filled
from app.domain.candles import from_milliseconds
from app.shadow.models import BotShadow, ShadowState
from app.shadow.promotion import Choice, Offer, Warn
from app.trading.schemas import MoneyOut


class DifferenceOut(BaseModel):
    """One thing that went differently; `money` is its part of `live` − `shadow`, `bps` by how much a price was worse."""

    cause: str
    at: datetime
    money: MoneyOut
    message: str
    values: dict[str, str]
    text: str
    code: str | None
    signal_id: UUID | None
    order_ids: list[UUID]
    bps: MoneyOut | None

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "DifferenceOut":
        """Return a difference as rows keep it."""
        told = {**stored, "at": from_milliseconds(stored["at"]), "money": Decimal(stored["money"])}
        told["bps"] = None if stored["bps"] is None else Decimal(stored["bps"])
        return cls(text=filled(stored["message"], stored["values"]), **told)


class ShadowOut(BaseModel):
    """A bot beside its shadow: `live` − `shadow` is the sum of `causes` and `rest`, exactly. Null while there is no result."""

    id: UUID
    bot_id: UUID
    day: date
    state: ShadowState
    asked_at: datetime
    finished_at: datetime | None
    first_at: datetime | None
    until_at: datetime | None
    engine_version: str | None
    live: MoneyOut | None
    shadow: MoneyOut | None
    rest: MoneyOut | None
    live_trades: int | None
    shadow_trades: int | None
    causes: dict[str, MoneyOut]
    differences: Annotated[list[DifferenceOut] | None, Field(description="Null of days that are long past")]
    curve: Annotated[list[list[float]] | None, Field(description="Close time in ms, equity of the bot, equity of its shadow")]
    header: Annotated[dict[str, Any], Field(description="What the shadow was simulated with")]
    error: dict[str, Any] | None

    @classmethod
    def of(cls, shadow: BotShadow) -> "ShadowOut":
        """Return a comparison."""
        own = {name: getattr(shadow, name) for name in cls.model_fields if name not in ("causes", "differences")}
        differences = None if shadow.differences is None else [DifferenceOut.of(one) for one in shadow.differences]
        return cls(causes={name: Decimal(money) for name, money in shadow.causes.items()}, differences=differences, **own)


class WarnOut(BaseModel):
    """What a bot would do otherwise than its backtest."""

    code: str
    message: str
    values: dict[str, str]
    text: str

    @classmethod
    def of(cls, one: Warn) -> "WarnOut":
        """Return a warning."""
        return cls(code=one.code, message=one.message, values=dict(one.values), text=filled(one.message, one.values))


class OfferOut(BaseModel):
    """What a bot of a backtest would be."""

    backtest_id: UUID
    number: int
    strategy_id: UUID
    version: int
    parameters: dict[str, Any]
    symbol: str
    timeframe: str
    capital: MoneyOut
    safeguards: dict[str, Any]
    broker_id: UUID | None
    warnings: list[WarnOut]

    @classmethod
    def of(cls, offer: Offer) -> "OfferOut":
        """Return an offer."""
        own = {name: getattr(offer, name) for name in cls.model_fields if name != "warnings"}
        return cls(warnings=[WarnOut.of(one) for one in offer.warnings], **own)


class PromoteIn(BaseModel):
    """What is decided when a backtest becomes a bot; what is left out is the backtest's."""

    model_config = ConfigDict(extra="forbid")

    broker_id: Annotated[UUID, Field(description="Where its orders go")]
    mode: BotMode
    capital: Capital | None = None
    name: Name = ""
    start_at: AwareDatetime | None = None
    end_at: AwareDatetime | None = None
    at_end: AtEnd = AtEnd.KEEP
    safeguards: Limits | None = None

    def choice(self, idempotency_key: str | None) -> Choice:
        """Return what was decided."""
        return Choice(**self.model_dump(), idempotency_key=idempotency_key)


class PromotedOut(BaseModel):
    """The bot that was made, ready to be started, and what it will do otherwise than its backtest."""

    bot: BotDetail
    warnings: list[WarnOut]
