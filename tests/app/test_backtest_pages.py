"""The pages of backtests, through the whole application, the real jail and the pool."""

import html
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio

from tests.app.backtesting import CROSS, ROLES, begun, slow, store_candles, strategy, until
from tests.app.library import somebody
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS = {
    "symbol": "BTC/USDT", "timeframe": "1m", "since": "2026-02-27", "until": "2026-02-28", "capital": "10000",
    "taker": "0.1", "maker": "0,1", "slippage": "5",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site"), roles=ROLES) as running:
        await store_candles(running, 6_000)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(site: Site) -> Person:
    return await somebody(site)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strategy_id(person: Person) -> str:
    return await strategy(person)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def done(person: Person, strategy_id: str) -> dict[str, Any]:
    """A backtest that came to its end."""
    return await until(person, (await begun(person, strategy_id, parameters={"fast": 7}))["id"])


async def page(person: Person, path: str, status: int = 200) -> str:
    answer = await person.browse("GET", path)
    assert answer.status_code == status, answer.text
    return html.unescape(answer.text)


async def send(person: Person, path: str, **data: str) -> Any:
    return await person.browse("POST", path, headers={"X-CSRF-Token": person.csrf, "HX-Request": "true"}, data=data)


def value(text: str, name: str) -> str:
    """What stands in a field of the form."""
    field = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', text)
    chosen = re.search(rf'<select[^>]*name="{name}".*?</select>', text, re.DOTALL)
    if field is None and chosen is not None:
        field = re.search(r'<option value="([^"]*)" selected', chosen[0])
    assert field is not None, name
    return field[1]


async def test_whoever_has_none_is_told_what_to_do_first(site: Site) -> None:
    newcomer = await somebody(site)
    assert "No backtest yet" in await page(newcomer, "/backtests")
    assert "make one first" in await page(newcomer, "/backtests/new")


async def test_the_form_offers_the_version_its_parameters_and_the_usual_costs(person: Person, strategy_id: str) -> None:
    text = await page(person, f"/backtests/new?strategy={strategy_id}")
    assert (value(text, "strategy"), value(text, "version"), value(text, "taker")) == (strategy_id, "1", "0.1")
    assert (value(text, "param:fast"), value(text, "was:fast")) == ("5", "5")
    assert "Its own: 1m" in text
    assert re.search(r'data-since="\d{4}-\d\d-\d\d"[^>]*>All<', text), "candles are stored: all of them can be chosen"


async def test_a_form_that_is_sent_makes_a_backtest_and_leads_to_it(person: Person, strategy_id: str) -> None:
    given = {"strategy": strategy_id, "version": "1", "param:fast": "6", "was:fast": "5", "param:slow": "20", "was:slow": "20"}
    answer = await send(person, "/backtests", **FIELDS, **given, volume_share="10", detail="true", sg_daily="2,5")
    assert answer.status_code == 200, answer.text
    number = answer.headers["hx-redirect"].rpartition("/")[2]
    listed = (await person.call("GET", "/api/backtests")).json()["items"]
    made = next(one for one in listed if str(one["number"]) == number)
    assert made["parameters"] == {"fast": 6}, "what stands in the source is the source's to say"
    assert (made["start_at"], made["end_at"]) == ("2026-02-27T00:00:00Z", "2026-03-01T00:00:00Z"), "the last day is part of it"
    assert (made["fee"], made["maker_fee"], made["slippage"]) == ("0.001", "0.001", "0.0005")
    safeguards = {"daily_loss": {"fraction": "0.025"}}
    assert made["options"] == {"volume_share": 0.1, "funding_rate": 0.0, "detail": True, "safeguards": safeguards}
    await until(person, made["id"])
    assert value(await page(person, f"/backtests/new?copy={number}"), "sg_daily") == "2.5"
    assert "Daily loss" in await page(person, f"/backtests/{number}")


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("capital", "much", "That is not a number."),
        ("capital", "0", "That is outside its bounds."),
        ("taker", "nan", "That is outside its bounds."),
        ("slippage", "", "That is not a number."),
        ("since", "yesterday", "That is not a date."),
        ("until", "2026-02-01", "the end must be after the start"),
        ("symbol", "NOPE/USDT", "NOPE/USDT"),
        ("symbol", "", "Choose a symbol."),
        ("strategy", "", "Choose a strategy."),
        ("timeframe", "7m", "the timeframe must be one of"),
    ],
)
async def test_what_cannot_be_is_said_at_its_field(person: Person, strategy_id: str, field: str, typed: str, words: str) -> None:
    answer = await send(person, "/backtests", **{**FIELDS, "strategy": strategy_id, "version": "1", field: typed})
    assert answer.status_code == 422
    text = html.unescape(answer.text)
    said = re.search(rf'id="bt-{field}-note">(.*?)</p>', text, re.DOTALL)
    assert said is not None, text[:2_000]
    assert words in said[1]


async def test_a_parameter_outside_its_bounds_is_said_at_its_field_and_nothing_is_made(person: Person, strategy_id: str) -> None:
    before = len((await person.call("GET", "/api/backtests")).json()["items"])
    answer = await send(person, "/backtests", **FIELDS, strategy=strategy_id, version="1", **{"param:fast": "51", "was:fast": "5"})
    assert (answer.status_code, "outside its bounds" in answer.text) == (422, True)
    assert value(html.unescape(answer.text), "param:fast") == "51", "what was typed stays"
    assert len((await person.call("GET", "/api/backtests")).json()["items"]) == before


async def test_another_strategy_brings_its_own_version_and_parameters(person: Person, strategy_id: str) -> None:
    other = await strategy(person, name="Other")
    answer = await send(
        person, "/backtests/form?changed=strategy", **FIELDS, strategy=other, version="7", **{"param:fast": "9", "was:fast": "5"}
    )
    text = html.unescape(answer.text)
    assert (value(text, "version"), value(text, "param:fast"), value(text, "capital")) == ("1", "5", "10000")
    kept = await send(
        person, "/backtests/form?changed=version", **FIELDS, strategy=strategy_id, version="1", **{"param:fast": "9", "was:fast": "5"}
    )
    assert value(html.unescape(kept.text), "param:fast") == "9", "another version of the same keeps what was typed"


async def test_symbols_are_found_while_they_are_typed(person: Person) -> None:
    answer = await send(person, "/backtests/symbols", symbol="btc")
    assert '<option value="BTC/USDT">' in answer.text


async def test_a_result_shows_what_it_was_made_of_and_what_came_of_it(person: Person, done: dict[str, Any]) -> None:
    text = await page(person, f"/backtests/{done['number']}")
    assert await page(person, f"/backtests/{done['id']}")
    for words in (
        "Completed",
        "BTC/USDT · 1m · Binance",
        "10,000.00",
        "fast",
        "Quality checks",
        "From gross to net",
        "Run again",
        sha256(CROSS.encode()).hexdigest()[:7],
    ):
        assert words in text, words
    assert text.count("data-trade=") == min(done["report"]["trades"]["closed"] + done["report"]["trades"]["open"], 50)
    assert "<progress" not in text


async def test_the_charts_read_their_data_apart_from_the_page(person: Person, done: dict[str, Any]) -> None:
    curve = (await person.browse("GET", f"/backtests/{done['number']}/curve")).json()
    assert curve == done["report"]["points"]
    every = (await person.browse("GET", f"/backtests/{done['number']}/marks")).json()["items"]
    assert [mark["number"] for mark in every] == list(range(1, len(every) + 1))
    some = (
        await person.browse("GET", f"/backtests/{done['number']}/marks", params={"first": every[3]["in"], "last": every[3]["in"]})
    ).json()
    assert every[3] in some["items"]
    assert len(some["items"]) < len(every)


async def test_a_copy_has_the_very_fields_of_its_model(person: Person, done: dict[str, Any], strategy_id: str) -> None:
    text = await page(person, f"/backtests/new?copy={done['number']}")
    assert f"Copy of #{done['number']}" in text
    wanted = {
        "strategy": strategy_id, "version": "1", "symbol": "BTC/USDT", "timeframe": "1m", "capital": "10000", "taker": "0.1",
        "slippage": "5", "param:fast": "7", "was:fast": "5", "until": "2026-02-28",
    }  # fmt: skip
    assert {name: value(text, name) for name in wanted} == wanted


async def test_it_is_run_again_from_its_page_and_deleted(person: Person, done: dict[str, Any]) -> None:
    answer = await send(person, f"/backtests/{done['number']}/again")
    path = answer.headers["hx-redirect"]
    again = await until(person, next(one["id"] for one in (await person.call("GET", "/api/backtests")).json()["items"]))
    assert f"/backtests/{again['number']}" == path
    assert again["report"] == done["report"]
    assert "is deleted with its trades" in await page(person, f"{path}/delete")
    assert (await send(person, f"{path}/delete")).headers["hx-redirect"] == "/backtests"
    await page(person, path, status=404)


async def test_two_runs_are_laid_side_by_side_and_one_that_is_gone_is_said(person: Person, done: dict[str, Any], strategy_id: str) -> None:
    other = await until(person, (await begun(person, strategy_id, parameters={"fast": 11}))["id"])
    text = await page(person, f"/backtests/compare?run={done['number']}&run={other['number']}&run=99999")
    assert re.findall(r'data-run="(\d+)"', text) == [str(done["number"]), str(other["number"])]
    assert "1 run is not here any more" in text
    assert len(re.findall(r'class="differs"', text)) == 2, "the parameters alone are not the same"
    beside = await page(person, f"/backtests/{done['number']}?beside={other['number']}")
    assert f'<th scope="col" class="r">#{other["number"]}</th>' in beside
    assert "Nothing to compare" in await page(person, "/backtests/compare")


async def test_the_list_is_filtered_and_goes_on_behind_a_number(person: Person, done: dict[str, Any]) -> None:
    assert f'id="backtest-{done["number"]}"' in await page(person, "/backtests?state=completed&symbol=btcusdt")
    assert "Nothing found" in await page(person, "/backtests?symbol=ETHUSDT")
    rows = await page(person, f"/backtests/list?before={done['number'] + 1}")
    assert re.findall(r'id="backtest-(\d+)"', rows)[0] == str(done["number"])
    assert "<header" not in rows


async def test_one_that_runs_shows_how_far_it_is_and_is_canceled_from_its_page(person: Person) -> None:
    backtest = await begun(person, await strategy(person, slow(60_000), "Slow"))
    await until(person, backtest["id"], "running")
    text = await page(person, f"/backtests/{backtest['number']}")
    assert "Cancel the run" in text
    assert f"backtest%3A{backtest['id']}" in text, "its stream tells of this one"
    told = (await person.browse("GET", f"/backtests/{backtest['number']}/progress")).json()
    assert (told["id"], told["state"], told["words"]) == (backtest["id"], "running", "The strategy decides")
    assert "Stopping…" in html.unescape((await send(person, f"/backtests/{backtest['number']}/cancel")).text)
    assert (await until(person, backtest["id"]))["state"] == "canceled"
    assert "Cancel the run" not in await page(person, f"/backtests/{backtest['number']}")


async def test_one_that_failed_says_why_and_where(person: Person) -> None:
    source = "from aristobot import Strategy\n\n\nclass Wrong(Strategy):\n    timeframe = '1m'\n\n"
    source += "    def should_long(self):\n        return nothing\n"
    failed = await until(person, (await begun(person, await strategy(person, source, "Wrong")))["id"])
    text = await page(person, f"/backtests/{failed['number']}")
    assert "name 'nothing' is not defined" in text
    assert re.search(r'href="/strategies/[0-9a-f-]+\?version=1#L8"', text)
    assert "Export" not in text


@pytest.mark.parametrize("name", ["0", "99999999999", "x", "-1", "²", "0190a7b2-77aa-7d10-8000-000000000001"])
async def test_a_name_that_is_none_is_not_found(person: Person, name: str) -> None:
    await page(person, f"/backtests/{name}", status=404)
