"""Shapes of the backtests' API. Amounts of money are JSON strings; fractions are numbers: 0.001 is 0.1 %."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.backtests.models import LONGEST_NOTE, Backtest, BacktestState
from app.backtests.results import BacktestTrade, amount
from app.backtests.service import Listed
from app.backtests.wish import USUAL_CAPITAL, USUAL_SLIPPAGE, BacktestWish, Options, options_of
from app.domain.safeguards import checked, plain_safeguards, read_safeguards
from app.strategies.trial_schemas import Parameters, TimeframeName
from app.trading.schemas import Amount, MoneyOut

Fraction = Annotated[Decimal, Field(ge=0, le=Decimal("0.1"), description="A fraction: 0.001 is 0.1 %")]
#: Venues pay makers, too.
MakerFraction = Annotated[Decimal, Field(ge=Decimal("-0.01"), le=Decimal("0.1"), description="A fraction; below 0 it is received")]
_AMOUNTS: Final = ("quantity", "entry_price", "exit_price", "fees", "slippage", "funding", "profit")
Note = Annotated[str, Field(max_length=LONGEST_NOTE)]


class OptionsIn(BaseModel):
    """What else the simulation takes into account."""

    model_config = ConfigDict(extra="forbid")

    volume_share: Annotated[float, Field(ge=0, le=1, description="Fraction of a candle's volume that one order may take; 0: no cap")] = 0.0
    funding_rate: Annotated[float, Field(ge=-0.05, le=0.05, description="Of the notional every 8 hours; 0: none")] = 0.0
    detail: Annotated[bool, Field(description="Walk one-minute candles where stop and target lie inside one candle")] = False

    safeguards: Annotated[dict[str, Any], BeforeValidator(checked), Field(description="Of the account: docs/safeguards.md")] = {}

    def options(self) -> Options:
        """Return the options that are asked for."""
        return Options(
            volume_share=self.volume_share,
            funding_rate=self.funding_rate,
            is_detailed=self.detail,
            safeguards=read_safeguards(self.safeguards),
        )


class BacktestIn(BaseModel):
    """A backtest to make. What is left out is the strategy's, the account's, or the usual."""

    model_config = ConfigDict(extra="forbid")

    strategy_id: UUID
    version: Annotated[int | None, Field(ge=1, le=1_000_000, description="Its number; the newest if not given")] = None
    parameters: Parameters = {}
    broker_id: Annotated[UUID | None, Field(description="Whose exchange and fees; the server's own feed if not given")] = None
    symbol: Annotated[str, Field(min_length=2, max_length=40, description="BTC/USDT, BTCUSDT or BINANCE:BTCUSDT")]
    timeframe: TimeframeName = None
    start_at: Annotated[AwareDatetime, Field(description="Of the first candle that may decide")]
    end_at: Annotated[AwareDatetime, Field(description="Exclusive")]
    capital: Annotated[Amount, Field(le=Decimal(10) ** 12)] = USUAL_CAPITAL
    fee: Fraction | None = None
    maker_fee: MakerFraction | None = None
    slippage: Fraction = USUAL_SLIPPAGE
    options: OptionsIn = OptionsIn()
    seed: Annotated[int | None, Field(ge=0, lt=2**53)] = None
    note: Note = ""

    def wish(self) -> BacktestWish:
        """Return what is wished for."""
        given = self.model_dump(exclude={"options"})
        return BacktestWish(**given, options=self.options.options())


class BacktestNoteIn(BaseModel):
    """Another note."""

    model_config = ConfigDict(extra="forbid")

    note: Note


class BacktestOut(BaseModel):
    """A backtest in a list. `summary` has the figures of its result, `progress` those of one that runs."""

    id: UUID
    number: int
    note: str
    state: BacktestState
    strategy_id: UUID
    strategy_name: str
    version: int
    version_id: UUID
    has_look_ahead: bool
    is_validated: bool
    parameters: dict[str, Any]
    broker_id: UUID | None
    exchange: str
    symbol: str
    timeframe: str
    start_at: datetime
    end_at: datetime
    capital: MoneyOut
    fee: MoneyOut
    maker_fee: MoneyOut
    slippage: MoneyOut
    options: dict[str, Any]
    rules: dict[str, Any]
    seed: int
    engine_version: str | None
    candles_sha256: str | None
    summary: dict[str, Any] | None
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, listed: Listed) -> "BacktestOut":
        """Return a backtest of a list."""
        return cls(**_common(listed, cls))


class BacktestDetail(BacktestOut):
    """A backtest with its report (docs/metrics.md), the candles that it saw, and what the strategy printed."""

    report: dict[str, Any] | None
    data: dict[str, Any] | None
    output: str

    @classmethod
    def of(cls, listed: Listed) -> "BacktestDetail":
        """Return a backtest in full."""
        return cls(**_common(listed, cls))


class BacktestPage(BaseModel):
    """Backtests, the newest first; `next` is the cursor of the page after, None at the end."""

    items: list[BacktestOut]
    next: str | None


class BacktestTradeOut(BaseModel):
    """A round trip. `worst` and `best` are fractions of the entry price; `reason` is None while it is open, at the last candle."""

    number: int
    side: str
    entry_at: datetime
    exit_at: datetime
    candles: int
    quantity: str
    entry_price: str
    exit_price: str
    fees: str
    slippage: str
    funding: str
    profit: str
    profit_fraction: float
    worst: float
    best: float
    reason: str | None

    @classmethod
    def of(cls, trade: BacktestTrade) -> "BacktestTradeOut":
        """Return a round trip."""
        values = {name: getattr(trade, name) for name in cls.model_fields}
        return cls(**values | {name: amount(values[name]) for name in _AMOUNTS})


class BacktestTradePage(BaseModel):
    """Round trips; `next` is the cursor of the page after, None at the end; `total` counts all of them."""

    items: list[BacktestTradeOut]
    total: int
    next: str | None


class EquityOut(BaseModel):
    """The account at the close of candles: open times in ms UTC, amounts in quote units. Extremes are kept when there are fewer points."""

    time: list[int]
    equity: list[str]
    candles: int


def _common(listed: Listed, kind: type[BacktestOut]) -> dict[str, Any]:
    backtest: Backtest = listed.backtest
    ours: dict[str, Any] = {
        "strategy_name": listed.strategy_name,
        "version": listed.version_number,
        "has_look_ahead": listed.has_look_ahead,
        "is_validated": listed.is_validated,
    }
    options = options_of(backtest.options)
    ours["options"] = {
        "volume_share": options.volume_share,
        "funding_rate": options.funding_rate,
        "detail": options.is_detailed,
        "safeguards": plain_safeguards(options.safeguards),
    }
    return ours | {name: getattr(backtest, name) for name in kind.model_fields if name not in ours}
