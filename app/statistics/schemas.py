"""Shapes of what `/api/statistics` is asked and tells. Money is a JSON string."""

from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Depends, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from app.domain.enums import Source
from app.errors import InvalidInput
from app.statistics.slippage import Basis, Unknown
from app.statistics.wish import Mode, StatisticsFilter
from app.trading.schemas import MoneyOut

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def _likely(moment: datetime) -> datetime:
    if not _FIRST <= moment <= _LAST:
        raise ValueError("must be between 1970 and 2200")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_likely)]


def zone_of(name: str) -> ZoneInfo:
    """Return the zone of that name.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # a name that is no file name, or one of a folder
        raise InvalidInput(f"there is no time zone “{name[:60]}”", field="timezone") from error


class Asked(BaseModel):
    """A filter as it came, and whether its mode was named."""

    model_config = {"arbitrary_types_allowed": True}

    filter: StatisticsFilter
    has_mode: bool


def asked_of(
    broker_id: Annotated[
        list[UUID] | None, Query(description="one or several accounts; all of the mode when left out", max_length=100)
    ] = None,
    start: Annotated[Moment | None, Query(description="inclusive, of the moment at which a trade ended")] = None,
    end: Annotated[Moment | None, Query(description="exclusive")] = None,
    mode: Annotated[Mode | None, Query(description="live unless said otherwise, or what the named accounts trade with")] = None,
    strategy_id: UUID | None = None,
    symbol: Annotated[str, Query(max_length=60, description="a pair, or one asset")] = "",
    source: Annotated[Source | None, Query(description="who opened the trade")] = None,
    bot_id: UUID | None = None,
    webhook_id: UUID | None = None,
    timezone: Annotated[str, Query(max_length=60, description="IANA name: where days begin and hours end")] = "UTC",
) -> Asked:
    """Return what an address asks for.

    Raises:
        InvalidInput: the time ends before it begins, or there is no such time zone.
    """
    if start is not None and end is not None and end <= start:
        raise InvalidInput("the end must be after the start", field="end")
    return Asked(
        filter=StatisticsFilter(
            mode=mode or Mode.LIVE,
            since=start,
            until=end,
            broker_ids=tuple(broker_id or ()),
            strategy_id=strategy_id,
            symbol=symbol.replace("\x00", "").strip(),
            source=source,
            bot_id=bot_id,
            webhook_id=webhook_id,
            zone=zone_of(timezone),
        ),
        has_mode=mode is not None,
    )


Filtered = Annotated[Asked, Depends(asked_of)]


class MetricOut(BaseModel):
    """One metric: an amount (`profit`, `money`) as a string, anything else as a number; null where it does not exist.

    `signed` and `share` are fractions of one, `span` is milliseconds. `convention` says how it is computed.
    """

    key: str
    unit: Literal["signed", "share", "ratio", "profit", "money", "count", "span"]
    value: str | float | int | None
    convention: str


class GroupOut(BaseModel):
    """Trades that have something in common. `key` is null where nobody wrote it down, `name` what it is called."""

    key: str | None
    name: str | None
    trades: int
    won: int
    lost: int
    win_rate: float
    profit: MoneyOut
    average: MoneyOut
    profit_factor: float | None
    fees: MoneyOut


class GroupsOut(BaseModel):
    """Trades by one thing; amounts are in `currency`. Trades in currencies without a rate are not among them."""

    currency: str
    items: list[GroupOut]


class HourOut(BaseModel):
    """Trades that ended in one hour of the week: `weekday` 0 is Monday, `hour` 0 to 23."""

    weekday: int
    hour: int
    trades: int
    won: int
    profit: MoneyOut
    fees: MoneyOut


class HoursOut(BaseModel):
    """Hours of the week in which any trade ended."""

    currency: str
    timezone: str
    items: list[HourOut]


class DayOut(BaseModel):
    """Trades that ended on one day."""

    day: date
    trades: int
    won: int
    profit: MoneyOut
    fees: MoneyOut


class CalendarOut(BaseModel):
    """Days on which any trade ended, oldest first."""

    currency: str
    timezone: str
    items: list[DayOut]


class PointOut(BaseModel):
    """One moment of a curve.

    Of accounts: `value` is their worth in USDT, `earned` the time-weighted return since the first point, `drawdown` a fraction of the peak,
    `flow` what was put in since the point before. Of trades: `value` is the sum of profits, `drawdown` an amount below the highest sum.
    """

    at: datetime
    value: MoneyOut
    drawdown: MoneyOut
    earned: float | None = None
    flow: MoneyOut | None = None


class CurveOut(BaseModel):
    """2,000 points at most, `of` whole accounts or, where the filter leaves some of their trades out, of the trades alone."""

    of: Literal["accounts", "trades"]
    currency: str
    items: list[PointOut]


class QuoteOut(BaseModel):
    """Trades in a currency that had no rate when they ended, in that currency; they are no part of any other figure."""

    quote: str
    trades: int
    won: int
    profit: MoneyOut
    fees: MoneyOut


class SlippageOut(BaseModel):
    """What fills cost beside the price of the decision, in quote: above 0 they were worse. `fraction` is of `notional`."""

    quote: str
    basis: Basis
    orders: int
    notional: MoneyOut
    cost: MoneyOut
    fraction: MoneyOut | None


class UnknownOut(BaseModel):
    """Orders whose slippage is not known, and why."""

    reason: Unknown
    orders: int


class AmountOut(BaseModel):
    """An amount of an asset."""

    asset: str
    amount: MoneyOut


class CostsOut(BaseModel):
    """What trading cost. `fees` are those that have a price, in the answer's currency; `unvalued_fees` nobody could value."""

    fees: MoneyOut
    unvalued_fees: list[AmountOut]
    slippage: list[SlippageOut]
    slippage_unknown: list[UnknownOut]


class ShadowOut(BaseModel):
    """A bot beside its simulation, in `quote`; `causes` say how much of the difference is of what."""

    bot_id: UUID
    quote: str
    days: int
    trades: int
    shadow_trades: int
    profit: MoneyOut
    shadow_profit: MoneyOut
    causes: dict[str, MoneyOut]


class SummaryOut(BaseModel):
    """All figures of one filter.

    `profit` is the sum of all closed trades after fees, in `currency`. `converted` are quote currencies that were converted at the rate of
    the moment at which each trade ended, `at_par` dollars that count as USDT, `other_quotes` what has no rate.
    """

    mode: Mode
    broker_ids: list[UUID]
    start: datetime | None
    end: datetime | None
    timezone: str
    as_of: datetime
    currency: str
    profit: MoneyOut
    put_in: MoneyOut | None = Field(description="What was put into the accounts less what was taken out; null without their curve.")
    open_trades: int
    metrics: list[MetricOut]
    costs: CostsOut
    by_month: list[GroupOut]
    by_source: list[GroupOut]
    by_account: list[GroupOut]
    converted: list[str]
    at_par: list[str]
    other_quotes: list[QuoteOut]
    shadow: list[ShadowOut]
