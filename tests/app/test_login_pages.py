"""The login pages tell a person when to come back, in words and to machines."""

import json
from datetime import timedelta

import pyotp
import pytest

from tests.app.whole_site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(("language", "words"), [("en", "Try again in "), ("fr", "Réessayez dans ")])
async def test_a_page_that_refuses_says_when_the_next_try_is_taken(site: Site, language: str, words: str) -> None:
    name = f"nobody-{language}"
    for _ in range(6):
        fields = {"username": name, "password": "a wrong guess"}
        answer = await site.http.post("/login", data=fields, headers={"Cookie": f"lang={language}"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert words in answer.text


async def test_the_api_says_it_too(site: Site) -> None:
    for _ in range(6):
        answer = await site.http.post("/api/auth/login", json={"username": "nobody", "password": "a wrong guess"})
    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_ATTEMPTS")
    assert answer.json()["detail"] == f"Too many attempts went wrong. Try again in {answer.headers['retry-after']} seconds."


async def test_what_costs_money_in_the_wrong_hands_takes_a_fresh_code_of_who_has_a_second_factor(site: Site) -> None:
    accounts, clock = site.app.state.accounts, site.app.state.clock
    principal = await accounts.by_cookie(site.eve.cookie)
    await site.eve.call("POST", "/api/brokers", json={"name": "first", "exchange": "paper"})
    hook = (await site.eve.call("POST", "/api/webhooks", json={"name": "before"})).json()
    made = await accounts.factors.enrol(principal.user_id, principal.username)
    totp = pyotp.TOTP(made.secret)
    await accounts.switch_on(principal.user_id, principal.session_id, totp.at(clock.now() - timedelta(seconds=30)))
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute("UPDATE user_sessions SET verified_at = $1", clock.now() - timedelta(minutes=11))
    cookie, csrf = {"Cookie": f"sid={site.eve.cookie}"}, {"X-CSRF-Token": site.eve.csrf}

    async def tries() -> dict[str, int]:
        asked = {
            "token": ("POST", "/api/auth/tokens", {"name": "t", "scopes": ["read"]}),
            "limits": ("PUT", "/api/risk/limits", {}),
            "keys": ("POST", "/api/keys", {"exchange": "binance", "api_key": "k" * 20, "api_secret": "s" * 20, "is_testnet": True}),
            "account": ("POST", "/api/brokers", {"name": "b", "exchange": "paper"}),
            "address": ("POST", "/api/webhooks", {"name": "h"}),
            "new address": ("POST", f"/api/webhooks/{hook['id']}/rotate", {}),
        }
        return {
            name: (await site.http.request(method, path, json=body, headers=cookie | csrf)).status_code
            for name, (method, path, body) in asked.items()
        }

    assert set((await tries()).values()) == {403}
    refusal = await site.http.post("/api/auth/tokens", json={"name": "t", "scopes": ["read"]}, headers=cookie | csrf)
    assert refusal.json()["code"] == "OTP_AGAIN"
    for path in ("/account/tokens", "/webhooks"):
        page = await site.http.post(path, data={"name": "t"}, headers=cookie | csrf | {"HX-Request": "true"})
        assert json.loads(page.headers["hx-trigger"]) == {"dialog-open": {"target": "body", "id": "fresh-code-dialog"}}
    assert (await site.http.get("/api/risk/limits", headers=cookie)).status_code == 200, "looking needs none"
    given = await site.http.post("/api/auth/verify", json={"code": totp.at(clock.now())}, headers=cookie | csrf)
    assert given.status_code == 204
    assert 403 not in (await tries()).values()
