"""Searches of a user: make, find, stop, continue, delete, and their trials. What runs them is `backtests.search.jobs`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import randbits
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.search.figures import Objective
from app.backtests.search.header import Header, stored
from app.backtests.search.heat import Scored
from app.backtests.search.models import MOST_TRIALS, Method, Search, SearchState, SearchTrial
from app.backtests.search.space import AxisWish, Space
from app.backtests.wish import BacktestWish
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.tenancy import owned
from app.errors import InvalidInput, SearchExhausted, SearchLimit, SearchNotFound, SearchTrialNotFound, SearchUnderWay
from app.strategies.models import Strategy, StrategyVersion

#: Of one user.
MOST_UNDER_WAY: Final = 5
MOST_STORED: Final = 200
#: Further trials of a search that is at its end, when nobody says how many.
USUAL_MORE: Final = 50
_SEED_BITS: Final = 53  # what every reader of JSON keeps
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
_UNDER_WAY: Final = (SearchState.QUEUED.value, SearchState.RUNNING.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchWish:
    """What is to be searched.

    Attributes:
        base: Strategy, market, range, costs; its parameters are of those that do not vary.
        axes: What varies; nothing: everything that can, as it usually does.
        trials: How many sets are tried at most; a grid tries all that there are.
        least_trades: With fewer a trial is not ranked.
        test_percent: Of the range, at its end, that is never used for choosing.
        seed: Of what is random; None takes one.
        backtest_id: Where it was asked for.
    """

    base: BacktestWish
    axes: list[AxisWish] = field(default_factory=list)
    method: Method = Method.TPE
    objective: Objective = Objective.SHARPE
    trials: int = 50
    least_trades: int = 10
    test_percent: int = 30
    seed: int | None = None
    backtest_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSearch:
    """A search with the name of its strategy and the number of its version."""

    search: Search
    strategy_name: str
    version_number: int


def wanted_trials(wish: SearchWish, space: Space) -> int:
    """Return how many trials a search has.

    Raises:
        InvalidInput: a grid would have more than a search may have.
    """
    if wish.method is Method.GRID and space.size > MOST_TRIALS:
        raise InvalidInput(
            N_(f"the grid has {space.size} points, at most {MOST_TRIALS} are tried: make steps larger, or let chance choose"), field="space"
        )
    return space.size if wish.method is Method.GRID else min(wish.trials, space.size, MOST_TRIALS)


async def create_search(
    session: AsyncSession, user_id: UUID, version_id: UUID, wish: SearchWish, header: Header, space: Space, *, now: datetime
) -> Search:
    """Store a search that waits for its turn.

    Raises:
        InvalidInput: see `wanted_trials`.
        SearchLimit: the user has as many under way, or stored, as one may have.
    """
    wanted = wanted_trials(wish, space)
    await session.execute(_LOCK, {"key": f"searches:{user_id}"})
    counted = select(func.max(Search.number), func.count(), func.count().filter(Search.state.in_(_UNDER_WAY)))
    last, many, under_way = (await session.execute(counted.where(Search.user_id == user_id))).one()
    _check_room(many, under_way)
    varied = {axis.name for axis in space.axes}
    search = Search(
        id=new_id(), user_id=user_id, number=(last or 0) + 1, strategy_id=wish.base.strategy_id, version_id=version_id,
        backtest_id=wish.backtest_id, header=stored(header), parameters={k: v for k, v in wish.base.parameters.items() if k not in varied},
        space=stored(space), method=wish.method.value, objective=wish.objective.value, least_trades=wish.least_trades,
        test_percent=wish.test_percent, wanted=wanted, seed=randbits(_SEED_BITS) if wish.seed is None else wish.seed,
        state=SearchState.QUEUED.value, tried=0, importance={}, epoch=0, attempts=0, created_at=now,
    )  # fmt: skip
    session.add(search)
    await session.flush()
    return search


def _check_room(many: int, under_way: int) -> None:
    if under_way >= MOST_UNDER_WAY:
        raise SearchLimit(N_(f"You have {under_way} searches under way, as many as one may have. Wait for one, or stop one."))
    if many >= MOST_STORED:
        raise SearchLimit(N_(f"You have {many} searches stored, as many as one may have. Delete some that you no longer need."))


async def get_search(session: AsyncSession, user_id: UUID, search_id: UUID, *, is_locked: bool = False) -> Search:
    """Return one search.

    Raises:
        SearchNotFound: no such search of this user.
    """
    query = owned(Search, user_id).where(Search.id == search_id)
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    found: Search | None = await session.scalar(query)
    if found is None:
        raise SearchNotFound
    return found


async def listed_search(session: AsyncSession, user_id: UUID, search_id: UUID) -> ListedSearch:
    """Return one search and what lists say of its strategy. Raises as `get_search`."""
    return (await _with_names(session, user_id, [await get_search(session, user_id, search_id)]))[0]


async def list_searches(
    session: AsyncSession, user_id: UUID, *, strategy_id: UUID | None = None, before: int | None = None, limit: int = 50
) -> list[ListedSearch]:
    """Return searches, the newest first; `before`: only those with smaller numbers."""
    query = owned(Search, user_id)
    if strategy_id is not None:
        query = query.where(Search.strategy_id == strategy_id)
    if before is not None:
        query = query.where(Search.number < before)
    return await _with_names(session, user_id, list(await session.scalars(query.order_by(Search.number.desc()).limit(limit))))


async def _with_names(session: AsyncSession, user_id: UUID, searches: list[Search]) -> list[ListedSearch]:
    query = select(StrategyVersion.id, StrategyVersion.number, Strategy.name).join(Strategy, Strategy.id == StrategyVersion.strategy_id)
    wanted = {search.version_id for search in searches}
    rows = (await session.execute(query.where(StrategyVersion.user_id == user_id, StrategyVersion.id.in_(wanted)))).all()
    known = {row[0]: row for row in rows}
    return [ListedSearch(search=one, strategy_name=known[one.version_id][2], version_number=known[one.version_id][1]) for one in searches]


async def stop_search(session: AsyncSession, user_id: UUID, search_id: UUID, *, now: datetime) -> Search:
    """Stop a search, which keeps its trials and can go on. One that waits stops at once; one that is over stays as it is.

    Raises:
        SearchNotFound: no such search of this user.
    """
    search = await get_search(session, user_id, search_id, is_locked=True)
    if SearchState(search.state).is_over:
        return search
    if search.state == SearchState.QUEUED:
        search.state, search.finished_at = SearchState.STOPPED.value, now
    else:
        search.stop_asked_at = search.stop_asked_at or now
    await session.flush()
    return search


async def continue_search(session: AsyncSession, user_id: UUID, search_id: UUID, *, more: int | None = None) -> Search:
    """Let a search go on from its trials, as if it had never stopped.

    Args:
        session: Of the unit of work.
        user_id: Whose it is.
        search_id: Which one.
        more: Further trials; None: those that are left, or as many as usual when none are.

    Raises:
        SearchNotFound: no such search of this user.
        SearchUnderWay: it does not stand still.
        SearchExhausted: nothing is left to be tried.
        SearchLimit: the user has as many under way as one may have.
    """
    await session.execute(_LOCK, {"key": f"searches:{user_id}"})
    search = await get_search(session, user_id, search_id, is_locked=True)
    if not SearchState(search.state).is_over:
        raise SearchUnderWay
    left = search.wanted - search.tried
    most = min(msgspec.convert(search.space, Space).size, MOST_TRIALS)
    wanted = min(search.tried + (more if more is not None else left if left > 0 else USUAL_MORE), most)
    if wanted <= search.tried:
        raise SearchExhausted
    counted = select(func.count()).where(Search.user_id == user_id, Search.state.in_(_UNDER_WAY))
    _check_room(0, int(await session.scalar(counted) or 0))
    search.wanted, search.state = wanted, SearchState.QUEUED.value
    search.finished_at = search.stop_asked_at = search.wait_until = search.error = search.progress = None
    search.attempts = 0
    await session.flush()
    return search


async def delete_search(session: AsyncSession, user_id: UUID, search_id: UUID) -> None:
    """Delete a search with its trials. What still runs it finds its row gone, and stops.

    Raises:
        SearchNotFound: no such search of this user.
    """
    search = await get_search(session, user_id, search_id, is_locked=True)
    await session.delete(search)
    await session.flush()


async def list_trials(
    session: AsyncSession,
    user_id: UUID,
    search_id: UUID,
    *,
    after: int = 0,
    limit: int = 100,
    is_best_first: bool = False,
    is_newest_first: bool = False,
) -> list[SearchTrial]:
    """Return trials: in the order in which they were tried after number `after`, or the best or the newest first.

    Raises:
        SearchNotFound: no such search of this user.
    """
    await get_search(session, user_id, search_id)
    query = owned(SearchTrial, user_id).where(SearchTrial.search_id == search_id)
    if is_best_first:
        query = query.order_by(SearchTrial.score.desc().nulls_last(), SearchTrial.number).offset(after)
    elif is_newest_first:
        query = query.order_by(SearchTrial.number.desc()).offset(after)
    else:
        query = query.where(SearchTrial.number > after).order_by(SearchTrial.number)
    return list(await session.scalars(query.limit(limit)))


async def scored_trials(session: AsyncSession, user_id: UUID, search_id: UUID) -> list[Scored]:
    """Return all trials as the heat map needs them, in the order in which they were tried.

    As one value: thousands of rows, each of them made an object, would keep the loop from its work for most of a second.

    Raises:
        SearchNotFound: no such search of this user.
    """
    await get_search(session, user_id, search_id)
    one = func.jsonb_build_array(SearchTrial.number, SearchTrial.point, SearchTrial.score)
    query = select(func.jsonb_agg(aggregate_order_by(one, SearchTrial.number)))
    found = await session.scalar(query.where(SearchTrial.user_id == user_id, SearchTrial.search_id == search_id))
    return [Scored(number, point, score) for number, point, score in found or ()]


async def get_trial(session: AsyncSession, user_id: UUID, search_id: UUID, number: int) -> SearchTrial:
    """Return one trial.

    Raises:
        SearchNotFound: no such search of this user.
        SearchTrialNotFound: it has no trial of that number.
    """
    await get_search(session, user_id, search_id)
    query = owned(SearchTrial, user_id).where(SearchTrial.search_id == search_id, SearchTrial.number == number)
    found: SearchTrial | None = await session.scalar(query)
    if found is None:
        raise SearchTrialNotFound
    return found


async def trials_of_strategy(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> tuple[int, Sequence[float]]:
    """Return how many trials all searches of a strategy had, and the Sharpe ratios of those that had one."""
    query = (
        select(SearchTrial.train["sharpe"].as_float())
        .join(Search, Search.id == SearchTrial.search_id)
        .where(Search.user_id == user_id, SearchTrial.user_id == user_id, Search.strategy_id == strategy_id)
    )
    ratios = list(await session.scalars(query))
    return len(ratios), [value for value in ratios if value is not None]
