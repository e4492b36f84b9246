"""Cancel all and close all with several accounts, of which one is slow or fails."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.app.conftest import NOW_MINUTE, ORDER_PATH, script
from tests.app.test_terminal_pages import toast
from tests.app.test_ticket_pages import add_account
from tests.app.whole_site import Site, running_site
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An exchange whose market stands at 60000."""
    path = script(tmp_path_factory.mktemp("market"))
    with EmulatorProcess("--replay", str(path), "--history", str(NOW_MINUTE), "--paused", *WITHOUT_LIMITS) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: PostgresForTests, market: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(postgres, market, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def accounts(site: Site, market: EmulatorProcess) -> list[str]:
    return [await add_account(site, market, f"Account-{next(_numbers)}", USDT="2000") for _ in range(3)]


async def place(site: Site, account: str, **order: str) -> None:
    body = {"symbol": "BTC/USDT", "side": "buy", "quantity": "0.01", "broker_id": account, **order}
    made = await site.ada.call("POST", "/api/orders", json=body)
    assert made.status_code == 201, made.text


async def test_a_slow_account_does_not_delay_closing_the_others(site: Site, market: EmulatorProcess, accounts: list[str]) -> None:
    for account in accounts:
        await place(site, account)
    market.fault("delay_before", method="POST", path=ORDER_PATH, delay_ms=4000)
    headers = {"X-CSRF-Token": site.ada.csrf, "HX-Request": "true"}
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(site.ada.browse("POST", "/trading/close-all", data={"key": "panic"}, headers=headers))
        await asyncio.sleep(2)
        left = (await site.ada.call("GET", "/api/positions")).json()["items"]
        assert not asking.done()
    answer = asking.result()
    assert len(left) == 1, "the others waited for the slow one"
    assert toast(answer) == ("success", "3 positions are closed or being closed.")
    assert (await site.ada.call("GET", "/api/positions")).json()["items"] == []


async def test_a_slow_account_does_not_delay_canceling_on_the_others(site: Site, market: EmulatorProcess, accounts: list[str]) -> None:
    await site.ada.call("DELETE", "/api/orders")
    for account in accounts:
        await place(site, account, type="limit", price="50000")
    market.fault("delay_before", method="DELETE", path=ORDER_PATH, delay_ms=4000)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(site.ada.call("DELETE", "/api/orders"))
        await asyncio.sleep(2)
        left = [order for order in (await site.ada.call("GET", "/api/orders")).json()["items"] if order["state"] == "open"]
        assert not asking.done()
    answer = asking.result()
    # Reconcile may have taken the slow one back as well meanwhile.
    assert len(left) <= 1, "the others waited for the slow one"
    assert [order["state"] for order in answer.json()["items"]] == ["canceled"] * 3


async def test_only_what_the_question_named_is_closed(site: Site, accounts: list[str]) -> None:
    """An alert opens a position while the question stands there."""
    await place(site, accounts[0])
    page = await site.ada.browse("GET", "/trading/close-all")
    form: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text):
        form.setdefault(name, []).append(value)
    await place(site, accounts[1])
    headers = {"X-CSRF-Token": site.ada.csrf, "HX-Request": "true"}
    answer = await site.ada.browse("POST", "/trading/close-all", data=form, headers=headers)
    assert toast(answer) == ("success", "1 position is closed or being closed.")
    left = (await site.ada.call("GET", "/api/positions")).json()["items"]
    assert [position["broker_id"] for position in left] == [accounts[1]]
    await site.ada.call("POST", f"/api/positions/{left[0]['id']}/close")
