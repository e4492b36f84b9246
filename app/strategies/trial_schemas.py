"""Shapes of trials: validations and quick backtests."""

from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import to_builtins
from pydantic import BaseModel, ConfigDict, Field

from app.sandbox.messages import LONGEST_SOURCE, MOST_PARAMETERS
from app.strategies.quick import Account, QuickResult
from app.strategies.report import Found, Outcome, Report, Step, StepReport
from app.strategies.service import Market

#: Longer than a strategy may be, so that it is refused with the sentence that says how long it may be.
Source = Annotated[str, Field(max_length=8 * LONGEST_SOURCE, description=f"At most {LONGEST_SOURCE} characters")]
Exchange = Annotated[str | None, Field(max_length=40, description="Whose stored candles; the server's own feed if not given")]
Symbol = Annotated[str | None, Field(min_length=2, max_length=40, description="BTC/USDT, BTCUSDT or BINANCE:BTCUSDT")]
TimeframeName = Annotated[str | None, Field(max_length=10, description="As 1h; the strategy's own if not given")]
#: Beyond any whole number that a float holds exactly.
_LARGEST: Final = 2**53
_Word = Annotated[str, Field(max_length=64)]
Parameter = bool | Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)] | Annotated[float, Field(ge=-1e15, le=1e15)] | _Word
Parameters = Annotated[
    dict[Annotated[str, Field(max_length=64)], Parameter | None],
    Field(max_length=MOST_PARAMETERS, description="Values of the strategy's parameters; its defaults where left out"),
]


class _Market(BaseModel):
    """A market."""

    model_config = ConfigDict(extra="forbid")

    exchange: Exchange = None
    symbol: Symbol = None
    timeframe: TimeframeName = None

    def market(self) -> Market:
        """Return the market that is asked for."""
        return Market(exchange=self.exchange, symbol=self.symbol, timeframe=self.timeframe)


class MarketIn(_Market):
    """What a source is tried on, with which parameters, and the strategy that remembers it."""

    parameters: Parameters = {}
    strategy_id: UUID | None = None


class TryVersionIn(_Market):
    """What a version is tried on: with the parameters that stand in it, for with others it might be valid where it is not."""


class ValidateIn(MarketIn):
    """A source to validate, saved or not. `is_whole`: all steps, and not only those that need no candles."""

    source: Source
    is_whole: bool = True


class QuickIn(MarketIn):
    """A source to run on the last thousand candles. Fractions are of one: 0.001 is 0.1 %."""

    source: Source
    capital: Annotated[float | None, Field(gt=0, le=1e12)] = None
    fee: Annotated[float | None, Field(ge=0, le=0.1)] = None
    slippage: Annotated[float | None, Field(ge=0, le=0.1)] = None

    def account(self) -> Account:
        """Return the account that is asked for."""
        return Account(capital=self.capital, fee=self.fee, slippage=self.slippage)


class FoundOut(BaseModel):
    """One thing that a step found. `message` is an English sentence; `code` is stable. Lines and columns count from 1, 0 means none."""

    code: str
    severity: str
    message: str
    values: dict[str, str]
    attribute: str
    at_ms: int | None
    line: int
    column: int

    @classmethod
    def of(cls, found: Found) -> "FoundOut":
        """Return a finding."""
        return cls(
            code=found.code, severity=found.severity, message=found.text, values=found.values, attribute=found.attribute,
            at_ms=found.at_ms, line=found.line, column=found.column,
        )  # fmt: skip


class StepOut(BaseModel):
    """One step of a validation."""

    step: Step
    outcome: Outcome
    seconds: float
    findings: list[FoundOut]
    output: str
    traceback: str

    @classmethod
    def of(cls, step: StepReport) -> "StepOut":
        """Return a step."""
        return cls(
            step=step.step, outcome=step.outcome, seconds=step.seconds, findings=[FoundOut.of(one) for one in step.findings],
            output=step.output, traceback=step.traceback,
        )  # fmt: skip


class TriedOnOut(BaseModel):
    """The candles that a strategy was tried on; the moments are open times in ms."""

    model_config = ConfigDict(from_attributes=True)

    exchange: str
    symbol: str
    timeframe: str
    candles: int
    start_ms: int
    end_ms: int
    is_generated: bool


class ReportOut(BaseModel):
    """What a validation found. `why_not` is the first reason why the source may not trade."""

    steps: list[StepOut]
    seconds: float
    is_whole: bool
    is_valid: bool
    has_look_ahead: bool
    bars_per_s: float | None
    described: dict[str, Any] | None
    tried_on: TriedOnOut | None

    @classmethod
    def of(cls, report: Report) -> "ReportOut":
        """Return a report."""
        return cls(
            steps=[StepOut.of(step) for step in report.steps],
            seconds=report.seconds,
            is_whole=report.is_whole,
            is_valid=report.is_valid,
            has_look_ahead=report.has_look_ahead,
            bars_per_s=report.bars_per_s,
            described=described_out(report),
            tried_on=None if report.tried_on is None else TriedOnOut.model_validate(report.tried_on),
        )


def described_out(report: Report) -> dict[str, Any] | None:
    """Return what the strategy says of itself, as JSON has it."""
    if report.described is None:
        return None
    described: dict[str, Any] = to_builtins(report.described)
    described.pop("type", None)
    return described


class PointOut(BaseModel):
    """Equity at a close, and what buying and holding would have left; quote units."""

    model_config = ConfigDict(from_attributes=True)

    at_ms: int
    equity: float
    held: float


class QuickTradeOut(BaseModel):
    """A round trip; `reason` is null while it is open."""

    model_config = ConfigDict(from_attributes=True)

    side: str
    entry_ms: int
    exit_ms: int
    quantity: float
    entry_price: float
    exit_price: float
    profit: float
    fees: float
    slippage: float
    reason: str | None


class QuickOut(BaseModel):
    """What a quick backtest came to. Money is in quote units; returns, drawdowns and exposure are fractions of one."""

    model_config = ConfigDict(from_attributes=True)

    tried_on: TriedOnOut
    candles: int
    capital: float
    net: float
    gross: float
    fees: float
    slippage: float
    net_return: float
    held_return: float
    max_drawdown: float
    held_max_drawdown: float
    exposure: float
    win_rate: float | None
    trade_count: int
    denied: int
    has_few_trades: bool
    points: list[PointOut]
    trades: list[QuickTradeOut]
    notes: list[FoundOut]
    output: str

    @classmethod
    def of(cls, result: QuickResult) -> "QuickOut":
        """Return a result."""
        values = {name: getattr(result, name) for name in cls.model_fields}
        return cls.model_validate(values | {"notes": [FoundOut.of(one) for one in result.notes]})
