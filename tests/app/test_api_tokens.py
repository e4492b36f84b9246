"""API tokens: what each may do on every route, and how they end."""

import re
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from app.accounts.models import TokenScope
from app.accounts.tokens import needed_scope
from app.core.clock import ManualClock
from app.core.logging import redact_text
from app.core.security import fingerprint
from tests.app.conftest import PASSWORD
from tests.app.whole_site import STREAMS, Filled, Person, Site, log_in, routes, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ACCOUNTS = ("/api/auth", "/api/account", "/api/admin", "/api/keys")
#: Routes that ask nobody who they are.
_OPEN = {
    "/login",
    "/login/code",
    "/login/development",
    "/register",
    "/api/auth/login",
    "/api/auth/register",
    "/hooks/{secret}",
    "/healthz",
    "/readyz",
}


async def make(person: Person, *scopes: str, days: int = 30) -> tuple[str, str]:
    """Return a new token's id and the token."""
    made = await person.call("POST", "/api/auth/tokens", json={"name": "A program", "scopes": scopes, "expires_in_days": days})
    assert made.status_code == 201, made.text
    return made.json()["id"], made.json()["token"]


async def ask(site: Site, token: str, method: str, path: str) -> httpx.Response:
    return await site.http.request(method, path, headers={"Authorization": f"Bearer {token}"}, json=None if method == "GET" else {})


def code_of(answer: httpx.Response) -> str:
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return str(answer.json()["code"]) if is_problem else ""


async def test_a_token_is_shown_once_and_stored_as_a_hash(site: Site) -> None:
    token_id, token = await make(site.ada, "trade", "read")
    assert re.fullmatch(rf"arb_{UUID(token_id).hex}_[A-Za-z0-9_-]{{43}}", token)
    secret = token.split("_", 2)[2]
    async with site.app.state.platform_database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM api_tokens WHERE id = $1", UUID(token_id))
        assert row["token_hash"] == fingerprint(secret)
        assert secret not in str(dict(row))
        assert await connection.fetchval("SELECT count(*) FROM audit_log l WHERE l::text LIKE '%' || $1 || '%'", secret) == 0
    listed = await site.ada.call("GET", "/api/auth/tokens")
    assert secret not in listed.text
    found = next(item for item in listed.json()["items"] if item["id"] == token_id)
    assert (found["name"], found["scopes"], found["last_used_at"]) == ("A program", ["read", "trade"], None)
    assert secret not in redact_text(f"a library printed {token} here")


async def test_on_every_route_a_token_may_what_its_scopes_say_and_nothing_of_the_account(site: Site) -> None:
    _, reading = await make(site.eve, "read")
    _, trading = await make(site.eve, "trade")
    tried = {"session": 0, "read": 0, "trade": 0}
    for method, route in routes(site.app):
        if route.path in _OPEN or route.path in STREAMS or route.path.startswith("/openapi"):
            continue
        path = route.path.format_map(Filled(site.ada.ids))
        answers = {"read": code_of(await ask(site, reading, method, path)), "trade": code_of(await ask(site, trading, method, path))}
        if not route.path.startswith("/api/") or route.path.startswith(_ACCOUNTS):
            kind, expected = "session", {"read": "SESSION_NEEDED", "trade": "SESSION_NEEDED"}
            if not route.path.startswith("/api/"):
                answers = {
                    name: "SESSION_NEEDED" if await refused(site, token, method, path) else ""
                    for name, token in (("read", reading), ("trade", trading))
                }
            assert answers == expected, (method, route.path)
        else:
            kind, other = ("read", "trade") if method == "GET" else ("trade", "read")
            assert answers[other] == "SCOPE_MISSING", (method, route.path)
            assert answers[kind] not in ("SCOPE_MISSING", "SESSION_NEEDED", "NOT_AUTHENTICATED"), (method, route.path)
        tried[kind] += 1
    print(tried)
    assert tried["session"] >= 30
    assert tried["read"] >= 20
    assert tried["trade"] >= 15


async def refused(site: Site, token: str, method: str, path: str) -> bool:
    """Whether a page turns a token away; pages answer with pages."""
    return (await ask(site, token, method, path)).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["/api/auth/tokens", "/api/auth/tokens/x", "/api/auth/logout", "/api/admin/users", "/api/account/audit", "/", "/apix"],
)
async def test_accounts_administration_and_pages_need_a_session(path: str) -> None:
    assert needed_scope("GET", path) is None
    assert needed_scope("POST", path) is None


async def test_other_routes_need_read_to_look_and_trade_to_change() -> None:
    assert {needed_scope(method, "/api/orders") for method in ("GET", "HEAD")} == {TokenScope.READ}
    assert {needed_scope(method, "/api/orders/x") for method in ("POST", "PUT", "PATCH", "DELETE", "ANYTHING")} == {TokenScope.TRADE}
    assert needed_scope("GET", "/api/keystore") is TokenScope.READ
    assert needed_scope("GET", "/openapi.json") is TokenScope.READ
    assert needed_scope("POST", "/openapi.json") is None


async def test_a_token_trades_for_its_owner_alone(site: Site) -> None:
    _, token = await make(site.ada, "read", "trade")
    headers = {"Authorization": f"Bearer {token}"}
    order = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
    placed = await site.http.post("/api/orders", json=order, headers=headers)
    assert placed.status_code == 201, placed.text
    assert (await site.http.get(f"/api/orders/{placed.json()['id']}", headers=headers)).status_code == 200
    assert (await site.eve.call("GET", f"/api/orders/{placed.json()['id']}")).status_code == 404


async def test_a_token_ends_when_revoked_when_expired_and_with_its_last_sign_wrong(site: Site) -> None:
    token_id, token = await make(site.ada, "read", days=1)
    assert (await ask(site, token, "GET", "/api/orders")).status_code == 200
    for wrong in (token[:-1], token + "x", token.replace("arb_", "arb_0", 1), "arb_", "arb_x_y", f"arb_{UUID(token_id).hex}_", "arb_é"):
        answer = await site.http.get("/api/orders", headers={b"Authorization": f"Bearer {wrong}".encode()})
        assert answer.status_code == 401, wrong
    clock = ManualClock(site.app.state.clock.now() + timedelta(days=1, seconds=1))
    with state_of(site, clock=clock):
        assert code_of(await ask(site, token, "GET", "/api/orders")) == "NOT_AUTHENTICATED"
    assert (await site.eve.call("DELETE", f"/api/auth/tokens/{token_id}")).status_code == 404
    assert (await site.ada.call("DELETE", f"/api/auth/tokens/{token_id}")).status_code == 204
    assert code_of(await ask(site, token, "GET", "/api/orders")) == "NOT_AUTHENTICATED"
    assert (await site.ada.call("DELETE", f"/api/auth/tokens/{token_id}")).status_code == 404


async def test_last_use_is_noted_at_most_once_a_minute(site: Site) -> None:
    token_id, token = await make(site.ada, "read")
    start = site.app.state.clock.now()
    clock = ManualClock(start)
    seen = []
    with state_of(site, clock=clock):
        for step_s in (0, 30, 29, 2):
            clock.advance(timedelta(seconds=step_s))
            await ask(site, token, "GET", "/api/orders")
            async with site.app.state.platform_database.connection() as connection:
                seen.append(await connection.fetchval("SELECT last_used_at FROM api_tokens WHERE id = $1", UUID(token_id)))
    assert seen == [start, start, start, start + timedelta(seconds=61)]


async def test_the_scope_admin_is_for_administrators_and_acts_only_where_it_was_given(site: Site) -> None:
    refused = await site.ada.call("POST", "/api/auth/tokens", json={"name": "Mine", "scopes": ["admin"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    admin = await log_in(site.app, site.http, "admin")
    _, plain = await make(admin, "trade")
    _, mighty = await make(admin, "trade", "admin")
    stop = {"scope": "platform", "action": "stop", "confirm": True}
    answers = [
        await site.http.post("/api/kill-switch", json=stop, headers={"Authorization": f"Bearer {token}"}) for token in (plain, mighty)
    ]
    assert [answer.status_code for answer in answers] == [403, 202]
    assert (await admin.call("POST", "/api/kill-switch/rearm", json={"scope": "platform"})).status_code == 200


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "", "scopes": ["read"]},
        {"name": "x" * 61, "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": ["read"], "expires_in_days": 0},
        {"name": "x", "scopes": ["read"], "expires_in_days": 3651},
        {"name": " ", "scopes": ["read"]},
        {"name": "x\n", "scopes": ["read"]},
    ],
)
async def test_a_token_that_cannot_be_made_says_which_field(site: Site, wish: dict[str, object]) -> None:
    answer = await site.ada.call("POST", "/api/auth/tokens", json=wish)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] in ("name", "scopes", "scopes.0", "expires_in_days"), answer.text


async def test_nobody_collects_tokens_without_end(site: Site) -> None:
    await site.app.state.accounts.create_user("collector", PASSWORD)
    person = await log_in(site.app, site.http, "collector")
    for _ in range(50):
        await make(person, "read")
    assert (await person.call("POST", "/api/auth/tokens", json={"name": "x", "scopes": ["read"]})).status_code == 409
