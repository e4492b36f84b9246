"""What every answer carries and every body obeys, asked of each route there is."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.config import Settings
from app.core.middleware import SECURITY_HEADERS
from app.core.paths import resource
from tests.app.conftest import PASSWORD
from tests.app.whole_site import HOST, STREAMS, Filled, Site, log_in, routes, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGEST = 1_000_000
_TYPES = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "")


def has_headers(answer: httpx.Response, *, is_secure: bool = False) -> bool:
    given = {name: answer.headers.get(name) for name in SECURITY_HEADERS}
    strict = answer.headers.get("strict-transport-security")
    return given == SECURITY_HEADERS and bool(answer.headers.get("x-request-id")) and (strict == "max-age=31536000") is is_secure


async def test_every_answer_of_every_route_to_anybody_has_the_security_headers(site: Site) -> None:
    statuses: dict[int, int] = {}
    for method, route in routes(site.app):
        if route.path in STREAMS:
            continue
        path = route.path.format_map(Filled(site.eve.ids))
        for headers in ({}, {"Cookie": f"sid={site.eve.cookie}"}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            answer = await site.http.request(method, path, headers=headers)
            site.http.cookies.clear()
            assert has_headers(answer), (method, path, headers)
            if path.startswith("/api"):
                assert answer.headers["cache-control"] == "no-store", (method, path)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    assert statuses.keys() >= {200, 303, 401, 403, 421, 422}, statuses


async def test_static_files_and_errors_have_them_too_and_over_https_the_browser_is_told_to_stay_there(site: Site) -> None:
    files = [path.relative_to(resource("static")).as_posix() for path in resource("static").rglob("*") if path.is_file()]
    for path in (*(f"/static/{name}" for name in files), "/static/nothing", "/nothing", "/api/nothing", "/login/", "/hooks/nobody"):
        for base, is_secure in ((HOST, False), ("https://testserver", True)):
            answer = await site.http.get(f"{base}{path}")
            assert has_headers(answer, is_secure=is_secure), path
            assert answer.status_code < 500
    assert len(files) > 20


async def test_an_error_of_ours_has_them_and_its_id(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(site.app.state.accounts, "by_session", breaks)
        answer = await site.http.get("https://testserver/api/orders", headers={"Authorization": f"Bearer {site.eve.token}"})
    assert answer.status_code == 500
    assert has_headers(answer, is_secure=True)
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


async def in_parts(given: list[int]) -> AsyncIterator[bytes]:
    """A body of twice the largest size, without saying so beforehand."""
    for _ in range(2 * LARGEST // 50_000):
        given.append(50_000)
        yield b"a" * 50_000


async def test_no_route_reads_more_than_a_megabyte_whatever_the_body_calls_itself(site: Site) -> None:
    refused = 0
    for method, route in routes(site.app):
        if method in ("GET", "OPTIONS"):
            continue
        path = route.path.format_map(Filled(site.ada.ids))
        bearer = {"Authorization": f"Bearer {site.ada.token}"} if path.startswith("/api") else {}
        page = {} if path.startswith(("/api", "/hooks")) else {"Cookie": f"sid={site.ada.cookie}", "X-CSRF-Token": site.ada.csrf}
        for kind in _TYPES:
            headers = {**bearer, **page, **({"Content-Type": kind} if kind else {})}
            declared = await site.http.request(method, path, headers={**headers, "Content-Length": str(LARGEST + 1)}, content=b"a" * 10)
            assert declared.status_code == 413, (method, path, kind)
            given: list[int] = []
            answer = await site.http.request(method, path, headers=headers, content=in_parts(given))
            site.http.cookies.clear()
            read = sum(given)
            assert read <= LARGEST + 50_000, (method, path, kind)
            # A route that takes another kind of body, or none, answers without reading it.
            assert answer.status_code == 413 if read > 50_000 else answer.status_code < 500, (method, path, kind, answer.status_code)
            refused += answer.status_code == 413
    assert refused >= 60


@pytest.mark.parametrize(
    ("path", "kind", "largest"),
    [
        ("/preferences", "application/x-www-form-urlencoded", 100_000),
        ("/login", "application/x-www-form-urlencoded", 20_000),
        ("/login/code", "multipart/form-data; boundary=x", 20_000),
        ("/register", "application/x-www-form-urlencoded", 20_000),
        ("/api/auth/login", "application/json", 20_000),
    ],
)
async def test_forms_and_what_strangers_are_asked_are_smaller(site: Site, path: str, kind: str, largest: int) -> None:
    headers = {"Content-Type": kind}
    assert (await site.http.post(path, headers=headers, content=b"&" * largest)).status_code != 413
    assert (await site.http.post(path, headers=headers, content=b"&" * (largest + 1))).status_code == 413
    given: list[int] = []
    assert (await site.http.post(path, headers=headers, content=in_parts(given))).status_code in (413, 415, 422)
    assert sum(given) <= largest + 50_000


async def test_a_refusal_names_a_few_of_very_many_wrong_fields_and_none_at_length(site: Site) -> None:
    wrong = {"symbol": "BTCUSDT", "side": "buy", "x" * 50_000: 0, **{f"{number:x}": 0 for number in range(50_000)}}
    eve = await log_in(site.app, site.http, "eve")
    answer = await eve.call("POST", "/api/orders", json=wrong)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 5_000


async def test_the_api_is_described_to_users_and_to_strangers_only_where_a_setting_says_so(site: Site) -> None:
    refused = await site.http.get("/openapi.json")
    assert (refused.status_code, refused.json()["code"]) == (401, "NOT_AUTHENTICATED")
    assert "/api/orders" not in refused.text
    page = await site.http.get("/docs")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/docs")
    for answer in (await site.eve.call("GET", "/openapi.json"), await site.eve.browse("GET", "/openapi.json")):
        assert "/api/orders" in answer.json()["paths"]
    assert "/api/orders" in (await site.eve.browse("GET", "/docs")).text

    with state_of(site, settings=Settings(_env_file=None, public_api_docs=True)):
        assert "/api/orders" in (await site.http.get("/openapi.json")).json()["paths"]
        assert "/api/orders" in (await site.http.get("/docs")).text


@pytest.mark.parametrize("is_secure", [False, True])
async def test_every_cookie_is_kept_from_scripts_and_over_https_from_plain_connections(site: Site, is_secure: bool) -> None:  # noqa: FBT001  # a column of the table
    base = "https://testserver" if is_secure else HOST
    login = await site.http.post(f"{base}/login", data={"username": "eve", "password": PASSWORD})
    name = "__Host-sid" if is_secure else "sid"
    assert name in login.cookies
    site.http.cookies.clear()
    choice = await site.http.post(f"{base}/preferences", data={"theme": "dark", "language": "fr"})
    site.http.cookies.clear()
    session = {"Cookie": f"{name}={login.cookies[name]}"}
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', (await site.http.get(f"{base}/", headers=session)).text)
    assert csrf is not None
    logout = await site.http.post(f"{base}/logout", headers={**session, "X-CSRF-Token": csrf[1]})
    cookies = [cookie for answer in (login, choice, logout) for cookie in answer.headers.get_list("set-cookie")]
    assert len(cookies) == 4
    for cookie in cookies:
        flags = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "samesite=lax", "path=/"} <= flags, cookie
        assert ("secure" in flags) is is_secure, cookie
        assert not any(flag.startswith("domain") for flag in flags)


def proxies(*given: str) -> Any:
    return Settings(_env_file=None, trusted_proxies=",".join(given)).proxies


@pytest.mark.parametrize("given", ["*", "0.0.0.0/0", "::/0", "proxy.example", "10.0.0.1/8", "127.0.0.1,*", "localhost"])
async def test_a_proxy_is_an_address_and_never_everybody(given: str) -> None:
    with pytest.raises(ValueError, match=r"TRUSTED_PROXIES|trusted_proxies"):
        proxies(given)


async def test_a_proxy_is_known_on_a_socket_for_both_kinds_of_addresses_too(tmp_path: Path) -> None:
    assert proxies("127.0.0.1", "10.0.0.0/8", "2001:db8::/32") == [
        "127.0.0.1/32",
        "10.0.0.0/8",
        "2001:db8::/32",
        "::ffff:127.0.0.1/128",
        "::ffff:10.0.0.0/104",
    ]
