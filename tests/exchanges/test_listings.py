import gzip
from decimal import Decimal
from typing import Any

import ccxt.async_support as ccxt_async
import orjson
import pytest

from app.exchanges.catalogue import EXCHANGES, PAPER
from app.exchanges.listings import spot_listings
from app.exchanges.venue_class import layered
from tests.recorded import shared_file


async def _markets(name: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    raw = orjson.loads(gzip.decompress(shared_file(f"markets/{name}").read_bytes()))
    exchange = layered(ccxt_async.binance)({"options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}})
    exchange.number = str

    async def answer(*_: object, **__: object) -> dict[str, Any]:
        return dict(raw)

    exchange.publicGetExchangeInfo = answer
    markets = await exchange.fetch_markets()
    exchange.set_markets(markets)
    return raw, exchange.markets, exchange.precisionMode


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name",
    ["binance-exchangeInfo-2021-10-12.json.gz", "binance-me-exchangeInfo-2023-04-10.json.gz", "binanceus-exchangeInfo-2021-10-12.json.gz"],
)
async def test_rules_of_a_whole_exchange_equal_its_own_filters(name: str) -> None:
    raw, markets, mode = await _markets(name)
    own = {(entry["baseAsset"], entry["quoteAsset"]): entry for entry in raw["symbols"]}

    listings = list(spot_listings(markets, precision_mode=mode))

    assert len(listings) > 100
    for listing in listings:
        found = listing.instrument
        assert listing.type == "spot"
        entry = own.get((listing.raw_info["baseAsset"], listing.raw_info["quoteAsset"]))
        assert entry is not None
        filters = {item["filterType"]: item for item in entry["filters"]}
        assert found.tick_size == Decimal(filters["PRICE_FILTER"]["tickSize"])
        assert found.step_size == Decimal(filters["LOT_SIZE"]["stepSize"])
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
        assert found.min_notional == (Decimal(notional["minNotional"]) if notional else None)
        assert found.is_active == (entry["status"] == "TRADING")


def market(**changes: object) -> dict[str, Any]:
    return {"symbol": "A/B", "base": "A", "quote": "B", "spot": True, "active": True, "info": {}, "precision": {}, "limits": {}} | changes


def test_without_filters_the_unified_rules_count() -> None:
    limits = {"amount": {"min": "0.002", "max": None}, "cost": {"min": "5"}, "price": {"min": "0"}}

    (listing,) = spot_listings({"A/B": market(precision={"price": "0.01", "amount": "0.0001"}, limits=limits)}, precision_mode=4)

    rules = listing.instrument
    assert (rules.tick_size, rules.step_size) == (Decimal("0.01"), Decimal("0.0001"))
    assert (rules.min_quantity, rules.max_quantity, rules.min_price, rules.min_notional) == (Decimal("0.002"), None, None, Decimal(5))


def test_decimal_places_become_a_step() -> None:
    (listing,) = spot_listings({"A/B": market(precision={"price": 2, "amount": "8"})}, precision_mode=2)

    assert (listing.instrument.tick_size, listing.instrument.step_size) == (Decimal("0.01"), Decimal("1E-8"))


@pytest.mark.parametrize(
    ("changes", "mode"),
    [({"spot": False}, 4), ({}, 4), ({"precision": {"price": "5", "amount": "5"}}, 3), ({"precision": {"price": "x", "amount": "1"}}, 4)],
)
def test_a_symbol_without_known_steps_is_not_listed(changes: dict[str, Any], mode: int) -> None:
    assert list(spot_listings({"A/B": market(**changes)}, precision_mode=mode)) == []


def test_the_catalogue_tells_what_ccxt_tells() -> None:
    ours = {"apiKey": "api_key", "secret": "api_secret", "password": "api_password"}
    for venue in (each for each in EXCHANGES.values() if each.id != PAPER):
        needed = getattr(ccxt_async, venue.id)().requiredCredentials
        assert set(venue.required_credentials) == {ours[name] for name, is_needed in needed.items() if is_needed}
