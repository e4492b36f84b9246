"""Guarded positions, orders from elsewhere and the audit on the dashboard, and what its dialogs do; through the whole application."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from app.core.ids import new_id
from app.trading.audit import run_audit
from tests.app.conftest import NOW_MINUTE, script
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

BRACKET = {
    "symbol": "BTCUSDT",
    "side": "buy",
    "quantity": "0.01",
    "stop_loss": "40000",
    "take_profits": [{"price": "90000", "percent": "50"}],
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An exchange whose market stands at 60000 until a test moves it."""
    path = script(tmp_path_factory.mktemp("market"))
    with EmulatorProcess("--replay", str(path), "--history", str(NOW_MINUTE), "--paused", *WITHOUT_LIMITS) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: PostgresForTests, market: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(postgres, market, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def position(site: Site) -> AsyncIterator[str]:
    """The id of ada's open position, which has a stop at 40000 and a target at 90000 for a half."""
    assert (await site.ada.call("POST", "/api/orders", json=BRACKET)).status_code == 201
    (found,) = (await site.ada.call("GET", "/api/positions")).json()["items"]
    yield found["id"]
    await site.ada.call("POST", f"/api/positions/{found['id']}/close")
    assert (await site.ada.call("GET", "/api/positions")).json()["items"] == []


async def post(person: Person, path: str, language: str = "en", **form: Any) -> httpx.Response:
    headers = {"X-CSRF-Token": person.csrf, "HX-Request": "true", "Accept-Language": language}
    return await person.browse("POST", path, data=form, headers=headers)


async def plan(site: Site) -> dict[str, Any]:
    (found,) = (await site.ada.call("GET", "/api/protections")).json()["items"]
    return {name: found[name] for name in ("stop_loss", "trailing_percent", "take_profits", "stop_limit_price", "break_even_after")}


async def exits(site: Site) -> int:
    """How many orders were sent to close a position at the market."""
    orders = (await site.ada.call("GET", "/api/orders?limit=500")).json()["items"]
    return len([order for order in orders if (order["type"], order["role"]) == ("market", "exit")])


def toast(answer: httpx.Response) -> tuple[str, str]:
    told = json.loads(answer.headers["HX-Trigger"])["toast"]
    return told["level"], told["text"]


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def until_page(site: Site, words: str) -> str:
    """Wait until ada's dashboard says so, and return its text."""
    deadline = asyncio.get_running_loop().time() + 20
    while words not in (page := text((await site.ada.browse("GET", "/")).text)):
        assert asyncio.get_running_loop().time() < deadline, page
        await asyncio.sleep(0.05)
    return page


async def execute(site: Site, statement: str, *values: object) -> None:
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(statement, *values)


async def test_a_position_says_who_guards_it_and_an_order_watched_here_is_no_order_at_the_exchange(site: Site, position: str) -> None:
    page = text((await site.ada.browse("GET", "/")).text)
    assert "40,000.00" in page
    assert "90,000.00" in page
    assert re.search("Guarded at the exchange|Stop at the exchange, targets watched here", page)
    assert "guards the position" in page
    # This exchange has no trailing distance of a twentieth of a percent, so this server watches.
    assert (await post(site.ada, f"/positions/{position}/guard", trailing_percent="0.05")).status_code == 200
    page = await until_page(site, "Watched here by this server, which must be running")
    assert page.count("Watched here") == 2, "at the position, and among the orders"


async def test_the_form_knows_what_guards_the_position_and_changes_it(site: Site, position: str) -> None:
    form = (await site.ada.browse("GET", f"/positions/{position}/guard")).text
    assert 'name="stop_loss" value="40000"' in form
    assert 'name="target_price" value="90000"' in form
    assert 'name="target_percent" value="50"' in form
    answer = await post(
        site.ada,
        f"/positions/{position}/guard",
        stop_loss="41000,5",
        stop_limit_price="40900",
        target_price=["95000", "", "99000"],
        target_percent=["25", "", "75"],
        break_even_after="1",
    )
    assert (answer.status_code, toast(answer)) == (200, ("success", "The position is guarded so from now on."))
    assert 'id="positions"' in answer.text
    assert await plan(site) == {
        "stop_loss": "41000.5",
        "stop_limit_price": "40900",
        "trailing_percent": None,
        "take_profits": [{"price": "95000", "percent": "25"}, {"price": "99000", "percent": "75"}],
        "break_even_after": 1,
    }


async def test_a_target_that_was_reached_is_said_and_not_asked_for_again(site: Site, position: str, market: EmulatorProcess) -> None:
    targets: dict[str, Any] = {"target_price": ["60500", "61000"], "target_percent": ["50", "50"], "break_even_after": "2"}
    assert (await post(site.ada, f"/positions/{position}/guard", stop_loss="40000", **targets)).status_code == 200
    await until_page(site, "Guarded at the exchange targets 60,500.00 (50%), 61,000.00 (50%)")
    market.price("60600", quantity="100")
    await until_page(site, "targets 60,500.00 (50%, reached), 61,000.00 (50%)")
    form = (await site.ada.browse("GET", f"/positions/{position}/guard")).text
    market.price("60000")
    assert re.findall(r'name="target_price" value="(\d*)"', form) == ["61000", ""]
    assert 'name="target_percent" value="99.9"' in form, "of what is held now"
    assert 'name="break_even_after" value="1"' in form


async def test_a_single_target_without_a_part_sells_all(site: Site, position: str) -> None:
    await post(site.ada, f"/positions/{position}/guard", stop_loss="40000", target_price="95000", target_percent="")
    assert (await plan(site))["take_profits"] == [{"price": "95000", "percent": "100"}]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, "Give a stop, a trailing distance or a target."),
        ({"stop_loss": "1.234,5"}, "This must be a number above 0"),
        ({"stop_loss": "-1"}, "This must be a number above 0"),
        ({"stop_loss": "40000", "target_price": ["90000", "95000"], "target_percent": ["50", ""]}, "How much?"),
        ({"stop_loss": "40000", "break_even_after": "first"}, "This must be the number of a target"),
        ({"stop_loss": "40000", "trailing_percent": "2"}, "a price or a trailing distance, not both"),
        ({"stop_loss": "70000"}, "the stop must be below the market, which is about 60000 USDT; was 70000"),
        ({"stop_loss": "40000", "target_price": "50000"}, "a target must be above the market"),
    ],
)
async def test_what_cannot_be_comes_back_with_its_sentence_and_as_it_was_typed(
    site: Site, position: str, typed: dict[str, Any], words: str
) -> None:
    before = await plan(site)
    answer = await post(site.ada, f"/positions/{position}/guard", **typed)
    assert answer.status_code == 422
    assert words in text(answer.text)
    for value in (value for values in typed.values() for value in (values if isinstance(values, list) else [values]) if value):
        assert f'value="{value}"' in answer.text
    assert await plan(site) == before


async def test_the_protection_is_removed_after_a_question(site: Site, position: str) -> None:
    question = await site.ada.browse("GET", f"/positions/{position}/unguard")
    assert "nothing sells it when the market falls" in question.text
    answer = await post(site.ada, f"/positions/{position}/unguard", language="fr")
    assert toast(answer) == ("warning", "Nothing guards the position any more.")
    await until_page(site, "Not guarded")


async def test_the_stop_moves_to_the_entry_only_where_it_would_not_sell_at_once(site: Site, position: str) -> None:
    answer = await post(site.ada, f"/positions/{position}/break-even")
    level, words = toast(answer)
    assert (answer.status_code, level) == (422, "error")
    assert "a stop there would sell at once" in words
    assert (await plan(site))["stop_loss"] == "40000"


async def test_the_stop_moves_to_the_entry_once_the_market_is_above_it(site: Site, position: str, market: EmulatorProcess) -> None:
    market.price("60500")
    answer = await post(site.ada, f"/positions/{position}/break-even")
    market.price("60000")
    assert (answer.status_code, toast(answer)) == (200, ("success", "The stop is moved to the entry price."))
    (found,) = (await site.ada.call("GET", "/api/positions")).json()["items"]
    assert found["average_price"] == (await plan(site))["stop_loss"] != "40000"


async def test_a_position_is_closed_once_however_often_its_button_is_pressed(site: Site, position: str) -> None:
    question = (await site.ada.browse("GET", f"/positions/{position}/close")).text
    assert "An order sells 0.00999 BTC at the market now" in text(question)
    found = re.search(r'name="key" value="([^"]+)"', question)
    assert found is not None
    before = await exits(site)
    first = await post(site.ada, f"/positions/{position}/close", key=found[1])
    assert toast(first) == ("success", "The position is closed.")
    again = await post(site.ada, f"/positions/{position}/close", key=found[1])
    assert again.status_code in (200, 404)
    assert await exits(site) == before + 1


async def test_while_trading_is_halted_the_dialog_says_why_it_does_not_close(site: Site, position: str) -> None:
    await post(site.ada, "/trading/kill", action="stop")
    answer = await post(site.ada, f"/positions/{position}/close", key="k")
    assert answer.status_code == 422
    assert "trading was stopped by hand" in answer.text
    await post(site.ada, "/trading/resume", scope="user")


async def test_another_persons_position_cannot_be_seen_or_touched(site: Site, position: str) -> None:
    for action in ("guard", "unguard", "close"):
        for asked in (position, str(new_id())):
            assert (await site.eve.browse("GET", f"/positions/{asked}/{action}")).status_code == 404, action
            assert (await post(site.eve, f"/positions/{asked}/{action}", stop_loss="50000")).status_code == 404, action
    assert (await post(site.eve, f"/positions/{position}/break-even")).status_code == 404
    assert (await plan(site))["stop_loss"] == "40000"


async def test_an_unprotected_position_alarms_on_every_page_of_its_owner(site: Site, position: str) -> None:
    words = "Position BTC/USDT has no stop at the exchange (refused). Retrying; you can close it now."
    for _ in range(20):  # the guardian, which finds its stop, takes the alarm back
        await execute(
            site, "UPDATE protections SET unprotected_since = now(), code = 'UNPROTECTED', detail = $1 WHERE status = 'active'", words
        )
        pages = [(await site.ada.browse("GET", path)).text for path in ("/", "/brokers", "/webhooks")]
        theirs = (await site.eve.browse("GET", "/")).text
        if all("UNPROTECTED" in page for page in pages):
            break
    assert [page.count(words) for page in pages] == [2, 1, 1], "in the banner, and at the position"
    assert f'href="/#position-{position}"' in pages[1]
    assert "UNPROTECTED" not in theirs


async def test_the_audit_says_what_it_found_and_that_entries_are_off_to_the_owner_alone(site: Site, position: str) -> None:
    await run_audit(site.app.state.desk)
    assert "Everything holds" in (await site.ada.browse("GET", "/")).text
    await execute(site, "UPDATE positions SET quantity = quantity + 0.001 WHERE id = $1", UUID(position))
    await run_audit(site.app.state.desk)
    page = text((await site.ada.browse("GET", "/", headers={"Accept-Language": "en"})).text)
    theirs = text((await site.eve.browse("GET", "/")).text)
    await execute(site, "UPDATE positions SET quantity = quantity - 0.001 WHERE id = $1", UUID(position))
    assert "the position in BTC/USDT is 0.01099, its fills say 0.00999" in page
    assert "AUDIT_POSITION · Main" in page
    assert "Entries are off because of this." in page
    assert "Everything holds" in theirs
    assert "AUDIT_POSITION" not in theirs

    await post(site.ada, "/trading/resume", scope="broker", key=site.ada.ids["broker_id"])
    assert "Trading was resumed although this stands." in (await site.ada.browse("GET", "/")).text
    await run_audit(site.app.state.desk)
    assert "Everything holds" in (await site.ada.browse("GET", "/")).text


async def test_a_part_of_a_position_is_closed_from_the_page(site: Site, position: str) -> None:
    form = await site.ada.browse("GET", f"/positions/{position}/close")
    assert 'name="percent" value="100"' in form.text
    before = await exits(site)
    for wrong in ("0", "101", "half", "1.234,5"):
        answer = await post(site.ada, f"/positions/{position}/close", percent=wrong)
        assert answer.status_code == 422
        assert "This must be a number above 0 and at most 100." in answer.text
    assert await exits(site) == before
    key = str(new_id())
    for _ in range(2):
        answer = await post(site.ada, f"/positions/{position}/close", percent="50,0", key=key)
        assert toast(answer) == ("success", "That part of the position is closed.")
    assert await exits(site) == before + 1, "the same question twice sells once"
    (left,) = (await site.ada.call("GET", "/api/positions")).json()["items"]
    assert left["id"] == position


async def test_a_spot_position_is_not_turned_round_and_the_page_says_why(site: Site, position: str) -> None:
    question = await site.ada.browse("GET", f"/positions/{position}/reverse")
    assert "A spot account cannot go short" in question.text
    assert 'type="submit"' not in question.text
    answer = await post(site.ada, f"/positions/{position}/reverse")
    assert answer.status_code == 422
    assert "a spot account cannot go short" in answer.text
