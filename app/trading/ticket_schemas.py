"""Shapes of order previews, of orders on several accounts, and of partial closes. Money is a JSON string; percentages are 0–100."""

from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.enums import Execution, OrderType, Side
from app.errors import AppError
from app.trading.bracket import Bracket
from app.trading.preview import Preview
from app.trading.schemas import Amount, MoneyOut, OrderIn, OrderOut


class ProblemOut(BaseModel):
    """Why something was not, or would not be, done: the code, the sentence, and the field it is about."""

    code: str
    detail: str
    field: str | None

    @classmethod
    def of(cls, error: AppError) -> "ProblemOut":
        """Return the problem that an error tells."""
        return cls(code=error.code, detail=error.message, field=error.field)


class FeeOut(BaseModel):
    """The expected fee. `source` says where its rate (percent) is known from: the account's terms, its last fills, or assumed."""

    amount: MoneyOut
    asset: str
    in_quote: MoneyOut
    rate: MoneyOut
    liquidity: Literal["maker", "taker"]
    source: Literal["account", "fills", "assumed"]


class SlippageOut(BaseModel):
    """What taking so much from the visible book costs; `held` is the percentage of the order that the book holds."""

    average_price: MoneyOut
    worst_price: MoneyOut
    percent: MoneyOut
    held: MoneyOut


class StepOut(BaseModel):
    """One order that guards the position after the fill; of a pair the exchange lets one half trade."""

    kind: Literal["pair", "stop", "target"]
    quantity: MoneyOut
    target: MoneyOut | None
    execution: Execution


class BracketOut(BaseModel):
    """What is placed after the fill. `reason` says why not all of it is at the exchange; null where it is."""

    stop: MoneyOut | None
    trailing_percent: MoneyOut | None
    break_even_after: int | None
    steps: list[StepOut]
    reason: str | None

    @classmethod
    def of(cls, bracket: Bracket) -> "BracketOut":
        """Return what is foretold."""
        plan = bracket.plan
        return cls(
            stop=plan.stop_price,
            trailing_percent=None if plan.trailing_delta is None else plan.trailing_delta * 100,
            break_even_after=plan.break_even_after,
            steps=[
                StepOut(
                    kind=step.kind,
                    quantity=step.quantity,
                    target=step.target,
                    execution=Execution.SUPERVISED if step.is_here else Execution.NATIVE,
                )
                for step in bracket.steps
            ],
            reason=bracket.reason,
        )


class PreviewOut(BaseModel):
    """What an order would be. `denial` is why it would not be sent, null when it would; figures are null where something is missing."""

    broker_id: UUID
    symbol: str
    side: Side
    type: OrderType
    allowed: bool
    denial: ProblemOut | None
    execution: Execution | None
    quantity: MoneyOut | None
    notional: MoneyOut | None
    percent: MoneyOut | None
    price: MoneyOut | None
    trigger_price: MoneyOut | None
    expected_price: MoneyOut | None
    minimum_notional: MoneyOut | None
    fee: FeeOut | None
    slippage: SlippageOut | None
    free_asset: str
    free_before: MoneyOut | None
    free_after: MoneyOut | None
    risk: MoneyOut | None
    reward: MoneyOut | None
    reward_to_risk: MoneyOut | None
    protection: BracketOut | None

    @classmethod
    def of(cls, found: Preview, asked: OrderIn) -> "PreviewOut":
        """Return the preview of what was `asked`."""
        figures, order, rules = found.figures, found.order, found.instrument
        return cls(
            broker_id=found.setting.account.id,
            symbol=rules.symbol,
            side=asked.side,
            type=asked.type,
            allowed=found.denial is None,
            denial=None if found.denial is None else ProblemOut.of(found.denial),
            execution=found.execution,
            quantity=None if figures is None else figures.quantity,
            notional=None if figures is None else figures.amount,
            percent=None if figures is None or figures.share is None else figures.share * 100,
            price=asked.price if order is None else order.price,
            trigger_price=asked.trigger_price if order is None else order.trigger_price,
            expected_price=None if figures is None else figures.price,
            minimum_notional=rules.min_notional,
            fee=_fee(found),
            slippage=_slippage(found),
            free_asset=rules.quote if asked.side is Side.BUY else rules.base,
            free_before=found.setting.market.free,
            free_after=None if figures is None else figures.free_after,
            risk=None if figures is None else figures.risk,
            reward=None if figures is None else figures.reward,
            reward_to_risk=None if figures is None else figures.reward_to_risk,
            protection=None if found.bracket is None else BracketOut.of(found.bracket),
        )


def _fee(found: Preview) -> FeeOut | None:
    if found.figures is None:
        return None
    fee = found.figures.fee
    return FeeOut(
        amount=fee.amount,
        asset=fee.asset,
        in_quote=fee.in_quote,
        rate=fee.rate * 100,
        liquidity=fee.liquidity.value,
        source=fee.source.value,
    )


def _slippage(found: Preview) -> SlippageOut | None:
    if found.figures is None or found.figures.slippage is None:
        return None
    taken = found.figures.slippage
    return SlippageOut(
        average_price=taken.average_price,
        worst_price=taken.worst_price,
        percent=taken.fraction * 100,
        held=(taken.held * 100).quantize(Decimal("0.01")),
    )


class BatchIn(BaseModel):
    """One order for several accounts; each is sized by itself, and `order.broker_id` is left out."""

    model_config = ConfigDict(extra="forbid")

    broker_ids: list[UUID] = Field(min_length=1, max_length=20)
    order: OrderIn


class BatchItem(BaseModel):
    """What became of one account: the order, or the problem."""

    broker_id: UUID
    order: OrderOut | None = None
    problem: ProblemOut | None = None


class BatchOut(BaseModel):
    """One item for each account, as they were given."""

    items: list[BatchItem]


class CloseIn(BaseModel):
    """How much of a position is closed: `percent` of it, or all."""

    model_config = ConfigDict(extra="forbid")

    percent: Amount | None = Field(None, le=100)
