"""What a user chooses, through the API and on the page: looks, the default account, the AI provider."""

import asyncio
import html
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
import pytest_asyncio
from fastapi import Request
from structlog.testing import capture_logs

from app.accounts.ai import AiProviders
from app.core.addresses import parse_allowed
from app.core.outgoing import Outgoing
from app.core.tenancy import working_for
from app.ui.stream import PageStream
from app.ui.surroundings import regions_of, templating_of
from tests.app.ai_server import KEY, MODELS, AiServer, ai_server
from tests.app.conftest import PASSWORD
from tests.app.whole_site import Person, Site, log_in, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
URL = "/api/auth/preferences"


@pytest_asyncio.fixture(loop_scope="module")
async def provider(site: Site) -> AsyncIterator[AiServer]:
    """A provider that the administrator allows, and that stands in for OpenRouter."""
    async with ai_server() as running:
        outgoing = Outgoing(allowed=parse_allowed((f"127.0.0.1:{running.port}",)))
        with state_of(site, ai_providers=AiProviders(outgoing, openrouter_url=f"{running.url}/v1")):
            yield running


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> Person:
    """Somebody who has chosen nothing yet."""
    name = f"person-{next(_NUMBERS)}"
    await site.app.state.accounts.create_user(name, PASSWORD)
    return await log_in(site.app, site.http, name)


_NUMBERS: Iterator[int] = iter(range(1000))


async def put(person: Person, **changes: Any) -> dict[str, Any]:
    answer = await person.call("PUT", URL, json=changes)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def send(person: Person, path: str, **fields: str) -> tuple[int, str]:
    answer = await person.browse("POST", path, data=fields, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"})
    return answer.status_code, html.unescape(answer.text)


async def stored(site: Site, person: Person) -> asyncpg.Record:
    user_id = UUID((await person.call("GET", "/api/auth/current")).json()["id"])
    async with site.app.state.platform_database.connection() as connection:
        return await connection.fetchrow("SELECT * FROM users WHERE id = $1", user_id)


async def test_looks_are_kept_and_told(person: Person) -> None:
    before = (await person.call("GET", URL)).json()
    assert (before["theme"], before["language"], before["display_timezone"], before["ai_provider"]) == ("dark", "en", "local", "none")
    await put(person, theme="light", language="fr", display_timezone="utc")
    after = (await person.call("GET", URL)).json()
    assert after == before | {"theme": "light", "language": "fr", "display_timezone": "utc"}
    page = (await person.browse("GET", "/account/preferences")).text
    assert '<html lang="fr" data-theme="light"' in page
    assert 'data-timezone="UTC"' in page


@pytest.mark.parametrize(
    "wish",
    [{"theme": "pink"}, {"language": "de"}, {"display_timezone": "Europe/Paris"}, {"ai_provider": "both"}, {"ai_api_key": ""}, {"x": 1}],
)
async def test_what_cannot_be_chosen_is_refused(person: Person, wish: dict[str, object]) -> None:
    assert (await person.call("PUT", URL, json=wish)).status_code == 422


async def test_times_on_every_page_are_in_the_zone_that_was_chosen(person: Person) -> None:
    cookies = {"Cookie": f"sid={person.cookie}; tz=Asia/Kolkata"}
    hook = await person.call("POST", "/api/webhooks", json={"name": "Alerts"})
    assert hook.status_code in (201, 404, 409, 422)
    for path in ("/", "/webhooks", "/brokers", "/account", "/account/preferences", "/account/tokens"):
        for zone, shown in (("local", "Asia/Kolkata"), ("utc", "UTC")):
            await put(person, display_timezone=zone)
            page = (await person.browse("GET", path, headers=cookies)).text
            assert f'data-timezone="{shown}"' in page, path
            clock = re.search(r'id="clock" datetime="\d+-\d+-\d+T(\d+):(\d+).*?">(\d+):(\d+)', page)
            assert clock is not None
            utc, here = (int(clock[place]) * 60 + int(clock[place + 1]) for place in (1, 3))
            assert (here - utc) % 1440 == (330 if zone == "local" else 0), path


async def test_the_default_account_is_one_of_ones_own(site: Site, person: Person) -> None:
    made = [
        (await person.call("POST", "/api/brokers", json={"exchange": "paper", "name": name})).json()["id"] for name in ("First", "Second")
    ]
    assert (await put(person, default_broker_id=made[1]))["default_broker_id"] == made[1]
    theirs = await person.call("PUT", URL, json={"default_broker_id": site.ada.ids["broker_id"], "theme": "light"})
    assert (theirs.status_code, theirs.json()["code"]) == (404, "BROKER_NOT_FOUND")
    now = (await person.call("GET", URL)).json()
    assert (now["default_broker_id"], now["theme"]) == (made[1], "dark"), "all of it or nothing"
    headers = {"X-CSRF-Token": person.csrf}
    answer = await person.browse("POST", "/preferences", data={"default_broker_id": made[0]}, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account/preferences?saved=broker")
    page = (await person.browse("GET", "/account/preferences?saved=broker")).text
    assert f'<option value="{made[0]}" selected>First' in page
    assert f'data-broker="{made[0]}"' in page


async def test_to_switch_one_provider_on_switches_the_other_off(site: Site, person: Person, provider: AiServer) -> None:
    on = await put(person, ai_provider="openrouter", ai_api_key=KEY, ai_model="vendor/x")
    assert (on["ai_provider"], on["ai_enabled"], on["ai_model"], on["has_ai_key"], on["ai_key_hint"]) == (
        "openrouter", True, "vendor/x", True, "9f3c",
    )  # fmt: skip
    other = await put(person, ai_provider="ollama", ai_endpoint_url=f"{provider.url}/")
    assert (other["ai_provider"], other["ai_model"], other["ai_endpoint_url"]) == ("ollama", None, provider.url), (
        "a model is one provider's"
    )
    off = await put(person, ai_provider="none")
    assert (off["ai_enabled"], off["has_ai_key"]) == (False, True), "the key is kept for another time"
    row = await stored(site, person)
    assert row["ai_api_key"].startswith("gAAAA")
    assert KEY not in str(dict(row))


async def test_the_database_itself_knows_one_provider_and_no_openrouter_without_a_key(site: Site, person: Person) -> None:
    user = await stored(site, person)
    async with site.app.state.platform_database.connection() as connection:
        for value in ("openrouter", "both", "openrouter,ollama"):
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute("UPDATE users SET ai_provider = $2 WHERE id = $1", user["id"], value)
        columns = await connection.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = 'users'")
    assert "ai_enabled" not in {row["column_name"] for row in columns}


async def test_a_key_is_written_and_never_read_back(site: Site, person: Person, provider: AiServer) -> None:
    with capture_logs() as logs:
        await put(person, ai_provider="openrouter", ai_api_key=KEY)
        # Not typed again, it stays; what is told of it is how it ends.
        status, fragment = await send(
            person, "/account/preferences/ai", ai_provider="openrouter", ai_api_key="", openrouter_model="vendor/qwen3:32b"
        )
        assert status == 200
        answers = [fragment]
        for path in ("/account/preferences", "/account", "/", URL, "/api/auth/current", "/api/account/audit"):
            answers.append((await person.browse("GET", path)).text)
        answers.append((await person.call("POST", "/api/auth/ai/test", json={})).text)
    assert not [text for text in answers if KEY in text or KEY[:-4] in text or "gAAAA" in text]
    assert KEY not in str(logs)
    assert "ends with …9f3c" in fragment
    assert f"Bearer {KEY}" in provider.heard[-1], "it is sent to OpenRouter"
    status, fragment = await send(person, "/account/preferences/forget-key")
    assert status == 200
    assert "9f3c" not in fragment
    row = await stored(site, person)
    assert (row["ai_api_key"], row["ai_key_hint"], row["ai_provider"]) == (None, "", "none")


async def test_openrouter_without_a_key_and_bad_addresses_come_back_with_their_sentence(person: Person, provider: AiServer) -> None:
    status, fragment = await send(person, "/account/preferences/ai", ai_provider="openrouter")
    assert (status, "OpenRouter needs a key. Enter yours." in fragment) == (422, True)
    for url in ("ftp://x", "http://u:p@x", "nonsense"):
        status, fragment = await send(person, "/account/preferences/ai", ai_provider="ollama", ai_endpoint_url=url)
        assert (status, "That is no address." in fragment) == (422, True)
    status, _ = await send(person, "/account/preferences/ai", ai_provider="openrouter", ai_api_key="line\nbreak: x")
    assert status == 422
    status, _ = await send(person, "/account/preferences/ai", ai_provider="both")
    assert status == 422
    assert provider.heard == []
    assert (await person.call("GET", URL)).json()["ai_provider"] == "none"


async def test_the_models_of_a_provider_are_listed(person: Person, provider: AiServer) -> None:
    given = {"ai_provider": "ollama", "ai_endpoint_url": provider.url}
    found = (await person.call("POST", "/api/auth/ai/test", json=given)).json()
    assert found == {"success": True, "code": None, "message": "It answers. Choose a model.", "models": list(MODELS)}
    await put(person, **given, ai_model=MODELS[0])
    assert (await person.call("POST", "/api/auth/ai/test", json={})).json()["message"] == "It answers, and it has that model."
    _, fragment = await send(person, "/account/preferences/test", **given, ollama_model="nothing")
    assert "no model of that name" in fragment
    assert f'<option value="{MODELS[1]}">' in fragment
    fragment = (await person.browse("GET", "/account/preferences/models")).text
    assert '<datalist id="models-ollama">' in fragment
    provider.models = ()
    assert (await person.call("POST", "/api/auth/ai/test", json={})).json()["code"] == "MODEL_MISSING"


async def test_a_test_says_in_words_what_is_wrong(person: Person, provider: AiServer) -> None:
    wrong = (await person.call("POST", "/api/auth/ai/test", json={"ai_provider": "openrouter", "ai_api_key": "sk-wrong"})).json()
    assert (wrong["success"], wrong["message"]) == (False, "OpenRouter does not take that key.")
    for url, words in (
        ("http://127.0.0.1:1", "its administrator has not allowed"),
        ("http://169.254.169.254/latest", "never calls that address"),
        (f"{provider.url}/nothing", "Is the address right?"),
        ("http://a b", "That is no address."),
    ):
        found = (await person.call("POST", "/api/auth/ai/test", json={"ai_provider": "ollama", "ai_endpoint_url": url})).json()
        assert (found["success"], words in found["message"]) == (False, True), (url, found)
    assert (await person.call("POST", "/api/auth/ai/test", json={})).json()["message"] == "No provider is switched on."
    await put(person, language="fr")
    _, fragment = await send(person, "/account/preferences/test", ai_provider="ollama", ai_endpoint_url="http://127.0.0.1:1")
    assert "Ce serveur n’appelle rien dans son propre réseau" in fragment


async def test_openrouters_key_never_goes_to_an_address_that_a_user_gave(person: Person, provider: AiServer) -> None:
    await put(person, ai_provider="openrouter", ai_api_key=KEY)
    provider.heard.clear()
    for given in ({"ai_provider": "ollama", "ai_endpoint_url": provider.url}, {"ai_provider": "ollama", "ai_api_key": KEY}):
        await person.call("POST", "/api/auth/ai/test", json={**given, "ai_endpoint_url": provider.url})
    assert provider.heard
    assert not [head for head in provider.heard if "authorization" in head.lower()]


async def test_no_connection_to_the_database_is_held_while_a_provider_is_asked(site: Site, person: Person) -> None:
    waiting, done = asyncio.Event(), asyncio.Event()

    async def asleep(host: str, port: int) -> list[Any]:
        del host, port
        waiting.set()
        await done.wait()
        return []

    with state_of(site, ai_providers=AiProviders(Outgoing(resolve=asleep), openrouter_url="http://x")):
        given = {"ai_provider": "ollama", "ai_endpoint_url": "http://slow.example"}
        asking = asyncio.ensure_future(person.call("POST", "/api/auth/ai/test", json=given))  # noqa: TID251  # beside this test
        await asyncio.wait_for(waiting.wait(), 5)
        async with site.app.state.platform_database.connection() as connection:
            held = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
            )
        done.set()
        assert (await asking).json()["message"] == "There is no server by that name."
    assert held == 0


async def test_who_changed_the_provider_stands_in_the_audit_log_without_the_key(person: Person) -> None:
    await put(person, ai_provider="openrouter", ai_api_key=KEY)
    await put(person, theme="light")
    entries = (await person.call("GET", "/api/account/audit")).json()["items"]
    (entry,) = [entry for entry in entries if entry["action"] == "ai_changed"]
    assert entry["detail"] == {"provider": "openrouter", "model": "", "has_key": True}


async def test_open_pages_are_told_what_was_chosen_and_only_once(site: Site, person: Person) -> None:
    principal = await site.app.state.accounts.by_cookie(person.cookie)
    scope = {"type": "http", "app": site.app, "method": "GET", "path": "/events", "headers": [(b"cookie", b"tz=Asia/Tokyo")]}
    request = Request(scope)
    told: list[dict[str, str]] = []
    with working_for(principal.user_id):
        stream = PageStream(
            request, frozenset(), principal=principal, regions=regions_of(request, principal), templating=templating_of(request)
        )
        messages = stream.messages()

        async def next_one() -> dict[str, str]:
            async with asyncio.timeout(8):
                async for message in messages:
                    if b"event: preferences" in message:
                        told.append(orjson.loads(message.split(b"data: ", 1)[1]))
                        return told[-1]
            raise AssertionError

        assert await next_one() == {"theme": "dark", "language": "en", "timezone": "Asia/Tokyo", "currency": "USDT"}
        await put(site.eve, theme="light")
        await put(person, ai_provider="none")
        await put(person, theme="light", language="fr", display_timezone="utc", currency="EUR")
        changed = {"theme": "light", "language": "fr", "timezone": "UTC", "currency": "EUR"}
        assert await next_one() == changed, "nobody else's, and nothing twice"
        # As another process does, from which no event comes.
        async with site.app.state.platform_database.connection() as connection:
            await connection.execute("UPDATE users SET language = 'en' WHERE id = $1", principal.user_id)
        assert (await next_one())["language"] == "en"
    await put(site.eve, theme="dark")


async def test_a_strangers_choice_lives_in_cookies(site: Site) -> None:
    answer = await site.http.post("/preferences", data={"theme": "light", "language": "fr", "next": "/login"})
    site.http.cookies.clear()
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert answer.headers.get_list("set-cookie")[0].startswith("theme=light")
    assert answer.headers.get_list("set-cookie")[1].startswith("lang=fr")
    nothing = await site.http.post("/preferences", data={"theme": "pink", "next": "https://evil.example"})
    assert (nothing.headers["location"], nothing.headers.get_list("set-cookie")) == ("/", [])


async def test_what_goes_wrong_is_told_in_the_language_that_was_chosen(site: Site, person: Person) -> None:
    await put(person, language="fr")
    headers = {"X-CSRF-Token": person.csrf, "HX-Request": "true", "Accept-Language": "en"}
    path = f"/brokers/{site.ada.ids['broker_id']}/test"
    answer = await person.browse("POST", path, headers=headers)
    assert answer.status_code == 404
    assert "Ce compte n\\u2019existe pas." in answer.headers["HX-Trigger"]
    page = (await person.browse("GET", "/no-such-page", headers={"Accept-Language": "en"})).text
    assert "Il n’y a rien à cette adresse." in page


async def test_whether_orders_are_asked_about_once_more_is_kept_told_and_chosen_on_the_page(person: Person) -> None:
    assert (await person.call("GET", URL)).json()["confirm_orders"] is True
    headers = {"X-CSRF-Token": person.csrf}
    answer = await person.browse("POST", "/preferences", data={"confirm_orders": "off"}, headers=headers)
    assert answer.status_code == 303
    assert (await person.call("GET", URL)).json()["confirm_orders"] is False
    page = (await person.browse("GET", "/account/preferences")).text
    assert 'name="confirm_orders" value="off" aria-pressed="true"' in page
    await put(person, confirm_orders=True)
    assert (await person.call("GET", URL)).json()["confirm_orders"] is True
