"""Regions of the heartbeat's page, from the feed's tables. No exchange is asked for a page."""

from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import FastAPI

from app.core.i18n import gettext
from app.core.sentences import said
from app.domain.instruments import plain
from app.marketdata.feed_health import host_of
from app.marketdata.feed_news import as_lists, heard_at, is_fresh
from app.marketdata.heartbeat_queries import Difference, FeedRow, FeedSession, Gap, differences, gaps_page, last_closed, sessions
from app.marketdata.lookout import Lookout, lookout_of
from app.marketdata.status import FeedStatus
from app.ui.symbols import book_of, exchange_name
from app.ui.views import (
    ChangedNumber,
    DifferenceRow,
    FeedConnection,
    FeedSessionRow,
    FeedState,
    FeedSummary,
    GapList,
    GapRow,
    HeartbeatSummary,
    Ledgers,
    SilentFeed,
    SymbolHits,
    WatchedSymbol,
)

_GAPS: Final = 50
_DIFFERENCES: Final = 12
_SESSIONS: Final = 6
_HITS: Final = 8
_WATCHED: Final = 60
#: Prices of more symbols are shown with the digits they come with.
_TICKS: Final = 500
_NUMBERS: Final = ("open", "high", "low", "close", "volume")
#: Data that is older is no news: the exchange tells every symbol's best prices many times a second.
STALE_AFTER_S: Final = 7.0


async def bar_heartbeat(app: FastAPI) -> HeartbeatSummary:
    """Return the feed as the status bar shows it."""
    row = await lookout_of(app).news.row()
    now = app.state.clock.now()
    feed: FeedStatus = await app.state.feed.status()
    return HeartbeatSummary(
        state=_state(app, row, now=now),
        age_s=_age_s(app, row, now=now),
        silent=tuple(SilentFeed(name=alert.symbol or alert.exchange, since=alert.since) for alert in feed.alerts),
        open_gaps=None if row.updated_at is None else row.open_gaps,
        differences=row.differences_of_day,
    )


def feed_summary(app: FastAPI, row: FeedRow) -> FeedSummary:
    """Return how the feed is doing."""
    now = app.state.clock.now()
    return FeedSummary(
        name=exchange_name(row.exchange),
        state=_state(app, row, now=now),
        heard_at=heard_at(row, app.state.heartbeat.status),
        age_s=_age_s(app, row, now=now),
        connections=tuple(_connection(one) for one in row.connections),
        lag_ms=row.lag_ms,
        offset_ms=row.clock_offset_ms,
        reconnects=row.reconnects,
        open_gaps=row.open_gaps,
        gaps_of_day=row.gaps_of_day,
        differences_of_day=row.differences_of_day,
        running_since=row.started_at if row.stopped_at is None else None,
        error=row.last_error or "",
    )


def _age_s(app: FastAPI, row: FeedRow, *, now: datetime) -> float | None:
    heard = heard_at(row, app.state.heartbeat.status)
    return None if heard is None else max((now - heard).total_seconds(), 0.0)


def _state(app: FastAPI, row: FeedRow, *, now: datetime) -> FeedState:
    age_s = _age_s(app, row, now=now)
    if age_s is None:
        return "connecting"
    # The row is written every two seconds; this process knows of its own feed at once.
    is_good = app.state.heartbeat.status.is_fresh or is_fresh(row, now=now)
    return "fresh" if is_good and age_s <= STALE_AFTER_S else "stale"


def _connection(one: dict[str, object]) -> FeedConnection:
    streams = one.get("streams")
    return FeedConnection(host=host_of(one), streams=streams if isinstance(streams, int) else 0)


async def script_data(app: FastAPI, symbol: str, symbols: list[str]) -> dict[str, object]:
    """Return what the page's script begins with: stored signals, decimals of prices, and when data is too old."""
    lookout = lookout_of(app)
    book = book_of(app)
    ticks = {}
    for name in (symbols if not symbol else [symbol])[:_TICKS]:
        rules = book.cached(lookout.exchange, name)
        if rules is not None:
            ticks[name] = plain(rules.tick_size)
    return {"signals": as_lists(await lookout.news.stored(symbol or None)), "ticks": ticks, "staleMs": int(STALE_AFTER_S * 1000)}


async def watched_symbols(app: FastAPI, row: FeedRow) -> tuple[WatchedSymbol, ...]:
    """Return the symbols furthest behind."""
    lookout = lookout_of(app)
    found = await last_closed(lookout.database, lookout.exchange, row.symbols)
    return tuple(WatchedSymbol(symbol=symbol, last_closed=moment) for symbol, moment in found[:_WATCHED])


async def symbol_hits(app: FastAPI, asked: str) -> SymbolHits:
    """Return the symbols of the feed's exchange that fit what was typed."""
    found = await book_of(app).stored(lookout_of(app).exchange)
    if found is None or not asked.strip():
        return SymbolHits(asked=asked.strip())
    page = found.page(search=asked, quote="", after=None, limit=_HITS)
    return SymbolHits(rows=tuple(instrument.symbol for instrument in page.rows), asked=asked.strip())


async def gap_list(app: FastAPI, *, symbol: str = "", before: UUID | None = None) -> GapList:
    """Return a page of the holes that were found, the last one first."""
    lookout = lookout_of(app)
    symbol = symbol if symbol.isprintable() else ""
    found = await gaps_page(lookout.database, lookout.exchange, before=before, symbol=symbol or None, limit=_GAPS + 1)
    rows = tuple(_gap_row(gap, lookout) for gap in found[:_GAPS])
    return GapList(
        rows=rows,
        here=_address(symbol, before),
        next=_address(symbol, found[_GAPS - 1].id) if len(found) > _GAPS else "",
        first=_address(symbol, None) if before is not None else "",
        error=said(lookout.gaps.last_error or ""),
    )


def _address(symbol: str, before: UUID | None) -> str:
    asked = {name: str(value) for name, value in (("symbol", symbol), ("before", before)) if value}
    return "/heartbeat/gaps" + (f"?{urlencode(asked)}" if asked else "")


def _gap_row(gap: Gap, lookout: Lookout) -> GapRow:
    return GapRow(
        id=str(gap.id),
        symbol=gap.symbol,
        timeframe=gap.timeframe.value,
        start=gap.start_at,
        until=gap.end_at - gap.timeframe.duration,
        candles=gap.candles,
        found_at=gap.found_at,
        outcome=gap.outcome.value,
        is_asked=gap.id in lookout.gaps.asked,
    )


async def ledgers(app: FastAPI, row: FeedRow) -> Ledgers:
    """Return the latest candles that got other numbers, and the latest runs."""
    lookout = lookout_of(app)
    return Ledgers(
        differences=tuple(_difference_row(found) for found in await differences(lookout.database, lookout.exchange, limit=_DIFFERENCES)),
        sessions=tuple(_session_row(found, row) for found in await sessions(lookout.database, lookout.exchange, limit=_SESSIONS)),
    )


def _difference_row(found: Difference) -> DifferenceRow:
    numbers = zip(_NUMBERS, found.was, found.became, strict=True)
    return DifferenceRow(
        id=str(found.id),
        symbol=found.symbol,
        timeframe=found.timeframe.value,
        open_time=found.open_time,
        cause=found.cause.value,
        numbers=tuple(ChangedNumber(name=name, was=was, became=became) for name, was, became in numbers if was != became),
        found_at=found.found_at,
    )


def _session_row(found: FeedSession, row: FeedRow) -> FeedSessionRow:
    is_running = found.stopped_at is None and row.stopped_at is None and found.started_at == row.started_at
    reason = found.stop_reason or ""
    return FeedSessionRow(
        id=str(found.id),
        started_at=found.started_at,
        stopped_at=found.stopped_at,
        reason=gettext("Stopped in order") if reason == "stopped" else reason,
        is_running=is_running,
    )
