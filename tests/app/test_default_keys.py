"""`POST /api/keys`: the shortest way to an account that trades."""

import pytest

from tests.app.conftest import API_SECRET, open_account
from tests.app.whole_site import Site
from tests.emulator_process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_keys_make_the_default_account_or_replace_those_of_it(site: Site, standing_emulator: EmulatorProcess) -> None:
    keys = {"exchange": "binance", "api_key": open_account(standing_emulator), "api_secret": API_SECRET}
    first = await site.eve.call("POST", "/api/keys", json=keys)
    assert (first.status_code, first.json()["is_default"], first.json()["name"]) == (200, True, "Binance")
    assert API_SECRET not in first.text
    assert keys["api_key"] not in first.text
    test = await site.eve.call("POST", f"/api/brokers/{first.json()['id']}/test_connection")
    assert test.json()["success"] is True
    again = await site.eve.call("POST", "/api/keys", json={**keys, "api_key": open_account(standing_emulator)})
    assert again.json()["id"] == first.json()["id"]
    assert len((await site.eve.call("GET", "/api/brokers")).json()["items"]) == 1


async def test_keys_of_another_exchange_are_not_given_to_the_default_account(site: Site) -> None:
    answer = await site.ada.call("POST", "/api/keys", json={"exchange": "kraken", "api_key": "k", "api_secret": "s"})
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    unknown = await site.ada.call("POST", "/api/keys", json={"exchange": "nowhere", "api_key": "k", "api_secret": "s"})
    assert unknown.status_code in (409, 422)
