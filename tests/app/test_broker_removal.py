"""Removing a broker account that has something open: it says what, asks, and leaves no order that nobody follows."""

import pytest

from tests.app.test_broker_accounts import LIMIT, MARKET, Account, account

pytestmark = pytest.mark.asyncio(loop_scope="module")

__all__ = ["account"]


async def has_ids(account: Account) -> list[str]:
    return [item["id"] for item in (await account.site.eve.call("GET", "/api/brokers")).json()["items"]]


async def test_an_account_without_anything_open_is_removed_at_once(account: Account) -> None:
    assert (await account.site.eve.call("DELETE", f"/api/brokers/{account.id}")).status_code == 204
    assert account.id not in await has_ids(account)


async def test_what_is_open_is_said_before_anything_is_removed(account: Account) -> None:
    await account.order(**MARKET)
    await account.order(**LIMIT)

    refused = await account.site.eve.call("DELETE", f"/api/brokers/{account.id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "BROKER_IN_USE")
    assert "1 open orders and 1 open positions" in refused.json()["detail"]

    question = (await account.page("GET", "delete")).text
    assert "1 open order, which is canceled" in question
    assert "1 open position, which is not sold" in question
    unconfirmed = await account.page("POST", "delete", confirm=account.name)
    assert (unconfirmed.status_code, "open orders" in unconfirmed.text) == (422, True)
    mistyped = await account.page("POST", "delete", confirm="Another name", end="true")
    assert "Type the account&#39;s name to confirm." in mistyped.text
    assert account.id in await has_ids(account)
    assert [order["status"] for order in account.placed()] == ["FILLED", "NEW"]


async def test_a_confirmed_removal_cancels_the_orders_and_lets_go_of_the_positions(account: Account) -> None:
    await account.order(**MARKET)
    resting = await account.order(**LIMIT)

    answer = await account.page("POST", "delete", confirm=account.name, end="true")

    assert answer.status_code == 200, answer.text
    assert account.id not in await has_ids(account)
    assert [order["status"] for order in account.placed()] == ["FILLED", "CANCELED"], "nothing was sold"
    assert (await account.site.eve.call("GET", f"/api/orders/{resting['id']}")).json()["state"] == "canceled"
    assert (await account.site.eve.call("GET", "/api/positions")).json()["items"] == []


async def test_stops_of_an_account_go_with_it_and_do_not_come_back(account: Account) -> None:
    await account.order(**MARKET, stop_loss="55000")
    assert "has stops or targets" in (await account.page("GET", "delete")).text

    answer = await account.page("POST", "delete", confirm=account.name, end="true")

    assert answer.status_code == 200, answer.text
    assert [order["status"] for order in account.placed() if order["status"] in ("NEW", "PARTIALLY_FILLED")] == []
    async with account.site.app.state.platform_database.connection() as connection:
        left = await connection.fetch(
            "SELECT status FROM protections p JOIN brokers b ON b.id = p.broker_id WHERE b.name = $1", account.name
        )
    assert {row["status"] for row in left} == {"done"}


async def test_an_account_whose_orders_cannot_be_canceled_now_stays_with_its_trading_off(account: Account) -> None:
    await account.order(**LIMIT)
    rule = account.emulator.fault("status_before", method="DELETE", path="/api/v3/order", status=503, api_key=account.api_key, times=1_000)

    answer = await account.page("POST", "delete", confirm=account.name, end="true")

    assert answer.status_code == 422
    assert "could not be canceled yet" in answer.text
    assert account.id in await has_ids(account)
    assert (await account.read())["trading_modes"] == []
    account.emulator.control("DELETE", f"/_fault?id={rule}")
