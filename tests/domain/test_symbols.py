from decimal import Decimal

import pytest

from app.domain.instruments import Instrument
from app.domain.symbols import resolve_symbol, why_unresolved


def instrument(symbol: str, *, is_active: bool = True) -> Instrument:
    base, quote = symbol.split("/")
    return Instrument(symbol=symbol, base=base, quote=quote, tick_size=Decimal(1), step_size=Decimal(1), is_active=is_active)


LISTED = {
    found.symbol: found
    for found in (
        instrument("BTC/USDT"),
        instrument("ETH/BTC"),
        instrument("PERP/USDT"),
        instrument("1INCH/USDT"),
        instrument("AB/CD"),
        instrument("ABC/D"),
        instrument("OLD/USDT", is_active=False),
        instrument("OLDU/SDT"),
    )
}


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC/USDT", "BTC/USDT"),
        ("btc/usdt", "BTC/USDT"),
        ("BTCUSDT", "BTC/USDT"),
        (" btcusdt ", "BTC/USDT"),
        ("BINANCE:BTCUSDT", "BTC/USDT"),
        ("binance:btc-usdt", "BTC/USDT"),
        ("BTC_USDT", "BTC/USDT"),
        ("ETHBTC", "ETH/BTC"),
        ("PERPUSDT", "PERP/USDT"),
        ("1INCHUSDT", "1INCH/USDT"),
        ("AB/CD", "AB/CD"),
        ("OLDUSDT", "OLDU/SDT"),
    ],
)
def test_a_symbol_is_known_in_every_spelling(text: str, symbol: str) -> None:
    assert resolve_symbol(text, LISTED) == symbol


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("BTCUSDT.P", "derivative"),
        ("BINANCE:BTCUSDT.P", "derivative"),
        ("BTC/USDT:USDT", "derivative"),
        ("BTCUSDTPERP", "derivative"),
        ("XRPUSDT", "not listed"),
        ("XRP/USDT", "not listed"),
        ("B", "not listed"),
        ("/", "not listed"),
        ("", "no symbol"),
        ("  ", "no symbol"),
        ("ABCD", "AB/CD or ABC/D"),
    ],
)
def test_what_names_no_symbol_or_two_is_not_guessed(text: str, reason: str) -> None:
    assert resolve_symbol(text, LISTED) is None
    assert reason in why_unresolved(text, LISTED)
