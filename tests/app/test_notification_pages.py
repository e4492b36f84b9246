"""Targets, bell, log and switch through the API and the pages of the running application."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.bootstrap import telling as news
from app.bootstrap.telling import Telling
from app.core.ids import new_id
from app.domain.enums import OrderState
from app.errors import TooManyAttempts
from app.marketdata.events import FeedAlert
from app.notifications import Notice, NoticeKind, put
from app.trading.events import OrderChanged
from app.trading.outbox import NoticeKind as OutboxKind
from tests.app.telling import notice
from tests.app.whole_site import Person, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/api/notifications"
SECRET = "tok3n-that-nobody-may-see-4f2a"


async def _id_of(person: Person) -> UUID:
    return UUID((await person.call("GET", "/api/auth/current")).json()["id"])


async def _put(site: Site, person: Person, **fields: Any) -> None:
    async with site.app.state.platform_database.connection() as connection:
        await put(connection, notice(**fields), user_id=await _id_of(person))


@pytest_asyncio.fixture(loop_scope="module")
async def target(site: Site) -> AsyncIterator[str]:
    given = {"name": "Hook", "service": "webhook", "fields": {"url": f"https://hooks.example.org/{SECRET}"}}
    made = await site.ada.call("POST", f"{URL}/targets", json=given)
    assert made.status_code == 201, made.text
    yield made.json()["id"]
    await site.ada.call("DELETE", f"{URL}/targets/{made.json()['id']}")


async def test_an_address_goes_in_and_never_comes_out(site: Site, target: str) -> None:
    for path in (f"{URL}/targets", f"{URL}/targets/{target}", f"{URL}/log", "/api/audit"):
        assert SECRET not in (await site.ada.call("GET", path)).text
    page = await site.ada.browse("GET", "/account/notifications")
    form = await site.ada.browse("GET", f"/account/notifications/form?target_id={target}")
    assert SECRET not in page.text + form.text
    assert "jsons://…4f2a" in page.text
    assert (await site.ada.call("GET", f"{URL}/targets/{target}")).json()["hint"] == "4f2a"


async def test_what_cannot_be_used_says_which_field_and_why(site: Site, target: str) -> None:
    given = {"name": "Other", "service": "telegram", "fields": {"token": "nonsense", "chat": "1"}}
    refused = await site.ada.call("POST", f"{URL}/targets", json=given)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "token")
    kind = await site.ada.call("POST", f"{URL}/targets", json={"name": "Other", "service": "other", "fields": {"url": "syslog://"}})
    assert (kind.status_code, kind.json()["code"]) == (422, "TARGET_REFUSED")
    twice = await site.ada.call("POST", f"{URL}/targets", json={"name": "Hook", "service": "ntfy", "fields": {"topic": "a"}})
    assert (twice.status_code, twice.json()["code"]) == (409, "NAME_TAKEN")
    half = await site.ada.call("PATCH", f"{URL}/targets/{target}", json={"service": "ntfy"})
    assert half.status_code == 422
    shown = await site.ada.browse(
        "POST",
        "/account/notifications/targets",
        data={
            "name": "Other",
            "service": "discord",
            "field-webhook": "https://evil.example/" + SECRET,
            "severity": "info",
            "usual": "true",
        },
        headers={"X-CSRF-Token": site.ada.csrf},
    )
    assert shown.status_code == 422
    assert "This is no webhook of Discord" in shown.text
    assert SECRET not in shown.text


async def test_a_test_sends_really_and_is_refused_inside_this_network(site: Site, target: str) -> None:
    changed = {"service": "webhook", "fields": {"url": "http://127.0.0.1:9/"}, "kinds": ["order_filled"], "least_severity": "warning"}
    assert (await site.ada.call("PATCH", f"{URL}/targets/{target}", json=changed)).json()["kinds"] == ["order_filled"]
    tested = (await site.ada.call("POST", f"{URL}/targets/{target}/test")).json()
    assert not tested["is_sent"]
    assert "NOTIFICATIONS_ALLOWED_HOSTS" in tested["answer"]
    (row,) = (await site.ada.call("GET", f"{URL}/log", params={"target_id": target})).json()["items"]
    assert (row["state"], row["is_test"], row["answer"]) == ("failed", True, tested["answer"])
    page = await site.ada.browse("POST", f"/account/notifications/targets/{target}/test", headers={"X-CSRF-Token": site.ada.csrf})
    assert "NOTIFICATIONS_ALLOWED_HOSTS" in page.text
    for _ in range(6):
        answer = await site.ada.call("POST", f"{URL}/targets/{target}/test")
    assert answer.status_code == TooManyAttempts.status
    assert (await site.ada.call("PATCH", f"{URL}/targets/{target}", json={"kinds": None})).json()["kinds"] is None


async def test_the_bell_works_without_any_target(site: Site) -> None:
    await _put(site, site.eve, url="/history/orders")
    found = (await site.eve.call("GET", f"{URL}/notices")).json()
    assert found["unread"] == 1
    assert (found["items"][0]["title"], found["items"][0]["text"]) == ("An order was lost track of", "BTC/USDT is lost.")
    assert "1 unread" in (await site.eve.browse("GET", "/account/notifications")).text
    assert "BTC/USDT is lost." in (await site.eve.browse("GET", "/notices")).text
    opened = await site.eve.browse("GET", f"/notices/{found['items'][0]['id']}")
    assert (opened.status_code, opened.headers["location"]) == (303, "/history/orders")
    assert (await site.eve.call("GET", f"{URL}/notices")).json()["unread"] == 0


async def test_marking_all_as_read_leaves_what_came_after_it_was_shown(site: Site) -> None:
    await _put(site, site.eve)
    newest = (await site.eve.call("GET", f"{URL}/notices")).json()["items"][0]["id"]
    await _put(site, site.eve)
    assert (await site.eve.call("POST", f"{URL}/notices/read", json={"until": newest})).status_code == 204
    assert (await site.eve.call("GET", f"{URL}/notices")).json()["unread"] == 1
    answer = await site.eve.browse("POST", "/notices/read", headers={"X-CSRF-Token": site.eve.csrf})
    assert "is-unread" not in answer.text
    first = (await site.eve.call("GET", f"{URL}/notices", params={"limit": 1})).json()
    second = (await site.eve.call("GET", f"{URL}/notices", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    assert second["items"][0]["id"] == newest


async def test_quiet_hours_and_zone_are_checked(site: Site) -> None:
    good = {"timezone": "Europe/Paris", "quiet_from": "22:00", "quiet_until": "07:00", "quiet_severity": "warning", "bell_kinds": None}
    assert (await site.ada.call("PUT", f"{URL}/settings", json=good)).json()["quiet_until"] == "07:00:00"
    for wrong, field in (({"timezone": "Mars/Base"}, "timezone"), ({"quiet_until": None}, "quiet_until")):
        refused = await site.ada.call("PUT", f"{URL}/settings", json={**good, **wrong})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    given = {"timezone": "UTC", "quiet_from": "25:00", "quiet_until": "", "severity": "error", "usual": "true"}
    page = await site.ada.browse("POST", "/account/notifications/settings", data=given, headers={"X-CSRF-Token": site.ada.csrf})
    assert page.status_code == 422
    assert "no time of the day" in page.text


async def test_a_dead_mans_switch_is_sealed_and_silent_while_something_is_wrong(site: Site) -> None:
    stored = await site.ada.call("PUT", f"{URL}/deadman", json={"url": f"https://hc.example.org/{SECRET}", "minutes": 1})
    assert (stored.json()["deadman_hint"], stored.json()["deadman_ok"]) == ("4f2a", None)
    async with site.app.state.platform_database.connection() as connection:
        sealed = await connection.fetchval("SELECT deadman_url FROM notification_settings WHERE user_id = $1", await _id_of(site.ada))
    assert sealed.startswith("gAAAA")
    refused = await site.ada.call("PUT", f"{URL}/deadman", json={"url": "ftp://x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "ADDRESS_REFUSED")
    # Nothing feeds this site.
    await site.app.state.deadman.once()
    shown = (await site.ada.call("GET", f"{URL}/settings")).json()
    assert (shown["deadman_ok"], shown["deadman_answer"][:11]) == (False, "Not called:")
    gone = await site.ada.call("PUT", f"{URL}/deadman", json={"url": ""})
    assert gone.json()["deadman_hint"] == ""


async def test_a_feed_that_stops_is_told_once_to_everybody(site: Site) -> None:
    telling: Telling = site.app.state.telling
    alert = FeedAlert(exchange="binance", symbol=None, is_over=False, since=datetime(2026, 11, 26, 9, tzinfo=UTC))
    await telling.tell(alert)
    await telling.tell(alert)
    for person in (site.ada, site.eve):
        found = [row for row in (await person.call("GET", f"{URL}/notices")).json()["items"] if row["kind"] == "feed_stale"]
        assert [row["text"][:42] for row in found] == ["No fresh market data from Binance since 26"]


async def test_what_is_off_by_default_is_told_to_whoever_wants_it(site: Site) -> None:
    telling: Telling = site.app.state.telling
    bought = (await site.ada.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.001"})).json()
    event = OrderChanged(
        user_id=await _id_of(site.ada), order_id=UUID(bought["id"]), symbol="BTC/USDT", state=OrderState.FILLED, delivery_id=None
    )
    await telling.tell(event, event)
    assert not [row for row in (await site.ada.call("GET", f"{URL}/notices")).json()["items"] if row["kind"] == "order_filled"]
    await site.ada.call("PUT", f"{URL}/settings", json={"bell_kinds": ["order_filled"]})
    of_eve = dataclasses.replace(event, user_id=await _id_of(site.eve))
    await telling.tell(of_eve, event, event)
    assert not [row for row in (await site.eve.call("GET", f"{URL}/notices")).json()["items"] if row["kind"] == "order_filled"]
    found = (await site.ada.call("GET", f"{URL}/notices")).json()["items"]
    assert [row["text"] for row in found if row["kind"] == "order_filled"] == ["Bought 0.001 BTC/USDT at 60000."]
    await site.ada.call("PUT", f"{URL}/settings", json={})


async def test_a_filled_order_that_cannot_be_told_silences_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.ada.call("PUT", f"{URL}/settings", json={"bell_kinds": ["order_filled"]})
    wish = {"symbol": "BTCUSDT", "side": "buy", "quantity": "0.002"}
    bought = [(await site.ada.call("POST", "/api/orders", json=wish)).json()["id"] for _ in range(2)]

    async def fails_for_one(connection: Any, notice: Notice, *, user_id: UUID) -> bool:
        if bought[0] in str(notice.url):
            raise ValueError("it cannot be told")
        return await put(connection, notice, user_id=user_id)

    monkeypatch.setattr(news, "put", fails_for_one)
    of_ada = await _id_of(site.ada)
    events = [
        OrderChanged(user_id=of_ada, order_id=UUID(one), symbol="BTC/USDT", state=OrderState.FILLED, delivery_id=None) for one in bought
    ]
    await site.app.state.telling.tell(*events)
    found = [row["url"] for row in (await site.ada.call("GET", f"{URL}/notices")).json()["items"] if row["kind"] == "order_filled"]
    assert [bought[1] in url for url in found if any(one in url for one in bought)] == [True]
    await site.ada.call("PUT", f"{URL}/settings", json={})


async def test_a_login_from_another_device_is_told_and_another_version_of_it_is_not(site: Site) -> None:
    user_id, now = await _id_of(site.eve), site.app.state.clock.now()
    async with site.app.state.platform_database.connection() as connection:
        for minutes, agent in ((3, "Browser/1.0 (X)"), (2, "Browser/2.7 (X)"), (1, "Phone/1.0 (Y)")):
            await connection.execute(
                "INSERT INTO user_sessions (id, user_id, token_hash, created_at, last_seen_at, expires_at, user_agent, ip_address)"
                " VALUES ($1, $2, $3, $4, $4, $4, $5, '203.0.113.9')",
                new_id(), user_id, new_id().bytes, now + timedelta(minutes=10 - minutes), agent,
            )  # fmt: skip
    for _ in range(2):
        await site.app.state.telling.tell_logins(now + timedelta(minutes=10))
    found = [row["text"] for row in (await site.eve.call("GET", f"{URL}/notices")).json()["items"] if row["kind"] == "new_login"]
    assert sum("Phone/1.0" in text for text in found) == 1
    assert sum("Browser/2.7" in text for text in found) == 0


async def test_everything_of_tradings_outbox_has_its_kind(site: Site) -> None:
    del site
    assert {kind.value for kind in OutboxKind} <= {kind.value for kind in NoticeKind}


async def test_services_and_kinds_are_listed_with_what_they_need(site: Site) -> None:
    found = (await site.ada.call("GET", f"{URL}/services")).json()
    assert [one["name"] for one in found["services"]] == ["telegram", "discord", "email", "ntfy", "webhook", "other"]
    assert {one["name"] for one in found["kinds"] if not one["is_default"]} == {"order_filled", "webhook_denied", "backtest_finished"}


async def test_a_user_has_twenty_targets_at_most(site: Site) -> None:
    for number in range(21):
        given = {"name": f"Topic {number}", "service": "ntfy", "fields": {"topic": f"topic-{number}"}}
        answer = await site.eve.call("POST", f"{URL}/targets", json=given)
    assert (answer.status_code, answer.json()["code"]) == (409, "TARGET_LIMIT")
