"""The door to searches for pages and the API: what a wish leaves open is settled before it is stored, and whoever works is told."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from app.backtests.bounds import check_range
from app.backtests.making import Backtests
from app.backtests.models import Backtest
from app.backtests.search import service
from app.backtests.search.events import SearchAsked, SearchChanged
from app.backtests.search.header import Header, header_of
from app.backtests.search.models import Search
from app.backtests.search.promote import promote_to_version, values_of
from app.backtests.search.service import SearchWish
from app.backtests.search.space import AxisWish, space_of, usual
from app.backtests.service import get_backtest, version_wished
from app.backtests.wish import BacktestWish
from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.i18n import N_
from app.errors import TooManyCandles
from app.sandbox.messages import Described
from app.strategies.models import StrategyVersion
from app.strategies.quick import QuickBacktest
from app.strategies.versions import Saved, get_version, version_by_id
from app.strategies.workers import TrialWorkers

#: What a worker decides lies in its memory for all candles at a time, and a gigabyte is what it has.
MOST_CANDLES: Final = 1_500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Searches:
    """Everything of searches that lives as long as the process; on `app.state.searches`.

    Attributes:
        backtests: Settles markets and costs, and makes backtests of trials.
        quick: Asks a strategy for its parameters where no version has them yet.
        workers: Where sources are looked at.
        bus: Where changes are told.
        clock: Of what is stored.
    """

    backtests: Backtests
    quick: QuickBacktest
    workers: TrialWorkers
    bus: EventBus
    clock: Clock

    async def create(self, database: Database, user_id: UUID, wish: SearchWish) -> Search:
        """Store a search, and let it be begun when it is its turn.

        Raises:
            InvalidInput: the space, the range or the timeframe is none.
            TooManyCandles: the range is longer than what can be searched.
            SearchLimit: the user has as many under way, or stored, as one may have.
            BacktestNotFound: no such backtest of this user.
            AppError: what `Backtests.settle` raises.
        """
        settled = await self.backtests.settle(database, user_id, wish.base)
        async with database.transaction() as session:
            version = await version_wished(session, user_id, wish.base)
            if wish.backtest_id is not None:
                await get_backtest(session, user_id, wish.backtest_id)
        described = await self.described(user_id, version)
        axes = wish.axes or [one for parameter in described.parameters if (one := usual(parameter)) is not None]
        space = space_of(described.parameters, axes)
        start, end = check_range(wish.base.start_at, wish.base.end_at, settled.timeframe, now=self.clock.now())
        rows = (end - start) // settled.timeframe.duration + settled.warm_up
        if rows > MOST_CANDLES:
            raise TooManyCandles(N_(f"a search may look at {MOST_CANDLES} candles, was {rows}: take a shorter range"), field="end_at")
        memory = self.backtests.bounds.memory_of(
            start, end, settled.timeframe, warm_up=settled.warm_up, others=settled.others, is_detailed=wish.base.options.is_detailed
        )
        header = Header.of(wish.base, settled, start=start, end=end, memory_bytes=memory)
        async with database.transaction() as session:
            made = await service.create_search(session, user_id, version.id, wish, header, space, now=self.clock.now())
        return self.told(made)

    async def axes(
        self, database: Database, user_id: UUID, strategy_id: UUID, number: int | None = None
    ) -> tuple[Described, list[AxisWish]]:
        """Return what a version says of itself, and how its parameters usually vary.

        Raises:
            StrategyNotFound: no such strategy of this user.
            VersionNotFound: it has no version of that number.
            StrategyFailed: its code fails before it says anything.
        """
        async with database.transaction() as session:
            version = await get_version(session, user_id, strategy_id, number)
        described = await self.described(user_id, version)
        return described, [one for parameter in described.parameters if (one := usual(parameter)) is not None]

    async def described(self, user_id: UUID, version: StrategyVersion) -> Described:
        """Return what a version says of itself."""
        if version.described is not None:
            return msgspec.convert(version.described, Described)
        return await self.quick.describe(user_id, version.source)

    async def stop(self, database: Database, user_id: UUID, search_id: UUID) -> Search:
        """Stop a search. Raises as `search.service.stop_search`."""
        async with database.transaction() as session:
            search = await service.stop_search(session, user_id, search_id, now=self.clock.now())
        return self.told(search)

    async def resume(self, database: Database, user_id: UUID, search_id: UUID, *, more: int | None = None) -> Search:
        """Let a search go on. Raises as `search.service.continue_search`."""
        async with database.transaction() as session:
            search = await service.continue_search(session, user_id, search_id, more=more)
        return self.told(search)

    async def delete(self, database: Database, user_id: UUID, search_id: UUID) -> None:
        """Delete a search. Raises as `search.service.delete_search`."""
        async with database.transaction() as session:
            await service.delete_search(session, user_id, search_id)
        self.bus.publish(SearchAsked())

    async def to_version(self, database: Database, user_id: UUID, search_id: UUID, number: int) -> tuple[UUID, Saved]:
        """Make a version of a trial. Raises as `promote_to_version`."""
        return await promote_to_version(database, self.workers, self.clock, user_id, search_id, number)

    async def to_backtest(self, database: Database, user_id: UUID, search_id: UUID, number: int) -> Backtest:
        """Make a backtest of a trial, over the whole range.

        Raises:
            SearchNotFound: no such search of this user.
            SearchTrialNotFound: it has no trial of that number.
            AppError: what `Backtests.create` raises.
        """
        return await self.backtests.create(database, user_id, await self._wish_of(database, user_id, search_id, number))

    async def _wish_of(self, database: Database, user_id: UUID, search_id: UUID, number: int) -> BacktestWish:
        async with database.transaction() as session:
            search = await service.get_search(session, user_id, search_id)
            trial = await service.get_trial(session, user_id, search_id, number)
            version = await version_by_id(session, user_id, search.version_id)
        note = f"⌕ #{search.number}·{trial.number}"
        return header_of(search.header).wish(
            search.strategy_id, version.number, parameters=values_of(search, trial), seed=search.seed, note=note
        )

    def told(self, search: Search) -> Search:
        """Tell everybody how a search stands now."""
        self.bus.publish(SearchAsked())
        self.bus.publish(
            SearchChanged(
                user_id=search.user_id, search_id=search.id, number=search.number, state=search.state, tried=search.tried,
                wanted=search.wanted, best=search.best, best_score=search.best_score,
            )
        )  # fmt: skip
        return search
