"""The heartbeat's page with awkward values: a feed that is stale, gaps of every outcome, numbers that changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.domain.candles import LIVE_TIMEFRAMES, to_milliseconds
from app.ui import views
from app.ui.templating import PageView

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_PAGE = "pages/heartbeat/heartbeat.html"


def feed() -> views.FeedSummary:
    """Two connections, all well but for two gaps."""
    return views.FeedSummary(
        name="Binance",
        state="fresh",
        heard_at=NOW,
        age_s=0.4,
        connections=(views.FeedConnection(host="stream.binance.com:9443", streams=1024),) * 2,
        lag_ms=38.4,
        offset_ms=-12.0,
        reconnects=2,
        open_gaps=2,
        gaps_of_day=3,
        differences_of_day=1,
        running_since=NOW - timedelta(days=3, hours=4),
    )


def gaps() -> views.GapList:
    """One of each outcome, and one that is being looked at, in the middle of the list."""
    row = views.GapRow(
        id="0190a7b2-77aa-7d10-8000-000000000001",
        symbol="BTC/USDT",
        timeframe="1m",
        start=NOW - timedelta(hours=2),
        until=NOW - timedelta(hours=1),
        candles=61,
        found_at=NOW - timedelta(minutes=59),
        outcome="open",
    )
    return views.GapList(
        rows=(
            row,
            replace(row, id="0190a7b2-77aa-7d10-8000-000000000002", symbol="1000SATS/USDT", is_asked=True),
            replace(row, id="0190a7b2-77aa-7d10-8000-000000000003", outcome="filled", timeframe="1d", candles=1),
            replace(row, id="0190a7b2-77aa-7d10-8000-000000000004", symbol="A-VERY-LONG-NAME<b>/USDT", outcome="exchange_has_none"),
        ),
        here="/heartbeat/gaps?before=x",
        next="/heartbeat/gaps?before=y",
        first="/heartbeat/gaps",
        error="The exchange does not answer. <b>",
    )


def ledgers() -> views.Ledgers:
    """Both causes of a difference, and a run of each end."""
    numbers = (views.ChangedNumber(name="close", was=60000.1, became=60000.2), views.ChangedNumber(name="volume", was=1e-07, became=2.5))
    difference = views.DifferenceRow(
        id="d1", symbol="BTC/USDT", timeframe="1m", open_time=NOW, cause="revised", numbers=numbers, found_at=NOW
    )
    run = views.FeedSessionRow(id="s1", started_at=NOW - timedelta(hours=1), is_running=True)
    return views.Ledgers(
        differences=(difference, replace(difference, id="d2", timeframe="1h", cause="cross_check")),
        sessions=(
            run,
            replace(run, id="s2", is_running=False, stopped_at=NOW, reason="failed: <b>a very long reason</b> " * 4),
            replace(run, id="s3", is_running=False),
        ),
    )


def signals() -> dict[str, list[list[object]]]:
    """Thirty stored signals of each timeframe."""
    return {
        timeframe.value: [
            [to_milliseconds(timeframe.floor(NOW) - number * timeframe.duration), "BTC/USDT", 60000.12 + number] for number in range(1, 31)
        ]
        for timeframe in LIVE_TIMEFRAMES
    }


def heartbeat_page(shell: views.Shell) -> views.HeartbeatView:
    """One symbol, while a search goes on."""
    return views.HeartbeatView(
        shell=replace(shell, topics=("feed:BTC/USDT",)),
        feed=feed(),
        symbol="BTC/USDT",
        timeframes=tuple(views.Choice(value=timeframe.value, label=timeframe.value) for timeframe in LIVE_TIMEFRAMES),
        watched=(
            views.WatchedSymbol(symbol="ETH/USDT"),
            views.WatchedSymbol(symbol="BTC/USDT", last_closed=NOW - timedelta(minutes=1)),
        ),
        watched_total=2,
        gaps=gaps(),
        ledgers=ledgers(),
        data={"signals": signals(), "ticks": {"BTC/USDT": "0.01"}, "staleMs": 8000},
    )


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """All that there is, a feed that has gone silent, and one that has never run."""
    view = heartbeat_page(shell)
    silent = replace(view.feed, state="stale", age_s=43.0, heard_at=NOW - timedelta(seconds=43), error="silent for 10 s <b>")
    none: dict[str, object] = {timeframe.value: [] for timeframe in LIVE_TIMEFRAMES}
    return {
        "heartbeat": (_PAGE, view),
        "heartbeat-stale": (_PAGE, replace(view, feed=silent, symbol="", unknown="DOGE<b>")),
        "heartbeat-empty": (
            _PAGE,
            replace(
                view,
                symbol="",
                feed=views.FeedSummary(name="Binance", state="connecting"),
                watched=(),
                watched_total=0,
                gaps=views.GapList(),
                ledgers=views.Ledgers(),
                data={"signals": none, "ticks": {}, "staleMs": 8000},
            ),
        ),
    }


def fragments() -> dict[str, object]:
    """Fragments of that page: template → region."""
    return {
        "fragments/heartbeat/_feed.html": feed(),
        "fragments/heartbeat/_gaps.html": gaps(),
        "fragments/heartbeat/_ledgers.html": ledgers(),
        "fragments/heartbeat/_symbol_hits.html": views.SymbolHits(),
    }
