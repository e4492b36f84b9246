"""The page of the safeguards of all bots, through the whole application."""

import html
import re
from typing import Any
from uuid import UUID

import pytest

from app.core.ids import new_id
from tests.app.botting import bot, paper_account, valid_strategy
from tests.app.library import somebody
from tests.app.whole_site import Person, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = "/bots/safeguards"


async def page(person: Person, path: str = PAGE) -> str:
    answer = await person.browse("GET", path)
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


async def send(person: Person, path: str = PAGE, **data: str) -> Any:
    return await person.browse("POST", path, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"}, data=data)


async def tripped(site: Site, person: Person) -> str:
    """Let a safeguard of all bots have tripped. Returns its id."""
    trip_id = new_id()
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO bot_trips (id, user_id, bot_id, rule, at, values, action)
               VALUES ($1, $2, NULL, 'daily_loss', now(), $3, 'suspend')""",
            trip_id,
            UUID(person.ids["user_id"]),
            {"message": "it lost %(lost)s", "values": {"lost": "204.11"}, "quote": "USDT"},
        )
    return str(trip_id)


async def test_what_is_set_is_shown_again_counted_on_the_monitor_and_in_the_audit_log(site: Site) -> None:
    person = await somebody(site)
    broker_id, strategy_id = await paper_account(person), await valid_strategy(site, person)
    await bot(person, strategy_id, broker_id, capital="2000")
    assert "none is set" in await page(person, "/bots")
    answer = await send(person, sg_daily="5", sg_daily_action="flatten", sg_stops="4", sg_stops_window="90", sg_positions="3")
    assert answer.status_code == 200, answer.text
    assert "saved" in answer.headers["HX-Trigger"]
    kept = (await person.call("GET", "/api/bots/safeguards")).json()["safeguards"]
    assert (kept["daily_loss"]["fraction"], kept["daily_loss"]["action"]) == ("0.05", "flatten")
    assert (kept["stops"]["window"], kept["max_positions"]["most"]) == ({"minutes": 90}, 3)
    assert re.search(r'name="sg_daily" value="5"', await page(person))
    monitor = await page(person, "/bots")
    assert "of 100.00" in monitor
    assert "none is set" not in monitor
    assert PAGE in await page(person, "/bots/new")
    log = await page(person, "/account/log")
    assert "safeguards" in log.lower()
    assert (await send(person)).status_code == 200
    assert (await person.call("GET", "/api/bots/safeguards")).json()["safeguards"] == {}


@pytest.mark.parametrize(
    ("given", "note", "words"),
    [
        ({"sg_daily": "x"}, "sg_daily-note", "not a number"),
        ({"sg_drawdown": "100"}, "sg_drawdown-note", "outside its bounds"),
        ({"sg_stops": "4"}, "sg_stops_window-note", "within how long"),
        ({"sg_cooldown": "1.5"}, "sg_cooldown-note", "not a whole number"),
    ],
)
async def test_what_cannot_be_used_is_said_at_its_field_and_sets_nothing(site: Site, given: dict[str, str], note: str, words: str) -> None:
    person = await somebody(site)
    answer = await send(person, sg_losses="3", **given)
    assert answer.status_code == 422
    found = re.search(rf'<p class="error" id="{note}">(.*?)</p>', html.unescape(answer.text), re.DOTALL)
    assert found is not None, answer.text
    assert words in found[1]
    assert 'name="sg_losses" value="3"' in answer.text
    assert (await person.call("GET", "/api/bots/safeguards")).json()["safeguards"] == {}


async def test_what_tripped_for_all_bots_is_armed_again_on_the_page(site: Site) -> None:
    person, other = await somebody(site), await somebody(site)
    trip_id = await tripped(site, person)
    for path in (PAGE, "/bots"):
        assert "it lost 204.11" in await page(person, path)
        assert "it lost" not in await page(other, path)
    assert (await send(other, f"/bots/trips/{trip_id}/rearm")).status_code == 404
    answer = await send(person, f"/bots/trips/{trip_id}/rearm")
    assert answer.status_code == 200, answer.text
    assert "it lost" not in answer.text
    assert "it lost" not in await page(person)
