"""One example of every page and every fragment, with awkward values in it: long names, markup, negative figures, nothing at all."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from types import MappingProxyType

from app.domain.candles import Timeframe
from app.domain.enums import OrderState, OrderType, Side, Source
from app.ui import views
from app.ui.templating import PageView
from tests.ui import (
    sample_accounts,
    sample_assistant,
    sample_backtests,
    sample_bots,
    sample_brokers,
    sample_history,
    sample_portfolio,
    sample_searches,
    sample_statistics,
    sample_strategies,
    sample_strategy_editor,
    sample_terminal,
    sample_ticket,
    sample_webhooks,
)
from tests.ui.sample_guarding import audit, external_orders, guard, guard_form, position_question
from tests.ui.sample_states import trading_state

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
CENT = Decimal("0.01")
STEP = Decimal("0.00001")


def shell(*, page: str = "dashboard", user_name: str | None = "dominique", language: str = "en") -> views.Shell:
    """A logged-in person's surroundings."""
    return views.Shell(
        csrf_token="csrf-\"'<token>",
        clock=NOW,
        page=page,
        path="/" if page == "dashboard" else f"/{page}",
        user_name=user_name,
        language=language,
        timezone="Europe/Paris",
        status=views.StatusItems(
            heartbeat=views.HeartbeatSummary(
                state="fresh",
                age_s=0.4,
                silent=(views.SilentFeed(name="BTC/USDT", since=NOW - timedelta(minutes=4)),),
                open_gaps=2,
                differences=1,
            ),
            exchanges=("binance", "kraken"),
            brokers=(
                views.BrokerStatus(name="Binance", ok=True, latency_ms=38),
                views.BrokerStatus(name="Bitget", ok=False, latency_ms=412),
            ),
            bots=7,
            bots_running=3,
            bots_faulted=1,
            day_pnl=Decimal("126.40"),
        ),
        topics=("bar", "orders", "positions", "candle:BTC/USDT") if user_name else (),
        trading=trading_state() if page == "brokers" else views.TradingView(),
        kill_scopes=(
            views.Choice(value="user", label="All my accounts"),
            views.Choice(value="broker:b1", label="Demo · main <b>with a long name</b>"),
            views.Choice(value="platform", label="The whole platform, for everybody"),
        ),
    )


def positions() -> views.Region[views.PositionRow]:
    """Two longs and a short."""
    return views.Region(
        rows=(
            views.PositionRow(
                id="p1",
                symbol="BTC/USDT",
                side="long",
                quantity=Decimal("0.06200"),
                average_price=Decimal("57102.10"),
                mark_price=Decimal("58720.45"),
                guard=guard(),
                unrealised=Decimal("100.3377"),
                unrealised_pct=Decimal("0.0283"),
                quote="USDT",
                source=Source.WEBHOOK,
                opened_at=NOW - timedelta(hours=3),
                broker="Demo · main",
                tick=CENT,
                step=STEP,
            ),
            views.PositionRow(
                id="p2",
                symbol="DOGE/USDT",
                side="short",
                quantity=Decimal(12000),
                average_price=Decimal("0.24180"),
                mark_price=Decimal("0.24512"),
                unrealised=Decimal("-39.84"),
                unrealised_pct=Decimal("-0.01373"),
                quote="USDT",
                source=Source.MANUAL,
                opened_at=NOW - timedelta(minutes=12),
                tick=STEP,
                step=Decimal(1),
            ),
            views.PositionRow(
                id="p3",
                symbol="ETH/USDT",
                side="long",
                quantity=Decimal("0.85"),
                average_price=Decimal("3871.20"),
                quote="USDT",
                source=Source.BOT,
                opened_at=NOW - timedelta(days=2),
                guard=views.GuardRow(watch="here", trailing=Decimal("0.025"), since=NOW - timedelta(seconds=2)),
            ),
        )
    )


def orders() -> views.Region[views.OrderRow]:
    """One order in each interesting state."""
    facts: tuple[tuple[OrderState, Side, str, str, str], ...] = (
        (OrderState.SUBMITTING, Side.BUY, "0.00150", "0", ""),
        (OrderState.FILLED, Side.BUY, "0.06200", "0.06200", ""),
        (OrderState.PARTIAL, Side.SELL, "0.10000", "0.04210", ""),
        (OrderState.DENIED, Side.BUY, "0.00001", "0", "0.58 USDT is below the exchange minimum of 5 USDT for BTC/USDT"),
        (OrderState.UNKNOWN, Side.SELL, "0.02000", "0", ""),
        (OrderState.CANCELED, Side.SELL, "0.02000", "0", ""),
    )
    return views.Region(
        rows=tuple(
            views.OrderRow(
                id=f"o{index}",
                created_at=NOW - timedelta(minutes=7 * index, seconds=11),
                symbol="BTC/USDT",
                side=side,
                type=OrderType.MARKET if index % 2 else OrderType.LIMIT,
                state=state,
                quantity=Decimal(quantity),
                filled_quantity=Decimal(filled),
                price=None if index % 2 else Decimal("58500.00"),
                average_price=Decimal("58701.17") if filled != "0" else None,
                source=Source.WEBHOOK,
                broker="Demo · main",
                reason=reason,
                tick=CENT,
                step=STEP,
                is_guarding=index == 2,
            )
            for index, (state, side, quantity, filled, reason) in enumerate(facts)
        )
    )


def deliveries() -> views.Region[views.DeliveryRow]:
    """Attempts that went well and attempts that did not."""
    facts: tuple[tuple[views.Decision, str, str, str, int | None], ...] = (
        ("executed", "BUY BTC/USDT 0.062", "", "", 12),
        ("pending", "SELL BTC/USDT 0.1", "", "", None),
        ("denied", "BUY BTC/USDT 0.00001", "0.58 USDT is below the exchange minimum of 5 USDT", "NOTIONAL_BELOW_MINIMUM", 6),
        ("stale", "SELL ETH/USDT 5 %", "341 s old, the webhook takes at most 300 s", "STALE", 4),
        ("unreadable", "", "<script>alert(1)</script> is not JSON: line 1, column 1", "PAYLOAD_UNREADABLE", 2),
        ("duplicate", "BUY BTC/USDT 0.062", "the same alert was taken 3 s before", "", 3),
    )
    return views.Region(
        rows=tuple(
            views.DeliveryRow(
                id=f"d{index}",
                received_at=NOW - timedelta(minutes=7 * index, seconds=12),
                hook="tv-btc-breakout",
                decision=decision,
                summary=summary,
                reason=reason,
                code=code,
                latency_ms=latency,
            )
            for index, (decision, summary, reason, code, latency) in enumerate(facts)
        )
    )


def balances() -> views.Balances:
    """A few assets, one without a price."""
    return views.Balances(
        total=Decimal("13474.6812"),
        rows=(
            views.BalanceRow(
                asset="USDT", total=Decimal("9184.52"), locked=Decimal("1250"), value=Decimal("9184.52"), step=Decimal("0.01")
            ),
            views.BalanceRow(asset="BTC", total=Decimal("0.062"), value=Decimal("3640.67"), step=Decimal("0.00001")),
            views.BalanceRow(asset="ETH", total=Decimal("0.85"), value=Decimal("3330.66"), step=Decimal("0.0001")),
            views.BalanceRow(asset="1000SATS", total=Decimal("123456.789012345")),
        ),
    )


def dashboard(*, language: str = "en") -> views.DashboardView:
    """A busy dashboard."""
    start = NOW - timedelta(hours=10)
    points = tuple(
        views.EquityPoint(time=start + timedelta(minutes=5 * step), value=Decimal(13000) + Decimal(step * 37 % 211) + step * 3)
        for step in range(121)
    )
    fill = views.FillMark(
        symbol="BTC/USDT", side=Side.BUY, price=Decimal("57102.10"), quantity=Decimal("0.062"), time=NOW - timedelta(hours=1)
    )
    return views.DashboardView(
        shell=shell(language=language),
        kpis=views.Kpis(
            equity=Decimal("13474.6812"),
            day_change=Decimal("126.40"),
            day_change_pct=Decimal("0.0095"),
            realised_today=Decimal("-12.05"),
            open_positions=3,
            open_orders=1,
            unrealised=Decimal("60.4977"),
            unrealised_pct=Decimal("0.0045"),
        ),
        chart=views.ChartView(
            exchange="binance",
            symbol="BTC/USDT",
            timeframe=Timeframe.M5,
            symbols=("BTC/USDT", "ETH/USDT", "DOGE/USDT"),
            last_price=Decimal("58720.45"),
            fills=(fill,),
        ),
        equity=views.EquityView(points=points),
        balances=balances(),
        positions=positions(),
        bots=sample_bots.running(),
        orders=orders(),
        external=external_orders(),
        audit=audit(),
        deliveries=deliveries(),
    )


def empty_dashboard(*, language: str = "en") -> views.DashboardView:
    """What a newcomer sees first."""
    steps = (
        views.ChecklistStep(title="Create your account", text="You are logged in.", is_done=True),
        views.ChecklistStep(
            title="Connect a broker", text="Add the account your orders are sent through.", href="/brokers", action="Add a broker"
        ),
        views.ChecklistStep(title="Create a webhook", text="Get an address for TradingView.", href="/webhooks", action="Create one"),
    )
    chart = views.ChartView(exchange="binance", symbol="BTC/USDT", symbols=("BTC/USDT",))
    surroundings = replace(shell(language=language), status=views.StatusItems())
    return views.DashboardView(shell=surroundings, chart=chart, checklist=steps)


def troubled_dashboard(*, language: str = "en") -> views.DashboardView:
    """Each region in another state."""
    return replace(
        dashboard(language=language),
        balances=views.Balances(state=views.RegionState.LOADING),
        positions=replace(positions(), state=views.RegionState.STALE, since=NOW),
        orders=views.Region(
            state=views.RegionState.ERROR, message="The database does not answer.", correlation_id="0190a7b2-77aa", retry_url="/orders"
        ),
        deliveries=views.Region(state=views.RegionState.FORBIDDEN),
    )


def login(*, language: str = "en") -> views.LoginView:
    """The login page of a demo, after a wrong password."""
    return views.LoginView(
        shell=replace(shell(page="login", user_name=None, language=language), env="simulated"),
        error="The name or the password is wrong.",
        username="dominique",
        registration_open=True,
        development=True,
    )


def register(*, language: str = "en") -> views.RegisterView:
    """The registration form with one mistake."""
    return views.RegisterView(
        shell=shell(page="register", user_name=None, language=language), username="dominique", errors={"username": "That name is taken."}
    )


def error(*, status: int = 404, user_name: str | None = "dominique", language: str = "en") -> views.ErrorView:
    """An error page."""
    return views.ErrorView(
        shell=shell(page="", user_name=user_name, language=language),
        status=status,
        message="There is no such broker account.",
        code="BROKER_NOT_FOUND",
        correlation_id="0190a7b2-77aa-7d10",
    )


@cache
def pages(language: str = "en") -> Mapping[str, tuple[str, PageView]]:
    """Every page: name → (template, view); made once, for views do not change and some are the outcome of a search."""
    return MappingProxyType(
        {
            "login": ("pages/accounts/login.html", login(language=language)),
            **sample_accounts.pages(shell, login(language=language).shell, language=language),
            "register": ("pages/accounts/register.html", register(language=language)),
            "dashboard": ("pages/dashboard/dashboard.html", dashboard(language=language)),
            "dashboard-empty": ("pages/dashboard/dashboard.html", empty_dashboard(language=language)),
            "dashboard-troubled": ("pages/dashboard/dashboard.html", troubled_dashboard(language=language)),
            "brokers": ("pages/brokers/brokers.html", sample_brokers.brokers(shell(page="brokers", language=language))),
            **sample_portfolio.pages(shell, positions(), language=language),
            **sample_webhooks.pages(shell(page="webhooks", language=language)),
            **sample_strategies.pages(shell(page="strategies", language=language)),
            **sample_backtests.pages(shell(page="backtests", language=language)),
            **sample_searches.pages(shell(page="backtests", language=language)),
            **sample_bots.pages(shell(page="bots", language=language)),
            **sample_history.pages(shell(page="history", language=language)),
            **sample_statistics.pages(shell(page="statistics", language=language), language=language),
            **sample_terminal.pages(shell(page="trading", language=language), dashboard(language=language)),
            **sample_ticket.pages(shell, language=language),
            **sample_strategy_editor.pages(shell(page="strategies", language=language)),
            "error": ("pages/errors/error.html", error(language=language)),
            "error-500": ("pages/errors/error.html", error(status=500, user_name=None, language=language)),
            "error-403": ("pages/errors/error.html", error(status=403, language=language)),
        }
    )


@cache
def fragments() -> Mapping[str, object]:
    """Every fragment: template → region; made once."""
    view = dashboard()
    found: dict[str, object] = {
        "fragments/shell/_status_items.html": shell().status,
        "fragments/shell/_account_menu.html": shell(),
        "fragments/shell/_bell.html": shell(),
        "fragments/shell/_kill_switch.html": shell(),
        "fragments/shell/_trading_state.html": trading_state(),
        "fragments/shell/_unlocked_strategies.html": replace(trading_state(), is_unlocked=True),
        "fragments/shell/_language.html": shell(),
        "fragments/shell/_theme.html": shell(),
        **sample_terminal.fragments(shell(page="trading"), view),
        "fragments/dashboard/_kpis.html": view.kpis,
        "fragments/dashboard/_balances.html": view.balances,
        "fragments/dashboard/_checklist.html": empty_dashboard().checklist,
        "fragments/dashboard/_price_chart.html": view.chart,
        "fragments/dashboard/_equity_chart.html": view.equity,
        "fragments/trading/_positions.html": view.positions,
        "fragments/trading/_orders.html": view.orders,
        "fragments/trading/_external_orders.html": view.external,
        "fragments/trading/_guard_form.html": guard_form(),
        "fragments/trading/_position_question.html": position_question(),
        "fragments/dashboard/_audit.html": view.audit,
        "fragments/webhooks/_deliveries.html": view.deliveries,
        **sample_webhooks.fragments(),
        **sample_strategies.fragments(),
        **sample_backtests.fragments(),
        **sample_searches.fragments(),
        **sample_bots.fragments(),
        **sample_history.fragments(),
        **sample_statistics.fragments(),
        **sample_ticket.fragments(),
        **sample_portfolio.fragments(positions()),
        **sample_assistant.fragments(),
        **sample_strategy_editor.fragments(),
    }
    return MappingProxyType(found | sample_accounts.fragments() | sample_brokers.fragments(shell(page="brokers")))
