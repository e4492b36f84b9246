"""Examples of the order ticket: filled in with a mistake, its figures on two accounts, the question, and what became of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from app.domain.enums import Liquidity, Side
from app.domain.ticket import Fee, FeeSource, Figures, Slippage
from app.ui import views
from app.ui.templating import PageView
from app.ui.views import ticket

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_LONG = 'Testnet "quoted" <b>with a long name</b>'


def accounts() -> tuple[ticket.TicketAccount, ...]:
    """A live one, and one on the test network that is paused."""
    return (
        ticket.TicketAccount(id="b1", name="Binance main", exchange="binance", venue="Binance", env="live", is_chosen=True),
        ticket.TicketAccount(
            id="b2", name=_LONG, exchange="binance", env="testnet", is_chosen=True, reason="trading is paused: <i>no key</i>"
        ),
    )


def figures_of() -> Figures:
    """A large buy that the visible book does not hold."""
    fee = Fee(
        amount=Decimal("0.00004"),
        asset="BTC",
        in_quote=Decimal("4.18"),
        rate=Decimal("0.001"),
        liquidity=Liquidity.TAKER,
        source=FeeSource.ASSUMED,
    )
    return Figures(
        quantity=Decimal("0.04"),
        price=Decimal("104480.25"),
        amount=Decimal("4179.20"),
        share=Decimal("0.46"),
        fee=fee,
        slippage=Slippage(
            average_price=Decimal("104480.25"), worst_price=Decimal("104502.10"), fraction=Decimal("0.0003"), held=Decimal("0.5")
        ),
        free_before=Decimal("9184.52"),
        free_after=Decimal("5005.32"),
        risk=Decimal("54.40"),
        reward=Decimal("114.80"),
    )


def figures() -> ticket.TicketFigures:
    """On two accounts, of which one refuses."""
    first, second = accounts()
    lines = (
        ticket.TicketLine(
            account=first,
            figures=figures_of(),
            free=Decimal("9184.52"),
            is_ready=True,
            is_watched=True,
            words=("After the fill a stop at 103,120.00 for 0.04000 BTC is placed at Binance.",),
        ),
        ticket.TicketLine(account=second, denial="Not enough USDT: needed 501.20, free 480.11.", field="quantity"),
    )
    return ticket.TicketFigures(
        side=Side.BUY,
        base="BTC",
        quote="USDT",
        env="testnet",
        lines=lines,
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
        min_notional=Decimal(5),
        quantity_text="0.04",
        amount_text="4179.2",
        percent_text="46",
    )


def whole() -> ticket.TicketView:
    """A limit with a bracket, a mistake in its price, and an exchange that lacks some kinds."""
    fields = ticket.TicketFields(
        kind="limit",
        price="104.480,5",
        quantity="0.04",
        stop_loss="103120",
        targets=(views.TargetField(price="107350", percent="50"), views.TargetField()),
    )
    return ticket.TicketView(
        symbol="BTC/USDT",
        base="BTC",
        quote="USDT",
        intent="01a2172b-93bc-7a3f-af77-af787a9f3410",
        fields=fields,
        figures=figures(),
        accounts=accounts(),
        kinds=(
            ticket.TicketKind(value="market", label="Market"),
            ticket.TicketKind(value="limit", label="Limit"),
            ticket.TicketKind(value="trailing", label="Trailing", is_watched=True, note="OKX takes no such order from here."),
        ),
        times=(
            ticket.TicketOption(value="gtc", label="Until canceled (GTC)"),
            ticket.TicketOption(value="fok", label="All or nothing (FOK)", reason="OKX takes no such orders."),
        ),
        post_only_reason="This exchange takes no post-only orders.",
        last=Decimal("104602.36"),
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
        errors={"": "This form is out of date.", "price": "This must be a number above 0, such as 0.01, without spaces."},
    )


def review() -> ticket.TicketReview:
    """One account that would send it, and one that would not."""
    first, second = figures().lines
    fact = ticket.ReviewFact(name="Quantity", value="0.04000 BTC")
    return ticket.TicketReview(
        symbol="BTC/USDT",
        side=Side.BUY,
        title="Limit",
        accounts=(ticket.ReviewAccount(line=first, facts=(fact,), sized="quantity:0.04"), ticket.ReviewAccount(line=second)),
        hidden=(("symbol", "BTC/USDT"), ("intent", '"><b>')),
        base="BTC",
        quote="USDT",
    )


def row() -> ticket.TicketResult:
    """An order in doubt."""
    return ticket.TicketResult(
        account=_LONG, tone="warn", text="Binance did not answer.", order_id="o1", is_open_question=True, since=NOW, code="TIMEOUT"
    )


def results() -> ticket.TicketResults:
    """One filled, one in doubt."""
    filled = ticket.TicketResult(account="Binance main", tone="ok", text="Bought 0.04 BTC.", order_id="o2")
    return ticket.TicketResults(rows=(filled, row()))


def pages(made: Callable[..., views.Shell], *, language: str) -> dict[str, tuple[str, PageView]]:
    """The ticket alone: name → (template, view)."""
    shell = made(page="trading", language=language)
    page = "pages/terminal/ticket.html"
    unknown = replace(whole(), problem="the exchange does not answer", errors={})
    return {
        "ticket": (page, ticket.TicketPage(shell=shell, ticket=whole())),
        "ticket-empty": (page, ticket.TicketPage(shell=shell, ticket=replace(whole(), accounts=(), errors={}))),
        "ticket-unknown": (page, ticket.TicketPage(shell=shell, ticket=unknown)),
    }


def fragments() -> dict[str, object]:
    """Its fragments: template → region."""
    return {
        "fragments/terminal/_ticket.html": whole(),
        "fragments/terminal/_ticket_form.html": whole(),
        "fragments/terminal/_ticket_figures.html": figures(),
        "fragments/terminal/_ticket_review.html": review(),
        "fragments/terminal/_ticket_result.html": results(),
        "fragments/terminal/_ticket_row.html": row(),
        "fragments/terminal/_ticket_intent.html": ticket.TicketIntent(intent="i1"),
    }
