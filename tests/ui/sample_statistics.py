"""Examples of the page of statistics: a year of everything, trades of one symbol alone, and nothing at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.core.i18n import use_language
from app.domain.arrays import Floats
from app.statistics.columns import NO_TRIPS, Kind, Trips
from app.statistics.equity import Curve, account_figures, grown
from app.statistics.queries import Account, BotName, Held, Names
from app.statistics.rates import RateLine, valued
from app.statistics.shadow import ShadowLine
from app.statistics.slippage import Basis, Slippage, SlippageLine, Unknown
from app.statistics.summary import Summary, summed
from app.statistics.wish import Mode, StatisticsFilter
from app.ui import views
from app.ui.statistics import nothing_of, points_of, statistics_of
from app.ui.statistics_form import StatisticsQuestion, form_of
from app.ui.templating import PageView
from app.ui.views.statistics import NoStatistics, Statistics, StatisticsView

NOW: Final = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_DAYS: Final = 400
_PAGE: Final = "pages/statistics/statistics.html"
_BROKER, _PAPER, _BOT, _OTHER_BOT, _STRATEGY, _HOOK = (UUID(int=number) for number in range(1, 7))
_READER: Final = views.Reader(language="en", timezone="Europe/Paris")


def names() -> Names:
    """Two accounts, a webhook, a bot, and one whose strategy is gone."""
    return Names(
        accounts=(
            Account(_BROKER, "Binance <main>", Mode.LIVE, is_removed=False),
            Account(_PAPER, "Practice", Mode.PAPER, is_removed=True),
        ),
        webhooks={_HOOK: "Alerts <b>"},
        bots={_BOT: BotName(_BOT, 7, "EMA & friends", _STRATEGY), _OTHER_BOT: BotName(_OTHER_BOT, 8, "Old one", UUID(int=99))},
        strategies={_STRATEGY: "EMA cross"},
    )


def trips() -> Trips:
    """A year of trades by hand, by alerts and by bots, some of them in bitcoin and some in a currency without a rate."""
    kinds = (
        Kind(_BROKER, "BTC/USDT", "USDT", "manual", exit_role="exit"),
        Kind(_BROKER, "ETH/USDT", "USDT", "webhook", exit_role="stop", webhook_id=_HOOK),
        Kind(_BROKER, "SOL/USDC", "USDC", "bot", _BOT, "target"),
        Kind(_BROKER, "ETH/BTC", "BTC", "bot", _OTHER_BOT, "flatten"),
        Kind(_BROKER, "BTC/TRY", "TRY", "manual"),
        Kind(_BROKER, "1000PEPEUP/USDT", "USDT", "webhook", exit_role="entry"),
    )
    draw = np.random.default_rng(4)
    count = 900
    closed = np.sort(_ms(NOW) - draw.integers(0, _DAYS * 86_400_000, count))
    kind = draw.integers(0, len(kinds), count)
    scale = np.where(kind == 3, 2e4, 1e9)
    return Trips(
        kinds=kinds,
        kind=kind,
        closed=closed,
        opened=closed - draw.integers(60_000, 90_000_000, count),
        profit=np.rint(draw.normal(0.1, 1.4, count) * scale).astype(np.int64),
        fees=np.rint(draw.random(count) * 0.02 * scale).astype(np.int64),
    )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _curve() -> Curve:
    times = _ms(NOW) - np.arange(_DAYS, 0, -1) * 86_400_000
    worth: Floats = 10_000.0 * np.cumprod(1 + np.random.default_rng(9).normal(0.001, 0.012, _DAYS)).astype(np.float64)
    flows = np.zeros(_DAYS)
    flows[200] = 2_000
    worth[200:] += 2_000
    return Curve(times, worth, flows, grown(worth, flows))


def summary(asked: StatisticsFilter | None = None) -> Summary:
    """What a page shows most of."""
    rates = {
        "BTC": RateLine(np.array([_ms(NOW) - hours * 3_600_000 for hours in range(_DAYS * 24, -1, -1)]), np.full(_DAYS * 24 + 1, 61_000.0))
    }
    known = trips()
    return summed(
        asked or StatisticsFilter(zone=ZoneInfo("Europe/Paris")), names(), NOW, valued(known, rates),
        held=Held(2, NOW - timedelta(hours=7)),
        unvalued={"KCS": Decimal("0.31"), "<odd>": Decimal(4)},
        shadows=(
            ShadowLine(
                bot_id=_BOT, quote="USDC", days=31, trades=12, shadow_trades=13, profit=Decimal("21.4"), shadow_profit=Decimal("23.05")
            ),
        ),
        accounts=account_figures(_curve()),
        slippage=Slippage(
            (
                SlippageLine(quote="USDT", basis=Basis.TRIGGER, orders=31, notional=Decimal(40_100), cost=Decimal("18.22")),
                SlippageLine(quote="BTC", basis=Basis.SIGNAL, orders=2, notional=Decimal("0.4"), cost=Decimal("-0.00001")),
                SlippageLine(quote="USDT", basis=Basis.ALERT, orders=1, notional=Decimal(0), cost=Decimal(0)),
            ),
            ((Unknown.LIMIT, 44), (Unknown.TRAILING, 1), (Unknown.NOT_NOTED, 12)),
        ),
    )  # fmt: skip


def nothing(asked: StatisticsFilter) -> Summary:
    """What there is before anything was traded."""
    return summed(
        asked, names(), NOW, valued(NO_TRIPS, {}),
        held=Held(0, None), unvalued={}, shadows=(), accounts=None, slippage=Slippage(),
    )  # fmt: skip


def found(of: Summary, question: StatisticsQuestion, language: str = "en") -> Statistics:
    """The part below the filter."""
    with use_language(language):
        return statistics_of(of, question, today=NOW.date())


def _nothing(of: Summary, question: StatisticsQuestion, language: str = "en") -> NoStatistics:
    with use_language(language):
        shown = nothing_of(of, question)
    assert shown is not None
    return shown


def pages(shell: views.Shell, *, language: str) -> dict[str, tuple[str, PageView]]:
    """The page: name → (template, view)."""

    def view(question: StatisticsQuestion, asked: StatisticsFilter, of: Summary, *, is_empty: bool) -> StatisticsView:
        with use_language(language):
            form = form_of(question, asked, names(), ["BTC/USDT", "ETH/USDT"], _READER)
        return StatisticsView(
            shell=shell,
            form=form,
            csv="/api/statistics/export?format=csv&mode=live",
            json="/api/statistics/export?format=json&mode=live",
            found=None if is_empty else found(of, question, language),
            nothing=_nothing(of, question, language) if is_empty else None,
        )

    whole = summary()
    question = StatisticsQuestion(range="all")
    # Whole accounts say nothing of one symbol, and a new bot has no shadow.
    part = replace(whole, accounts=None, asked=StatisticsFilter(symbol="ETH", zone=ZoneInfo("Europe/Paris")), shadows=())
    paper, testnet = (StatisticsFilter(mode=mode) for mode in (Mode.PAPER, Mode.TESTNET))
    shown = {
        "statistics": view(question, whole.asked, whole, is_empty=False),
        "statistics-part": view(replace(question, symbol="ETH"), part.asked, part, is_empty=False),
        "statistics-empty": view(StatisticsQuestion(mode="paper"), paper, nothing(paper), is_empty=True),
        "statistics-no-account": view(StatisticsQuestion(mode="testnet"), testnet, nothing(testnet), is_empty=True),
    }
    return {name: (_PAGE, made) for name, made in shown.items()}


def routes() -> list[Route]:
    """What the curves of the page read."""

    async def curve(request: Request) -> Response:
        of = summary()
        accounts = None if "symbol" in request.query_params else of.accounts
        return JSONResponse(points_of(accounts, of.curve, of.unit))

    return [Route("/statistics/curve", curve)]


def fragments() -> dict[str, object]:
    """Its fragments: template → region."""
    whole, question = summary(), StatisticsQuestion(range="all")
    shown = found(whole, question)
    parts = ("found", "curve", "metrics", "calendar", "hours", "costs", "shadow", "others")
    with use_language("en"):
        form = form_of(question, whole.asked, names(), ["BTC/USDT", "ETH/USDT"], _READER)
    return {
        **{f"fragments/statistics/_{name}.html": shown for name in parts},
        "fragments/statistics/_filter.html": form,
        "fragments/statistics/_nothing.html": _nothing(nothing(StatisticsFilter()), StatisticsQuestion()),
        "fragments/statistics/_texts.html": shown,
    }
