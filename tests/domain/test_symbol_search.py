from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain.instruments import Instrument
from app.domain.symbol_search import SymbolSearch

ASSETS = ("BTC", "BTC1", "WBTC", "TC", "ETH", "USDT", "USD", "T", "1000SATS", "kLUNC")


def instrument(base: str, quote: str, *, is_active: bool = True) -> Instrument:
    cent = Decimal("0.01")
    return Instrument(symbol=f"{base}/{quote}", base=base, quote=quote, tick_size=cent, step_size=cent, is_active=is_active)


LISTED = [instrument(base, quote) for base in ASSETS for quote in ASSETS if base != quote]
SEARCH = SymbolSearch(LISTED)


def walk(listed: SymbolSearch, limit: int, **wanted: str) -> list[str]:
    """All pages, one after the other."""
    found: list[str] = []
    after = None
    while True:
        page = listed.page(**wanted, after=after, limit=limit)
        found += [row.symbol for row in page.rows]
        if not page.has_more:
            return found
        after = found[-1]


def slowly(search: str, quote: str) -> list[str]:
    """The same by looking at every symbol."""
    wanted = search.strip().upper()
    names = {found.symbol: (found.symbol.upper(), f"{found.base}{found.quote}".upper()) for found in LISTED}
    matching = [
        found.symbol
        for found in LISTED
        if (not quote or found.quote.upper() == quote.upper()) and any(wanted in name for name in names[found.symbol])
    ]
    return sorted(matching, key=lambda symbol: (not any(name.startswith(wanted) for name in names[symbol]), symbol.upper()))


@given(st.text(alphabet="BTCUSDEHWK10/", max_size=8), st.sampled_from(["", "USDT", "btc", "NONE"]), st.integers(1, 7))
def test_every_page_of_a_search_is_what_looking_at_each_symbol_finds(search: str, quote: str, limit: int) -> None:
    assert walk(SEARCH, limit, search=search, quote=quote) == slowly(search, quote)


def test_what_begins_with_the_text_comes_before_what_only_holds_it() -> None:
    assert walk(SEARCH, 3, search="btcusd") == ["BTC/USD", "BTC/USDT", "WBTC/USD", "WBTC/USDT"]


def test_a_pair_is_found_however_its_parts_are_divided() -> None:
    for text in ("BTCUSDT", "btc/usdt", " BTC-USDT", "btc_usdt", "btc usdt"):
        assert SEARCH.page(search=text, limit=1).rows[0].symbol == "BTC/USDT", text


def test_only_what_trades_is_found_and_counted() -> None:
    search = SymbolSearch([instrument("BTC", "USDT"), instrument("GONE", "USDT", is_active=False), instrument("BTC", "EUR")])
    assert (search.total, search.quotes) == (2, (("EUR", 1), ("USDT", 1)))
    assert walk(search, 10) == ["BTC/EUR", "BTC/USDT"]


def test_a_page_goes_on_after_a_symbol_that_is_gone_meanwhile() -> None:
    search = SymbolSearch([instrument("A", "USDT"), instrument("C", "USDT")])
    assert [row.symbol for row in search.page(after="B/USDT", limit=5).rows] == ["C/USDT"]


def test_signs_that_no_symbol_has_find_nothing() -> None:
    for text in ("\n", "A\nB", "T\tB", "\x00", "\ud800"):
        assert SEARCH.page(search=f"x{text}x", limit=5).rows == ()
