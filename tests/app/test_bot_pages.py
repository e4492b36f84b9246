"""The pages of bots, through the whole application: the monitor, the form, one bot, and what is done with it."""

import asyncio
import html
import re
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from starlette.requests import Request

from app.bots import lifecycle
from app.core.ids import new_id
from app.core.tenancy import working_for
from app.ui.stream import PageStream
from app.ui.surroundings import regions_of, templating_of
from tests.app.botting import bot, paper_account, valid_strategy
from tests.app.library import somebody
from tests.app.whole_site import Person, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(site: Site) -> Person:
    return await somebody(site)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker_id(person: Person) -> str:
    return await paper_account(person)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strategy_id(site: Site, person: Person) -> str:
    return await valid_strategy(site, person)


async def page(person: Person, path: str, status: int = 200) -> str:
    answer = await person.browse("GET", path)
    assert answer.status_code == status, answer.text
    return html.unescape(answer.text)


async def send(person: Person, path: str, **data: str) -> Any:
    return await person.browse("POST", path, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"}, data=data)


def form(strategy_id: str, broker_id: str, **given: str) -> dict[str, str]:
    fields = {"strategy": strategy_id, "version": "1", "account": broker_id, "symbol": "BTC/USDT", "timeframe": "1m", "capital": "1000"}
    return {**fields, "key": str(new_id()), **given}


async def with_position(site: Site, bot_id: str, *, stop: str | None = "55000") -> str:
    """Give a bot a position, as its fills would have done. Returns its id."""
    position_id = new_id()
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO positions (id, user_id, broker_id, symbol, base, quote, quantity, average_price, fees, status, source, opened_at,
                                      updated_at, bot_id, stop_loss)
               SELECT $1, user_id, broker_id, symbol, 'BTC', 'USDT', 0.01, 60000, 0.6, 'open', 'bot', now(), now(), id, $3::numeric
                 FROM bots WHERE id = $2""",
            position_id,
            UUID(bot_id),
            stop,
        )
    return str(position_id)


async def test_the_monitor_says_what_to_do_next_as_long_as_there_is_no_bot(site: Site) -> None:
    newcomer = await somebody(site)
    assert "you have no strategy yet" in await page(newcomer, "/bots")
    await valid_strategy(site, newcomer)
    found = await page(newcomer, "/bots")
    assert "No bot yet" in found
    assert 'href="/bots/new"' in found


async def test_a_form_sent_twice_makes_one_bot(person: Person, strategy_id: str, broker_id: str) -> None:
    sent = form(strategy_id, broker_id, name="Only once")
    first, second = [await send(person, "/bots", **sent) for _ in range(2)]
    assert first.headers["HX-Redirect"] == second.headers["HX-Redirect"]
    found = await page(person, first.headers["HX-Redirect"])
    assert "Only once" in found
    assert "PAPER" in found


@pytest.mark.parametrize(
    ("field", "value", "note", "words"),
    [
        ("capital", "1.234,5", "nb-capital-note", "not a number"),
        ("capital", "-1", "nb-capital-note", "outside its bounds"),
        ("until", "2020-01-01", "nb-until-note", "future"),
        ("symbol", "NOPE/USDT", "nb-symbol-note", "NOPE/USDT"),
        ("timeframe", "7m", "nb-timeframe-note", "timeframe"),
        ("account", "", "nb-account-note", "Choose an account"),
        ("sg_daily", "x", "sg_daily-note", "not a number"),
    ],
)
async def test_what_cannot_be_used_is_said_at_its_field(
    person: Person, strategy_id: str, broker_id: str, field: str, value: str, note: str, words: str
) -> None:
    answer = await send(person, "/bots", **form(strategy_id, broker_id, **{field: value}))
    assert answer.status_code == 422
    found = re.search(rf'<p class="error" id="{note}">(.*?)</p>', html.unescape(answer.text), re.DOTALL)
    assert found is not None, answer.text
    assert words in found[1]


async def test_a_version_that_was_not_validated_is_refused_with_the_reason(person: Person, broker_id: str) -> None:
    made = (await person.call("POST", "/api/strategies", json={"name": "Fresh"})).json()
    answer = await send(person, "/bots", **form(made["id"], broker_id))
    assert answer.status_code == 422
    assert "cannot be activated" in html.unescape(answer.text)


async def test_paper_accounts_come_first_and_the_mode_follows_the_account(site: Site) -> None:
    strategy_id, paper = await valid_strategy(site, site.ada, name="Two accounts"), await paper_account(site.ada, "Her play money")
    found = await page(site.ada, f"/bots/new?strategy={strategy_id}")
    accounts = re.search(r'<select id="nb-account".*?</select>', found, re.DOTALL)
    assert accounts is not None
    assert re.findall(r'value="([^"]*)"', accounts[0]) == [paper, site.ada.ids["broker_id"]]
    assert "Nothing real can be lost" in found
    real = await send(site.ada, "/bots/form?changed=account", **form(strategy_id, site.ada.ids["broker_id"]))
    assert "Nothing real can be lost" not in real.text
    asks = await send(site.ada, "/bots/form?changed=ask", **form(strategy_id, paper, ask="true"))
    assert "ASKS FIRST" in asks.text


async def test_a_bot_is_started_suspended_and_stopped_from_its_card(person: Person, strategy_id: str, broker_id: str) -> None:
    made = await bot(person, strategy_id, broker_id, name="Led")
    number = made["number"]
    started = await send(person, f"/bots/{number}/start?place=bots")
    assert started.status_code == 200, started.text
    assert f'id="bot-{number}" data-state="running"' in started.text
    suspended = await send(person, f"/bots/{number}/suspend?place=bots")
    assert 'data-state="suspended"' in suspended.text
    assert "suspended by" in suspended.text
    asked = await page(person, f"/bots/{number}/stop?place=bots")
    assert "ends for good" in asked
    stopped = await send(person, f"/bots/{number}/stop?place=bots")
    assert 'data-state="stopped"' in stopped.text
    assert "dialog-close" in stopped.headers["HX-Trigger"]
    again = await send(person, f"/bots/{number}/start?place=bots")
    assert again.status_code == 409
    assert "clone" in again.headers["HX-Trigger"]


async def test_a_bot_that_holds_something_is_stopped_only_with_a_word_on_it(
    site: Site, person: Person, strategy_id: str, broker_id: str
) -> None:
    made = await bot(person, strategy_id, broker_id, name="Holder")
    await with_position(site, made["id"])
    number = made["number"]
    asked = await page(person, f"/bots/{number}/stop")
    assert "What is to become of its position?" in asked
    assert "55,000" in asked
    without = await send(person, f"/bots/{number}/stop")
    assert without.status_code == 409
    assert "Say what becomes of it" in html.unescape(without.text)
    kept = await send(person, f"/bots/{number}/stop", position="keep")
    assert kept.status_code == 200, kept.text
    assert "Keep" not in kept.text


async def test_a_question_about_a_position_that_is_gone_says_so(person: Person, strategy_id: str, broker_id: str) -> None:
    number = (await bot(person, strategy_id, broker_id))["number"]
    assert "That position is gone" in await page(person, f"/bots/{number}/sell")
    stale = await send(person, f"/bots/{number}/sell", key=str(new_id()))
    assert (stale.status_code, "That position is gone" in stale.text) == (409, True)


async def test_what_is_sold_is_the_position_that_was_shown(site: Site, person: Person, strategy_id: str, broker_id: str) -> None:
    made = await bot(person, strategy_id, broker_id, name="Seller")
    position_id = await with_position(site, made["id"])
    number = made["number"]
    assert position_id in await page(person, f"/bots/{number}/sell")
    another = await send(person, f"/bots/{number}/sell", key=str(new_id()))
    assert another.status_code == 409
    assert "sold it meanwhile" in html.unescape(another.text)
    sold = await send(person, f"/bots/{number}/sell", key=position_id)
    assert sold.status_code == 200, sold.text


async def test_a_bot_is_renamed_cloned_and_deleted(person: Person, strategy_id: str, broker_id: str) -> None:
    made = await bot(person, strategy_id, broker_id, name="Before", parameters={"fast": 9})
    number = made["number"]
    empty = await send(person, f"/bots/{number}/rename", name="  ")
    assert empty.status_code == 422
    await send(person, f"/bots/{number}/rename", name="After <b>")
    assert "After &lt;b&gt;" in (await person.browse("GET", f"/bots/{number}")).text
    clone = await page(person, f"/bots/new?clone={number}")
    assert re.search(r'name="param:fast" value="9"', clone)
    gone = await send(person, f"/bots/{number}/delete")
    assert gone.headers["HX-Redirect"] == "/bots"
    await page(person, f"/bots/{number}", 404)


async def test_the_filter_is_in_the_address(person: Person, strategy_id: str, broker_id: str) -> None:
    await bot(person, strategy_id, broker_id, name="Needle")
    found = await page(person, "/bots?q=needle&show=ready")
    assert found.count('class="panel bot-card"') == 1
    assert "monitor%3Aready%3Aall%3Aneedle" in found
    assert "Nothing found" in await page(person, "/bots?q=hay")


async def test_the_bar_counts_bots_and_the_dashboard_shows_those_at_work(site: Site, strategy_id: str) -> None:
    del strategy_id
    owner = await somebody(site)
    strategy, account = await valid_strategy(site, owner), await paper_account(owner)
    made = await bot(owner, strategy, account, name="At work")
    assert 'id="bar-bots" href="/bots" data-running="0"' in await page(owner, "/")
    await send(owner, f"/bots/{made['number']}/start")
    found = await page(owner, "/")
    assert 'id="bar-bots" href="/bots" data-running="1"' in found
    assert "At work" in found


async def test_an_open_page_is_told_what_changes_and_nothing_twice(site: Site, person: Person, strategy_id: str, broker_id: str) -> None:
    made = await bot(person, strategy_id, broker_id, name="Watched")
    user_id = UUID(person.ids["user_id"])
    principal = await site.app.state.accounts.by_cookie(person.cookie)
    request = Request({"type": "http", "app": site.app, "method": "GET", "path": "/events", "headers": []})
    topics = frozenset({"monitor:all:all:watched", f"bot:{made['id']}:all:all:all"})
    shown = PageStream(request, topics, principal=principal, regions=regions_of(request, principal), templating=templating_of(request))
    heard = b""
    with working_for(user_id):
        async with asyncio.timeout(20):
            async for message in shown.messages():
                heard += message
                if b"<article" in heard and heard.count(b"event: ping") == 1 and b'data-state="running"' not in heard:
                    await lifecycle.start(site.app.state.desk, user_id, UUID(made["id"]), by="ada")
                if heard.count(b"event: ping") == 2:
                    break
    told = heard.decode()
    assert f'hx-target="#bot-{made["number"]}"' in told, "one card alone"
    assert 'id="bot-live" data-state="running"' in told
    assert told.count("<article") == 2, "as it was, and as it is"


async def test_all_bots_are_stopped_with_one_press_and_resumed(person: Person, strategy_id: str, broker_id: str) -> None:
    await bot(person, strategy_id, broker_id)
    assert 'id="kill-bots"' in await page(person, "/heartbeat")
    stopped = await send(person, "/trading/kill-bots", flatten="true")
    assert "all your bots" in stopped.text
    assert "being sold" in stopped.headers["HX-Trigger"]
    goes_on = await send(person, "/trading/resume", scope="bots")
    assert "Trading is halted" not in goes_on.text


async def test_a_backtest_fills_the_form_of_its_bot(site: Site, person: Person, strategy_id: str, broker_id: str) -> None:
    asked = {"strategy_id": strategy_id, "symbol": "BTCUSDT", "timeframe": "1m", "parameters": {"fast": 8}, "capital": "2500"}
    made = (
        await person.call("POST", "/api/backtests", json={**asked, "start_at": "2026-01-01T00:00Z", "end_at": "2026-02-01T00:00Z"})
    ).json()
    found = await page(person, f"/bots/new?backtest={made['number']}")
    assert f"Promote backtest #{made['number']}" in found
    assert re.search(r'name="param:fast" value="8"', found)
    assert re.search(r'name="capital" value="2500"', found)
    answer = await send(
        person, "/bots", **form(strategy_id, broker_id, backtest=str(made["number"]), **{"param:fast": "8", "was:fast": "5"})
    )
    assert f'href="/backtests/{made["number"]}"' in await page(person, answer.headers["HX-Redirect"])
    del site


async def test_a_decision_that_waits_is_approved_or_rejected_on_the_page(
    site: Site, person: Person, strategy_id: str, broker_id: str
) -> None:
    made = await bot(person, strategy_id, broker_id, name="Asker", mode="ask")
    number, signals = made["number"], [new_id(), new_id()]
    await send(person, f"/bots/{number}/start")
    for at, signal_id in enumerate(signals):
        async with site.app.state.platform_database.connection() as connection:
            await connection.execute(
                """INSERT INTO bot_signals (id, bot_id, user_id, open_time, decided_at, decision, action, state,
                                            price)
                   SELECT $1, id, user_id, date_trunc('minute', now()) + make_interval(secs => $3), now(), '{"size": 0.5}', 'long',
                          'waiting',
                          50000 FROM bots WHERE id = $2""",
                signal_id,
                UUID(made["id"]),
                at,
            )
        shown = await page(person, f"/bots/{number}")
        assert "ASKS FIRST" in shown
        assert "0.01" in shown, "half of its equity at that price"
        answer = await send(person, f"/bots/{number}/signals/{signal_id}/{('reject', 'approve')[at]}")
        assert answer.status_code == 200, answer.text
        assert ("nothing comes of it", "being sent")[at] in answer.headers["HX-Trigger"]
        again = await send(person, f"/bots/{number}/signals/{signal_id}/approve")
        assert (again.status_code, "answered already" in again.headers["HX-Trigger"]) == (409, True)
    assert "1 decision waits" not in await page(person, "/bots")


async def test_strange_addresses_ask_for_nothing_that_breaks(person: Person, strategy_id: str, broker_id: str) -> None:
    made = await bot(person, strategy_id, broker_id)
    path = f"/bots/{made['number']}"
    for query in ("tab=x", "tab=signals&before=x", "tab=trades&before=x", "tab=log&before=9999999999999999999999", "signals=x&log=x"):
        await page(person, f"{path}?{query}")
    for query in ("show=x", "log=x", "q=,:%00", "before=1", "kiosk=1"):
        await page(person, f"/bots?{query}")
    assert (await person.browse("GET", f"{path}/equity")).json() == {"points": []}
    await page(person, "/bots/999999", 404)
