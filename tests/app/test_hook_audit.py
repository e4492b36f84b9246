"""What is done to webhooks stands in the audit log of accounts: who, from where, and what it was before; never a secret."""

import asyncio
from typing import Any

import pytest

from tests.app.whole_site import HOST, Person, Site, log_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def entries(person: Person, hook_id: str) -> list[dict[str, Any]]:
    """The log of a webhook, oldest first."""
    items = (await person.call("GET", "/api/account/audit", params={"limit": 200})).json()["items"]
    return [item for item in reversed(items) if item["object"] == f"webhook:{hook_id}"]


async def test_changes_of_a_webhook_are_written_down_with_what_was_before(site: Site) -> None:
    ada = site.ada
    made = (await ada.call("POST", "/api/webhooks", json={"name": "Watched", "allowed_ips": ["203.0.113.9"], "max_age_s": 20})).json()
    path = f"/api/webhooks/{made['id']}"
    changes: list[dict[str, Any]] = [
        {"name": "Seen"},
        {"is_active": False},
        {"is_active": True},
        {"max_age_s": 30, "per_minute": 120, "interval": "5m"},
        {"rules": {"max_notional": "100", "sides": ["buy"]}},
        {"rules": {"max_notional": "50"}, "allowed_ips": None, "broker_id": ada.ids["broker_id"]},
    ]
    for body in changes:
        assert (await ada.call("PATCH", path, json=body, headers={"User-Agent": "curl/8"})).status_code == 200
    rotated = (await ada.call("POST", f"{path}/rotate")).json()
    assert (await ada.call("DELETE", path)).status_code == 204

    rows = await entries(ada, made["id"])
    old_rules = {"max_notional": "100", "sides": ["buy"]}
    assert [(row["action"], row["detail"]) for row in rows] == [
        ("webhook_made", {"name": "Watched", "after": {"allowed_ips": ["203.0.113.9"], "max_age_s": 20}}),
        ("webhook_changed", {"name": "Seen", "before": {"name": "Watched"}, "after": {"name": "Seen"}}),
        ("webhook_changed", {"name": "Seen", "before": {"is_active": True}, "after": {"is_active": False}}),
        ("webhook_changed", {"name": "Seen", "before": {"is_active": False}, "after": {"is_active": True}}),
        (
            "webhook_changed",
            {"name": "Seen", "before": {"max_age_s": 20, "interval": None}, "after": {"max_age_s": 30, "interval": "5m"}},
        ),
        ("webhook_changed", {"name": "Seen", "before": {"rules": {}}, "after": {"rules": old_rules}}),
        (
            "webhook_changed",
            {
                "name": "Seen",
                "before": {"rules": old_rules, "allowed_ips": ["203.0.113.9"], "broker_id": None},
                "after": {"rules": {"max_notional": "50"}, "allowed_ips": None, "broker_id": ada.ids["broker_id"]},
            },
        ),
        ("webhook_rotated", {"name": "Seen"}),
        ("webhook_removed", {"name": "Seen"}),
    ]
    assert {(row["name"], row["result"], row["ip_address"]) for row in rows} == {("ada", "done", "127.0.0.1")}
    assert rows[1]["user_agent"] == "curl/8"
    assert await entries(site.eve, made["id"]) == []
    for url in (made["url"], rotated["url"]):
        assert url.removeprefix(HOST).removeprefix("/hooks/") not in str(rows)


async def test_what_changes_nothing_or_is_refused_is_no_change(site: Site) -> None:
    made = (await site.ada.call("POST", "/api/webhooks", json={"name": "Still"})).json()
    path = f"/api/webhooks/{made['id']}"
    assert (await site.ada.call("PATCH", path, json={"name": "Still", "max_age_s": 60, "is_active": True, "rules": {}})).status_code == 200
    assert (await site.ada.call("PATCH", path, json={"max_age_s": 0})).status_code == 422
    assert (await site.ada.call("PATCH", path, json={"name": "Alerts"})).status_code == 409
    assert (await site.eve.call("DELETE", path)).status_code == 404
    assert [row["action"] for row in await entries(site.ada, made["id"])] == ["webhook_made"]


async def test_of_two_changes_at_once_the_second_tells_what_the_first_left(site: Site) -> None:
    made = (await site.ada.call("POST", "/api/webhooks", json={"name": "Busy", "max_age_s": 1000})).json()
    path = f"/api/webhooks/{made['id']}"
    answers = await asyncio.gather(*(site.ada.call("PATCH", path, json={"max_age_s": age}) for age in range(10, 18)))
    assert {answer.status_code for answer in answers} == {200}
    changes = [row["detail"] for row in (await entries(site.ada, made["id"]))[1:]]
    assert len(changes) == 8
    assert [each["before"]["max_age_s"] for each in changes] == [1000, *(each["after"]["max_age_s"] for each in changes[:-1])]


async def test_pages_change_webhooks_on_the_record_and_show_it_in_words(site: Site) -> None:
    made = (await site.ada.call("POST", "/api/webhooks", json={"name": "By hand"})).json()
    for action in ("pause", "resume", "rotate", "remove"):
        answer = await site.ada.browse("POST", f"/webhooks/{made['id']}/{action}", headers={"X-CSRF-Token": site.ada.csrf})
        assert answer.status_code == 200, answer.text
    assert [row["action"] for row in await entries(site.ada, made["id"])] == [
        "webhook_made", "webhook_changed", "webhook_changed", "webhook_rotated", "webhook_removed",
    ]  # fmt: skip
    admin = await log_in(site.app, site.http, "admin")
    shown = (await admin.browse("GET", "/admin/log", params={"action": "webhook_changed"})).text
    assert "Webhook changed" in shown
    assert "before: {&#34;is_active&#34;:true} · after: {&#34;is_active&#34;:false}" in shown
