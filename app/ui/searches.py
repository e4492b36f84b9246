"""Pages of searches, read from the database and put into words."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.search import service
from app.backtests.search.figures import OBJECTIVE_WORDS, Objective
from app.backtests.search.header import header_of
from app.backtests.search.heat import MOST_CELLS, HeatMap, Scored, heat_map, two_of
from app.backtests.search.models import MOST_TRIALS, Method, Search, SearchState, SearchTrial
from app.backtests.search.service import USUAL_MORE, ListedSearch
from app.backtests.search.space import Axis, Space
from app.core.i18n import N_, gettext
from app.sandbox.messages import Value
from app.ui.backtest_figures import decimal
from app.ui.backtests import period_of
from app.ui.symbols import exchange_name
from app.ui.views.searches import (
    Heat,
    HeatCell,
    HeatRow,
    ImportanceRow,
    SearchHead,
    SearchList,
    SearchLive,
    SearchRow,
    TrialFigures,
    TrialList,
    TrialRow,
)

PAGE: Final = 50
#: Trials that the page shows; all of them are in the API.
MOST_ROWS: Final = 100
METHOD_WORDS: Final[dict[Method, str]] = {
    Method.TPE: N_("Learning (TPE)"),
    Method.RANDOM: N_("By chance"),
    Method.GRID: N_("Every combination"),
}
_PHASES: Final = {
    "candles": N_("Candles are brought together."),
    "fetching": N_("Missing candles are fetched from the exchange."),
    "trying": N_("Parameters are tried."),
}


def value_text(value: Value) -> str:
    """Return a value of a parameter as it is written."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


async def search_list(session: AsyncSession, user_id: UUID, *, before: int | None = None) -> SearchList:
    """Return a page of the list."""
    rows = await service.list_searches(session, user_id, before=before, limit=PAGE + 1)
    shown = rows[:PAGE]
    following = f"/backtests/searches/list?before={shown[-1].search.number}" if len(rows) > PAGE else ""
    return SearchList(rows=tuple(_row(one) for one in shown), next=following)


def _row(listed: ListedSearch) -> SearchRow:
    search = listed.search
    header = header_of(search.header)
    return SearchRow(
        number=search.number,
        strategy=listed.strategy_name,
        version=listed.version_number,
        market=f"{header.symbol} {header.timeframe}",
        period=_period(search),
        method=gettext(METHOD_WORDS[Method(search.method)]),
        objective=gettext(OBJECTIVE_WORDS[Objective(search.objective)]),
        tried=search.tried,
        wanted=search.wanted,
        score=decimal(search.best_score),
        state=search.state,
        created_at=search.created_at,
        error=str((search.error or {}).get("message", "")),
    )


def _period(search: Search) -> str:
    return period_of(header_of(search.header).as_backtest(search.user_id, search.version_id, {}))


def search_head(listed: ListedSearch, *, has_draft: bool) -> SearchHead:
    """Return what a search was made of."""
    search = listed.search
    header = header_of(search.header)
    return SearchHead(
        id=str(search.id),
        number=search.number,
        strategy=listed.strategy_name,
        strategy_id=str(search.strategy_id),
        version=listed.version_number,
        symbol=header.symbol,
        timeframe=header.timeframe,
        exchange=exchange_name(header.exchange),
        period=_period(search),
        test_share=Decimal(search.test_percent) / 100,
        method=gettext(METHOD_WORDS[Method(search.method)]),
        objective=gettext(OBJECTIVE_WORDS[Objective(search.objective)]),
        least_trades=search.least_trades,
        points=Decimal(msgspec.convert(search.space, Space).size),
        fixed=tuple((name, value_text(value)) for name, value in search.parameters.items()),
        seed=search.seed,
        engine=search.engine_version or "",
        checksum=(search.candles_sha256 or "")[:12],
        created_at=search.created_at,
        has_draft=has_draft,
    )


async def search_live(
    session: AsyncSession,
    user_id: UUID,
    search: Search,
    *,
    is_best_first: bool = True,
    x: str = "",
    y: str = "",
    defaults: dict[str, Value],
) -> SearchLive:
    """Return what changes while a search goes on.

    Args:
        session: Of the unit of work.
        user_id: Whose it is.
        search: Which one.
        defaults: Values of the searched version itself.
        is_best_first: Trials in the order of their scores, and not in that in which they were tried.
        x: Parameter of the map's columns, "" for the usual one.
        y: Of its rows, likewise.
    """
    newest = not is_best_first
    trials = await service.list_trials(session, user_id, search.id, limit=MOST_ROWS, is_best_first=is_best_first, is_newest_first=newest)
    scored = await service.scored_trials(session, user_id, search.id)
    space = msgspec.convert(search.space, Space)
    progress = search.progress or {}
    best = None if search.best is None else await service.get_trial(session, user_id, search.id, search.best)
    return SearchLive(
        number=search.number,
        state=search.state,
        phase=_phase(search),
        tried=search.tried,
        wanted=search.wanted,
        speed=decimal(progress.get("trials_per_s")),
        left_s=decimal(progress.get("eta_s")),
        best=None if best is None else trial_row(best, space, is_best=True),
        score=decimal(search.best_score),
        objective=gettext(OBJECTIVE_WORDS[Objective(search.objective)]),
        error=str((search.error or {}).get("message", "")),
        trials=trial_list(trials, search, space, is_best_first=is_best_first, total=len(scored)),
        importance=tuple(
            ImportanceRow(name=name, share=Decimal(repr(float(share))))
            for name, share in sorted(search.importance.items(), key=lambda item: -float(item[1]))
        ),
        heat=heat_of(search, space, scored, x=x, y=y, defaults=defaults),
        more=_more(search, space),
    )


def _phase(search: Search) -> str:
    if search.state == SearchState.QUEUED:
        return gettext("It waits for its turn.")
    if search.stop_asked_at is not None and search.state == SearchState.RUNNING:
        return gettext("It stops.")
    words = _PHASES.get((search.progress or {}).get("phase", ""), N_("It waits for its turn."))
    return gettext(words) if search.state == SearchState.RUNNING else ""


def _more(search: Search, space: Space) -> int:
    left = search.wanted - search.tried
    most = min(space.size, MOST_TRIALS) - search.tried
    return min(left if left > 0 else USUAL_MORE, most)


def trial_list(trials: Sequence[SearchTrial], search: Search, space: Space, *, is_best_first: bool, total: int) -> TrialList:
    """Return the trials that a page shows, of `total`; in the order in which they are given."""
    return TrialList(
        number=search.number,
        rows=tuple(trial_row(one, space, is_best=one.number == search.best) for one in trials),
        names=tuple(axis.name for axis in space.axes),
        has_test=search.test_percent > 0,
        is_best_first=is_best_first,
        total=total,
        is_cut=total > len(trials),
    )


def trial_row(trial: SearchTrial, space: Space, *, is_best: bool = False) -> TrialRow:
    """Return one trial."""
    return TrialRow(
        number=trial.number,
        values=tuple(value_text(trial.parameters.get(axis.name)) for axis in space.axes),
        score=decimal(trial.score),
        train=_figures(trial.train),
        test=_figures(trial.test),
        problem=trial.problem,
        line=trial.line,
        is_best=is_best,
    )


def _figures(stored: dict[str, Any] | None) -> TrialFigures | None:
    if stored is None:
        return None
    return TrialFigures(
        net=Decimal(repr(float(stored["net_return"]))),
        sharpe=decimal(stored["sharpe"]),
        max_drawdown=Decimal(repr(float(stored["max_drawdown"]))),
        trades=stored["trades"],
    )


def heat_of(search: Search, space: Space, trials: Sequence[Scored], *, x: str, y: str, defaults: dict[str, Value]) -> Heat | None:
    """Return the map of two parameters; None where fewer than two vary."""
    usual = two_of(space, search.importance)
    if usual is None:
        return None
    names = [axis.name for axis in space.axes if len(axis.values) > 1]
    chosen_x = x if x in names else usual[0]
    chosen_y = y if y in names and y != chosen_x else next(name for name in (usual[1], usual[0], *names) if name != chosen_x)
    found = heat_map(space, trials, chosen_x, chosen_y)
    axes = {axis.name: axis for axis in space.axes}
    current = _current(axes[chosen_x], defaults), _current(axes[chosen_y], defaults)
    return Heat(
        x=chosen_x,
        y=chosen_y,
        columns=tuple(_label(pair) for pair in found.columns),
        rows=tuple(
            HeatRow(label=_label(found.rows[at]), cells=tuple(_cell(found, search, at, beside, current) for beside in range(len(row))))
            for at, row in enumerate(found.cells)
        ),
        names=tuple(names),
    )


def _cell(found: HeatMap, search: Search, row: int, column: int, current: tuple[int | None, int | None]) -> HeatCell:
    cell = found.cells[row][column]
    return HeatCell(
        score=decimal(cell.score),
        shade=cell.shade or 0,
        trials=cell.trials,
        is_best=cell.best is not None and cell.best == search.best,
        is_current=current == (column, row),
    )


def _current(axis: Axis, defaults: dict[str, Value]) -> int | None:
    """Return the column or row of the version's own value; None where it is on none."""
    value = defaults.get(axis.name)
    if value not in axis.values:
        return None
    many = len(axis.values)
    return axis.values.index(value) * min(many, MOST_CELLS) // many


def _label(pair: tuple[Value, Value]) -> str:
    first, last = (value_text(value) for value in pair)
    return first if first == last else f"{first}–{last}"
