"""Whatever anybody sends, the answer is a refusal in words and never a failure of the server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tests.app.conftest import PASSWORD
from tests.app.whole_site import Filled, Site, log_in, one_of_everything, routes
from tests.emulator_process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

JUNK: list[Any] = [
    None, True, 0, -1, 1.5, 10**40, "", "x", "\0", "\ud800", "9" * 100, "1e999", "NaN", [], [[]], {}, {"a": {}}, "BTC/USDT", "ü" * 70,
]  # fmt: skip


def bodies(route: APIRoute) -> Iterator[bytes]:
    """Junk for a route: no JSON, the wrong shape, and each field of its model with each wrong value."""
    yield from (b"", b"{", b"[]", b"null", b"\xff", b'{"a":' * 2000, b'"x"')
    if route.body_field is None:
        return
    model = route.body_field.field_info.annotation
    fields = sorted(getattr(model, "model_fields", {}))
    usual = {"exchange": "binance", "name": "n", "api_key": "k", "api_secret": "s", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"}
    known = {name: usual.get(name, "0123456789x") for name in fields if name in usual or name in ("username", "password")}
    for name in fields:
        for junk in JUNK:
            yield json.dumps({**known, name: junk}).encode()


async def test_no_junk_makes_the_server_fail(site: Site, standing_emulator: EmulatorProcess) -> None:
    tried, failed = 0, []
    await site.app.state.accounts.create_user("mallory", PASSWORD)
    mallory = await log_in(site.app, site.http, "mallory")
    await one_of_everything(mallory, standing_emulator)
    for method, route in routes(site.app):
        if method == "GET" or not route.path.startswith("/api") or route.path.endswith(("/logout", "/login")):
            continue
        path = route.path.format_map(Filled({} if method == "DELETE" else mallory.ids))
        for body in bodies(route):
            answer = await mallory.call(method, path, content=body, headers={"Content-Type": "application/json"})
            if answer.status_code >= 500:
                failed.append((method, path, body, answer.text))
            tried += 1
    assert failed == []
    assert tried > 200


@pytest.mark.parametrize("junk", ["\0", "\ud800", "a\0", "-1", "9" * 30, "x" * 300, "2026-13-01", "~~~", "a~b~c~d", "1e999", "🙂"])
async def test_no_junk_in_a_query_makes_the_server_fail(site: Site, junk: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in junk.encode("utf-8", "surrogatepass"))
    for method, route in routes(site.app):
        if method != "GET" or not route.path.startswith("/api") or "stream" in route.path:
            continue
        names = [parameter.alias for parameter in route.dependant.query_params]
        for name in names:
            path = route.path.format_map(Filled(site.ada.ids))
            needed = {"symbol": "BTCUSDT", "exchange": "binance", "timeframe": "1m"}
            others = "&".join(f"{other}={needed[other]}" for other in names if other in needed and other != name)
            answer = await site.ada.call("GET", f"{path}?{others}&{name}={encoded}")
            assert answer.status_code < 500, (path, name, answer.text)


@pytest.mark.parametrize("junk", JUNK)
async def test_no_junk_makes_a_login_fail_otherwise_than_by_refusal(site: Site, junk: Any) -> None:
    for document in ({"username": junk, "password": "x"}, {"username": "ada", "password": junk}):
        answer = await site.http.post(
            "/api/auth/login", content=json.dumps(document).encode(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (401, 422, 429), answer.text
