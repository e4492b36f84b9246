"""The exchanges one can choose, as the API and the broker form tell it."""

import re

import pytest

from tests.app.whole_site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TEN = ["binance", "binanceus", "kraken", "coinbase", "kucoin", "bitget", "okx", "bybit", "gate", "mexc"]
_KEYS = {"api_key": "k" * 20, "api_secret": "s" * 20}
_STOPS = {"stop_market", "stop_limit", "take_profit", "take_profit_limit", "trailing_stop"}


async def test_tested_exchanges_come_first_and_all_others_by_name(site: Site) -> None:
    items = (await site.ada.call("GET", "/api/exchanges")).json()["items"]

    assert [item["id"] for item in items[:11]] == ["paper", *_TEN]
    assert all(item["is_tested"] for item in items[:11])
    others = items[11:]
    assert len(others) > 40
    assert not any(item["is_tested"] or item["has_testnet"] for item in others)
    assert [item["name"].lower() for item in others] == sorted(item["name"].lower() for item in others)
    assert {"bitstamp", "gemini"} < {item["id"] for item in others}
    assert {item["id"] for item in items if item["has_testnet"]} == {"binance", "bitget", "okx", "bybit", "gate"}
    assert {item["id"] for item in items[:11] if item["needs_password"]} == {"kucoin", "bitget", "okx"}


@pytest.mark.parametrize("exchange", ["kraken", "coinbase", "kucoin", "mexc"])
async def test_an_exchange_without_a_test_environment_says_so(site: Site, exchange: str) -> None:
    told = (await site.ada.call("GET", f"/api/exchanges/{exchange}")).json()

    assert told["sandbox"] is None
    assert told["why_no_sandbox"] == f"{told['name']} offers no test environment; use a paper account."


async def test_an_exchange_tells_what_it_watches_itself(site: Site) -> None:
    binance = (await site.ada.call("GET", "/api/exchanges/binance")).json()
    assert set(binance["native_order_types"]) == {"market", "limit", *_STOPS}
    assert binance["supervised_order_types"] == []
    assert binance["credentials"] == ["api_key", "api_secret"]
    assert binance["time_in_force"] == ["gtc", "ioc", "fok"]
    assert binance["has_post_only"]
    assert (binance["has_order_pairs"], binance["has_replace"]) == (True, True)
    assert (binance["sandbox"], binance["why_no_sandbox"]) == ("testnet", None)

    coinbase = (await site.ada.call("GET", "/api/exchanges/coinbase")).json()
    assert coinbase["market_buy_by"] == ["quote"]
    assert set(coinbase["native_order_types"]) == {"market", "limit", "stop_limit", "take_profit_limit"}

    for exchange in ("gate", "mexc", "bitstamp"):
        other = (await site.ada.call("GET", f"/api/exchanges/{exchange}")).json()
        assert other["native_order_types"] == ["market", "limit"], exchange
        assert set(other["supervised_order_types"]) == _STOPS, exchange
    assert (await site.ada.call("GET", "/api/exchanges/okx")).json()["credentials"] == ["api_key", "api_secret", "api_password"]


@pytest.mark.parametrize("exchange", ["nowhere", "Binance", "%00", "a" * 3000])
async def test_an_exchange_that_does_not_exist_is_not_found(site: Site, exchange: str) -> None:
    answer = await site.ada.call("GET", f"/api/exchanges/{exchange}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert len(answer.json()["detail"]) < 100


async def test_an_account_at_an_untested_exchange_can_be_made(site: Site) -> None:
    answer = await site.eve.call("POST", "/api/brokers", json={"exchange": "bitstamp", "name": "Elsewhere", **_KEYS})
    assert (answer.status_code, answer.json()["exchange"]) == (201, "bitstamp")
    assert (await site.eve.browse("GET", "/brokers")).text.count("Bitstamp") >= 2, "in the list, by its name, and in the form"

    unknown = await site.eve.call("POST", "/api/brokers", json={"exchange": "nowhere", "name": "Nowhere", **_KEYS})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "exchange")


@pytest.mark.parametrize("exchange", ["kraken", "bitstamp"])
async def test_a_test_account_where_there_is_no_test_environment_is_refused(site: Site, exchange: str) -> None:
    given = {"exchange": exchange, "name": "Try", "is_testnet": True, **_KEYS}
    answer = await site.eve.call("POST", "/api/brokers", json=given)

    assert answer.status_code == 422
    problem = answer.json()["errors"][0]
    assert problem["field"] == "is_testnet"
    assert problem["message"].endswith("use a paper account.")

    form = await site.eve.browse(
        "POST", "/brokers", data={**given, "is_testnet": "true"}, headers={"X-CSRF-Token": site.eve.csrf, "HX-Request": "true"}
    )
    assert form.status_code == 422
    assert "use a paper account." in form.text


async def test_the_form_says_why_the_switch_is_off_in_the_readers_language(site: Site) -> None:
    async def facts(exchange: str) -> str:
        answer = await site.ada.browse("GET", "/brokers/exchange", params={"exchange": exchange}, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        return answer.text

    def is_off(text: str) -> bool:
        return re.search(r'<input[^>]*name="is_testnet"[^>]* disabled', text) is not None

    kraken, okx, other = await facts("kraken"), await facts("okx"), await facts("bitstamp")
    assert is_off(kraken)
    assert "Kraken offers no test environment; use a paper account." in kraken
    assert not is_off(okx)
    assert "Demo account" in okx
    assert is_off(other)
    assert "market and limit orders only" in other
    assert is_off(await facts("nowhere"))
    assert is_off(await facts("<script>"))

    headers = {"X-CSRF-Token": site.ada.csrf}
    assert (await site.ada.browse("PUT", "/api/auth/preferences", json={"language": "fr"}, headers=headers)).status_code == 200
    assert "n’offre pas d’environnement de test" in await facts("kraken")
    assert (await site.ada.browse("PUT", "/api/auth/preferences", json={"language": "en"}, headers=headers)).status_code == 200
