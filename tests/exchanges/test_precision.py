"""Every order that is sent obeys the exchange's own filters, or is denied here with the number. Rules and prices as exchanges had them."""

import gzip
import random
from decimal import ROUND_DOWN, Decimal
from typing import Any

import orjson
import pytest

from app.domain.enums import OrderType, Side, Source, TimeInForce
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.sizing import SizedOrder, size
from app.errors import OrderDenied
from app.exchanges.capabilities import capabilities_of
from app.exchanges.listings import spot_listings
from app.trading.fit import fit
from app.trading.gate import reservation_of
from tests.conftest import Size
from tests.recorded import shared_file

D = Decimal
#: Denials that must name the number they speak of.
_NUMBERED = frozenset(
    {"QUANTITY_BELOW_MINIMUM", "QUANTITY_ABOVE_MAXIMUM", "NOTIONAL_BELOW_MINIMUM", "NOTIONAL_ABOVE_MAXIMUM", "PRICE_OUT_OF_RANGE"}
)


def made_up(rng: random.Random, number: int) -> dict[str, Any]:
    """A symbol with filters of every size that exchanges have."""
    tick, step = D(1).scaleb(-rng.randint(0, 8)), D(1).scaleb(-rng.randint(0, 8))
    lowest = step * rng.choice([1, 1, 10, 100])
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": f"{tick:f}", "maxPrice": f"{tick * 10**9:f}", "tickSize": f"{tick:f}"},
        {"filterType": "LOT_SIZE", "minQty": f"{lowest:f}", "maxQty": f"{lowest * 10**7:f}", "stepSize": f"{step:f}"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": f"{lowest * 10**5:f}", "stepSize": "0"},
        {"filterType": "MIN_NOTIONAL", "minNotional": f"{tick * step * 1000:f}", "applyToMarket": True, "avgPriceMins": 5},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "5", "multiplierDown": "0.2", "avgPriceMins": 5},
    ]
    base = f"M{number}"
    return {"symbol": f"{base}USDT", "baseAsset": base, "quoteAsset": "USDT", "status": "TRADING", "filters": filters}


def entries(source: str) -> list[dict[str, Any]]:
    if source == "made up":
        rng = random.Random(7)
        return [made_up(rng, number) for number in range(200)]
    raw = orjson.loads(gzip.decompress(shared_file(f"markets/{source}").read_bytes()))
    return [entry for entry in raw["symbols"] if entry["status"] == "TRADING"]


def instrument(entry: dict[str, Any]) -> Instrument:
    symbol = f"{entry['baseAsset']}/{entry['quoteAsset']}"
    market = {"symbol": symbol, "base": entry["baseAsset"], "quote": entry["quoteAsset"], "spot": True, "active": True, "info": entry}
    (listing,) = spot_listings({symbol: market}, precision_mode=4)
    return listing.instrument


def wish(rng: random.Random, rules: Instrument, price: Decimal) -> OrderIntent:
    """Any order a person or program may ask for, sensible or not, with as many digits as they like."""
    kind, side = rng.choice(list(OrderType)), rng.choice(list(Side))
    scale = D(10) ** rng.randint(-3, 6)
    noise = D(rng.randrange(1, 10**12)).scaleb(-12)
    size_ = rng.choice(["quantity", "quantity", "notional", "percent"])
    amount: dict[str, Any] = {
        "quantity": rules.step_size * scale * (1 + noise),
        "notional": price * rules.step_size * scale * (1 + noise),
        "percent": noise,
    }
    beyond = 1 if kind.is_stop and kind is not OrderType.TRAILING_STOP else -1
    trigger = price * (1 + beyond * side.sign * D(rng.randint(1, 400)) / 1000) * (1 + noise / 10**6)
    return OrderIntent(
        symbol=rules.symbol,
        side=side,
        source=Source.MANUAL,
        key="k",
        type=kind,
        price=price * D(rng.choice(["0.1", "0.5", "0.97", "1", "1.03", "2", "9"])) * (1 + noise / 10**6) if kind.has_limit else None,
        trigger_price=trigger if kind.waits and (kind is not OrderType.TRAILING_STOP or rng.random() < 0.5) else None,
        trailing_delta=D(rng.randint(1, 9000)).scaleb(-4) if kind is OrderType.TRAILING_STOP else None,
        time_in_force=rng.choice(list(TimeInForce)),
        **{name: value for name, value in amount.items() if name == size_},
    )


def broken_filters(entry: dict[str, Any], order: SizedOrder, price: Decimal) -> list[str]:
    """What the exchange would say of the order, by its own filters as they stand in its own document."""
    filters = {item["filterType"]: item for item in entry["filters"]}
    is_market = order.type.once_triggered is OrderType.MARKET
    found = []
    for value in (order.price, order.trigger_price):
        own = filters["PRICE_FILTER"]
        if value is not None and (value % D(own["tickSize"]) or not D(own["minPrice"]) <= value <= (D(own["maxPrice"]) or value)):
            found.append("PRICE_FILTER")
    lot = filters["LOT_SIZE"]
    if order.quantity % D(lot["stepSize"]) or not D(lot["minQty"]) <= order.quantity <= D(lot["maxQty"]):
        found.append("LOT_SIZE")
    market_lot = filters.get("MARKET_LOT_SIZE")
    if is_market and market_lot is not None and order.quantity > (D(market_lot["maxQty"]) or order.quantity):
        found.append("MARKET_LOT_SIZE")
    worth = order.notional or order.quantity * (order.price or order.trigger_price or price)
    notional = filters.get("MIN_NOTIONAL") or filters.get("NOTIONAL")
    if notional is not None and worth < D(notional["minNotional"]):
        found.append("MIN_NOTIONAL")
    band = filters.get("PERCENT_PRICE")
    if band is not None and order.price is not None and order.trigger_price is None:
        slack = D("0.02")
        if not price * D(band["multiplierDown"]) * (1 - slack) <= order.price <= price * D(band["multiplierUp"]) * (1 + slack):
            found.append("PERCENT_PRICE")
    return found


@pytest.mark.parametrize("source", ["made up", "binance-exchangeInfo-2021-10-12.json.gz", "binance-me-exchangeInfo-2023-04-10.json.gz"])
def test_every_order_obeys_the_exchanges_filters_or_is_denied_with_the_number(source: str, size: Size) -> None:
    rng = random.Random(source)
    listed = entries(source)
    kept = denied = 0
    for _ in range(size(4_000, full=200_000)):
        entry = rng.choice(listed)
        rules = instrument(entry)
        price = max(rules.tick_size, rules.tick_size * rng.randrange(1, 10 ** rng.randint(1, 7)))
        free = price * rules.step_size * D(10) ** rng.randint(0, 6) * D(rng.randrange(1, 10**9)).scaleb(-9)
        intent = wish(rng, rules, price)
        try:
            order = checked(intent, rules, price, free)
        except OrderDenied as error:
            denied += 1
            assert_it_says_the_number(error)
            continue
        kept += 1
        assert broken_filters(entry, order, price) == [], (intent, order)
        assert_nothing_is_rounded_up(intent, order, rules, price, free)
    assert kept > 200
    assert denied > 200


def assert_it_says_the_number(error: OrderDenied) -> None:
    assert error.code not in _NUMBERED or any(letter.isdigit() for letter in error.message), error.message


def checked(intent: OrderIntent, rules: Instrument, price: Decimal, free: Decimal) -> SizedOrder:
    sized = size(intent, rules, reference_price=price, free=free)
    return fit(sized, rules, capabilities_of("binance"), reference_price=price).order


def assert_nothing_is_rounded_up(intent: OrderIntent, order: SizedOrder, rules: Instrument, price: Decimal, free: Decimal) -> None:
    """Neither the quantity nor what is spent exceeds what was asked for, and prices go to the trader's side."""
    paid = order.price or order.trigger_price or price
    if intent.quantity is not None:
        assert order.quantity <= intent.quantity
    if intent.notional is not None:
        assert (order.notional or order.quantity * paid) <= intent.notional
    if intent.percent is not None:
        spent = order.quantity if order.side is Side.SELL else order.notional or order.quantity * paid
        assert spent <= free * intent.percent
        assert order.side is Side.BUY or reservation_of(order, rules, reference_price=price).amount <= free
    if intent.price is not None and order.price is not None:
        assert order.price <= intent.price if order.side is Side.BUY else order.price >= intent.price
        assert abs(order.price - intent.price) < rules.tick_size
    for number in (order.quantity, order.price, order.trigger_price, order.notional):
        assert number is None or number == number.quantize(D("1e-12"), ROUND_DOWN), "no more digits than exchanges know"
