"""What leaves for each venue, call by call, against golden files. A version of ccxt that changes a request fails here.

`uv run python -m tests.exchanges.wire.record` writes the files anew; read the difference as you would read a change of the product.
"""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderType, Side, TimeInForce
from app.errors import NotSent, Unsupported
from app.exchanges.capabilities import UNTESTED, capabilities_of
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.order_params import RECV_WINDOW_MS
from app.exchanges.wire_check import check, exactly
from tests.exchanges.wire.calls import NOTIONAL, PRICE, QUANTITY, TRIGGER, WAITING, go, order, pair
from tests.exchanges.wire.clients import NOW_MS, VENUES, make_client
from tests.exchanges.wire.record import GOLDEN, answers_of, as_text, requests_of
from tests.exchanges.wire.session import RecordingSession


def numbers(value: Any) -> Iterator[str]:
    """Yield every text of a request that is a number."""
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, str) and value.replace(".", "", 1).isdecimal():
        yield value


def golden(venue: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{venue}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
async def test_every_request_is_as_it_was_read_and_accepted(venue: str) -> None:
    expected = (GOLDEN / f"{venue}.json").read_text(encoding="utf-8")

    found = as_text(await requests_of(venue))

    difference = "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), "accepted", "now", lineterm="", n=1))
    assert found == expected, f"what leaves for {venue} has changed:\n{difference}"


@pytest.mark.parametrize("venue", VENUES)
def test_prices_and_quantities_leave_exactly_as_they_were_given(venue: str) -> None:
    for name, requests in golden(venue).items():
        if not name.startswith(("place", "replace")):
            continue
        sent = {Decimal(number) for number in numbers(requests[0]["parameters"])}
        expected = {QUANTITY}
        if "buy by quote" in name or (venue == "bitget" and name in ("place stop_market buy", "place take_profit buy")):
            expected = {NOTIONAL}
        if "limit" in name or "oco" in name or "replace" in name:
            expected |= {PRICE}
        if "stop_" in name or "take_profit" in name or "oco" in name or "replace" in name or "activation" in name:
            expected |= {TRIGGER} if "trailing_stop" not in name or "activation" in name else set()
        assert expected <= sent, name


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", [*VENUES, "bitstamp"])
@pytest.mark.parametrize("kind", WAITING)
@pytest.mark.parametrize("side", Side)
async def test_no_request_leaves_for_a_stop_that_the_venue_does_not_watch(venue: str, kind: OrderType, side: Side) -> None:
    session = RecordingSession()
    client = make_client(venue, session)

    if not client.capabilities.is_native(kind):
        with pytest.raises(Unsupported):
            await client.place_order(order(kind, side, notional=NOTIONAL), guard=go)

    assert session.sent == []
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", WAITING)
async def test_a_waiting_order_without_its_trigger_never_leaves(venue: str, kind: OrderType) -> None:
    session = RecordingSession()
    client = make_client(venue, session)

    with pytest.raises(Unsupported):
        await client.place_order(order(kind, trigger_price=None, trailing_delta=None), guard=go)

    assert session.sent == []
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [OrderType.STOP_LIMIT, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT])
async def test_a_stop_that_ccxt_would_make_a_plain_order_of_is_stopped_at_the_last_moment(
    kind: OrderType, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = RecordingSession(answers_of("mexc"))
    client = make_client("mexc", session)
    # As if our table promised what MEXC does not have: ccxt then sends the trigger under its own name, beside a plain order.
    monkeypatch.setattr("app.exchanges.order_params.capabilities_of", lambda _: capabilities_of("binance"))

    with pytest.raises(NotSent, match="would not understand"):
        await client.place_order(order(kind), guard=go)

    assert session.sent == []
    await client.close()


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ("quantity=1.50&price=0.0000100&stopPrice=7", None),
        ('{"size":"1.5","price":"0.00001","trigger":{"price":"7.0"}}', None),
        ("quantity=1.50&price=0.0000100", "trigger price of 7"),
        ("quantity=1.5&price=1e-05&stopPrice=7", "price of 0.00001"),
        ("quantity=1.4999999999&price=0.00001&stopPrice=7", "quantity of 1.5"),
        ("quantity=q1.5&price=0.00001&stopPrice=7", "quantity of 1.5"),
    ],
)
def test_a_request_must_hold_the_numbers_of_its_order(body: str, missing: str | None) -> None:
    carried = (exactly(Decimal("1.5"), "quantity"), exactly(Decimal("0.00001"), "price"), exactly(Decimal(7), "trigger price"))

    if missing is None:
        check(carried, "https://example.test/order", body)
    else:
        with pytest.raises(NotSent, match=re.escape(missing)):
            check(carried, "https://example.test/order", body)


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", ["binance", "binanceus", "kraken"])
async def test_the_venue_itself_refuses_an_order_that_was_claimed_too_long_ago(venue: str) -> None:
    session = RecordingSession(answers_of(venue))
    client = make_client(venue, session)

    await client.place_order(order(OrderType.LIMIT), guard=go)

    sent = session.sent[0].parameters
    if venue == "kraken":
        assert sent["deadline"] == "2026-01-01T00:00:05.000Z"
    else:
        assert (sent["timestamp"], sent["recvWindow"]) == (str(NOW_MS), str(RECV_WINDOW_MS))
    assert client.capabilities.has_fence
    await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", ["coinbase", "bitget", "gate"])
async def test_a_market_buy_that_does_not_say_what_it_spends_never_leaves_where_only_that_is_taken(venue: str) -> None:
    session = RecordingSession()
    client = make_client(venue, session)

    with pytest.raises(Unsupported, match="amount to spend"):
        await client.place_order(order(OrderType.MARKET, Side.BUY), guard=go)

    assert session.sent == []
    await client.close()


@pytest.mark.asyncio
async def test_a_kind_of_order_that_binance_does_not_take_for_the_symbol_never_leaves() -> None:
    session = RecordingSession()
    client = make_client("binance", session)
    client._ccxt.market("BTC/USDT")["info"]["orderTypes"] = ["LIMIT", "MARKET", "STOP_LOSS_LIMIT"]

    for kind in (OrderType.STOP_MARKET, OrderType.TRAILING_STOP, OrderType.TAKE_PROFIT_LIMIT):
        with pytest.raises(Unsupported, match="orders for BTC/USDT"):
            await client.place_order(order(kind), guard=go)
    with pytest.raises(Unsupported, match="orders for BTC/USDT"):
        await client.place_oco(replace(pair(Side.SELL), stop=order(OrderType.STOP_MARKET)), guard=go)

    assert session.sent == []
    await client.close()


@pytest.mark.asyncio
async def test_pairs_and_replacements_are_refused_where_they_would_be_two_requests() -> None:
    session = RecordingSession()
    for venue in VENUES:
        client = make_client(venue, session)
        if not client.capabilities.has_oco:
            with pytest.raises(Unsupported):
                await client.place_oco(pair(Side.SELL), guard=go)
        if not client.capabilities.has_replace:
            with pytest.raises(Unsupported):
                await client.replace_order(order(OrderType.LIMIT), old_client_order_id="q1", old_venue_order_id=None, guard=go)
        await client.close()

    assert session.sent == []
    assert [venue for venue in VENUES if capabilities_of(venue).has_oco] == ["binance"]


@pytest.mark.asyncio
async def test_a_venue_without_a_table_of_ours_takes_market_and_limit_orders_and_nothing_else() -> None:
    session = RecordingSession()
    client = make_client("bitstamp", session)

    assert client.capabilities == UNTESTED
    for refused in (order(OrderType.LIMIT, post_only=True), order(OrderType.LIMIT, time_in_force=TimeInForce.IOC)):
        with pytest.raises(Unsupported):
            await client.place_order(refused, guard=go)

    assert session.sent == []
    await client.close()


@pytest.mark.asyncio
async def test_a_guard_that_says_no_keeps_every_write_here() -> None:
    session = RecordingSession()
    client = make_client("binance", session)

    def stop() -> None:
        raise NotSent("the lease is lost")

    writes = (
        CcxtClient.place_order(client, order(OrderType.MARKET), guard=stop),
        CcxtClient.place_oco(client, pair(Side.SELL), guard=stop),
        CcxtClient.replace_order(client, order(OrderType.LIMIT), old_client_order_id="q1", old_venue_order_id=None, guard=stop),
    )
    for write in writes:
        with pytest.raises(NotSent, match="the lease is lost"):
            await write

    assert session.sent == []
    await client.close()
