"""Broker accounts as their owner handles them: keys are tried before they are stored, kept when they are not retyped, and let go of."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.brokers.keys import stored_keys
from app.brokers.models import Broker
from app.brokers.testing import StepName, StepState, examine
from app.errors import ExchangeUnavailable
from tests.app.conftest import API_SECRET, open_account
from tests.app.whole_site import Person, Site
from tests.emulator_process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = ["reachable", "clock", "key", "rights", "balance"]
MARKET = {"symbol": "BTCUSDT", "side": "buy", "type": "market", "quantity": "0.01"}
LIMIT = {**MARKET, "type": "limit", "price": "50000"}


@dataclass(frozen=True)
class Account:
    """An account of Eve's at the emulator, by the API and by the page."""

    site: Site
    emulator: EmulatorProcess
    id: str
    name: str
    api_key: str

    async def read(self) -> Any:
        return (await self.site.eve.call("GET", f"/api/brokers/{self.id}")).json()

    async def change(self, **changes: Any) -> httpx.Response:
        return await self.site.eve.call("PATCH", f"/api/brokers/{self.id}", json=changes)

    async def test(self) -> Any:
        return (await self.site.eve.call("POST", f"/api/brokers/{self.id}/test_connection")).json()

    async def order(self, **order: str) -> Any:
        answer = await self.site.eve.call("POST", "/api/orders", json={**order, "broker_id": self.id})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def page(self, method: str, action: str, **fields: Any) -> httpx.Response:
        return await browse(self.site.eve, method, f"/brokers/{self.id}/{action}", **fields)

    def placed(self) -> list[Any]:
        return [order for order in self.emulator.orders() if order["api_key"] == self.api_key]

    async def keys(self) -> dict[str, str]:
        """What is stored, opened."""
        async with self.site.app.state.platform_database.transaction() as session:
            return stored_keys(self.site.app.state.vault, await session.get(Broker, self.id))


async def browse(person: Person, method: str, path: str, **fields: Any) -> httpx.Response:
    headers = {"X-CSRF-Token": person.csrf, "HX-Request": "true"}
    return await person.browse(method, path, headers=headers, **({"data": fields} if method == "POST" else {"params": fields}))


@pytest_asyncio.fixture(loop_scope="module")
async def account(site: Site, standing_emulator: EmulatorProcess) -> AsyncIterator[Account]:
    api_key = open_account(standing_emulator)
    given = {"exchange": "binance", "name": f"Account {api_key.rpartition('-')[2]}", "api_key": api_key, "api_secret": API_SECRET}
    made = await site.eve.call("POST", "/api/brokers", json=given)
    assert made.status_code == 201, made.text
    yield Account(site, standing_emulator, made.json()["id"], given["name"], api_key)
    await site.eve.call("DELETE", f"/api/brokers/{made.json()['id']}", params={"confirm": True})


async def tried(site: Site, **given: Any) -> Any:
    answer = await site.eve.call("POST", "/api/brokers/test_connection", json=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def states(found: Any) -> dict[str, str]:
    assert [step["name"] for step in found["steps"]] == STEPS
    return {step["name"]: step["state"] for step in found["steps"]}


async def test_keys_are_tried_step_by_step_before_they_are_stored(site: Site, standing_emulator: EmulatorProcess) -> None:
    before = (await site.eve.call("GET", "/api/brokers")).json()["items"]
    api_key = open_account(standing_emulator)

    found = await tried(site, exchange="binance", api_key=api_key, api_secret=API_SECRET)

    assert found["success"] is True
    assert set(states(found).values()) == {"ok"}
    assert {line["asset"]: line["free"] for line in found["balances"]} == {"BTC": "1", "USDT": "1000000"}
    assert found["key_rights"] == {"can_trade": True, "can_withdraw": False, "is_ip_bound": True}
    assert (await site.eve.call("GET", "/api/brokers")).json()["items"] == before


async def test_a_key_that_is_refused_fails_at_its_step_and_leaves_the_rest_out(site: Site) -> None:
    found = await tried(site, exchange="binance", api_key="nobody-knows-it", api_secret=API_SECRET)
    assert (found["success"], found["code"]) == (False, "BAD_CREDENTIALS")
    assert states(found) == {"reachable": "ok", "clock": "ok", "key": "failed", "rights": "skipped", "balance": "skipped"}
    assert "nobody-knows-it" not in str(found)


async def test_what_cannot_be_tried_is_refused_by_field(site: Site, account: Account) -> None:
    keys = {"api_key": "k" * 20, "api_secret": "s" * 20}
    for given, field in (
        ({"exchange": "okx", **keys}, "api_password"),
        ({"exchange": "coinmate", **keys}, "api_uid"),
        ({"exchange": "nowhere", **keys}, "exchange"),
        ({"exchange": "paper"}, "exchange"),
        ({"exchange": "kraken", "is_testnet": True, **keys}, "is_testnet"),
        ({"broker_id": account.id, "api_key": "k" * 20}, "api_secret"),
    ):
        answer = await site.eve.call("POST", "/api/brokers/test_connection", json=given)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), given


async def test_an_exchange_that_does_not_answer_fails_at_the_first_step() -> None:
    class Unreachable:
        exchange = "binance"

        async def instruments(self) -> Any:
            raise ExchangeUnavailable

    found = await examine(Unreachable(), offset_ms=lambda: None)  # type: ignore[arg-type]  # it is asked for nothing else
    assert [step.state for step in found.steps] == [StepState.FAILED, *[StepState.SKIPPED] * 4]


async def test_a_clock_that_is_off_is_a_warning_and_one_that_was_not_compared_says_nothing(site: Site, account: Account) -> None:
    client = await site.app.state.connections.client(Broker(id=account.id).id)
    for ahead_ms, expected in ((1_500, StepState.WARNING), (-1_001, StepState.WARNING), (999, StepState.OK), (None, StepState.SKIPPED)):

        def offset_ms(ahead_ms: int | None = ahead_ms) -> int | None:
            return ahead_ms

        found = await examine(client, offset_ms=offset_ms)
        (clock,) = [step for step in found.steps if step.name is StepName.CLOCK]
        assert (clock.state, found.success) == (expected, True), ahead_ms


async def test_a_key_that_may_withdraw_is_a_warning_and_one_bound_to_no_address_a_notice(account: Account) -> None:
    account.emulator.change_key(account.api_key, withdrawals=True, ip_bound=False)

    found = await account.test()

    assert (found["success"], states(found)["rights"]) == (True, "warning")
    assert (await account.read())["key_rights"] == {"can_trade": True, "can_withdraw": True, "is_ip_bound": False}
    page = (await account.site.eve.browse("GET", "/brokers")).text
    assert "This key may withdraw." in page
    assert "The key works from any address." in page

    account.emulator.change_key(account.api_key, withdrawals=False, ip_bound=True)
    await account.test()
    page = (await account.site.eve.browse("GET", "/brokers")).text
    assert "This key may withdraw." not in page


async def test_a_key_that_may_only_read_is_accepted_with_a_warning(account: Account) -> None:
    account.emulator.change_key(account.api_key, read_only=True)
    found = await account.test()
    assert (found["success"], states(found)["rights"], found["key_rights"]["can_trade"]) == (True, "warning", False)


async def test_an_exchange_that_does_not_tell_what_a_key_may_do_is_no_failure(account: Account) -> None:
    account.emulator.fault("status_before", method="GET", path="/sapi/v1/account/apiRestrictions", status=404, api_key=account.api_key)
    found = await account.test()
    assert (found["success"], states(found)["rights"], found["key_rights"]) == (True, "skipped", None)


async def test_editing_without_retyping_keeps_the_keys(account: Account) -> None:
    before = await account.keys()
    answer = await account.page("POST", "edit", name="Renamed", description="For swings", mode=["manual"], is_active="true")
    assert answer.status_code == 200, answer.text
    found = await account.read()
    assert (found["name"], found["description"], found["trading_modes"]) == ("Renamed", "For swings", ["manual"])
    assert await account.keys() == before
    assert (await account.test())["success"] is True


async def test_new_keys_are_tried_before_they_take_the_place_of_those_that_work(account: Account) -> None:
    before = await account.keys()
    fields = {"name": account.name, "mode": ["manual"], "is_active": "true", "api_key": "not-a-good-key-at-all", "api_secret": "s"}

    refused = await account.page("POST", "edit", **fields)

    assert refused.status_code == 422
    assert "Store it all the same" in refused.text
    assert "not-a-good-key-at-all" not in refused.text
    assert await account.keys() == before

    stored = await account.page("POST", "edit", **fields, anyway="true")
    assert stored.status_code == 200
    assert (await account.keys())["api_key"] == "not-a-good-key-at-all"
    assert (await account.read())["last_connection_success"] is None, "what a test found was about other keys"


async def test_a_passphrase_goes_with_the_key_it_belonged_to(account: Account) -> None:
    full = {"api_key": account.api_key, "api_secret": API_SECRET, "api_password": "of the first key"}
    assert (await account.change(**full)).status_code == 200
    assert (await account.keys())["api_password"] == "of the first key"

    assert (await account.change(api_key=account.api_key, api_secret=API_SECRET)).status_code == 200
    assert await account.keys() == {"api_key": account.api_key, "api_secret": API_SECRET}

    alone = await account.change(api_password="without its key")
    assert (alone.status_code, alone.json()["errors"][0]["field"]) == (422, "api_key")


async def test_the_key_of_an_account_is_tried_with_what_is_stored_when_nothing_is_typed(account: Account) -> None:
    answer = await account.page("POST", "try")
    assert answer.status_code == 200
    assert "Connection works" in answer.text
    assert "1000000 USDT" in answer.text
    half = await account.page("POST", "try", api_key="only-a-key")
    assert "Binance needs this." in half.text


async def test_no_form_brings_a_key_back(account: Account) -> None:
    for action in ("edit", "capabilities", "delete"):
        text = (await account.page("GET", action)).text
        assert account.api_key not in text
        assert API_SECRET not in text
    for field in ("api_key", "api_secret"):
        (found,) = re.findall(rf'<input[^>]*name="{field}"[^>]*>', (await account.page("GET", "edit")).text)
        assert "value=" not in found


async def test_a_new_account_is_stored_with_what_its_test_found(site: Site, standing_emulator: EmulatorProcess) -> None:
    fields = {"exchange": "binance", "name": "Tried first", "api_secret": API_SECRET, "mode": ["webhook", "bot"]}
    wrong = await browse(site.eve, "POST", "/brokers", **fields, api_key="nobody-knows-this-one")
    assert wrong.status_code == 422
    assert "Connection failed" in wrong.text

    right = await browse(site.eve, "POST", "/brokers", **fields, api_key=open_account(standing_emulator))
    assert right.status_code == 200, right.text
    (made,) = [item for item in (await site.eve.call("GET", "/api/brokers")).json()["items"] if item["name"] == "Tried first"]
    assert (made["last_connection_success"], made["trading_modes"]) == (True, ["bot", "webhook"])
    assert made["key_rights"]["can_withdraw"] is False

    same = await browse(site.eve, "POST", "/brokers", **{**fields, "name": "TRIED FIRST"}, api_key="whatever-it-is")
    assert "You already have an account of that name." in same.text


async def test_the_form_asks_for_what_ccxt_requires_of_the_exchange_and_no_more(site: Site) -> None:
    for exchange, further in (("binance", set()), ("okx", {"api_password"}), ("coinmate", {"api_uid"}), ("kraken", set())):
        text = (await browse(site.eve, "GET", "/brokers/exchange", exchange=exchange)).text
        assert {field for field in ("api_password", "api_uid") if f'name="{field}"' in text} == further, exchange


async def test_another_account_becomes_the_default_and_there_is_always_exactly_one(account: Account) -> None:
    answer = await account.page("POST", "default")
    assert answer.status_code == 200
    items = (await account.site.eve.call("GET", "/api/brokers")).json()["items"]
    assert [item["id"] for item in items if item["is_default"]] == [account.id]


async def test_the_dot_of_a_card_says_in_words_what_the_account_is(account: Account) -> None:
    async def card() -> str:
        page = (await account.site.eve.browse("GET", "/brokers")).text
        (found,) = re.findall(rf'<article[^>]*id="broker-{account.id}".*?</article>', page, re.DOTALL)
        (words,) = re.findall(r'class="broker-status[^>]*>.*?<b>(.*?)</b>', str(found), re.DOTALL)
        return str(words)

    assert await card() == "Not tested"
    await account.test()
    assert await card() == "Ready"
    await account.change(trading_modes=[])
    assert await card() == "Off"
    await account.change(trading_modes=["manual"])
    halt = {"scope": "broker", "key": account.id, "action": "stop", "confirm": True}
    assert (await account.site.eve.call("POST", "/api/kill-switch", json=halt)).status_code == 202
    assert await card() == "Paused"
    assert (await account.site.eve.call("POST", "/api/kill-switch/rearm", json={"scope": "broker", "key": account.id})).status_code < 300
    await account.change(is_active=False)
    assert await card() == "Off"
    await account.change(is_active=True)
    account.emulator.change_key(account.api_key, revoked=True)
    await account.test()
    assert await card() == "Error"


async def test_a_paused_account_goes_on_once_the_exchange_takes_its_key_again(account: Account) -> None:
    account.emulator.change_key(account.api_key, ip_allowed=False)
    refused = await account.site.eve.call("POST", "/api/orders", json={**MARKET, "broker_id": account.id})
    assert refused.status_code >= 400
    async with account.site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE brokers SET paused_reason = 'the key is refused' WHERE id = $1", Broker(id=account.id).id)

    await account.page("POST", "resume")
    assert (await account.read())["paused_reason"] is not None

    account.emulator.change_key(account.api_key, ip_allowed=True)
    await account.page("POST", "edit", name=account.name, mode=["manual"], is_active="true")
    assert (await account.read())["paused_reason"] is not None, "an edit of something else lifts nothing"
    await account.page("POST", "resume")
    assert (await account.read())["paused_reason"] is None


async def test_capabilities_say_what_the_exchange_does_and_what_this_server_does_instead(account: Account) -> None:
    text = (await account.page("GET", "capabilities")).text
    assert "Trailing stop" in text
    assert "By this server" not in text.split("stead")[0]
    gate = await account.site.eve.call(
        "POST", "/api/brokers", json={"exchange": "gate", "name": "Gate", "api_key": "k" * 20, "api_secret": "s" * 20}
    )
    text = (await browse(account.site.eve, "GET", f"/brokers/{gate.json()['id']}/capabilities")).text
    assert text.count("By this server") >= 5
