"""What a search is made on: market, range and costs, as they were settled when it was made; and its way into a row and back."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from app.backtests.models import Backtest
from app.backtests.service import Settled
from app.backtests.wish import BacktestWish, Options, Rules
from app.sandbox.messages import Value


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """As the columns of the same names of `models.Backtest`."""

    broker_id: UUID | None
    exchange: str
    symbol: str
    timeframe: str
    start_at: datetime
    end_at: datetime
    capital: Decimal
    fee: Decimal
    maker_fee: Decimal
    slippage: Decimal
    options: Options
    rules: Rules
    memory_bytes: int

    @classmethod
    def of(cls, wish: BacktestWish, settled: Settled, *, start: datetime, end: datetime, memory_bytes: int) -> "Header":
        """Return the header of what is wished for."""
        return cls(
            broker_id=wish.broker_id, exchange=settled.exchange, symbol=settled.symbol, timeframe=settled.timeframe.value, start_at=start,
            end_at=end, capital=wish.capital, fee=settled.fee, maker_fee=settled.maker_fee, slippage=wish.slippage, options=wish.options,
            rules=settled.rules, memory_bytes=memory_bytes,
        )  # fmt: skip

    def wish(self, strategy_id: UUID, version: int, *, parameters: dict[str, Value], seed: int, note: str = "") -> BacktestWish:
        """Return the wish for a backtest of the same market, range and costs."""
        return BacktestWish(
            strategy_id=strategy_id, version=version, parameters=parameters, broker_id=self.broker_id, symbol=self.symbol,
            timeframe=self.timeframe, start_at=self.start_at, end_at=self.end_at, capital=self.capital, fee=self.fee,
            maker_fee=self.maker_fee, slippage=self.slippage, options=self.options, seed=seed, note=note,
        )  # fmt: skip

    def as_backtest(self, user_id: UUID, version_id: UUID, parameters: dict[str, Value]) -> Backtest:
        """Return a backtest that is stored nowhere: what brings candles together asks one."""
        return Backtest(
            user_id=user_id, version_id=version_id, parameters=parameters, broker_id=self.broker_id, exchange=self.exchange,
            symbol=self.symbol, timeframe=self.timeframe, start_at=self.start_at, end_at=self.end_at, capital=self.capital, fee=self.fee,
            maker_fee=self.maker_fee, slippage=self.slippage, options=msgspec.to_builtins(self.options),
            rules=msgspec.to_builtins(self.rules),
        )  # fmt: skip


def stored(value: msgspec.Struct) -> dict[str, Any]:
    """Return a struct as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


def header_of(row: dict[str, Any]) -> Header:
    """Return a header as it is stored."""
    return msgspec.convert(row, Header, strict=False)
