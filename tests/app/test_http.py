"""The whole application through ASGI: what every route shares. What each use case does is tested beside it."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from app.core.config import Settings
from app.core.hosts import is_known
from app.core.ids import new_id
from app.core.middleware import CONTENT_SECURITY_POLICY
from app.exchanges.circuit import Reason
from tests.app.conftest import API_SECRET, PASSWORD
from tests.app.whole_site import HOST, Filled, Site, log_in, routes
from tests.emulator_process import EmulatorProcess
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio(loop_scope="module")


#: Forms for somebody who is not logged in yet, who are asked for no cookie.
_FOR_STRANGERS = {"/login", "/login/code", "/login/development", "/register"}


def is_problem(answer: httpx.Response, status: int) -> bool:
    document = answer.json()
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and document["status"] == status
        and re.fullmatch("[A-Z_]+", document["code"]) is not None
        and bool(document["detail"])
        and isinstance(document["errors"], list)
    )


async def test_errors_are_problems_with_a_code(site: Site) -> None:
    assert is_problem(await site.http.get("/api/nothing-here"), 404)
    assert is_problem(await site.http.put("/api/orders"), 405)
    assert is_problem(await site.http.get("/api/orders"), 401)
    assert is_problem(await site.http.get("/api/orders", headers={"Authorization": "Bearer x.y.z"}), 401)
    assert is_problem(await site.http.get("/api/orders", headers={"Authorization": "Basic eDp5"}), 401)
    assert is_problem(await site.ada.call("GET", f"/api/orders/{new_id()}"), 404)
    assert is_problem(await site.ada.call("GET", "/api/orders/not-a-uuid"), 422)
    refused = await site.ada.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "hold", "quantity": "NaN"})
    assert is_problem(refused, 422)
    assert {problem["field"] for problem in refused.json()["errors"]} == {"side", "quantity"}
    denied = await site.ada.call("POST", "/api/orders", json={"symbol": "NOPE", "side": "buy", "quantity": "1"})
    assert is_problem(denied, 422)
    assert (denied.json()["code"], denied.json()["errors"][0]["field"]) == ("SYMBOL_UNKNOWN", "symbol")
    assert is_problem(await site.http.post("/hooks/nobody-has-this", content=b"ping"), 404)
    assert (await site.http.get("/api/orders")).headers["www-authenticate"] == "Bearer"


async def test_path_with_a_trailing_slash_moves_for_good_and_stays_here(site: Site) -> None:
    moved = await site.http.post("/api/orders/?x=1", content=b"{}")
    assert (moved.status_code, moved.headers["location"]) == (308, "/api/orders?x=1")
    for path in ("//evil.example/", "/\\evil.example/", "/%5Cevil.example/", "///evil.example//", "/%09/evil.example/"):
        answer = await site.http.get(HOST + path)
        assert answer.status_code == 308
        assert re.match(r"/(?![/\\])", answer.headers["location"]), path


async def test_every_answer_has_the_security_headers_and_an_id(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        await site.http.get("/login"),
        await site.ada.browse("GET", "/"),
        await site.ada.browse("GET", "/brokers"),
        await site.http.get("/no-such-page"),
        await site.http.get("/healthz"),
        await site.http.get("/api/orders/"),
        await site.http.post("/login", headers={"Origin": "https://evil.example"}),
    ]

    async def breaks(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched, capture_logs():
        patched.setattr(site.app.state.accounts, "by_session", breaks)
        patched.setattr(site.app.state.accounts, "by_cookie", breaks)
        answers += [await site.ada.call("GET", "/api/orders"), await site.ada.browse("GET", "/")]
    for answer in answers:
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY, answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert [answer.status_code for answer in answers[-2:]] == [500, 500]
    assert "a bug of ours" not in answers[-1].text + answers[-2].text
    assert all(UUID(answer.headers["x-request-id"]) for answer in answers)
    assert (await site.ada.call("GET", "/api/orders")).headers["cache-control"] == "no-store"


async def test_answer_of_a_server_whose_database_died_after_the_order_was_sent_does_not_say_that_nothing_was_done(
    site: Site, standing_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_gone(*_: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    wish = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
    before = len(standing_emulator.orders())
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr("app.trading.router.queries.get_order", is_gone)
        answer = await site.ada.call("POST", "/api/orders", json=wish)
        patched.setattr(site.app.state.accounts, "by_cookie", is_gone)
        headers = {"X-CSRF-Token": site.ada.csrf, "HX-Request": "true", "Accept-Language": "fr"}
        toast = await site.ada.browse("POST", "/trading/kill", data={"action": "stop"}, headers=headers)
        page = await site.ada.browse("GET", "/", headers={"Accept": "text/html"})
    assert len(standing_emulator.orders()) == before + 1, "the order was sent"
    assert is_problem(answer, 503)
    assert answer.json()["code"] == "DATABASE_UNAVAILABLE"
    assert "may or may not have been done" in answer.json()["detail"]
    assert "Look at your orders before you try again" in answer.json()["detail"]
    assert toast.status_code == 503
    assert "peut-être été exécutée, ou pas" in json.loads(toast.headers["HX-Trigger"])["toast"]["text"]
    assert page.status_code == 503
    assert "The database does not answer. Try again in a moment." in page.text, "who only looked has asked for nothing"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://testserver:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_change_that_another_site_asks_for_is_refused(site: Site, headers: dict[str, str]) -> None:
    for path in ("/login", "/logout", "/brokers", "/api/auth/logout"):
        answer = await site.ada.browse("POST", path, headers={**headers, "X-CSRF-Token": site.ada.csrf})
        assert is_problem(answer, 403), path
    assert (await site.ada.browse("GET", "/api/auth/current")).status_code == 200, "nothing was ended"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "a.b c", "", "x:y:z", "[evil.example"]
)
async def test_request_to_a_name_that_is_not_ours_is_refused_in_words(site: Site, host: str) -> None:
    for path in ("/login", "/api/orders", "/"):
        answer = await site.http.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "HOST_UNKNOWN")
    assert (await site.http.post(f"/hooks/{site.ada.ids['secret']}", content=b"ping", headers={"Host": "tunnel.example"})).status_code in (
        200,
        202,
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "192.168.1.20", "localhost", "nas", "nas.local:8000", "nas.home.arpa."])
async def test_addresses_and_names_of_local_networks_are_ours(site: Site, host: str) -> None:
    assert (await site.http.get("/login", headers={"Host": host})).status_code == 200


async def test_the_names_that_the_administrator_gave_are_ours_in_any_case() -> None:
    named = Settings(_env_file=None, public_url="https://Trade.Example.com/x", allowed_hosts="bot.example, other.example").own_names
    for host in ("trade.example.com", "TRADE.example.com:443", "bot.example", "Other.Example."):
        assert is_known(host, named)
    assert not is_known("example.com", named)


async def test_alert_may_come_from_anywhere(site: Site) -> None:
    answer = await site.http.post(f"/hooks/{site.ada.ids['secret']}", content=b"test", headers={"Origin": "https://www.tradingview.com"})
    assert answer.status_code == 202


async def test_change_by_cookie_needs_the_pages_token(site: Site) -> None:
    change = {"theme": "light"}
    assert is_problem(await site.ada.browse("PUT", "/api/auth/preferences", json=change), 403)
    assert is_problem(await site.ada.browse("PUT", "/api/auth/preferences", json=change, headers={"X-CSRF-Token": site.eve.csrf}), 403)
    done = await site.ada.browse("PUT", "/api/auth/preferences", json=change, headers={"X-CSRF-Token": site.ada.csrf})
    assert (done.status_code, done.json()["theme"]) == (200, "light")
    form = await site.ada.browse("POST", "/preferences", data={"theme": "dark", "csrf_token": site.ada.csrf})
    assert form.status_code in (200, 204, 303)
    assert (await site.ada.browse("POST", "/preferences", data={"theme": "dark"})).status_code == 403
    assert (await site.ada.call("PUT", "/api/auth/preferences", json=change)).status_code == 200, "a bearer token needs none"


async def test_no_change_by_cookie_is_possible_without_the_token_on_any_route(site: Site) -> None:
    open_doors = {"/login", "/login/code", "/login/development", "/register", "/api/auth/login", "/api/auth/register", "/hooks/{secret}"}
    tried = 0
    for method, route in routes(site.app):
        if method in ("GET", "OPTIONS") or route.path in open_doors:
            continue
        answer = await site.ada.browse(method, route.path.format_map(Filled(site.ada.ids)), json={})
        assert answer.status_code == 403, (method, route.path)
        tried += 1
    assert tried >= 12


async def test_order_that_was_placed_elsewhere_is_shown_as_such_to_its_owner_alone(site: Site) -> None:
    async def put() -> None:
        # The account is compared with the exchange all the time, which does not know that order.
        async with site.app.state.platform_database.connection() as connection:
            await connection.execute("DELETE FROM external_orders WHERE venue_order_id = '4711'")
            await connection.execute(
                "INSERT INTO external_orders (id, user_id, broker_id, symbol, venue_order_id, side, type, state, quantity, filled_quantity,"
                " price, first_seen_at, last_seen_at)"
                " SELECT gen_random_uuid(), user_id, id, 'BTC/USDT', '4711', 'buy', 'limit', 'open', 0.02, 0, 12345.67, now(), now()"
                " FROM brokers WHERE id = $1",
                UUID(site.ada.ids["broker_id"]),
            )

    await put()
    (listed,) = (await site.ada.call("GET", "/api/orders/external")).json()["items"]
    assert (listed["venue_order_id"], listed["price"]) == ("4711", "12345.67")
    await put()
    page = (await site.ada.browse("GET", "/")).text
    assert ("were not placed by Aristobot" in page, "12,345.67" in page) == (True, True)
    assert (await site.eve.call("GET", "/api/orders/external")).json()["items"] == []
    theirs = (await site.eve.browse("GET", "/")).text
    assert ("were not placed by Aristobot" in theirs, "12,345.67" in theirs) == (False, False)


async def test_every_route_wants_to_know_who_asks_except_the_open_doors(site: Site) -> None:
    free = {
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
    for method, route in routes(site.app):
        if route.path in free:
            continue
        answer = await site.http.request(method, route.path.format_map(Filled(site.ada.ids)))
        assert answer.status_code in (303, 401), (method, route.path, answer.status_code)


async def test_body_over_a_megabyte_is_refused_whether_or_not_it_says_so(site: Site) -> None:
    async def in_parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    headers = {"Authorization": f"Bearer {site.ada.token}"}
    assert is_problem(await site.http.post("/api/orders", content=b" " * 1_000_001, headers=headers), 413)
    assert is_problem(await site.http.post("/api/orders", content=in_parts(), headers=headers), 413)
    assert is_problem(await site.http.post("/api/auth/login", content=in_parts()), 413)
    assert is_problem(await site.http.post("/api/orders", content=b"{}", headers={**headers, "Content-Length": "many"}), 413)
    assert is_problem(await site.http.post(f"/hooks/{site.ada.ids['secret']}", content=b"x" * 65_537), 413)


async def test_alert_of_any_kind_is_taken_and_never_fails(site: Site) -> None:
    for body in (b"", b"{", b"\x00\xff", b'{"a":' * 5000, b";", b'{"client_intent_id":"\\ud800"}', b'{"ticker":"\\u0000","action":"buy"}'):
        answer = await site.http.post(f"/hooks/{site.ada.ids['secret']}", content=body)
        assert answer.status_code == 202
        again = await site.http.post(f"/hooks/{site.ada.ids['secret']}", content=body)
        # What nobody could read may come again, as soon as that is known.
        assert (again.status_code, again.json()["decision"]) in ((200, "duplicate"), (202, "pending"))


async def test_keys_go_in_and_never_come_out(site: Site) -> None:
    answers = [await site.ada.call("GET", path) for path in ("/api/brokers", f"/api/brokers/{site.ada.ids['broker_id']}")]
    answers += [await site.ada.browse("GET", "/brokers")]
    for answer in answers:
        assert answer.status_code == 200
        assert API_SECRET not in answer.text
        assert "gAAAA" not in answer.text


async def test_no_bearer_token_opens_a_page(site: Site) -> None:
    tried = 0
    for method, route in routes(site.app):
        if route.path.startswith(("/api", "/hooks", "/healthz", "/readyz", "/openapi")):
            continue
        path = route.path.format_map(Filled(site.ada.ids))
        headers = {"Authorization": f"Bearer {site.ada.token}", "X-CSRF-Token": site.ada.csrf}
        answer = await site.http.request(method, path, headers=headers)
        assert re.search(r"\bada\b", answer.text) is None, (method, path)
        assert answer.status_code == 403 or path in _FOR_STRANGERS, (method, path, answer.status_code)
        tried += 1
    assert tried >= 30


async def test_a_proxys_own_password_does_not_stop_a_page(site: Site) -> None:
    basic = {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}
    assert (await site.ada.browse("GET", "/", headers=basic)).status_code == 200
    assert (await site.http.get("/", headers=basic)).status_code == 303
    foreign = {**basic, "Origin": "https://evil.example", "X-CSRF-Token": site.ada.csrf}
    assert is_problem(await site.ada.browse("POST", "/brokers", headers=foreign), 403)


async def test_logout_ends_the_bearer_token_at_once(site: Site) -> None:
    person = await log_in(site.app, site.http, "eve")
    assert (await person.call("GET", "/api/auth/current")).json()["username"] == "eve"
    renewed = (await person.call("POST", "/api/auth/refresh")).json()["access_token"]
    assert (await person.call("POST", "/api/auth/logout")).status_code == 204
    assert is_problem(await person.call("GET", "/api/auth/current"), 401)
    person.token = renewed
    assert is_problem(await person.call("GET", "/api/auth/current"), 401)


async def test_cookie_is_kept_from_scripts_and_other_sites(site: Site) -> None:
    answer = await site.http.post("/login", data={"username": "eve", "password": PASSWORD})
    site.http.cookies.clear()
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie


@row(9)
async def test_readiness_says_which_exchange_is_closed_to_us_and_how_late_the_loop_was(site: Site) -> None:
    registry = site.app.state.registry
    await registry.public("binance")
    (post,) = registry._posts.values()
    for _ in range(10):
        post.gate.circuit.trip(Reason.UNREACHABLE, 60)
        answer = (await site.http.get("/readyz")).json()
        (exchange,) = answer["exchanges"]
        if exchange["circuit"] == "open":
            break  # else a request that was on its way came back well and closed it
    post.gate.circuit.close()

    assert (exchange["exchange"], exchange["circuit"]) == ("binance", "open")
    assert datetime.fromisoformat(exchange["until"]) > datetime.now(UTC)  # noqa: TID251  # as the server's clock tells
    assert answer["loop_lag_ms"].keys() == {"last", "max"}
    assert answer["loops"].keys() >= {"exchanges", "loop_lag"}
