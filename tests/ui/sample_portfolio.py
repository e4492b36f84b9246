"""Examples of the page of the portfolio: two accounts with flows, a currency without a rate, and nothing at all."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.enums import FlowNote
from app.ui import views
from app.ui.templating import PageView
from app.ui.views import portfolio as view

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_PAGE = "pages/portfolio/portfolio.html"


def headline() -> view.Headline:
    """A loss today, a gain since the beginning, and a deposit in between."""
    cells = (
        ("day", "-126.4", "-0.0041", "0"),
        ("week", "312.07", "0.0105", "500"),
        ("month", "0", None, "500"),
        ("all", "2104.5", "0.07", "-1200"),
    )
    return view.Headline(
        currency="EUR",
        decimals=2,
        total=Decimal("28904.118"),
        as_of=NOW,
        rate=Decimal("1.0842"),
        profits=tuple(
            view.ProfitCell(key=key, amount=Decimal(amount), fraction=None if part is None else Decimal(part), flows=Decimal(flows))
            for key, amount, part, flows in cells
        ),
    )


def allocation() -> view.Allocation:
    """Eight parts, the last of them all the rest, and two tokens that nobody quotes."""
    parts = (("BTC", 48), ("USDT", 20), ("ETH", 12), ("SOL", 8), ("BNB", 5), ("ADA", 4), ("XRP", 2), ("", 1))
    begin, slices = 0, []
    for tone, (label, hundredths) in enumerate(parts, 1):
        share = Decimal(hundredths) / 100
        slices.append(view.Slice(label=label, value=share * 28904, share=share, tone=tone, length=str(hundredths), offset=str(-begin)))
        begin += hundredths
    return view.Allocation(currency="EUR", decimals=2, slices=tuple(slices), unpriced=("JUNK", "<b>ODD</b>"))


def holdings() -> view.Holdings:
    """One asset with a position, one in orders, one without a price."""
    rows = (
        view.AssetRow(
            asset="BTC",
            free=Decimal("0.22"),
            locked=Decimal("0.0123"),
            total=Decimal("0.2323"),
            price=Decimal("59801.77"),
            value=Decimal("13891.95"),
            share=Decimal("0.4806"),
            average=Decimal("57102.1"),
            unrealised=Decimal("-100.3377"),
            quote="USDT",
        ),
        view.AssetRow(
            asset="USDT",
            free=Decimal(6000),
            locked=Decimal(0),
            total=Decimal(6000),
            price=Decimal(1),
            value=Decimal(6000),
            share=Decimal("0.2"),
        ),
        view.AssetRow(asset="JUNK", free=Decimal("1000000"), locked=Decimal(0), total=Decimal("1000000")),
    )
    return view.Holdings(currency="EUR", decimals=2, rows=rows, export="/api/portfolio/balances/export?broker_id=b1")


def results() -> view.Results:
    """Two quote currencies, and fees in an asset without a rate."""
    lately = (Decimal("-12.4"), Decimal(0), Decimal("120.004"))
    dollars = view.RealisedRow(quote="USDT", day=lately[0], week=lately[1], month=lately[2], total=Decimal("1204.1"))
    coins = view.RealisedRow(quote="BTC", day=lately[1], week=lately[1], month=lately[1], total=Decimal("-0.00120"), decimals=8)
    fees = (view.FeeRow(asset="BNB", amount=Decimal("0.12345678"), value=Decimal("71.2")), view.FeeRow(asset="JUNK", amount=Decimal(3)))
    return view.Results(currency="EUR", decimals=2, realised=(dollars, coins), fees=fees)


def flows() -> view.Flows:
    """One that waits, a deposit, a withdrawal that was corrected, and one without a price."""
    earlier = NOW - timedelta(days=1)
    rows = (
        view.FlowRow(id="", at=NOW, broker="Binance <main>", asset="USDT", amount=Decimal(250), value=Decimal("230.58")),
        view.FlowRow(
            id="f1",
            at=earlier,
            broker="Binance <main>",
            asset="USDT",
            amount=Decimal(500),
            value=Decimal("461"),
            note="deposit",
        ),
        view.FlowRow(
            id="f2",
            at=NOW - timedelta(days=3),
            broker="Testnet",
            asset="BTC",
            amount=Decimal("-0.5"),
            value=Decimal("-29900"),
            note="withdrawal",
            was=Decimal("-0.51"),
        ),
        view.FlowRow(id="f3", at=NOW - timedelta(days=9), broker="Testnet", asset="JUNK", amount=Decimal(1), value=None, note="income"),
    )
    query = "broker=b1&broker=b2"
    export = "/api/portfolio/flows/export?broker_id=b1"
    return view.Flows(currency="EUR", decimals=2, rows=rows, notes=tuple(FlowNote), query=query, export=export, has_more=True)


def curve() -> view.CurveView:
    """A week with a deposit in it."""
    points = tuple(
        views.EquityPoint(time=NOW - timedelta(hours=hour), value=Decimal(28000 + hour * hour % 97)) for hour in range(168, 0, -1)
    )
    return view.CurveView(
        currency="EUR",
        decimals=2,
        points=points,
        marks=(view.FlowMark(time=points[60].time, value=Decimal("461")), view.FlowMark(time=points[120].time, value=Decimal("-120"))),
        periods=tuple(
            view.Period(key=key, href=f"/portfolio?period={key}", is_chosen=key == "7d") for key in ("1d", "7d", "30d", "1y", "all")
        ),
        earned=Decimal("0.0123"),
    )


def live(positions: views.Region[views.PositionRow]) -> view.PortfolioLive:
    """Everything but the curve."""
    return view.PortfolioLive(
        headline=headline(), allocation=allocation(), holdings=holdings(), positions=positions, results=results(), flows=flows()
    )


def empty(*, has_accounts: bool) -> view.PortfolioLive:
    """Nothing was read yet."""
    money = {"currency": "USDT", "decimals": 2}
    profits = tuple(view.ProfitCell(key=key, amount=None, fraction=None, flows=Decimal(0)) for key in ("day", "week", "month", "all"))
    return view.PortfolioLive(
        headline=view.Headline(currency="USDT", decimals=2, profits=profits),
        allocation=view.Allocation(currency="USDT", decimals=2),
        holdings=view.Holdings(currency="USDT", decimals=2),
        positions=views.Region(),
        results=view.Results(currency="USDT", decimals=2),
        flows=view.Flows(**money, notes=tuple(FlowNote)),  # type: ignore[arg-type]  # two kinds of values
        has_accounts=has_accounts,
    )


def pages(
    made: Callable[..., views.Shell], positions: views.Region[views.PositionRow], *, language: str
) -> dict[str, tuple[str, PageView]]:
    """The page: name → (template, view)."""
    shell = made(page="portfolio", language=language)
    accounts = (
        view.AccountChoice(id="b1", name="Binance <main>", is_chosen=True),
        view.AccountChoice(id="b2", name="Testnet with a long name", is_chosen=False),
    )
    whole = view.PortfolioView(shell=shell, live=live(positions), curve=curve(), period="7d", accounts=accounts)
    usdt = replace(headline(), currency="USDT", rate=None, missing="EUR")
    par = replace(headline(), currency="USD", rate=None, is_par=True)
    nothing = view.CurveView(currency="USDT", decimals=2, periods=curve().periods)
    return {
        "portfolio": (_PAGE, whole),
        "portfolio-no-rate": (_PAGE, replace(whole, live=replace(live(positions), headline=usdt))),
        "portfolio-par": (_PAGE, replace(whole, live=replace(live(positions), headline=par))),
        "portfolio-unread": (_PAGE, view.PortfolioView(shell=shell, live=empty(has_accounts=True), curve=nothing)),
        "portfolio-empty": (_PAGE, view.PortfolioView(shell=shell, live=empty(has_accounts=False), curve=nothing)),
    }


def fragments(positions: views.Region[views.PositionRow]) -> dict[str, object]:
    """Its fragments: template → region."""
    return {
        "fragments/portfolio/_live.html": live(positions),
        "fragments/portfolio/_headline.html": headline(),
        "fragments/portfolio/_allocation.html": allocation(),
        "fragments/portfolio/_holdings.html": holdings(),
        "fragments/portfolio/_results.html": results(),
        "fragments/portfolio/_flows.html": flows(),
        "fragments/portfolio/_curve.html": curve(),
    }
