"""The trading page's sample, with everything that can stand in it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.enums import OrderState, OrderType, Side, Source
from app.ui import views
from app.ui.templating import PageView
from tests.ui import sample_ticket
from tests.ui.sample_guarding import external_orders

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
CENT = Decimal("0.01")
STEP = Decimal("0.00001")


def markets() -> views.MarketList:
    """A page of a list that goes on: a favourite, the current one, one without a price, a long name."""
    symbols = ("BTC/USDT", "ETH/USDT", "1000SATS/USDT", "DOGE/USDT")
    rows = tuple(
        views.MarketRow(
            symbol=symbol,
            base=symbol.partition("/")[0],
            quote="USDT",
            tick=CENT,
            href=f"/trading?symbol={symbol}",
            broker_id="b1",
            is_favourite=index < 2,
            is_current=index == 0,
            last=None if index == 2 else Decimal("104602.36"),
            change=None if index == 2 else Decimal("0.0174") - index * CENT,
            day_open=None if index == 2 else Decimal("102813.5"),
        )
        for index, symbol in enumerate(symbols)
    )
    return views.MarketList(rows=rows, filter="USDT", total=1842, next="/trading/symbols?quote=USDT&after=DOGE%2FUSDT", broker_id="b1")


def lines() -> tuple[views.ChartLine, ...]:
    """One of each kind."""
    return (
        views.ChartLine(kind="entry", id="p1", price=Decimal(57102), label="Long 0.062", side=Side.BUY),
        views.ChartLine(kind="stop", id="p1", price=Decimal(56000), label="Stop", is_movable=True),
        views.ChartLine(kind="target", id="p1", price=Decimal(60000), label="Target", is_movable=True),
        views.ChartLine(kind="order", id="o1", price=Decimal(55000), label="Limit Buy 0.04", side=Side.BUY, is_movable=True),
        views.ChartLine(kind="external", id="e1", price=Decimal(54000), label="Buy 1 · placed elsewhere", side=Side.BUY),
    )


def chart() -> views.TerminalChart:
    """A chart of one exchange for an account at another."""
    facts = views.MarketFacts(
        last=Decimal("104602.36"),
        change=Decimal("0.0174"),
        high=Decimal("105324.26"),
        low=Decimal("102760.23"),
        volume=Decimal("27151.4"),
        turnover=Decimal("2840000000"),
        bid=Decimal("104602.35"),
        ask=Decimal("104602.36"),
    )
    return views.TerminalChart(
        exchange="binance",
        exchange_name="Binance",
        venue="kraken",
        venue_name="Kraken",
        symbol="BTC/USDT",
        base="BTC",
        quote="USDT",
        facts=facts,
        lines=lines(),
        account="b1",
        accounts=(views.Choice(value="b1", label="Demo · main <b>with a long name</b>"), views.Choice(value="b2", label="Second")),
    )


def open_orders() -> views.Region[views.OrderRow]:
    """One that can be changed, one that guards a position, one that waits here."""
    first = views.OrderRow(
        id="o1",
        created_at=NOW - timedelta(minutes=4),
        symbol="BTC/USDT",
        side=Side.BUY,
        type=OrderType.LIMIT,
        state=OrderState.OPEN,
        quantity=Decimal("0.04"),
        source=Source.MANUAL,
        price=Decimal(55000),
        broker="Demo · main",
        tick=CENT,
        step=STEP,
        is_amendable=True,
    )
    guarding = replace(first, id="o2", side=Side.SELL, type=OrderType.STOP_LIMIT, state=OrderState.PARTIAL, trigger_price=Decimal(56000))
    waiting = replace(first, id="o3", type=OrderType.TRAILING_STOP, state=OrderState.INTENT, price=None, is_watched=True)
    return views.Region(rows=(first, replace(guarding, is_guarding=True, is_amendable=False), replace(waiting, is_amendable=False)))


def fills() -> views.Region[views.FillRow]:
    """A taker's and a maker's."""
    taken = views.FillRow(
        id="b1-BTC-USDT-1",
        at=NOW - timedelta(minutes=9),
        symbol="BTC/USDT",
        side=Side.BUY,
        price=Decimal("57102.10"),
        quantity=Decimal("0.062"),
        notional=Decimal("3540.33"),
        quote="USDT",
        fee=Decimal("0.000062"),
        fee_asset="BTC",
        broker="Demo · main",
        tick=CENT,
        step=STEP,
    )
    return views.Region(rows=(taken, replace(taken, id="b1-BTC-USDT-2", side=Side.SELL, is_maker=True, fee=None, fee_asset="")))


def move() -> views.MoveQuestion:
    """A limit order that was dragged and refused."""
    return views.MoveQuestion(
        kind="order",
        symbol="BTC/USDT",
        quote="USDT",
        broker="Demo · main",
        what="Limit Buy",
        old=Decimal(55000),
        new=Decimal("55100.5"),
        address="/trading/orders/o1/amend",
        fields=(
            views.MoveField(name="price", value="55100.5", is_shown=True, is_moved=True),
            views.MoveField(name="quantity", value="0.04", is_shown=True),
        ),
        tick=CENT,
        error="BTC/USDT: a price must be at least 0.01 and at most 1000000 USDT, was 0",
        can_retry=True,
    )


def everything() -> views.AllQuestion:
    """Two positions that are to be closed."""
    row = views.AllRow(symbol="BTC/USDT", side="long", quantity=Decimal("0.062"), broker="Demo · main", step=STEP)
    return views.AllQuestion(action="close", rows=(row, replace(row, symbol="ETH/USDT", side="short")), symbol="", key="k1")


def terminal(shell: views.Shell, dashboard: views.DashboardView) -> views.TerminalView:
    """The whole page; what it shares with the dashboard is the dashboard's."""
    return views.TerminalView(
        shell=shell,
        chart=chart(),
        markets=markets(),
        account=views.TerminalAccount(id="b1", name="Demo · main", exchange_name="Kraken"),
        ticket=sample_ticket.whole(),
        positions=dashboard.positions,
        open_orders=open_orders(),
        external=external_orders(),
        balances=dashboard.balances,
        orders=dashboard.orders,
        fills=fills(),
    )


def pages(shell: views.Shell, dashboard: views.DashboardView) -> dict[str, tuple[str, PageView]]:
    """The page with everything, and for somebody who has nothing yet."""
    empty = views.TerminalView(shell=shell, chart=None, markets=views.MarketList(filter="favourites"))
    return {
        "trading": ("pages/terminal/terminal.html", terminal(shell, dashboard)),
        "trading-empty": ("pages/terminal/terminal.html", empty),
    }


def fragments(shell: views.Shell, dashboard: views.DashboardView) -> dict[str, object]:
    """Every fragment of the page."""
    view = terminal(shell, dashboard)
    return {
        "fragments/shell/_shortcuts.html": shell,
        "fragments/terminal/_markets.html": view,
        "fragments/terminal/_market_rows.html": view.markets,
        "fragments/terminal/_star.html": views.Star(symbol="BTC/USDT", broker_id="b1", is_favourite=True),
        "fragments/terminal/_chart.html": view.chart,
        "fragments/terminal/_indicators.html": view.chart,
        "fragments/terminal/_book.html": view.chart,
        "fragments/terminal/_ticket_panel.html": view,
        "fragments/terminal/_tab_acts.html": view,
        "fragments/terminal/_open_orders.html": view.open_orders,
        "fragments/terminal/_fills.html": view.fills,
        "fragments/terminal/_move.html": move(),
        "fragments/terminal/_texts.html": view,
        "fragments/terminal/_account.html": view.chart,
        "fragments/terminal/_all_question.html": everything(),
    }
