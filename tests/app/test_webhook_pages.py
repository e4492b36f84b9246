"""The attempt log, one attempt in full, webhooks' settings and the builder, through the whole application."""

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.app.whole_site import HOST, Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running


async def post(person: Person, path: str, **form: Any) -> httpx.Response:
    headers = {"X-CSRF-Token": person.csrf, "HX-Request": "true"}
    return await person.browse("POST", path, data=form, headers=headers)


async def get(person: Person, path: str, **query: str) -> str:
    answer = await person.browse("GET", path, params=query or None)
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def sent(site: Site, body: str) -> str:
    """Send a message to ada's webhook, wait until it is decided, and return the attempt's id."""
    answer = await site.http.post(f"/hooks/{site.ada.ids['secret']}", content=body.encode())
    delivery_id: str = answer.json()["delivery_id"]
    await decided(site, delivery_id)
    return delivery_id


async def decided(site: Site, delivery_id: str) -> Any:
    async with asyncio.timeout(15):
        while True:
            found = (await site.ada.call("GET", f"/api/webhooks/deliveries/{delivery_id}")).json()
            if found["decision"] != "pending":
                return found
            await asyncio.sleep(0.05)


async def test_an_attempt_opens_to_its_message_its_order_its_fills_and_its_result(site: Site) -> None:
    bought = await sent(site, '{"ticker": "BTCUSDT", "action": "buy", "quantity": "0.01", "token": "hidden-from-all"}')
    opened = await get(site.ada, f"/webhooks/deliveries/{bought}")
    assert "opened by this alert" in opened
    assert opened.count("data-fill") == 1
    assert "hidden-from-all" not in opened
    closed = await get(site.ada, f"/webhooks/deliveries/{await sent(site, 'close BTCUSDT')}")
    assert "closed by this alert" in closed
    assert "realised P&L" in closed
    assert re.search(r"−\d+\.\d\d\xa0USDT", closed), "bought and sold at the same price, it costs the fees"


async def test_an_attempt_of_another_user_cannot_be_told_from_none(site: Site) -> None:
    path = f"/webhooks/deliveries/{site.ada.ids['delivery_id']}"
    for request in (("GET", path), ("POST", f"{path}/replay"), ("GET", f"{path}/tried")):
        answer = await site.eve.browse(*request, headers={"X-CSRF-Token": site.eve.csrf})
        assert answer.status_code == 404, request


async def test_the_log_is_filtered_by_what_people_type(site: Site) -> None:
    bad = await sent(site, "Grüße, 100%_of it")
    good = await sent(site, '{"ticker": "BINANCE:BTCUSDT", "action": "ping"}')

    async def found(**query: str) -> set[str]:
        return set(re.findall(r'id="delivery-([0-9a-f-]{36})"', await get(site.ada, "/webhooks/log", **query)))

    assert {bad, good} <= await found()
    assert await found(text="grüße") == {bad}
    assert await found(text="100%_") == {bad}, "what a pattern would take for a wildcard is a letter like others"
    assert await found(text="UNREADABLE_TEXT") == {bad}
    assert good in await found(symbol="btc/usdt")
    assert bad not in await found(symbol="btc/usdt")
    assert await found(decision="unreadable") == {bad}
    assert good not in await found(hook="00000000-0000-0000-0000-000000000000")
    assert await found(until="2020-01-01") == set()
    assert {bad, good} <= await found(since="2020-01-01", until="not a day", decision="nonsense", cursor="nonsense")


async def test_the_log_goes_on_from_page_to_page_without_a_gap_or_a_repeat(site: Site) -> None:
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE webhooks SET per_minute = 6000")
    for number in range(55):
        answer = await site.http.post(f"/hooks/{site.ada.ids['secret']}", content=f"nonsense {number}".encode())
        assert answer.status_code == 202
    seen: list[str] = []
    path = "/webhooks/log?text=nonsense"
    while path:
        page = await get(site.ada, path)
        seen += re.findall(r'id="delivery-([0-9a-f-]{36})"', page)
        more = re.search(r'hx-get="(/webhooks/log[^"]*cursor=[^"]*)"[^>]*>Older', page)
        path = more[1].replace("&amp;", "&") if more else ""
    assert len(seen) == len(set(seen)) == 55
    assert seen == sorted(seen, reverse=True)


async def test_the_whole_filtered_log_is_a_file_in_which_no_cell_is_a_formula(site: Site) -> None:
    await sent(site, '=HYPERLINK("http://evil.example")')
    answer = await site.ada.call("GET", "/api/webhooks/deliveries/export", params={"text": "hyperlink"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    names, row = csv.reader(io.StringIO(answer.text))
    told = dict(zip(names, row, strict=True))
    assert told["decision"] == "unreadable"
    assert told["raw"].startswith("'=HYPERLINK")
    everything = (await site.ada.call("GET", "/api/webhooks/deliveries/export")).text
    assert everything.count("nonsense ") >= 55
    assert (await site.eve.call("GET", "/api/webhooks/deliveries/export")).text.count("\r\n") == 1


async def test_what_came_to_nobodys_address_is_for_administrators(site: Site) -> None:
    await site.http.post("/hooks/of-nobody-at-all", content=b"stranger's message")
    async with site.app.state.platform_database.connection() as connection:
        stranger = await connection.fetchval("SELECT id FROM webhook_deliveries WHERE raw = 'stranger''s message'")
    assert (await site.ada.browse("GET", f"/webhooks/deliveries/{stranger}")).status_code == 404
    assert str(stranger) not in await get(site.ada, "/webhooks/log")
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE users SET is_admin = true WHERE username = 'eve'")
    try:
        page = await get(site.eve, f"/webhooks/deliveries/{stranger}")
        assert "It came to an address that nobody has." in page
        assert str(stranger) in await get(site.eve, "/webhooks/log")
    finally:
        async with site.app.state.platform_database.connection() as connection:
            await connection.execute("UPDATE users SET is_admin = false WHERE username = 'eve'")


async def test_an_attempt_is_repeated_on_paper_once_there_is_an_account_for_it(site: Site) -> None:
    original = await sent(site, '{"ticker": "BTCUSDT", "action": "buy", "quantity": "0.002", "client_intent_id": "once"}')
    refused = await post(site.ada, f"/webhooks/deliveries/{original}/replay")
    assert refused.status_code == 422
    assert "there is no paper account to try it on" in refused.text
    await site.ada.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})
    made = await post(site.ada, f"/webhooks/deliveries/{original}/replay")
    repeated = made.headers["HX-Redirect"].rpartition("/")[2]
    found = await decided(site, repeated)
    assert found["decision"] == "executed", found
    page = text(await get(site.ada, f"/webhooks/deliveries/{repeated}"))
    assert "Practice PAPER" in page
    assert "the alert" in page


async def test_settings_come_back_beside_their_fields(site: Site) -> None:
    path = f"/webhooks/{site.ada.ids['webhook_id']}/settings"
    wrong = {
        "name": "", "max_age_s": "0", "per_minute": "1.5", "allowed_ips": "10.0.0.0/99", "size_value": "101", "symbols": "drop;table(",
        "max_notional": "1 000",
    }  # fmt: skip
    answer = await post(site.ada, path, **wrong, size_kind="equity", hours_on="true", hours_start="noon")
    assert answer.status_code == 422
    marked = re.findall(r'name="(\w+)"[^>]*aria-invalid="true"', answer.text)
    assert set(marked) == set(wrong)
    assert "Write times like 09:30." in answer.text
    stored = (await site.ada.call("GET", f"/api/webhooks/{site.ada.ids['webhook_id']}")).json()
    assert stored["name"] == "Alerts"
    assert not any(stored["rules"].values())


async def test_settings_are_stored_and_shown_again(site: Site) -> None:
    path = f"/webhooks/{site.ada.ids['webhook_id']}/settings"
    right = {
        "name": "Alerts", "interval": "1h", "max_age_s": "90", "per_minute": "60", "allowed_ips": "52.89.214.238, 127.0.0.1",
        "symbol": "btc/usdt", "size_kind": "free", "size_value": "2,5", "stop_percent": "2", "target_percent": "4",
        "symbols": "BTC/USDT ETH/USDT", "sides": "buy", "max_notional": "1000", "hours_on": "true", "hours_start": "08:00",
        "hours_end": "20:30", "days": ["0", "4"],
    }  # fmt: skip
    answer = await post(site.ada, path, **right)
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.headers["HX-Trigger"])["dialog-close"]["id"] == "hook-card-dialog"
    form = await get(site.ada, path)
    for name, value in (
        ("symbol", "BTC/USDT"),
        ("size_value", "2.5"),
        ("stop_percent", "2"),
        ("max_notional", "1000"),
        ("hours_end", "20:30"),
    ):
        assert re.search(rf'name="{name}"[^>]*value="{re.escape(value)}"', form), name
    assert form.count('name="days"') - form.count('name="days" value="') == 0
    assert form.count(" checked") == 3, "two days, and the switch of the hours"
    reset = {"name": "Alerts", "max_age_s": "60", "per_minute": "120"}
    assert (await post(site.ada, path, **reset)).status_code == 200
    stored = (await site.ada.call("GET", f"/api/webhooks/{site.ada.ids['webhook_id']}")).json()
    assert not any(stored["rules"].values())
    assert (stored["allowed_ips"], stored["interval"]) == (None, None)


async def test_a_webhook_is_made_paused_moved_and_removed(site: Site) -> None:
    made = await post(site.ada, "/webhooks", name="Second")
    (address,) = re.findall(rf"<code[^>]*>({HOST}/hooks/[^<]+)</code>", made.text)
    hooks = {hook["name"]: hook["id"] for hook in (await site.ada.call("GET", "/api/webhooks")).json()["items"]}
    path = f"/webhooks/{hooks['Second']}"
    theirs = await post(site.eve, "/webhooks", name="Mine", account=site.ada.ids["broker_id"])
    assert (theirs.status_code, "There is no such broker account." in theirs.text) == (422, True)
    again = await post(site.ada, "/webhooks", name="second")
    assert (again.status_code, "You already have a webhook of that name." in again.text) == (422, True)
    assert "paused" in (await post(site.ada, f"{path}/pause")).headers["HX-Trigger"]
    assert (await site.http.post(address.removeprefix(HOST), content=b"ping")).json()["decision"] == "paused"
    assert (await post(site.ada, f"{path}/resume")).status_code == 200
    moved = await post(site.ada, f"{path}/rotate")
    assert address not in moved.text
    assert (await site.http.post(address.removeprefix(HOST), content=b"ping")).status_code == 404
    assert "stays in the log" in await get(site.ada, f"{path}/remove")
    assert (await post(site.ada, f"{path}/remove")).status_code == 200
    assert (await site.ada.browse("GET", f"{path}/settings")).status_code == 404


async def test_a_message_is_tried_at_the_test_door_and_nothing_is_traded(site: Site) -> None:
    before = len((await site.ada.call("GET", "/api/orders?limit=500")).json()["items"])
    answer = await post(
        site.ada, f"/webhooks/{site.ada.ids['webhook_id']}/test", message='{"ticker": "BTCUSDT", "action": "buy", "qty": "0.01"}'
    )
    (path,) = re.findall(r'hx-get="(/webhooks/deliveries/[^"]+)"', answer.text)
    found = await decided(site, path.split("/")[3])
    assert (found["decision"], found["is_test"]) == ("ping", True)
    told = text(await get(site.ada, path))
    assert "Buy" in told
    assert "BTCUSDT" in told
    assert len((await site.ada.call("GET", "/api/orders?limit=500")).json()["items"]) == before


async def test_the_builder_shows_the_message_and_what_is_wrong_with_it(site: Site) -> None:
    chosen = {"kind": "indicator", "action": "buy", "symbol": "BTC/USDT", "size_kind": "quote", "size_value": "100", "pine": "5"}
    built = (await post(site.ada, "/webhooks/builder", **chosen)).text
    assert "&#34;notional&#34;: &#34;100&#34;" in built
    assert "//@version=5" in built
    assert f"{HOST}/hooks/…" in built
    wrong = (await post(site.ada, "/webhooks/builder", **{**chosen, "size_value": "a lot"})).text
    assert 'aria-invalid="true"' in wrong
    read = await post(site.ada, "/webhooks/builder/read", message="buy BTCUSDT 0.01")
    assert "This message can be read." in read.text
    unread = await post(site.ada, "/webhooks/builder/read", message='{"ticker": ')
    assert "NOT_JSON" in unread.text
    checked = await post(site.ada, "/webhooks/builder/check", message="ping", hook="")
    assert 'data-decision="ping"' in checked.text
    stranger = await site.eve.browse(
        "POST",
        "/webhooks/builder/check",
        data={"message": "ping", "hook": site.ada.ids["webhook_id"]},
        headers={"X-CSRF-Token": site.eve.csrf},
    )
    assert stranger.status_code == 404
