"""Shapes of what the portfolio's part of the API tells. Money is a JSON string."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.currencies import Currency
from app.domain.enums import FlowNote
from app.trading.schemas import MoneyOut, PositionOut


class BalanceLine(BaseModel):
    """One asset of an account; `value_usdt`, and `value` in the answer's currency, are null when nobody quotes it in USDT."""

    broker_id: UUID
    asset: str
    free: MoneyOut
    locked: MoneyOut
    value_usdt: MoneyOut | None
    value: MoneyOut | None


class ProfitLines(BaseModel):
    """Realised and unrealised profit in USDT-like quote currency."""

    realized: MoneyOut
    unrealized: MoneyOut


class ProfitOut(BaseModel):
    """What was earned in a period, in the answer's currency: how the worth changed without `flows`, what came in less what went out.

    `amount` is null before the first reading; `fraction` is of what there was to earn it with.
    """

    amount: MoneyOut | None
    fraction: MoneyOut | None
    flows: MoneyOut


class ProfitsOut(BaseModel):
    """Since the last midnight UTC, within 7 and 30 days, and since the first reading."""

    day: ProfitOut
    week: ProfitOut
    month: ProfitOut
    all: ProfitOut


class RealizedOut(BaseModel):
    """What was realised in one quote currency, after fees, in that currency."""

    quote: str
    day: MoneyOut
    week: MoneyOut
    month: MoneyOut
    all: MoneyOut


class FeeOut(BaseModel):
    """What the fills of our orders cost in one asset."""

    asset: str
    amount: MoneyOut


class PortfolioOut(BaseModel):
    """What a user has; `as_of` is when the exchange was last asked, null before the first time.

    `currency` is what `total`, `value` and `profit` are in: the one asked for, else the user's own; USDT, with the wish in
    `rate_missing`, where no rate is known. `rate` is what one of it is worth in USDT.
    """

    user: str
    total_usdt: MoneyOut
    currency: Currency
    rate: MoneyOut
    rate_missing: Currency | None
    total: MoneyOut
    balances: list[BalanceLine]
    positions: list[PositionOut]
    pnls: ProfitLines
    profit: ProfitsOut
    realized_by_quote: list[RealizedOut]
    fees: list[FeeOut]
    as_of: datetime | None


class EquityPointOut(BaseModel):
    """What the accounts were worth together; `flow` is what of the change since the point before was put in or taken out.

    `earned` is the time-weighted return since the first point, a fraction.
    """

    at: datetime
    equity: MoneyOut
    flow: MoneyOut
    earned: MoneyOut


class EquityOut(BaseModel):
    """The equity curve, oldest first, at today's rate."""

    currency: Currency
    rate_missing: Currency | None
    period: Literal["1d", "7d", "30d", "1y", "all"]
    items: list[EquityPointOut]


class FlowOut(BaseModel):
    """An amount that came (above zero) or went without a trade, as it stands after its corrections; `first_amount` is what it was at first.

    `at` is when the balance was read that had it for the first time. `id` and `note` are null while it is being checked.
    """

    id: UUID | None
    broker_id: UUID
    asset: str
    at: datetime
    amount: MoneyOut
    value_usdt: MoneyOut | None
    note: FlowNote | None
    first_amount: MoneyOut | None
    corrections: int


class FlowPage(BaseModel):
    """Flows, newest first; `waiting` (with the first page only) are changes that a trade may still explain."""

    items: list[FlowOut]
    waiting: list[FlowOut]
    next: str | None


class FlowPatch(BaseModel):
    """What a flow was; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    note: FlowNote | None = Field(None, description="`income` is an airdrop or interest, `reset` a paper account begun anew")
