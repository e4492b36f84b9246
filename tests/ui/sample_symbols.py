"""Symbols of an exchange and their updates, with awkward values in them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.ui import views
from app.ui.templating import PageView

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_PAGE = "pages/symbols/symbols.html"


def updates() -> views.UpdateList:
    """One in each state."""
    asks = views.UpdateRow(id="u1", exchange="kraken", name="Kraken", state="running", phase="asking", who="me", at=NOW)
    done = replace(
        asks,
        id="u4",
        exchange="bybit",
        name="Bybit",
        state="done",
        phase="storing",
        who="night",
        added=1,
        updated=21,
        names=(("added", "1000SATS/USDT"), ("updated", ", ".join(f"COIN{number}/USDT" for number in range(20)) + ", …")),
    )
    return views.UpdateList(
        rows=(
            replace(asks, id="u2", exchange="binance", name="Binance", phase="storing", done=1500, total=3012, who="somebody"),
            asks,
            replace(asks, id="u3", exchange="okx", name="OKX", phase="waiting"),
            done,
            replace(
                done, id="u5", exchange="gate", name="Gate", state="failed", names=(), code="LISTING_INCOMPLETE", reason="<b>lists 3</b>"
            ),
            replace(done, id="u6", exchange="mexc", name="MEXC Global", state="interrupted", names=(), at=NOW - timedelta(days=3)),
        )
    )


def symbols() -> views.SymbolList:
    """A page in the middle of the list."""
    rules = (
        ("BTC", "0.01", "0.00001", "5"),
        ("1000SATS", "0.0000000001", "1", None),
        ("A-VERY-LONG-NAME<b>", "0.5", "1000000", "123456.5"),
    )
    rows = tuple(
        views.SymbolRow(
            symbol=f"{base}/USDT",
            base=base,
            quote="USDT",
            tick=Decimal(tick),
            step=Decimal(step),
            min_quantity=Decimal(step),
            min_notional=None if least is None else Decimal(least),
        )
        for base, tick, step, least in rules
    )
    return views.SymbolList(name="Binance", rows=rows, total=3012, next="/symbols/rows?after=B", first="/symbols/rows?exchange=binance")


def symbols_page(shell: views.Shell) -> views.SymbolsView:
    """A list that was searched, while an update runs."""
    tested = tuple(views.Choice(value=name.lower(), label=name) for name in ("Binance", "Kraken", "OKX"))
    quotes = ("USDT", "USDC", "BTC", "ETH", "BNB", "FDUSD", "TRY", "EUR", "BRL", "JPY")
    return views.SymbolsView(
        shell=shell,
        exchange="binance",
        exchanges=tested,
        untested=(views.Choice(value="bitstamp", label="Bitstamp"),),
        symbols=symbols(),
        updates=updates(),
        quotes=views.Quotes(rows=quotes, chosen="USDT"),
        search='b"tc',
    )


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """The page with everything on it, of an exchange that nobody has asked yet, and of a search in vain."""
    view = symbols_page(shell)
    unknown = replace(view, symbols=views.SymbolList(name="Kraken"), updates=views.UpdateList(), quotes=views.Quotes(), search="")
    return {
        "symbols": (_PAGE, view),
        "symbols-unknown": (_PAGE, unknown),
        "symbols-none": (_PAGE, replace(view, symbols=views.SymbolList(name="Binance", total=1))),
    }


def fragments() -> dict[str, object]:
    """Fragments of that page: template → region."""
    return {
        "fragments/symbols/_quotes.html": views.Quotes(rows=("USDT", "A<b>"), chosen="USDT"),
        "fragments/symbols/_symbols.html": symbols(),
        "fragments/symbols/_updates.html": updates(),
    }
