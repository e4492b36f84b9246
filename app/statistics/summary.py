"""Everything that the page of statistics shows, of one filter: read at once, computed off the event loop, kept nowhere."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from app.core.db import Database
from app.domain.local_time import LocalClock, clock_of
from app.statistics import grouping
from app.statistics.columns import Kind, Trips, unpacked
from app.statistics.equity import AccountFigures, account_figures, read_curve
from app.statistics.grouping import GroupLine
from app.statistics.queries import Held, Names, read_held, read_names, read_trips, read_unvalued
from app.statistics.rates import Valued, read_rate_lines, valued
from app.statistics.shadow import ShadowLine, ShadowReader
from app.statistics.slippage import Slippage, read_slippage
from app.statistics.trip_figures import TripCurve, TripFigures, trip_curve, trip_figures
from app.statistics.wish import StatisticsFilter

#: What trips are grouped by, as far as their kind says it.
DIMENSIONS: Final = ("strategy", "symbol", "webhook", "bot", "exit", "source", "account")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteLine:
    """Trips in a quote currency that has no rate: they are told apart, and are no part of anything else."""

    quote: str
    trades: int
    won: int
    profit: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the trips that a filter lets through came to.

    Attributes:
        asked: The filter.
        names: What trips can belong to.
        read_at: Of which moment it is.
        unit: What all amounts are in.
        figures: Of all trips together.
        groups: Lines by each of DIMENSIONS.
        days: By the day in the filter's zone, in days since 1970-01-01; `months` by the month, `hours` by the hour of the week.
        curve: The sum of profits.
        accounts: What the accounts were worth; None where the filter leaves some of their trades out, or before the second reading.
        held: What was open at the end.
        converted: Quote currencies that were converted at the rate of the time, `at_par` the dollars that count as USDT.
        others: Trips that have no rate, by quote currency.
        unvalued: Fees that nobody could value, by asset.
        slippage: What fills cost beside the price of the decision.
        shadows: Bots beside their simulation.
    """

    asked: StatisticsFilter
    names: Names
    read_at: datetime
    unit: str
    figures: TripFigures
    groups: Mapping[str, tuple[GroupLine, ...]]
    days: tuple[GroupLine, ...]
    months: tuple[GroupLine, ...]
    hours: tuple[GroupLine, ...]
    curve: TripCurve
    accounts: AccountFigures | None
    held: Held
    converted: tuple[str, ...]
    at_par: tuple[str, ...]
    others: tuple[QuoteLine, ...]
    unvalued: Mapping[str, Decimal]
    slippage: Slippage
    shadows: tuple[ShadowLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsReader:
    """Reads the statistics of users.

    Args:
        database: Where trading writes.
        exchange: Whose candles say what a currency was worth.
        shadows: Reads how bots did beside their simulation.
    """

    database: Database
    exchange: str
    shadows: ShadowReader

    async def names(self, user_id: UUID) -> Names:
        """Return what a user's trades can belong to."""
        return await read_names(self.database, user_id)

    async def summary(self, user_id: UUID, asked: StatisticsFilter, names: Names, *, now: datetime) -> Summary:
        """Return the statistics of one user."""
        until = min(asked.until or now, now)
        async with asyncio.TaskGroup() as group:
            trading = group.create_task(self.trips(user_id, asked, names))
            slippage = group.create_task(read_slippage(self.database, user_id, asked, names))
            accounts = group.create_task(self.accounts(user_id, asked, names, until=until))
            rest = group.create_task(self._rest(user_id, asked, names, now))
        told, (held, unvalued, shadows) = trading.result(), rest.result()
        return await asyncio.to_thread(
            summed,
            asked, names, now, told,
            held=held, unvalued=unvalued, shadows=shadows, accounts=accounts.result(), slippage=slippage.result(),
        )  # fmt: skip

    async def trips(self, user_id: UUID, asked: StatisticsFilter, names: Names) -> Valued:
        """Return the round trips that the filter lets through, in one unit as far as there are rates."""
        rows, places = await read_trips(self.database, user_id, asked, names)
        trips = await asyncio.to_thread(unpacked, rows, places)
        lines = await read_rate_lines(self.database, self.exchange, trips)
        return await asyncio.to_thread(valued, trips, lines)

    async def accounts(self, user_id: UUID, asked: StatisticsFilter, names: Names, *, until: datetime) -> AccountFigures | None:
        """Return what the accounts were worth; None where the filter leaves some of their trades out, or before the second reading."""
        broker_ids = [account.id for account in names.accounts_of(asked) if not account.is_removed]
        if not asked.is_of_accounts or not broker_ids:
            return None
        curve = await read_curve(self.database, user_id, broker_ids, since=asked.since, until=until)
        return await asyncio.to_thread(account_figures, curve)

    async def _rest(
        self, user_id: UUID, asked: StatisticsFilter, names: Names, now: datetime
    ) -> tuple[Held, Mapping[str, Decimal], tuple[ShadowLine, ...]]:
        held = await read_held(self.database, user_id, asked, names, now=now)
        unvalued = await read_unvalued(self.database, user_id, asked, names)
        bots = [bot.id for bot in names.bots.values()]
        found = await self.shadows(self.database, user_id, bots, since=asked.since, until=asked.until) if bots else ()
        return held, unvalued, tuple(found)


def summed(
    asked: StatisticsFilter,
    names: Names,
    now: datetime,
    told: Valued,
    *,
    held: Held,
    unvalued: Mapping[str, Decimal],
    shadows: tuple[ShadowLine, ...],
    accounts: AccountFigures | None,
    slippage: Slippage,
) -> Summary:
    """Return the statistics of what was read; it takes tens of milliseconds for a hundred thousand trades."""
    counted, clock = told.trips, clock_over(told.trips, asked)
    return Summary(
        asked=asked,
        names=names,
        read_at=now,
        unit=told.unit,
        figures=trip_figures(counted, held, since=asked.since, until=min(asked.until or now, now)),
        groups=groups_of(counted, names),
        days=grouping.by_day(counted, clock),
        months=grouping.by_month(counted, clock),
        hours=grouping.by_weekday_hour(counted, clock),
        curve=trip_curve(counted),
        accounts=accounts,
        held=held,
        converted=told.converted,
        at_par=told.at_par,
        others=_others(told.others),
        unvalued=unvalued,
        slippage=slippage,
        shadows=shadows,
    )


def clock_over(trips: Trips, asked: StatisticsFilter) -> LocalClock:
    """Return the clock of the filter's zone for the time in which trips ended."""
    first, last = (int(trips.closed[0]), int(trips.closed[-1])) if len(trips) else (0, 0)
    return clock_of(asked.zone, first, last)


def groups_of(trips: Trips, names: Names) -> dict[str, tuple[GroupLine, ...]]:
    """Return the trips by each of DIMENSIONS."""
    keys: dict[str, Callable[[Kind], Hashable]] = {
        "strategy": lambda kind: names.strategy_of(kind.bot_id),
        "symbol": lambda kind: kind.symbol,
        "webhook": lambda kind: kind.webhook_id,
        "bot": lambda kind: kind.bot_id,
        "exit": lambda kind: kind.exit_role,
        "source": lambda kind: kind.source,
        "account": lambda kind: kind.broker_id,
    }
    kinds = grouping.sums_of(trips, trips.kind, len(trips.kinds))
    return {name: grouping.by_kind(trips, keys[name], kinds) for name in DIMENSIONS}


def _others(trips: Trips) -> tuple[QuoteLine, ...]:
    return tuple(
        QuoteLine(quote=line.key, trades=line.trades, won=line.won, profit=line.profit, fees=line.fees)
        for line in grouping.by_kind(trips, lambda kind: kind.quote)
    )
