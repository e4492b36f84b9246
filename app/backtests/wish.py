"""What somebody wants backtested, and its way into a row and back."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from app.backtests.models import Backtest
from app.domain.candles import Timeframe
from app.domain.instruments import Instrument, plain
from app.domain.safeguards import NO_SAFEGUARDS, Safeguards, numbers_of
from app.domain.simulation import SimulationCosts
from app.sandbox.messages import Value

#: What is taken where nothing else is known or said: quote units, and a fraction.
USUAL_CAPITAL: Final = Decimal(10_000)
USUAL_SLIPPAGE: Final = Decimal("0.0005")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What else a simulation takes into account.

    Attributes:
        volume_share: Fraction of a candle's volume that one order may take; 0 is no cap.
        funding_rate: Of a perpetual's notional, every 8 hours; 0 is none.
        is_detailed: Walk one-minute candles where stop and target lie inside one candle.
        safeguards: Rules that keep the account from losing too much.
    """

    volume_share: float = 0.0
    funding_rate: float = 0.0
    is_detailed: bool = False
    safeguards: Safeguards = NO_SAFEGUARDS


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """A market's rules as they were when the backtest was made; decimal numbers as text, 0 is no rule.

    Attributes:
        tick: Quote units that prices are multiples of.
        step: Base units that quantities are multiples of.
        least_notional: Quote units below which an order is denied.
    """

    tick: str = "0"
    step: str = "0"
    least_notional: str = "0"

    @classmethod
    def of(cls, instrument: Instrument) -> "Rules":
        """Return the rules of an instrument."""
        return cls(
            tick=plain(instrument.tick_size), step=plain(instrument.step_size), least_notional=plain(instrument.min_notional or Decimal(0))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestWish:
    """What is to be backtested. What is None is decided when it is made.

    Attributes:
        strategy_id: Whose version is run.
        version: Its number; None is the newest.
        parameters: Values that differ from the strategy's own.
        broker_id: The account whose exchange and fees are taken; None is the server's own feed and the usual fees.
        symbol: As people write it.
        timeframe: None is the strategy's own.
        start_at: Of the first candle that may decide; aware.
        end_at: Exclusive; aware.
        capital: Quote units.
        fee: The taker's, a fraction; None is the account's.
        maker_fee: Likewise; None is the account's, or `fee` where that is given.
        slippage: A fraction.
        seed: Of whatever is random; None takes one.
    """

    strategy_id: UUID
    symbol: str
    start_at: datetime
    end_at: datetime
    version: int | None = None
    parameters: dict[str, Value] = field(default_factory=dict)
    broker_id: UUID | None = None
    timeframe: str | None = None
    capital: Decimal = USUAL_CAPITAL
    fee: Decimal | None = None
    maker_fee: Decimal | None = None
    slippage: Decimal = USUAL_SLIPPAGE
    options: Options = field(default_factory=Options)
    seed: int | None = None
    note: str = ""


def wish_of(backtest: Backtest, version: int) -> BacktestWish:
    """Return the wish that would make this backtest again, to change something of it first.

    Args:
        backtest: Which one.
        version: The number of its version.
    """
    return BacktestWish(
        strategy_id=backtest.strategy_id,
        version=version,
        parameters=dict(backtest.parameters),
        broker_id=backtest.broker_id,
        symbol=backtest.symbol,
        timeframe=backtest.timeframe,
        start_at=backtest.start_at,
        end_at=backtest.end_at,
        capital=backtest.capital,
        fee=backtest.fee,
        maker_fee=backtest.maker_fee,
        slippage=backtest.slippage,
        options=options_of(backtest.options),
        seed=backtest.seed,
        note=backtest.note,
    )


def options_of(stored: dict[str, Any]) -> Options:
    """Return options as they are stored."""
    return msgspec.convert(stored, Options)


def costs_of(backtest: Backtest) -> SimulationCosts:
    """Return what the simulated account of a backtest pays and holds."""
    rules, options = msgspec.convert(backtest.rules, Rules), options_of(backtest.options)
    return SimulationCosts(
        capital=float(backtest.capital),
        fee=float(backtest.fee),
        maker_fee=float(backtest.maker_fee),
        slippage=float(backtest.slippage),
        step=float(rules.step),
        tick=float(rules.tick),
        least_notional=float(rules.least_notional),
        volume_share=options.volume_share,
        funding_rate=options.funding_rate,
        safeguards=numbers_of(options.safeguards, Timeframe(backtest.timeframe).milliseconds),
    )
