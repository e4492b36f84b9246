"""Shapes of the risk API. Money is a JSON string; shares are percents."""

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from app.domain.enums import TradingState
from app.domain.limits import DEFAULTS, RiskLimits
from app.domain.risk import ScopeKind
from app.trading.limits import AccountLimits
from app.trading.schemas import Amount, MoneyOut, parse_decimal
from app.trading.states import Restraint

_SHARES = ("price_collar", "price_deviation")


def _share(value: Decimal) -> Decimal:
    if not 0 < value <= 1000:
        raise ValueError(f"must be between 0 and 1000 percent, was {value:f}")
    return value


Percent = Annotated[Decimal, BeforeValidator(parse_decimal), AfterValidator(_share), Field(json_schema_extra={"type": "string"})]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class LimitsIn(BaseModel):
    """All limits of one account, or without `broker_id` of all accounts together. What is left out or null is the default again."""

    model_config = ConfigDict(extra="forbid")

    broker_id: UUID | None = None
    max_order_notional: Amount | None = Field(None, description="USDT that one order may be worth")
    max_position_notional: Amount | None = Field(None, description="USDT that a position may be worth")
    max_daily_loss: Amount | None = Field(None, description="USDT that may be lost on one UTC day before entries stop")
    max_open_orders: Count | None = None
    max_daily_orders: Count | None = None
    orders_per_minute: Count | None = None
    rejects_per_minute: Count | None = Field(None, description="refusals of the exchange in a minute after which entries stop")
    price_collar_percent: Percent | None = Field(None, description="how far on the wrong side of the market a limit price may be")
    price_deviation_percent: Percent | None = Field(None, description="how far from its last candle the market may be for a market order")

    def limits(self) -> RiskLimits:
        """Return them as the rules read them."""
        values = {field.name: getattr(self, field.name, None) for field in fields(RiskLimits) if field.name not in _SHARES}
        shares = {name: getattr(self, f"{name}_percent") for name in _SHARES}
        return RiskLimits(**values, **{name: None if share is None else share / 100 for name, share in shares.items()})


class LimitsOut(BaseModel):
    """Limits; null means none."""

    max_order_notional: MoneyOut | None
    max_position_notional: MoneyOut | None
    max_daily_loss: MoneyOut | None
    max_open_orders: int | None
    max_daily_orders: int | None
    orders_per_minute: int | None
    rejects_per_minute: int | None
    price_collar_percent: MoneyOut | None
    price_deviation_percent: MoneyOut | None

    @classmethod
    def of(cls, limits: RiskLimits) -> "LimitsOut":
        """Return limits as the API shows them."""
        values = {field.name: getattr(limits, field.name) for field in fields(RiskLimits)}
        shares = {f"{name}_percent": values.pop(name) for name in _SHARES}
        return cls(**values, **{name: None if share is None else share * 100 for name, share in shares.items()})


class AccountLimitsOut(BaseModel):
    """What is set for an account, and what holds for it with the defaults. `broker_id` null means all accounts together."""

    broker_id: UUID | None
    name: str
    own: LimitsOut
    effective: LimitsOut

    @classmethod
    def of(cls, found: AccountLimits) -> "AccountLimitsOut":
        """Return one account's limits."""
        holds = found.own if found.broker_id is None else found.own.over(DEFAULTS)
        return cls(broker_id=found.broker_id, name=found.name, own=LimitsOut.of(found.own), effective=LimitsOut.of(holds))


class LimitsPage(BaseModel):
    """The limits of a user: first of all accounts together, then of each account."""

    items: list[AccountLimitsOut]
    defaults: LimitsOut


class RestraintOut(BaseModel):
    """One cause for which something may not trade freely. `key` is an id, a symbol or `platform`."""

    scope: ScopeKind
    key: str
    state: TradingState
    code: str
    reason: str
    set_by: str
    set_at: datetime
    needs_rearm: bool

    @classmethod
    def of(cls, restraint: Restraint) -> "RestraintOut":
        """Return a restraint as the API shows it."""
        names = ("state", "code", "reason", "set_by", "set_at", "needs_rearm")
        return cls(scope=restraint.scope.kind, key=restraint.scope.name, **{name: getattr(restraint, name) for name in names})


class StatesOut(BaseModel):
    """Whether the user may trade: the strictest state of all that concerns everything of theirs, and every restraint."""

    state: TradingState
    items: list[RestraintOut]


class StateChange(BaseModel):
    """One line of the log."""

    scope: ScopeKind
    key: str
    action: str
    state: TradingState
    code: str
    reason: str
    by: str
    at: datetime


class StateLog(BaseModel):
    """Who restrained or resumed trading, newest first."""

    items: list[StateChange]
