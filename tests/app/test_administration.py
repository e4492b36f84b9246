"""Administrators: other people's accounts, invitations, and that one of them is always left."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from app.core.clock import ManualClock
from app.core.config import Registration
from app.core.ids import new_id
from tests.app.conftest import PASSWORD
from tests.app.whole_site import HOST, Person, Site, log_in, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(site: Site) -> Person:
    return await log_in(site.app, site.http, "admin")


async def newcomer(site: Site, name: str) -> tuple[Person, str]:
    user = await site.app.state.accounts.create_user(name, PASSWORD)
    return await log_in(site.app, site.http, name), str(user.id)


async def change(admin: Person, user_id: str, **what: bool) -> httpx.Response:
    return await admin.call("PATCH", f"/api/admin/users/{user_id}", json=what)


def registering(site: Site, registration: Registration) -> Any:
    return state_of(site, settings=site.app.state.settings.model_copy(update={"registration": registration}))


async def invite(admin: Person, **wish: Any) -> tuple[str, str]:
    """Return the id of a new invitation and the secret in its link."""
    made = await admin.call("POST", "/api/admin/invitations", json=wish)
    assert made.status_code == 201, made.text
    assert made.json()["url"].startswith(f"{HOST}/register?invite=")
    return made.json()["id"], made.json()["url"].partition("invite=")[2]


async def register(site: Site, name: str, invitation: str | None) -> httpx.Response:
    return await site.http.post("/api/auth/register", json={"username": name, "password": PASSWORD, "invitation": invitation})


async def test_users_are_listed_page_by_page_for_administrators_only(site: Site, admin: Person) -> None:
    names: list[str] = []
    after: str | None = None
    while True:
        page = (await admin.call("GET", "/api/admin/users", params={"limit": 2} | ({"after": after} if after else {}))).json()
        names += [item["username"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert names[:3] == ["admin", "ada", "eve"]
    assert len(names) == len(set(names))
    for path in ("/api/admin/users", "/api/admin/invitations", "/api/admin/audit", "/api/admin/audit/export"):
        answer = await site.ada.call("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN"), path


async def test_a_disabled_user_is_out_at_once_and_stays_out_of_old_sessions_when_enabled_again(site: Site, admin: Person) -> None:
    mary, user_id = await newcomer(site, "mary")
    key = (await mary.call("POST", "/api/auth/tokens", json={"name": "x", "scopes": ["read"]})).json()["token"]
    assert (await change(admin, user_id, is_active=False)).json()["is_active"] is False

    async def is_in() -> list[int]:
        by_key = await site.http.get("/api/orders", headers={"Authorization": f"Bearer {key}"})
        return [(await mary.call("GET", "/api/orders")).status_code, (await mary.browse("GET", "/")).status_code, by_key.status_code]

    assert await is_in() == [401, 303, 401]
    assert (await site.http.post("/api/auth/login", json={"username": "mary", "password": PASSWORD})).status_code == 401
    assert (await change(admin, user_id, is_active=True)).json()["is_active"] is True
    assert await is_in() == [401, 303, 401], "what has ended does not come back"
    assert (await site.http.post("/api/auth/login", json={"username": "mary", "password": PASSWORD})).status_code == 200


async def test_alerts_of_a_disabled_user_place_no_order_until_they_are_enabled(site: Site, admin: Person) -> None:
    mary, user_id = await newcomer(site, "trading-mary")
    await mary.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Play"})
    hook = (await mary.call("POST", "/api/webhooks", json={"name": "Alerts"})).json()["url"].removeprefix(HOST)
    assert (await change(admin, user_id, is_active=False)).status_code == 200
    alert = {"ticker": "BTCUSDT", "action": "buy", "quantity": "0.001", "id": "one"}
    assert (await site.http.post(hook, json=alert)).status_code in (200, 202)

    query = "SELECT d.decision, o.state FROM webhook_deliveries d LEFT JOIN orders o ON o.user_id = d.user_id WHERE d.user_id = $1"

    async def decided() -> Any:
        async with site.app.state.platform_database.connection() as connection:
            return await connection.fetchrow(query, UUID(user_id))

    async with asyncio.timeout(5):
        while (await decided())["decision"] in (None, "pending"):  # noqa: ASYNC110  # a loop of the server decides
            await asyncio.sleep(0.02)
    row = await decided()
    assert (row["decision"], row["state"] in (None, "denied")) == ("denied", True), dict(row)
    assert (await change(admin, user_id, is_active=True)).status_code == 200
    again = await log_in(site.app, site.http, "trading-mary")
    assert (await again.call("GET", "/api/risk/states")).json()["state"] == "active"


async def test_a_disabled_user_s_halt_cannot_be_lifted_by_the_kill_switch(site: Site, admin: Person) -> None:
    mary, user_id = await newcomer(site, "halted-mary")
    await site.app.state.halt_user(UUID(user_id), by="admin")
    assert (await mary.call("POST", "/api/kill-switch/rearm", json={"scope": "user"})).json() == {"ended": []}
    assert (await mary.call("GET", "/api/risk/states")).json()["state"] == "halted"
    assert (await change(admin, user_id, is_active=True)).status_code == 200
    assert (await mary.call("GET", "/api/risk/states")).json()["state"] == "active"


async def test_an_administrator_makes_another_and_takes_it_back_but_never_from_themself(site: Site, admin: Person) -> None:
    mary, user_id = await newcomer(site, "deputy-mary")
    assert (await mary.call("GET", "/api/admin/users")).status_code == 403
    assert (await change(admin, user_id, is_admin=True)).json()["is_admin"] is True
    assert (await mary.call("GET", "/api/admin/users")).status_code == 200
    own_id = (await admin.call("GET", "/api/auth/current")).json()["id"]
    for what in ({"is_active": False}, {"is_admin": False}):
        answer = await change(admin, own_id, **what)
        assert (answer.status_code, answer.json()["code"]) == (409, "LAST_ADMINISTRATOR")
    assert (await change(admin, own_id, is_active=True, is_admin=True)).status_code == 200
    assert (await change(admin, user_id, is_admin=False)).json()["is_admin"] is False
    assert (await mary.call("GET", "/api/admin/users")).status_code == 403
    assert (await change(admin, str(new_id()), is_active=False)).json()["code"] == "USER_NOT_FOUND"
    actions = [item["action"] for item in (await admin.call("GET", "/api/account/audit", params={"limit": 2})).json()["items"]]
    assert actions == ["admin_taken", "admin_given"]


async def test_of_two_administrators_who_disable_each_other_at_once_one_is_left(site: Site, admin: Person) -> None:
    for attempt in range(5):
        pair = [await newcomer(site, f"rival-{attempt}-{place}") for place in (1, 2)]
        for _, user_id in pair:
            await change(admin, user_id, is_admin=True)
        (one, one_id), (two, two_id) = pair
        answers = await asyncio.gather(change(one, two_id, is_active=False), change(two, one_id, is_active=False))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 200
        assert statuses[1] in (401, 403)


async def test_an_invitation_makes_one_account(site: Site, admin: Person) -> None:
    with registering(site, Registration.INVITATION):
        invitation_id, secret = await invite(admin, note="for Joe")
        assert len(secret) == 43
        assert (await register(site, "joe", None)).json()["code"] == "INVITATION_INVALID"
        assert (await register(site, "ada", secret)).status_code == 409, "a name that is taken does not use it up"
        assert (await register(site, "joe", secret)).status_code == 201
        again = await register(site, "joe2", secret)
        assert (again.status_code, again.json()["code"]) == (403, "INVITATION_INVALID")
        listed = (await admin.call("GET", "/api/admin/invitations")).json()["items"]
        found = next(item for item in listed if item["id"] == invitation_id)
        assert (found["note"], found["made_by"], found["used_by"], found["used_at"] is None) == ("for Joe", "admin", "joe", False)
        assert secret not in str(listed)
        assert (await admin.call("DELETE", f"/api/admin/invitations/{invitation_id}")).json()["code"] == "INVITATION_NOT_FOUND"


async def test_of_two_who_use_an_invitation_at_once_one_gets_an_account(site: Site, admin: Person) -> None:
    with registering(site, Registration.INVITATION):
        _, secret = await invite(admin)
        answers = await asyncio.gather(*(register(site, f"twin-{place}", secret) for place in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403]


async def test_used_expired_revoked_and_made_up_invitations_cannot_be_told_apart(site: Site, admin: Person) -> None:
    with registering(site, Registration.INVITATION):
        (_, used), (_, expired), (revoked_id, revoked) = [await invite(admin, expires_in_days=days) for days in (7, 1, 7)]
        assert (await register(site, "first-guest", used)).status_code == 201
        assert (await admin.call("DELETE", f"/api/admin/invitations/{revoked_id}")).status_code == 204
        later = ManualClock(site.app.state.clock.now() + timedelta(days=2))
        accounts = site.app.state.accounts
        before, accounts._clock = accounts._clock, later
        try:
            answers = [await register(site, "guest", secret) for secret in (used, expired, revoked, "made-up", "é", "x" * 43)]
            with state_of(site, clock=later):
                pages = [await site.http.get("/register", params={"invite": secret}) for secret in (used, expired, revoked, "made-up")]
        finally:
            accounts._clock = before
    told = {(answer.status_code, answer.json()["code"], answer.json()["detail"]) for answer in answers}
    assert {status for status, *_ in told} == {403}
    assert len(told) == 1
    assert {page.status_code for page in pages} == {403}
    assert all("This invitation cannot be used" in page.text for page in pages)


async def test_the_page_makes_an_account_with_an_invitation(site: Site, admin: Person) -> None:
    with registering(site, Registration.INVITATION):
        assert (await site.http.get("/register")).status_code == 403
        _, secret = await invite(admin)
        page = await site.http.get("/register", params={"invite": secret})
        assert page.status_code == 200
        assert f'name="invite" value="{secret}"' in page.text
        form = {"username": "paula", "password": "short", "invite": secret}
        again = await site.http.post("/register", data=form)
        assert (again.status_code, f'name="invite" value="{secret}"' in again.text) == (422, True)
        done = await site.http.post("/register", data=form | {"password": PASSWORD})
        assert (done.status_code, done.headers["location"]) == (303, "/")
        site.http.cookies.clear()
        assert (await site.http.post("/register", data=form | {"username": "paul", "password": PASSWORD})).status_code == 403


async def test_registration_is_closed_by_invitation_or_open(site: Site, admin: Person) -> None:
    assert (await register(site, "closed-guest", None)).json()["code"] == "REGISTRATION_CLOSED"
    refused = await admin.call("POST", "/api/admin/invitations", json={})
    assert (refused.status_code, "REGISTRATION" in refused.json()["detail"]) == (409, True)
    with registering(site, Registration.OPEN):
        assert (await register(site, "open-guest", None)).status_code == 201
    for wish in ({"expires_in_days": 0}, {"expires_in_days": 31}, {"note": "x" * 101}):
        with registering(site, Registration.INVITATION):
            assert (await admin.call("POST", "/api/admin/invitations", json=wish)).status_code == 422, wish
