"""Shapes of pairs, amendments and protections in the API. Money is a JSON string; percentages are 0–100."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.enums import Side, Source
from app.domain.protection import ProtectionPlan, Target, load_plan
from app.trading.amend import Amendment
from app.trading.oco import OcoIntent
from app.trading.schemas import Amount, MoneyOut, TargetIn, plan_of


class OcoIn(BaseModel):
    """Two orders of which one cancels the other: a limit at `price`, a stop at `trigger_price` on the market's other side."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(min_length=1, max_length=60)
    side: Side
    quantity: Amount
    price: Amount
    trigger_price: Amount
    stop_limit_price: Amount | None = None
    broker_id: UUID | None = None
    client_intent_id: str | None = Field(None, min_length=1, max_length=100)

    def intent(self, key: str) -> OcoIntent:
        """Return the wish, identified by `key`."""
        return OcoIntent(
            symbol=self.symbol,
            side=self.side,
            source=Source.MANUAL,
            key=key,
            quantity=self.quantity,
            price=self.price,
            trigger_price=self.trigger_price,
            stop_limit_price=self.stop_limit_price,
        )


class OrderPatch(BaseModel):
    """What of an open order is to change; `quantity` is the whole order's."""

    model_config = ConfigDict(extra="forbid")

    price: Amount | None = None
    quantity: Amount | None = None
    trigger_price: Amount | None = None
    trailing_percent: Amount | None = None

    def amendment(self) -> Amendment:
        """Return the change."""
        return Amendment(
            price=self.price,
            quantity=self.quantity,
            trigger_price=self.trigger_price,
            trailing_delta=None if self.trailing_percent is None else self.trailing_percent / 100,
        )


class ProtectionIn(BaseModel):
    """How an open position is to be guarded from now on; what is left out is not guarded."""

    model_config = ConfigDict(extra="forbid")

    stop_loss: Amount | None = None
    stop_limit_price: Amount | None = None
    trailing_percent: Amount | None = None
    take_profit: Amount | None = None
    take_profits: list[TargetIn] = Field(default_factory=list, max_length=20)
    break_even_after: int | None = Field(None, ge=1, le=20)

    def plan(self) -> ProtectionPlan:
        """Return the plan."""
        return plan_of(
            stop_loss=self.stop_loss,
            stop_limit_price=self.stop_limit_price,
            trailing_percent=self.trailing_percent,
            take_profit=self.take_profit,
            take_profits=self.take_profits,
            break_even_after=self.break_even_after,
        )


class TargetOut(BaseModel):
    """A price at which `percent` of the position is sold."""

    price: MoneyOut
    percent: MoneyOut


class ProtectionOut(BaseModel):
    """How a position is guarded. `mode` says who watches: pairs or the stop at the exchange, or all of it here (supervised).

    `bot_id` is of the bot that holds the position, null for what was bought by hand or by an alert.
    """

    id: UUID
    broker_id: UUID
    bot_id: UUID | None
    position_id: UUID | None
    symbol: str
    mode: str
    stop_loss: MoneyOut | None
    stop_limit_price: MoneyOut | None
    trailing_percent: MoneyOut | None
    take_profits: list[TargetOut]
    break_even_after: int | None
    is_unprotected: bool
    code: str | None
    detail: str | None

    @classmethod
    def of(cls, row: Any) -> "ProtectionOut":
        """Return a protection of its row."""
        plan = load_plan(row["plan"])
        return cls(
            stop_loss=plan.stop_price,
            stop_limit_price=plan.stop_limit_price,
            trailing_percent=None if plan.trailing_delta is None else plan.trailing_delta * 100,
            take_profits=[_target(target) for target in plan.targets],
            break_even_after=plan.break_even_after,
            is_unprotected=row["unprotected_since"] is not None,
            **{name: row[name] for name in ("id", "broker_id", "bot_id", "position_id", "symbol", "mode", "code", "detail")},
        )


class ProtectionPage(BaseModel):
    """What guards open positions."""

    items: list[ProtectionOut]
    next: str | None = None


def _target(target: Target) -> TargetOut:
    return TargetOut(price=target.price, percent=target.fraction * Decimal(100))
