"""What a file about a backtest is made of: everything that repeats it, its report, and its columns."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from app.backtests.report_parts import Report
from app.domain.arrays import Floats, Times
from app.domain.outcome import FillColumns, TradeColumns


class RunHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What makes the run again. Fractions are of one; amounts and prices are decimal.

    Attributes:
        number: As its user counts: #142.
        state: `completed`, or `canceled` for the part that was done.
        strategy: Its name.
        version: Number of its version.
        version_id: The version itself, whose source never changes.
        parameters: All values that it ran with.
        exchange: Where the candles are from.
        symbol: What was traded.
        timeframe: Length of a candle.
        start_at: The first candle that may decide opens at or after it.
        end_at: Exclusive.
        capital: Quote units.
        fee: The taker's.
        maker_fee: The maker's.
        slippage: Of a market order.
        volume_share: Of a candle's volume that an order may take; 0 is no cap.
        funding_rate: Every 8 hours; 0 is none.
        detail: Whether one-minute candles were walked inside a candle.
        tick: Quote units that prices are multiples of; 0 is no rule.
        step: Base units that quantities are multiples of; 0 is no rule.
        least_notional: Quote units below which an order is denied; 0 is no rule.
        engine_version: What simulated it.
        seed: Of whatever is random.
        candles_sha256: Of all candles that it saw.
        finished_at: When it was over.
        note: What its user wrote to it.
        safeguards: Of the account, as they are stored.
    """

    number: int
    state: str
    strategy: str
    version: int
    version_id: str
    parameters: dict[str, Any]
    exchange: str
    symbol: str
    timeframe: str
    start_at: datetime
    end_at: datetime
    capital: Decimal
    fee: Decimal
    maker_fee: Decimal
    slippage: Decimal
    volume_share: float
    funding_rate: float
    detail: bool
    tick: str
    step: str
    least_notional: str
    engine_version: str | None
    seed: int
    candles_sha256: str | None
    finished_at: datetime | None
    note: str
    safeguards: dict[str, object] = {}

    @property
    def quote(self) -> str:
        """The currency of all amounts."""
        return self.symbol.partition("/")[2].partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRun:
    """A run with its result. Trades and fills name rows of `times`, open times in ms UTC, one a row of `equity` as well."""

    header: RunHeader
    report: Report
    trades: TradeColumns
    fills: FillColumns
    times: Times
    equity: Floats
