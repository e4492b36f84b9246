"""A webhook's settings by the API: what is taken, what is refused, what takes a fresh code, and whose they are."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.core.clock import ManualClock
from app.core.config import Settings
from app.core.ids import new_id
from app.webhooks.models import Webhook
from app.webhooks.receive import Door
from app.webhooks.rules import HookRules
from app.webhooks.senders import TRADINGVIEW
from app.webhooks.settings import as_stored, widens
from tests.app.whole_site import HOST, Person, Site, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RULES: dict[str, Any] = {
    "symbols": ["BTCUSDT", "ETHUSDT"],
    "sides": ["buy"],
    "max_notional": "250.50",
    "size": {"kind": "quote", "value": "50"},
    "hours": {"days": [0, 1, 2], "start": "09:00:00", "end": "17:30:00"},
}


async def make(person: Person, name: str, **settings: Any) -> dict[str, Any]:
    made = await person.call("POST", "/api/webhooks", json={"name": name, **settings})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def change(person: Person, hook: dict[str, Any], **settings: Any) -> httpx.Response:
    return await person.call("PATCH", f"/api/webhooks/{hook['id']}", json=settings)


async def test_webhook_without_settings_has_the_defaults(site: Site) -> None:
    hook = await make(site.ada, "Plain")
    shown = (await site.ada.call("GET", f"/api/webhooks/{hook['id']}")).json()
    assert shown == {name: value for name, value in hook.items() if name != "url"}
    assert (shown["broker_id"], shown["allowed_ips"], shown["interval"], shown["expected_from"]) == (None, None, None, None)
    assert (shown["max_age_s"], shown["per_minute"], shown["warning"]) == (60, 120, None)
    assert HookRules.model_validate(shown["rules"]) == HookRules()


async def test_settings_are_stored_when_it_is_made_and_changed_one_by_one(site: Site) -> None:
    broker_id = site.ada.ids["broker_id"]
    with state_of(site, clock=ManualClock(NOW)):
        hook = await make(
            site.ada, "Set", broker_id=broker_id, rules=RULES, allowed_ips=["tradingview"], max_age_s=20, per_minute=15, interval="5m"
        )
        assert (hook["broker_id"], hook["allowed_ips"], hook["max_age_s"]) == (broker_id, list(TRADINGVIEW), 20)
        assert (hook["per_minute"], hook["interval"], datetime.fromisoformat(hook["expected_from"])) == (15, "5m", NOW)
        assert HookRules.model_validate(hook["rules"]) == HookRules.model_validate(RULES)
        for name, value in (
            ("max_age_s", 30), ("per_minute", 10), ("allowed_ips", ["203.0.113.0/24"]), ("allowed_ips", None), ("broker_id", None),
            ("interval", "1h"), ("interval", None),
        ):  # fmt: skip
            changed = await change(site.ada, hook, **{name: value})
            assert (changed.status_code, changed.json()[name]) == (200, value), changed.text
            hook = {**hook, name: value}
            kept = {
                each: changed.json()[each] for each in ("name", "rules", "max_age_s", "per_minute", "allowed_ips", "broker_id", "interval")
            }
            assert kept == {each: hook[each] for each in kept}, "nothing else changes"
        assert changed.json()["expected_from"] is None
    untouched = await change(site.ada, hook, max_age_s=None, per_minute=None, rules=None, name=None, is_active=None)
    assert (untouched.json()["max_age_s"], untouched.json()["per_minute"], untouched.json()["name"]) == (30, 10, "Set")


async def test_an_alert_is_expected_from_when_that_is_said_and_anew_after_a_pause(site: Site) -> None:
    clock = ManualClock(NOW)
    with state_of(site, clock=clock):
        hook = await make(site.ada, "Expected")
        moments = []
        for settings in (
            {"interval": "5m"},
            {"max_age_s": 5},
            {"is_active": False},
            {"is_active": True},
            {"interval": "5m"},
            {"interval": "1m"},
        ):
            clock.advance(timedelta(minutes=1))
            answer = (await change(site.ada, hook, **settings)).json()
            moments.append((datetime.fromisoformat(answer["expected_from"]) - NOW) // timedelta(minutes=1))
    assert moments == [1, 1, 3, 4, 4, 6]


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"allowed_ips": ["10.0.0.0/40"]}, "allowed_ips", "10.0.0.0/40 is no address and no network: write them like 52.89.214.238"),
        ({"allowed_ips": []}, "allowed_ips", "at least one address"),
        ({"interval": "7m"}, "interval", "must be one of 1m, 3m, 5m, 10m, 15m, 30m, 1h, 2h, 4h, 1d, was 7m"),
        ({"max_age_s": 0}, "max_age_s", "from 1 to 86400 seconds old, was 0"),
        ({"per_minute": 6001}, "per_minute", "from 1 to 6000 alerts a minute, was 6001"),
        ({"rules": {"max_notional": "-1"}}, "rules.max_notional", "greater than 0"),
        ({"rules": {"nonsense": 1}}, "rules.nonsense", "not permitted"),
        ({"broker_id": str(new_id())}, None, "no such broker account"),
    ],
)
async def test_setting_that_cannot_be_is_refused_in_words(site: Site, settings: dict[str, Any], field: str | None, words: str) -> None:
    hook = (await site.ada.call("GET", "/api/webhooks")).json()["items"][0]
    for answer in (await change(site.ada, hook, **settings), await site.ada.call("POST", "/api/webhooks", json={"name": "No", **settings})):
        assert answer.status_code == (422 if field else 404), answer.text
        assert words in (answer.json()["errors"][0]["message"] if field else answer.json()["detail"])
        assert not field or answer.json()["errors"][0]["field"] == field
    assert (await site.ada.call("GET", f"/api/webhooks/{hook['id']}")).json() == hook


async def test_nobody_sets_tests_or_replays_what_is_anothers(site: Site) -> None:
    hook = await make(site.eve, "Hers")
    account = {"broker_id": site.ada.ids["broker_id"]}
    assert (await change(site.eve, hook, **account)).status_code == 404
    for path in (f"/api/webhooks/{site.ada.ids['webhook_id']}/test", f"/api/webhooks/deliveries/{site.ada.ids['delivery_id']}/replay"):
        assert (await site.eve.call("POST", path, json={})).status_code == 404


@pytest.mark.parametrize(
    ("before", "after", "is_wider"),
    [
        ({}, {"broker_id": new_id()}, True),
        ({}, {"max_age_s": 61}, True),
        ({}, {"max_age_s": 59}, False),
        ({}, {"per_minute": 121}, True),
        ({}, {"per_minute": 1}, False),
        ({}, {"interval": "1m"}, False),
        ({}, {"is_active": False, "name": "New"}, False),
        ({}, {"allowed_ips": ["10.0.0.7"]}, False),
        ({"allowed_ips": ["10.0.0.0/8"]}, {"allowed_ips": ["10.0.0.7"]}, False),
        ({"allowed_ips": ["10.0.0.0/8"]}, {"allowed_ips": ["10.0.0.7", "11.0.0.0"]}, True),
        ({"allowed_ips": ["10.0.0.0/8"]}, {"allowed_ips": None}, True),
        ({}, {"rules": {"symbols": ["BTCUSDT"], "sides": ["buy"], "max_notional": "5", "hours": RULES["hours"]}}, False),
        ({"rules": RULES}, {"rules": RULES}, False),
        ({"rules": RULES}, {"rules": {**RULES, "symbols": ["BTCUSDT"], "max_notional": "250.4"}}, False),
        ({"rules": RULES}, {"rules": {**RULES, "max_notional": "250.6"}}, True),
        ({"rules": RULES}, {"rules": {**RULES, "symbols": None}}, True),
        ({"rules": RULES}, {"rules": {**RULES, "symbols": ["BTCUSDT", "XRPUSDT"]}}, True),
        ({"rules": RULES}, {"rules": {**RULES, "sides": ["buy", "sell"]}}, True),
        ({"rules": RULES}, {"rules": {**RULES, "hours": {**RULES["hours"], "end": "18:00:00"}}}, True),
        ({"rules": RULES}, {"rules": {**RULES, "size": {"kind": "quote", "value": "5000"}}}, True),
        ({"rules": RULES}, {"rules": {**RULES, "other_accounts": True}}, True),
        ({"rules": RULES}, {"rules": {}}, True),
    ],
)
async def test_what_lets_alerts_do_more_is_told_from_what_does_not(before: dict[str, Any], after: dict[str, Any], is_wider: bool) -> None:  # noqa: FBT001  # of the table
    def given(settings: dict[str, Any]) -> dict[str, Any]:
        rules = {"rules": HookRules.model_validate(settings["rules"])} if "rules" in settings else {}
        return as_stored({**settings, **rules})

    webhook = Webhook(**{"rules": {}, "max_age_s": 60, "per_minute": 120, **given(before)})
    assert widens(webhook, given(after)) is is_wider


async def test_widening_takes_a_fresh_code_and_narrowing_does_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = await make(site.ada, "Guarded")
    accounts = site.app.state.accounts
    found = accounts.by_session

    async def without_a_code(session_id: Any) -> Any:
        return replace(await found(session_id), needs_code=True)

    monkeypatch.setattr(accounts, "by_session", without_a_code)
    narrower: list[dict[str, Any]] = [
        {"is_active": False},
        {"max_age_s": 30},
        {"allowed_ips": ["tradingview"]},
        {"rules": {"max_notional": "100"}},
        {"interval": "5m"},
    ]
    wider: list[dict[str, Any]] = [{"max_age_s": 31}, {"allowed_ips": None}, {"rules": {}}, {"broker_id": site.ada.ids["broker_id"]}]
    for settings in narrower:
        assert (await change(site.ada, hook, **settings)).status_code == 200
    for settings in wider:
        refused = await change(site.ada, hook, **settings)
        assert (refused.status_code, refused.json()["code"]) == (403, "OTP_AGAIN")
    assert (await site.ada.call("POST", "/api/webhooks", json={"name": "Another"})).json()["code"] == "OTP_AGAIN"


async def test_test_message_is_put_into_the_inbox_as_one(site: Site) -> None:
    hook = await make(site.ada, "Tried")
    for body, raw in (({}, '{"action": "ping"}'), ({"message": "ping token=abc"}, "ping token=***")):
        answer = await site.ada.call("POST", f"/api/webhooks/{hook['id']}/test", json=body)
        assert answer.status_code == 202, answer.text
        shown = (await site.ada.call("GET", f"/api/webhooks/deliveries/{answer.json()['delivery_id']}")).json()
        assert (shown["webhook_id"], shown["is_test"], shown["replay_of"], shown["raw"]) == (hook["id"], True, None, raw)
    assert (await site.ada.call("POST", f"/api/webhooks/{hook['id']}/test", json={"message": "x" * 65_537})).status_code == 413


async def test_replay_is_a_line_of_its_own_that_names_the_first(site: Site) -> None:
    first = site.ada.ids["delivery_id"]
    without = await site.ada.call("POST", f"/api/webhooks/deliveries/{first}/replay")
    assert (without.status_code, without.json()["code"]) == (422, "NO_PAPER_ACCOUNT")
    assert (await site.ada.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})).status_code == 201
    replayed = first
    for _ in range(2):  # a replay's replay is one of the first too
        answer = await site.ada.call("POST", f"/api/webhooks/deliveries/{replayed}/replay")
        assert answer.status_code == 202, answer.text
        replayed = answer.json()["delivery_id"]
        shown = (await site.ada.call("GET", f"/api/webhooks/deliveries/{replayed}")).json()
        assert (shown["replay_of"], shown["raw"], shown["is_test"]) == (first, "ping", False)


async def test_list_of_senders_holds_behind_a_proxy_that_is_named(site: Site) -> None:
    hook = await make(site.ada, "Behind a proxy", allowed_ips=["tradingview"])
    path = hook["url"].removeprefix(HOST)
    state = site.app.state
    behind = Settings(_env_file=None, trusted_proxies="127.0.0.1", public_url="https://bot.example.org")
    transport = httpx.ASGITransport(ProxyHeadersMiddleware(site.app, trusted_hosts=behind.proxies))  # type: ignore[arg-type]  # ASGI all the same
    with state_of(site, door=Door.of(behind, state.platform_database, state.bus, state.clock)):
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as outside:
            for number, (forwarded, code) in enumerate(
                [
                    ("52.89.214.238", None),
                    ("203.0.113.9", "HOOK_SENDER"),
                    ("52.89.214.238, 203.0.113.9", "HOOK_SENDER"),  # what a stranger says of himself, before what the proxy says of him
                    ("203.0.113.9, 52.89.214.238", None),
                ]
            ):
                answer = await outside.post(
                    path, content=b'{"action": "ping", "id": "%d"}' % number, headers={"X-Forwarded-For": forwarded}
                )
                assert (answer.status_code, answer.json()["decision"]) == (202, "pending"), "a stranger is told what everybody is told"
                shown = (await site.ada.call("GET", f"/api/webhooks/deliveries/{answer.json()['delivery_id']}")).json()
                assert shown["code"] == code
    unnamed = Settings(_env_file=None, public_url="https://bot.example.org")
    with state_of(site, door=Door.of(unnamed, state.platform_database, state.bus, state.clock)):
        assert "TRUSTED_PROXIES" in (await site.ada.call("GET", f"/api/webhooks/{hook['id']}")).json()["warning"]
        answer = await site.http.post(path, content=b'{"action": "ping", "comment": "nobody knows from where"}')
        shown = (await site.ada.call("GET", f"/api/webhooks/deliveries/{answer.json()['delivery_id']}")).json()
        assert shown["code"] is None
