"""The parts of what a backtest came to: all that a result page, a comparison and an export show, made once when it ends, stored as JSON.

Amounts of money are Decimals, which JSON has as strings; ratios, fractions and points of charts are numbers. Times are ms since 1970 UTC.
None means that a figure does not exist, never zero: docs/metrics.md says of each when that is. There is no NaN and no infinity anywhere.
"""

from decimal import Decimal
from typing import Final, Literal

import msgspec

from app.domain.metrics import Drawdown, EquityFigures
from app.domain.metrics_tables import Distribution, YearReturns
from app.domain.metrics_trades import ReasonFigures, TradeFigures

#: Changes when stored reports would have to be read otherwise.
REPORT_VERSION: Final = 1
MOST_POINTS: Final = 2_000
MOST_GAPS: Final = 50
MOST_TRIPS: Final = 50

Verdict = Literal["pass", "warn", "fail"]


class Points(msgspec.Struct, frozen=True, kw_only=True):
    """The curves to draw, as columns of one length, at most `MOST_POINTS`; the extremes of every part of the whole are among them.

    Attributes:
        time: Closes of candles, ms, rising; the first is the first decision's, before anything happened.
        equity: Quote units.
        held: The same of having bought and held.
        drawdown: How far `equity` is below its highest so far, a positive fraction (0 to 1).
    """

    time: tuple[int, ...]
    equity: tuple[float, ...]
    held: tuple[float, ...]
    drawdown: tuple[float, ...]


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Costs apart, in quote units: gross − fees − slippage − funding = net.

    Attributes:
        gross: What the same fills would have brought at the candles' own prices and without fees.
        fees: Paid.
        slippage: Lost by market orders beside the candles' prices.
        funding: Paid; negative when received.
        net: What is left: last equity less the capital.
        share_of_gross: Costs as a fraction of `gross`; None where that is not above 0.
        turnover: Sum of the fills' notionals.
    """

    gross: Decimal
    fees: Decimal
    slippage: Decimal
    funding: Decimal
    net: Decimal
    share_of_gross: float | None
    turnover: Decimal


class Kpis(msgspec.Struct, frozen=True, kw_only=True):
    """The eight numbers over a result, with what stands under each. Fractions of one; `held` is of having bought and held.

    Every one is explained where it comes from: `EquityFigures` and `TradeFigures`.
    """

    net: Decimal
    net_return: float
    held_net: Decimal
    held_return: float
    cagr: float | None
    held_cagr: float | None
    max_drawdown: float
    held_max_drawdown: float
    sharpe: float | None
    held_sharpe: float | None
    sortino: float | None
    profit_factor: float | None
    payoff_ratio: float | None
    win_rate: float | None
    won: int
    closed: int
    open: int
    average_hold_ms: int | None
    exposure: float


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A hole in the candles: open times, start inclusive, end exclusive, and how many are missing.

    `outcome` is what the book of holes knows of it (a `GapOutcome`); None when it knows nothing.
    """

    start_ms: int
    end_ms: int
    candles: int
    outcome: str | None = None


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the quality checks must be told, since no outcome shows it; None is not known.

    Attributes:
        has_look_ahead: Whether the validation of the version saw it use candles that had not closed yet; None when it was not validated.
        is_warm_up_short: Whether that validation found its figures to differ with a longer history.
        warm_up: Candles that it wants before its first decision.
        known_gaps: (start, end, outcome) of the book of holes, open times in ms, end exclusive.
    """

    has_look_ahead: bool | None = None
    is_warm_up_short: bool | None = None
    warm_up: int | None = None
    known_gaps: tuple[tuple[int, int, str], ...] = ()


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One quality check: `pass`, or something to be careful with (`warn`), or a reason not to trust the result at all (`fail`).

    Attributes:
        code: Stable: see `quality.CODES`.
        verdict: What came of it.
        title: Short name, a key of the catalogue.
        message: A sentence of the catalogue with `values` as `%(name)s`; `quality.told(check)` says it in the reader's language.
        values: What stands in the sentence, numbers in English notation.
        figures: The numbers behind it, for charts and clients.
    """

    code: str
    verdict: Verdict
    title: str
    message: str
    values: dict[str, str] = {}
    figures: dict[str, float | None] = {}


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """A safeguard that tripped.

    Attributes:
        at_ms: Open time of the candle in which it did.
        rule: One of `domain.safeguards.TRIPPING`.
        action: `suspend` or `flatten`.
        message: Why, a sentence of the catalogue with `values` as `%(name)s`.
        values: What stands in the sentence, numbers in English notation.
    """

    at_ms: int
    rule: str
    action: str
    message: str
    values: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole.

    Attributes:
        version: `REPORT_VERSION` when it was made.
        start_ms: Close of the candle of the first decision.
        end_ms: Close of the last candle.
        timeframe_ms: Length of a candle.
        candles: How many it decided at.
        capital: Quote units at the start.
        final_equity: Quote units at the end, an open position marked at the last close.
        kpis: The numbers on top.
        strategy: Figures of its equity.
        held: The same of having bought at the open after the first decision, all of the capital, with the same taker's fee and slippage
            and without funding, in fractions of a step, and marked at the last close as an open position of the strategy is.
        trades: Figures of its trades.
        exposure: Fraction of the candles at whose close there was a position (0 to 1).
        denied: Orders that were too small.
        capped: Orders that got less than they wanted, as the candle's volume had no more.
        missed: Entries with a limit that the price did not come to.
        points: The curves.
        years: Returns by month and year, oldest first.
        distribution: Of closed trades' returns; None without any.
        by_exit_reason: Closed trades by why they ended, most first.
        drawdowns: The ten deepest, deepest first.
        costs: Gross to net.
        gaps: Holes in the candles from the first decision on, longest first, at most `MOST_GAPS`.
        missing_candles: Candles missing in all holes.
        checks: Quality checks, worst first.
        refused: Entries and additions that a safeguard denied.
        limited: Entries and additions that one cut.
        trips: Safeguards that tripped, oldest first, at most `MOST_TRIPS`.
        trip_count: How many in all.
    """

    version: int = REPORT_VERSION
    start_ms: int
    end_ms: int
    timeframe_ms: int
    candles: int
    capital: Decimal
    final_equity: Decimal
    kpis: Kpis
    strategy: EquityFigures
    held: EquityFigures
    trades: TradeFigures
    exposure: float
    denied: int
    capped: int
    missed: int = 0
    points: Points
    years: tuple[YearReturns, ...]
    distribution: Distribution | None
    by_exit_reason: tuple[ReasonFigures, ...]
    drawdowns: tuple[Drawdown, ...]
    costs: Costs
    gaps: tuple[Gap, ...]
    missing_candles: int
    checks: tuple[Check, ...]
    refused: int = 0
    limited: int = 0
    trips: tuple[Trip, ...] = ()
    trip_count: int = 0
