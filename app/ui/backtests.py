"""The list of backtests, and several of them side by side, read from the database."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests import service
from app.backtests.models import Backtest, BacktestState
from app.backtests.report import from_stored
from app.backtests.service import BacktestFilter, Listed
from app.backtests.wish import options_of
from app.core import formatters
from app.core.i18n import N_, current_language, gettext, pgettext
from app.strategies import queries as strategies
from app.ui.backtest_figures import decimal, metric_groups
from app.ui.symbols import exchange_name
from app.ui.views.backtest import MetricGroup
from app.ui.views.backtests import BacktestList, BacktestRow, ComparedFact, ComparedRun
from app.ui.views.shell import Choice

PAGE: Final = 50
MOST_COMPARED: Final = 4
_MOST_STRATEGIES: Final = 200
_STATES: Final = {
    BacktestState.QUEUED: N_("Waiting"),
    BacktestState.FETCHING: N_("Fetching candles"),
    BacktestState.RUNNING: N_("Running"),
    BacktestState.COMPLETED: N_("Completed"),
    BacktestState.CANCELED: N_("Canceled"),
    BacktestState.FAILED: N_("Failed"),
}


async def backtest_list(
    session: AsyncSession, user_id: UUID, *, strategy: str = "", symbol: str = "", state: str = "", before: int | None = None
) -> BacktestList:
    """Return a page of the list. What cannot be a strategy or a state asks for nothing."""
    chosen = next((one for one in BacktestState if one == state), None)
    strategy_id = _uuid(strategy)
    symbol = "".join(sign for sign in symbol if sign.isprintable()).strip()[:40]
    which = BacktestFilter(strategy_id=strategy_id, symbol=symbol, state=chosen)
    rows = await service.list_backtests(session, user_id, which=which, before=before, limit=PAGE + 1)
    shown = rows[:PAGE]
    asked = {"strategy": strategy if strategy_id else "", "symbol": symbol, "state": chosen.value if chosen else ""}
    query = urlencode({**{name: value for name, value in asked.items() if value}, "before": shown[-1].backtest.number if shown else 0})
    return BacktestList(
        rows=tuple(backtest_row(one) for one in shown),
        strategy=asked["strategy"],
        symbol=symbol,
        chosen=asked["state"],
        strategies=await strategy_choices(session, user_id, with_archived=True),
        states=tuple(Choice(value=one.value, label=gettext(words)) for one, words in _STATES.items()),
        next=f"/backtests/list?{query}" if len(rows) > PAGE else "",
    )


async def strategy_choices(session: AsyncSession, user_id: UUID, *, with_archived: bool = False) -> tuple[Choice, ...]:
    """Return the user's strategies by name."""
    is_archived = None if with_archived else False
    found = await strategies.list_strategies(session, user_id, is_archived=is_archived, search="", limit=_MOST_STRATEGIES)
    return tuple(Choice(value=str(one.id), label=one.name) for one in sorted(found, key=lambda one: one.name.casefold()))


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None


def backtest_row(listed: Listed) -> BacktestRow:
    """Return one line of the list."""
    found = listed.backtest
    summary: dict[str, Any] = found.summary or {}
    progress = found.progress or {}
    return BacktestRow(
        id=str(found.id),
        number=found.number,
        strategy=listed.strategy_name,
        version=listed.version_number,
        exchange=exchange_name(found.exchange),
        symbol=found.symbol,
        timeframe=found.timeframe,
        period=period_of(found),
        state=BacktestState(found.state).value,
        created_at=found.created_at,
        pct=int(progress.get("pct", 0)),
        net=decimal(summary.get("net_return")),
        held=decimal(summary.get("held_return")),
        drawdown=decimal(summary.get("max_drawdown")),
        sharpe=decimal(summary.get("sharpe")),
        trades=summary.get("trades"),
        error=str((found.error or {}).get("message", "")),
    )


# ---- side by side


def compared_runs(found: Sequence[Listed]) -> tuple[ComparedRun, ...]:
    """Return what each run was made of, marking what the runs do not share."""
    facts = [_facts(one) for one in found]
    shared = {name for name, _ in facts[0] if len({dict(one).get(name) for one in facts}) == 1} if facts else set()
    return tuple(
        ComparedRun(
            id=str(one.backtest.id),
            number=one.backtest.number,
            tone=place + 1,
            title=f"{one.strategy_name} v{one.version_number}",
            facts=tuple(ComparedFact(name=name, value=value, differs=name not in shared) for name, value in facts[place]),
        )
        for place, one in enumerate(found)
    )


def _facts(listed: Listed) -> list[tuple[str, str]]:
    found, language = listed.backtest, current_language()
    options = options_of(found.options)

    def share(value: Decimal) -> str:
        return formatters.share(value, decimals=4, language=language)

    parameters = (found.data or {}).get("parameters") or found.parameters
    facts = [
        (pgettext("where it trades", "Market"), f"{found.symbol} {found.timeframe}, {exchange_name(found.exchange)}"),
        (gettext("Period"), period_of(found)),
        (gettext("Capital"), formatters.money(found.capital, found.symbol.partition("/")[2], language=language)),
        (gettext("Fees"), f"{share(found.fee)} / {share(found.maker_fee)}"),
        (gettext("Slippage"), share(found.slippage)),
        (
            gettext("Parameters"),
            ", ".join(f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items())
            or "—",
        ),
    ]
    if options.volume_share:
        facts.append((gettext("Share of the volume"), share(Decimal(repr(options.volume_share)))))
    if options.funding_rate:
        facts.append((gettext("Funding"), share(Decimal(repr(options.funding_rate)))))
    if options.is_detailed:
        facts.append((gettext("Detail"), gettext("minute by minute")))
    return facts


def period_of(backtest: Backtest) -> str:
    """Return the first and the last day of a backtest, in UTC, as markets count them."""
    language, last = current_language(), backtest.end_at - timedelta(microseconds=1)
    first, final = (formatters.dt(moment, "date", zone="UTC", language=language) for moment in (backtest.start_at, last))
    return first if first == final else f"{first} – {final}"


def compared_groups(found: Sequence[Listed]) -> tuple[MetricGroup, ...]:
    """Return the metrics of runs that have a report, side by side."""
    return metric_groups([from_stored(one.backtest.report or {}) for one in found])
