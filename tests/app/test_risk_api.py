"""Limits, states and the kill switch over HTTP."""

import asyncio
from typing import Any

import httpx
import pytest

from app.core.ids import new_id
from tests.app.whole_site import Person, Site, log_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.01", "price": "50000"}


async def test_limits_are_set_read_and_met_by_the_next_order(site: Site) -> None:
    broker_id = site.ada.ids["broker_id"]
    before = (await site.ada.call("GET", "/api/risk/limits")).json()
    assert [item["broker_id"] for item in before["items"]] == [None, broker_id]
    assert before["defaults"]["price_collar_percent"] == "10"

    given = {"broker_id": broker_id, "max_order_notional": "400", "price_collar_percent": 2.5, "max_open_orders": 9}
    answer = await site.ada.call("PUT", "/api/risk/limits", json=given)
    assert answer.status_code == 200
    own, effective = answer.json()["own"], answer.json()["effective"]
    assert (own["max_order_notional"], own["price_collar_percent"], own["max_open_orders"]) == ("400", "2.5", 9)
    assert own["orders_per_minute"] is None
    assert effective["orders_per_minute"] == before["defaults"]["orders_per_minute"]

    refused = await site.ada.call("POST", "/api/orders", json=ORDER)
    assert (refused.status_code, refused.json()["code"]) == (422, "MAX_NOTIONAL")
    assert refused.json()["detail"] == "the order is worth 500 USDT, the limit for an order is 400 USDT"

    again = await site.ada.call("PUT", "/api/risk/limits", json={"broker_id": broker_id})
    assert again.json()["own"] == before["items"][1]["own"]
    assert (await site.ada.call("POST", "/api/orders", json=ORDER)).status_code == 201


@pytest.mark.parametrize(
    "wrong", [{"max_daily_loss": "-1"}, {"max_open_orders": 0}, {"price_collar_percent": "0"}, {"orders_per_minute": 1.5}, {"unknown": 1}]
)
async def test_a_limit_that_is_none_is_refused_with_its_field(site: Site, wrong: dict[str, object]) -> None:
    answer = await site.ada.call("PUT", "/api/risk/limits", json=wrong)
    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["errors"][0]["field"]


async def test_nobody_sets_the_limits_of_an_account_of_somebody_else(site: Site) -> None:
    for broker_id in (site.ada.ids["broker_id"], str(new_id())):
        answer = await site.eve.call("PUT", "/api/risk/limits", json={"broker_id": broker_id, "max_open_orders": 1})
        assert (answer.status_code, answer.json()["code"]) == (404, "BROKER_NOT_FOUND")
    assert [item["broker_id"] for item in (await site.eve.call("GET", "/api/risk/limits")).json()["items"]] == [None]


async def pulled(person: Person, *, status: int = 202, click: str | None = None, **body: object) -> dict[str, Any]:
    headers = {} if click is None else {"Idempotency-Key": click}
    answer = await person.call("POST", "/api/kill-switch", json={"confirm": True, **body}, headers=headers)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def settled(person: Person, command_id: str) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while True:
            found = (await person.call("GET", f"/api/kill-switch/{command_id}")).json()
            if found["state"] != "running":
                return dict(found)
            await asyncio.sleep(0.05)


async def test_the_switch_stops_cancels_and_is_resumed_by_hand(site: Site) -> None:
    order = (await site.ada.call("POST", "/api/orders", json=ORDER)).json()
    command = await pulled(site.ada, action="cancel", click="one click")
    assert (await pulled(site.ada, action="cancel", click="one click"))["id"] == command["id"]
    assert (await pulled(site.ada, action="flatten", click="one click", status=409))["code"] == "DUPLICATE_INTENT"

    assert (await settled(site.ada, command["id"]))["progress"]["orders_left"] == 0
    assert (await site.ada.call("GET", f"/api/orders/{order['id']}")).json()["state"] == "canceled"
    refused = await site.ada.call("POST", "/api/orders", json=ORDER)
    assert (refused.status_code, refused.json()["code"]) == (422, "TRADING_HALTED")
    shown = (await site.ada.call("GET", "/api/kill-switch")).json()
    assert (shown["state"], shown["items"][0]["set_by"], shown["commands"][0]["state"]) == ("halted", "ada", "done")
    assert (await site.ada.call("GET", "/api/risk/states")).json()["state"] == "halted"

    resumed = await site.ada.call("POST", "/api/kill-switch/rearm", json={})
    assert resumed.json() == {"ended": ["KILL_SWITCH"]}
    assert (await site.ada.call("POST", "/api/orders", json=ORDER)).status_code == 201
    log = (await site.ada.call("GET", "/api/risk/log")).json()["items"]
    assert [(line["action"], line["by"]) for line in log[:2]] == [("rearmed", "ada"), ("tripped", "ada")]


async def test_flatten_closes_the_position(site: Site) -> None:
    await site.ada.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.02"})
    broker_id = site.ada.ids["broker_id"]
    command = await pulled(site.ada, action="flatten", scope="broker", key=broker_id)
    found = await settled(site.ada, command["id"])
    assert (found["scope"], found["key"], found["progress"]["positions_left"]) == ("broker", broker_id, 0)
    assert (await site.ada.call("GET", "/api/positions")).json()["items"] == []
    assert (await site.ada.call("POST", "/api/kill-switch/rearm", json={"scope": "broker", "key": broker_id})).status_code == 200


async def test_nothing_is_stopped_by_a_slip(site: Site) -> None:
    for body in ({"action": "stop"}, {"action": "stop", "confirm": False}, {"action": "explode", "confirm": True}):
        assert (await site.ada.call("POST", "/api/kill-switch", json=body)).status_code == 422
    browsed = await site.ada.browse("POST", "/api/kill-switch", json={"action": "stop", "confirm": True})
    assert (browsed.status_code, browsed.json()["code"]) == (403, "CSRF_FAILED")
    assert (await site.ada.call("GET", "/api/risk/states")).json()["state"] == "active"


async def test_nobody_reaches_what_is_not_theirs(site: Site) -> None:
    broker_id = site.ada.ids["broker_id"]
    command = await pulled(site.ada, action="stop")
    for path, body in (("", {"action": "stop", "confirm": True}), ("/rearm", {})):
        other = await site.eve.call("POST", f"/api/kill-switch{path}", json={**body, "scope": "broker", "key": broker_id})
        assert (other.status_code, other.json()["code"]) == (404, "BROKER_NOT_FOUND")
        platform = await site.eve.call("POST", f"/api/kill-switch{path}", json={**body, "scope": "platform"})
        assert (platform.status_code, platform.json()["code"]) == (403, "FORBIDDEN")
        strategy = await site.eve.call("POST", f"/api/kill-switch{path}", json={**body, "scope": "strategy", "key": str(new_id())})
        assert strategy.status_code == 404
    assert (await site.eve.call("GET", f"/api/kill-switch/{command['id']}")).status_code == 404
    hers = (await site.eve.call("GET", "/api/kill-switch")).json()
    assert (hers["state"], hers["items"], hers["commands"]) == ("active", [], [])
    assert (await site.eve.call("POST", "/api/kill-switch/rearm", json={})).json() == {"ended": []}
    assert (await site.ada.call("GET", "/api/risk/states")).json()["state"] == "halted"
    await site.ada.call("POST", "/api/kill-switch/rearm", json={})


async def test_an_administrator_stops_and_resumes_everybody(site: Site) -> None:
    admin = await log_in(site.app, site.http, "admin")
    command = await pulled(admin, action="stop", scope="platform")
    refused = await site.ada.call("POST", "/api/orders", json=ORDER)
    assert refused.json()["code"] == "TRADING_HALTED"
    hers = (await site.eve.call("GET", "/api/kill-switch")).json()
    assert (hers["state"], [found["id"] for found in hers["commands"]]) == ("halted", [command["id"]])
    await admin.call("POST", "/api/kill-switch/rearm", json={"scope": "platform"})
    assert (await site.ada.call("POST", "/api/orders", json=ORDER)).status_code == 201


async def test_the_page_stops_and_resumes_and_closes_only_what_was_typed_out(site: Site) -> None:
    async def post(path: str, **fields: str) -> httpx.Response:
        return await site.ada.browse("POST", path, data=fields, headers={"X-CSRF-Token": site.ada.csrf})

    unsaid = await post("/trading/kill", action="flatten", typed="close")
    assert unsaid.status_code == 422
    assert "the word was not typed" in unsaid.headers["hx-trigger"]
    for where in ("broker:" + str(new_id()), "platform", "nonsense"):
        assert (await post("/trading/kill", action="stop", where=where)).status_code == 422
    assert (await site.ada.call("GET", "/api/risk/states")).json()["state"] == "active"
    assert (await site.ada.browse("POST", "/trading/kill", data={"action": "stop"})).status_code == 403, "without the page's token"

    stopped = await post("/trading/kill", action="stop", where=f"broker:{site.ada.ids['broker_id']}")
    assert stopped.status_code == 200
    assert "Trading is halted" in stopped.text
    assert "Main" in stopped.text
    assert "Resume trading" in (await site.ada.browse("GET", "/webhooks")).text
    assert "Trading is halted" not in (await site.eve.browse("GET", "/webhooks")).text
    assert (await post("/trading/resume", scope="broker", key=str(new_id()))).status_code == 422
    resumed = await post("/trading/resume", scope="broker", key=site.ada.ids["broker_id"])
    assert "Trading is halted" not in resumed.text
    assert (await site.ada.call("POST", "/api/orders", json=ORDER)).status_code == 201
