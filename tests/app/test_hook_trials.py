"""How often a user may try messages out and repeat attempts on paper, and how many webhooks one may have."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.core.clock import ManualClock
from app.core.db import Database
from app.core.ids import new_id
from app.webhooks.rate import TRIALS_PER_MINUTE, TooManyTrials, Trials
from app.webhooks.receive import Door
from app.webhooks.service import MOST_WEBHOOKS, TooManyWebhooks, create_webhook
from tests.app.conftest import make_user
from tests.app.whole_site import Person, Site, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def door_at(site: Site, clock: ManualClock) -> Door:
    state = site.app.state
    return Door(state.database, state.bus, clock, repeat_window=timedelta(seconds=30))


async def post(person: Person, path: str, **form: Any) -> httpx.Response:
    return await person.browse("POST", path, data=form, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"})


async def test_tests_are_bounded_for_each_user_wherever_they_are_made(site: Site) -> None:
    hook, clock = site.ada.ids["webhook_id"], ManualClock(NOW)
    with state_of(site, door=door_at(site, clock)):
        for _ in range(TRIALS_PER_MINUTE - 4):
            site.app.state.door.trials.test((await site.app.state.accounts.by_cookie(site.ada.cookie)).user_id)
        first = [
            await site.ada.call("POST", f"/api/webhooks/{hook}/test", json={}),
            await post(site.ada, f"/webhooks/{hook}/test", message="ping"),
            await post(site.ada, "/webhooks/builder/check", hook=hook, message='{"action": "ping"}'),
            await post(site.ada, "/webhooks/builder/read", message="ping"),
        ]
        assert [answer.status_code for answer in first] == [202, 200, 200, 200]
        refused = await site.ada.call("POST", f"/api/webhooks/{hook}/test", json={})
        assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (429, "TRIAL_RATE", "1")
        assert refused.json()["detail"] == "Too many messages were tried within a minute. Try again in 1 seconds."
        for path in (f"/webhooks/{hook}/test", "/webhooks/builder/check", "/webhooks/builder/read"):
            shown = await post(site.ada, path, hook=hook, message="ping")
            assert (shown.status_code, shown.headers["Retry-After"], shown.text) == (429, "1", "")
            assert "Too many messages were tried" in shown.headers["HX-Trigger"]
        theirs = (await site.eve.call("POST", "/api/webhooks", json={"name": "Hers"})).json()["id"]
        assert (await site.eve.call("POST", f"/api/webhooks/{theirs}/test", json={})).status_code == 202, "it is another user's bucket"
        clock.advance(timedelta(seconds=1))
        again = [(await site.ada.call("POST", f"/api/webhooks/{hook}/test", json={})).status_code for _ in range(2)]
        assert again == [202, 429]


async def test_repetitions_on_paper_are_bounded_and_are_no_tests(site: Site) -> None:
    path = f"/webhooks/deliveries/{site.ada.ids['delivery_id']}/replay"
    assert (await site.ada.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Practice"})).status_code == 201
    with state_of(site, door=door_at(site, ManualClock(NOW))):
        trials, user_id = site.app.state.door.trials, (await site.app.state.accounts.by_cookie(site.ada.cookie)).user_id
        for _ in range(TRIALS_PER_MINUTE - 2):
            trials.replay(user_id)
        assert (await site.ada.call("POST", f"/api{path}")).status_code == 202
        assert (await post(site.ada, path)).headers["HX-Redirect"]
        refused, shown = await site.ada.call("POST", f"/api{path}"), await post(site.ada, path)
        assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (429, "TRIAL_RATE", "1")
        assert refused.json()["detail"] == "Too many attempts were repeated on paper within a minute. Try again in 1 seconds."
        assert (shown.status_code, shown.headers["Retry-After"]) == (429, "1")
        assert (await site.ada.call("POST", f"/api/webhooks/{site.ada.ids['webhook_id']}/test", json={})).status_code == 202


async def test_a_minute_of_trials_may_come_at_once_and_refills_by_the_second() -> None:
    clock, user_id = ManualClock(NOW), new_id()
    trials = Trials(clock)
    for count in (TRIALS_PER_MINUTE, *[1] * 120):
        for _ in range(count):
            trials.test(user_id)
        with pytest.raises(TooManyTrials) as caught:
            trials.test(user_id)
        assert 0 < caught.value.retry_after_s <= 1
        clock.advance(timedelta(seconds=1))
    clock.advance(timedelta(days=1))
    for _ in range(TRIALS_PER_MINUTE):
        trials.test(user_id)
    with pytest.raises(TooManyTrials):
        trials.test(user_id)


async def test_user_has_so_many_webhooks_and_not_one_more_even_at_the_same_moment(site: Site) -> None:
    database: Database = site.app.state.platform_database
    user_id = await make_user(database, "many")

    async def make(number: int) -> bool:
        try:
            async with database.transaction() as session:
                await create_webhook(session, user_id, name=f"Alerts {number}", now=NOW)
        except TooManyWebhooks:
            return False
        return True

    async with database.transaction() as session:
        for number in range(MOST_WEBHOOKS - 2):
            await create_webhook(session, user_id, name=f"Alerts {number}", now=NOW)
    assert sorted(await asyncio.gather(*(make(number) for number in range(500, 505)))) == [False, False, False, True, True]


async def test_webhook_beyond_the_last_is_refused_in_words_until_one_is_removed(site: Site) -> None:
    ids = []
    for number in range(MOST_WEBHOOKS + 1):
        answer = await site.eve.call("POST", "/api/webhooks", json={"name": f"Alerts {number}"})
        if answer.status_code != 201:
            break
        ids.append(answer.json()["id"])
    assert (answer.status_code, answer.json()["code"]) == (409, "WEBHOOK_LIMIT")
    assert answer.json()["detail"] == "you have 200 webhooks, as many as one user may have: remove one that is not used"
    shown = await post(site.eve, "/webhooks", name="One more")
    assert shown.status_code == 422
    assert "as many as one user may have" in shown.text
    assert (await site.eve.call("DELETE", f"/api/webhooks/{ids[0]}")).status_code == 204
    assert (await site.eve.call("POST", "/api/webhooks", json={"name": "One more"})).status_code == 201
