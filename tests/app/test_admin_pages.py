"""The pages of administration and of API tokens: who gets in, and what their forms do."""

import html
import json
import re

import httpx
import pytest
import pytest_asyncio

from app.core.config import Registration
from tests.app.conftest import PASSWORD
from tests.app.whole_site import HOST, Person, Site, log_in, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(site: Site) -> Person:
    return await log_in(site.app, site.http, "admin")


async def post(person: Person, path: str, **fields: object) -> httpx.Response:
    return await person.browse("POST", path, data=fields, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"})


def toast(answer: httpx.Response) -> str:
    return str(json.loads(answer.headers["HX-Trigger"])["toast"]["text"])


async def test_administration_is_shown_and_linked_for_administrators_only(site: Site, admin: Person) -> None:
    page = await admin.browse("GET", "/admin")
    assert page.status_code == 200
    assert all(name in page.text for name in ("ada", "eve", "Audit log", "Invitations"))
    assert 'href="/admin"' in page.text
    refused = await site.ada.browse("GET", "/admin")
    assert refused.status_code == 403
    assert "only an administrator may do that" in refused.text
    assert 'href="/admin"' not in (await site.ada.browse("GET", "/")).text
    assert (await site.http.get("/admin")).headers["location"] == "/login?next=/admin"


async def test_the_form_makes_a_token_that_works_and_revokes_it(site: Site) -> None:
    made = await post(site.eve, "/account/tokens", name="grafana", scopes=["read"], days="30")
    assert made.status_code == 200
    found = re.search(r'<code id="token-value"[^>]*>(arb_[^<]+)</code>', made.text)
    assert found is not None
    headers = {"Authorization": f"Bearer {html.unescape(found[1])}"}
    assert (await site.http.get("/api/orders", headers=headers)).status_code == 200
    page = await site.eve.browse("GET", "/account/tokens")
    assert "grafana" in page.text
    assert found[1] not in page.text
    (key,) = (await site.eve.call("GET", "/api/auth/tokens")).json()["items"]
    gone = await post(site.eve, f"/account/tokens/{key['id']}/revoke")
    assert (gone.status_code, toast(gone)) == (200, "The token is revoked.")
    assert (await site.http.get("/api/orders", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "", "scopes": ["read"]}, "This field is needed."),
        ({"name": "x"}, "Choose at least one."),
        ({"name": "x", "scopes": ["everything"]}, "Choose at least one."),
        ({"name": "x", "scopes": ["admin"]}, "only an administrator"),
        ({"name": "x", "scopes": ["read"], "days": "many"}, "a token expires after 1 to 3650 days"),
        ({"name": "x" * 61, "scopes": ["read"]}, "a token needs a name of 1 to 60 characters"),
    ],
)
async def test_a_form_that_cannot_be_used_comes_back_with_its_sentence(site: Site, fields: dict[str, object], words: str) -> None:
    answer = await post(site.eve, "/account/tokens", **fields)
    assert answer.status_code == 422
    assert words in html.unescape(answer.text)


async def test_only_an_administrator_is_offered_the_scope_of_one(site: Site, admin: Person) -> None:
    offered = [len(re.findall('name="scopes"', (await person.browse("GET", "/account/tokens")).text)) for person in (site.eve, admin)]
    assert offered == [2, 3]


async def test_an_administrator_disables_and_enables_from_the_table(site: Site, admin: Person) -> None:
    mary = await site.app.state.accounts.create_user("mary", PASSWORD)
    path = f"/admin/users/{mary.id}"
    answer = await post(admin, path, active="false")
    assert (answer.status_code, toast(answer)) == (200, "The user is changed.")
    assert "User disabled" in answer.text, "the log is renewed with it"
    assert (await site.http.post("/api/auth/login", json={"username": "mary", "password": PASSWORD})).status_code == 401
    assert (await post(admin, path, active="true", rights="true")).status_code == 200
    assert (await site.http.post("/api/auth/login", json={"username": "mary", "password": PASSWORD})).status_code == 200
    me = (await admin.call("GET", "/api/auth/current")).json()["id"]
    refused = await post(admin, f"/admin/users/{me}", active="false")
    assert refused.status_code == 409
    assert toast(refused).startswith("Nobody takes their own rights")
    assert (await post(site.eve, path, active="false")).status_code == 403


async def test_an_invitation_is_made_shown_once_and_taken_back(site: Site, admin: Person) -> None:
    assert "This server takes no invitations" in (await admin.browse("GET", "/admin")).text
    closed = await post(admin, "/admin/invitations", note="for Joe")
    assert closed.status_code == 422
    settings = site.app.state.settings.model_copy(update={"registration": Registration.INVITATION})
    with state_of(site, settings=settings):
        made = await post(admin, "/admin/invitations", note="for Joe", days="7")
        found = re.search(r'<code id="invitation-url"[^>]*>([^<]+)</code>', made.text)
        assert found is not None
        path = html.unescape(found[1]).removeprefix(HOST)
        assert (await site.http.get(path)).status_code == 200
        assert found[1] not in (await admin.browse("GET", "/admin")).text
        (item, *_) = (await admin.call("GET", "/api/admin/invitations")).json()["items"]
        gone = await post(admin, f"/admin/invitations/{item['id']}/revoke")
        assert toast(gone) == "The invitation is taken back."
        assert (await site.http.get(path)).status_code == 403


async def test_the_chain_is_checked_from_the_page(site: Site, admin: Person) -> None:
    answer = await admin.browse("GET", "/admin/log/check", headers={"HX-Request": "true"})
    assert toast(answer).startswith("The audit log is whole")
    assert (await admin.call("GET", "/api/admin/audit/check")).json() == {"is_whole": True, "first_broken": None}
    assert (await site.eve.call("GET", "/api/admin/audit/check")).status_code == 403


async def test_the_log_shows_one_kind_and_its_older_entries(admin: Person) -> None:
    logins = await admin.browse("GET", "/admin/log", params={"action": "login"})
    assert logins.status_code == 200
    assert "Login" in logins.text
    assert 'href="/api/admin/audit/export?action=login"' in logins.text
    numbers = [int(number) for number in re.findall(r'id="entry-(\d+)"', logins.text)]
    older = await admin.browse("GET", "/admin/log", params={"action": "login", "before": numbers[0]})
    assert [int(number) for number in re.findall(r'id="entry-(\d+)"', older.text)] == numbers[1:]
    assert (await admin.browse("GET", "/admin/log", params={"action": "unheard-of"})).status_code == 200


async def test_everybody_sees_what_was_done_with_their_own_account_and_nothing_else(site: Site) -> None:
    page = await site.eve.browse("GET", "/account/log")
    assert page.status_code == 200
    assert "API token made" in page.text or "Login" in page.text
    assert 'href="/api/account/audit/export"' in page.text
    assert "/admin/log" not in page.text
    part = await site.eve.browse("GET", "/account/log?action=login", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith("<section")
    assert "API token made" not in re.sub(r"<option.*?</option>", "", part.text)
    nothing = await site.eve.browse("GET", "/account/log?action=platform_sold")
    assert nothing.status_code == 200
