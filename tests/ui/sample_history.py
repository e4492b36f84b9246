"""The history's pages with awkward values: markup in notes, long names, fees that nobody could value, nothing at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.enums import OrderState, OrderType, Side, Source
from app.ui import views
from app.ui.history import HistoryQuestion, history_form
from app.ui.templating import PageView

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_ID = "0190a7b2-77aa-7d10-8000-0000000000"
_BNB = views.Fee(amount=Decimal("0.00012345"), asset="BNB")
_KCS = views.Fee(amount=Decimal("1.5"), asset="KCS")
_READER = views.Reader(language="en", timezone="Europe/Paris")
_FOLDER = "fragments/history"


def _order(number: int, state: OrderState, *, reason: str = "") -> views.HistoryOrder:
    return views.HistoryOrder(
        order=views.OrderRow(
            id=f"{_ID}{number:02}",
            created_at=NOW - timedelta(hours=number),
            symbol="BTC/USDT",
            side=Side.BUY if number % 2 else Side.SELL,
            type=OrderType.STOP_LIMIT if number % 3 else OrderType.MARKET,
            state=state,
            quantity=Decimal("0.062"),
            filled_quantity=Decimal("0.062") if state is OrderState.FILLED else Decimal(0),
            price=Decimal("58500.00"),
            average_price=Decimal("58701.17") if state is OrderState.FILLED else None,
            trigger_price=Decimal(58400) if number % 3 else None,
            source=Source.WEBHOOK,
            broker="A-very-long-name-of-an-account-without-any-blank",
            reason=reason,
            tick=Decimal("0.01"),
            step=Decimal("0.00001"),
            is_guarding=number == 2,
        ),
        fees=(_BNB, _KCS) if state is OrderState.FILLED else (),
        note="<script>alert(1)</script> " + "why " * 60 if number == 1 else "",
        tags=("fomo", "revenge") if number == 1 else (),
    )


def orders() -> views.HistoryList:
    """One order of each fate, and more of them further down."""
    facts = (
        (OrderState.FILLED, ""),
        (OrderState.OPEN, ""),
        (OrderState.DENIED, "0.58 USDT is below the exchange minimum of 5 USDT for BTC/USDT"),
        (OrderState.LOST, "Checked until 12:03:20 UTC: the order never arrived. No money moved."),
    )
    return views.HistoryList(
        tab="orders",
        rows=tuple(_order(number, state, reason=reason) for number, (state, reason) in enumerate(facts, 1)),
        more="/history/orders/rows?cursor=2026",
        older="/history/orders?cursor=2026",
        first="/history/orders",
        export="/api/orders/export?symbol=BTC%2FUSDT",
        is_filtered=True,
    )


def attempts() -> views.HistoryList:
    """An order, a refused one, and an alert that nobody could read."""
    order = views.AttemptRow(
        id=f"{_ID}01",
        at=NOW,
        href=f"/history/orders/{_ID}01",
        state="filled",
        source=Source.MANUAL,
        symbol="BTC/USDT",
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=Decimal("0.062"),
        filled_quantity=Decimal("0.062"),
        price=Decimal("58701.17"),
        broker="Demo · main",
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
    )
    denied = replace(order, id=f"{_ID}02", state="denied", reason="Not enough USDT: free 0.", code="INSUFFICIENT_BALANCE", price=None)
    alert = views.AttemptRow(
        id=f"{_ID}03",
        at=NOW - timedelta(days=9),
        href=f"/webhooks/deliveries/{_ID}03",
        state="unreadable",
        source=Source.WEBHOOK,
        asked="<b>buy</b> " + "x" * 50,
        reason="<script>alert(1)</script> is not JSON: line 1, column 1",
        code="PAYLOAD_UNREADABLE",
        origin="tv-btc <b>",
    )
    return views.HistoryList(tab="attempts", rows=(order, denied, alert, replace(alert, id=f"{_ID}04", asked="", state="stale")))


def _fill(number: int, fee: views.Fee, worth: Decimal | None) -> views.HistoryFill:
    return views.HistoryFill(
        id=f"f{number}",
        order_id=f"{_ID}01",
        at=NOW - timedelta(minutes=number),
        symbol="BTC/USDT",
        side=Side.BUY,
        price=Decimal("58701.17"),
        quantity=Decimal("0.031"),
        fee=fee,
        liquidity="maker" if number else "taker",
        quote="USDT",
        worth=worth,
        type=OrderType.LIMIT,
        source=Source.BOT,
        broker="Demo · main",
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
    )


def fills() -> views.HistoryList:
    """Fees of every kind."""
    usdt = views.Fee(amount=Decimal("1.81973"), asset="USDT")
    return views.HistoryList(
        tab="fills", rows=(_fill(0, usdt, usdt.amount), _fill(1, _BNB, Decimal("0.0755")), _fill(2, _KCS, None)), place="2026-11"
    )


def _trade() -> views.TradeRow:
    return views.TradeRow(
        id=f"{_ID}09",
        symbol="BTC/USDT",
        side="long",
        quantity=Decimal("0.062"),
        opened_at=NOW - timedelta(hours=30),
        closed_at=NOW,
        duration="1 day",
        pnl=Decimal("-104.4133"),
        quote="USDT",
        source=Source.MANUAL,
        pnl_pct=Decimal("-0.0287"),
        entry_price=Decimal("58701.170000000000"),
        exit_price=Decimal("57017.04"),
        fees=(_BNB, _KCS),
        unvalued=(_KCS,),
        dust=Decimal("0.00000312"),
        broker="Demo · main",
        note="Entered <late>",
        tags=("late",),
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
    )


def trades() -> views.HistoryList:
    """A loss, a win of a position of before its fills were told apart, and the sums."""
    old = replace(_trade(), id=f"{_ID}10", side="short", entry_price=None, exit_price=None, pnl_pct=None, pnl=Decimal(12), unvalued=())
    return views.HistoryList(tab="trades", rows=(_trade(), replace(old, note="", tags=(), fees=())), totals=totals())


def totals() -> views.TradeTotals:
    """Two quote currencies, and fees without a price."""
    return views.TradeTotals(
        trades=1204,
        win_rate=Decimal("0.4833"),
        quotes=(
            views.QuoteTotal(quote="USDT", pnl=Decimal("-1204.55"), fees=Decimal("88.10"), trades=1200, won=580),
            views.QuoteTotal(quote="BTC", pnl=Decimal("0.00412"), fees=Decimal("0.0001"), trades=4, won=2),
        ),
        unvalued=(_KCS,),
    )


def note() -> views.NoteForm:
    """A note that was too long."""
    return views.NoteForm(
        address="/history/orders/x/note", text="</textarea><b>", tags="a, b", error="A note holds 2,000 characters at most."
    )


def order() -> views.OrderInFull:
    """An order of an alert with everything."""
    return views.OrderInFull(
        row=_order(3, OrderState.DENIED, reason="Not enough USDT: free 0."),
        code="INSUFFICIENT_BALANCE",
        events=(
            views.OrderEvent(at=NOW, words="The order was wished for and stored", state=OrderState.INTENT),
            views.OrderEvent(at=NOW, words="Refused here", state=OrderState.DENIED, detail="<b>Not enough</b> USDT"),
        ),
        fills=(_fill(0, _KCS, None),),
        note=note(),
        origin="An alert of the webhook “tv-btc <b>”",
        origin_href=f"/webhooks/deliveries/{_ID}03",
        facts=(views.Said(name="Our id", value="q0123456789abcdefg"),),
        plan=(views.Said(name="Stop", value="57,000.00"),),
        latencies=(views.Said(name="until it was sent", value="3 ms"), views.Said(name="until the exchange answered", value="48 ms")),
        trip_ids=(f"{_ID}09",),
        env="paper",
    )


def trade() -> views.TradeInFull:
    """A round trip with candles."""
    return views.TradeInFull(
        row=_trade(),
        orders=(f"{_ID}01", f"{_ID}02"),
        fills=(_fill(0, _BNB, Decimal("0.0755")),),
        note=views.NoteForm(address="/history/trades/x/note", is_saved=True),
        worst=Decimal("56800.5"),
        best=Decimal(59000),
    )


def _form(tab: views.Tab) -> views.HistoryForm:
    return history_form(HistoryQuestion(tab=tab, symbol="<b>", since="2026-10-25" if tab == "orders" else ""), [], _READER)


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """Pages by name: template and view."""
    page = "pages/history/history.html"
    lists = {"orders": orders(), "attempts": attempts(), "fills": fills(), "trades": trades()}
    found: dict[str, tuple[str, PageView]] = {
        f"history_{name}": (page, views.HistoryView(shell=shell, form=_form(shown.tab), list=shown)) for name, shown in lists.items()
    }
    empty = views.HistoryList(tab="trades", totals=views.TradeTotals(), is_filtered=True)
    found["history_empty"] = (page, views.HistoryView(shell=shell, form=_form("trades"), list=empty))
    found["history_order"] = ("pages/history/order.html", views.OrderPage(shell=shell, order=order()))
    found["history_trade"] = ("pages/history/trade.html", views.TradePage(shell=shell, trade=trade()))
    return found


def fragments() -> dict[str, object]:
    """Fragments: template → region."""
    return {
        f"{_FOLDER}/_list.html": orders(),
        f"{_FOLDER}/_orders_rows.html": orders(),
        f"{_FOLDER}/_attempts_rows.html": attempts(),
        f"{_FOLDER}/_fills_rows.html": fills(),
        f"{_FOLDER}/_trades_rows.html": trades(),
        f"{_FOLDER}/_totals.html": totals(),
        f"{_FOLDER}/_filter.html": _form("orders"),
        f"{_FOLDER}/_note.html": note(),
        f"{_FOLDER}/_events.html": order(),
    }
