"""Strategies are validated and tried in the real jail, step by step, on stored candles."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio

from app.domain.candles import Timeframe, to_milliseconds
from app.marketdata.models import CandleSource
from app.marketdata.store import CandleStore
from app.strategies.candles import generated
from app.strategies.pace import VALIDATIONS_PER_MINUTE
from app.strategies.templates import templates
from tests.app.conftest import PASSWORD
from tests.app.whole_site import Person, Site, log_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = '''
from aristobot import Strategy, param, ta


class Cross(Strategy):
    """Long when the fast average crosses above the slow one."""

    timeframe = "1h"
    warm_up = 150
    fast = param(12, low=5, high=50)
    stop_loss = 0.02

    def indicators(self, candles):
        self.fast_ema = ta.EMA(candles.close, self.fast)
        self.slow_ema = ta.EMA(candles.close, 26)

    def should_long(self):
        return ta.crossed_above(self.fast_ema, self.slow_ema)

    def should_exit(self):
        return ta.crossed_below(self.fast_ema, self.slow_ema)
'''
STEPS = ["syntax", "lint", "contract", "dry_run", "look_ahead", "warm_up", "values", "speed"]
URL = "/api/strategies"
_NUMBERS = itertools.count()
_ROWS = 2_000


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def stored(site: Site) -> AsyncIterator[None]:
    """Two thousand stored hours of one market, made up."""
    store = CandleStore(site.app.state.platform_database)
    end = Timeframe.H1.floor(site.app.state.clock.now()) - timedelta(hours=3)
    candles = generated(_ROWS, Timeframe.H1, end_ms=to_milliseconds(end), seed=3)
    await store.load("binance", "BTC/USDT", Timeframe.H1, candles, source=CandleSource.IMPORT)
    yield


@pytest_asyncio.fixture(loop_scope="module")
async def person(site: Site) -> Person:
    """Somebody who has tried nothing yet."""
    name = f"trier-{next(_NUMBERS)}"
    await site.app.state.accounts.create_user(name, PASSWORD)
    return await log_in(site.app, site.http, name)


async def validate(person: Person, source: str, **given: Any) -> dict[str, Any]:
    answer = await person.call("POST", f"{URL}/validate", json={"source": source, **given})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in report["steps"]}


def found(report: dict[str, Any], step: str) -> list[dict[str, Any]]:
    (findings,) = (one["findings"] for one in report["steps"] if one["step"] == step)
    return list(findings)


async def test_a_good_strategy_passes_every_step_on_stored_candles(person: Person) -> None:
    report = await validate(person, GOOD, symbol="BTCUSDT")
    assert list(outcomes(report).items()) == [(step, "passed") for step in STEPS]
    assert (report["is_valid"], report["has_look_ahead"]) == (True, False)
    assert report["bars_per_s"] > 0
    tried = report["tried_on"]
    assert (tried["symbol"], tried["timeframe"], tried["candles"], tried["is_generated"]) == ("BTC/USDT", "1h", 1_150, False)
    assert report["described"]["class_name"] == "Cross"
    assert [one["name"] for one in report["described"]["parameters"]] == ["fast"]
    (ran,) = found(report, "dry_run")
    assert int(ran["values"]["trades"]) > 5


@pytest.mark.parametrize("name", [one.name for one in templates()])
async def test_every_template_is_valid(person: Person, name: str) -> None:
    source = next(one.source for one in templates() if one.name == name)
    report = await validate(person, source)
    assert report["is_valid"], [step for step in report["steps"] if step["outcome"] == "failed"]
    assert found(report, "lint") == []


async def test_a_mistake_of_syntax_is_told_with_its_place_and_nothing_is_run(person: Person) -> None:
    report = await validate(person, GOOD.replace("def should_exit(self):", "def should_exit(self:"))
    assert outcomes(report) == {"syntax": "failed"} | dict.fromkeys(STEPS[1:], "skipped")
    (mistake,) = found(report, "syntax")
    assert (mistake["line"], mistake["severity"]) == (20, "error")
    assert mistake["column"] > 0
    assert not report["is_valid"]


async def test_an_unknown_name_is_told_in_plain_words_on_its_line(person: Person) -> None:
    report = await validate(person, GOOD.replace("ta.crossed_below(self.fast_ema, self.slow_ema)", "self.fast_ema[-1] < atr"))
    (mistake,) = found(report, "lint")
    assert (mistake["code"], mistake["line"], mistake["column"]) == ("F821", 21, 36)
    assert mistake["message"] == "The name atr is not defined: it is misspelt, or never assigned or imported."
    assert not report["is_valid"]


async def test_a_comment_does_not_silence_lint(person: Person) -> None:
    report = await validate(person, GOOD + "\n\nwhatever = atr  # noqa\n", is_whole=False)
    assert [one["code"] for one in found(report, "lint")] == ["F821"]


async def test_what_the_code_raises_is_told_with_its_line(person: Person) -> None:
    report = await validate(person, GOOD.replace("return ta.crossed_above(self.fast_ema, self.slow_ema)", "return 1 / 0 > self.fast"))
    assert outcomes(report)["contract"] == "failed"
    (mistake,) = found(report, "contract")
    assert (mistake["code"], mistake["line"]) == ("ZeroDivisionError", 18)
    assert mistake["message"] == "ZeroDivisionError: division by zero"
    assert outcomes(report)["look_ahead"] == "skipped"


async def test_a_strategy_that_uses_the_future_is_found_out_and_cannot_be_activated(person: Person) -> None:
    source = GOOD.replace("ta.EMA(candles.close, self.fast)", "ta.EMA(candles.close, self.fast) - candles.close.mean()")
    made = (await person.call("POST", URL, json={"name": "Peeks", "source": source})).json()
    answer = await person.call("POST", f"{URL}/{made['id']}/versions/1/validate", json={"symbol": "BTC/USDT"})
    report = answer.json()
    assert (report["is_valid"], report["has_look_ahead"]) == (False, True)
    peeks = [one for one in found(report, "look_ahead") if one["attribute"] == "fast_ema"]
    assert peeks[0]["at_ms"] is not None
    assert "UTC" in peeks[0]["message"]
    version = (await person.call("GET", f"{URL}/{made['id']}/versions/1")).json()
    assert (version["is_valid"], version["has_look_ahead"]) == (False, True)
    assert version["why_not"] == peeks[0]["message"]
    assert version["report"]["steps"] == report["steps"]


async def test_a_version_that_uses_the_future_is_not_made_valid_by_other_parameters(person: Person) -> None:
    source = GOOD.replace("fast = param(12", "peeks = param(True)\n    fast = param(12").replace(
        "ta.EMA(candles.close, self.fast)", "ta.EMA(candles.close, self.fast) - self.peeks * candles.close.mean()"
    )
    assert (await validate(person, source, parameters={"peeks": False}))["is_valid"]
    made = (await person.call("POST", URL, json={"name": "Peeks at will", "source": source})).json()
    path = f"{URL}/{made['id']}/versions/1"
    refused = await person.call("POST", f"{path}/validate", json={"parameters": {"peeks": False}})
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_INPUT")
    assert not (await person.call("GET", path)).json()["is_valid"]
    await person.call("POST", f"{path}/validate", json={})
    version = (await person.call("GET", path)).json()
    assert (version["is_valid"], version["has_look_ahead"]) == (False, True)


async def test_the_report_of_a_version_is_kept_and_its_market_remembered(person: Person) -> None:
    made = (await person.call("POST", URL, json={"name": "Kept", "source": GOOD})).json()
    await person.call("POST", f"{URL}/{made['id']}/versions/1/validate", json={"symbol": "BTCUSDT", "timeframe": "1h"})
    strategy = (await person.call("GET", f"{URL}/{made['id']}")).json()
    assert (strategy["is_valid"], strategy["valid_number"], strategy["symbol"], strategy["timeframe"]) == (True, 1, "BTC/USDT", "1h")
    version = (await person.call("GET", f"{URL}/{made['id']}/versions/1")).json()
    assert (version["described"]["class_name"], version["why_not"]) == ("Cross", None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("while True: pass", "The strategy took too long and was stopped."),
        ("__import__('ctypes').string_at(1)", ""),
        ("raise SystemExit", ""),
    ],
)
async def test_code_that_misbehaves_ends_its_worker_and_nothing_else(site: Site, person: Person, body: str, words: str) -> None:
    report = await validate(person, GOOD + f"\n\n{body}\n")
    assert not report["is_valid"]
    assert outcomes(report)["contract"] == "failed"
    assert words in found(report, "contract")[0]["message"]
    assert (await validate(site.ada, GOOD))["is_valid"]


@pytest.mark.parametrize("source", ["", "\ud800", "x" * 131_072, "(" * 100_000, "-" * 131_000 + "1", "#" * 131_072, "x = '%(name)s %s %%'"])
async def test_a_source_that_is_no_strategy_is_an_answer_and_no_failure(person: Person, source: str) -> None:
    body = orjson.dumps({"source": source}) if source != "\ud800" else b'{"source": "\\ud800"}'
    answer = await person.call("POST", f"{URL}/validate", content=body, headers={"Content-Type": "application/json"})
    if source == "\ud800":
        assert answer.status_code == 422
        return
    assert answer.status_code == 200, answer.text
    assert not answer.json()["is_valid"]


async def test_without_stored_candles_made_up_ones_are_used_and_said_so(person: Person) -> None:
    report = await validate(person, GOOD.replace('"1h"', '"4h"'), symbol="BTCUSDT")
    assert (report["tried_on"]["is_generated"], report["is_valid"]) == (True, True)
    note = next(one for one in found(report, "dry_run") if one["code"] == "CANDLES_GENERATED")
    assert "Too few candles of BTC/USDT 4h are stored for binance" in note["message"]
    assert "aristobot candles backfill" in note["message"]


async def test_longer_candles_are_summed_up_of_stored_minutes(site: Site, person: Person) -> None:
    store = CandleStore(site.app.state.platform_database)
    end = Timeframe.H1.floor(site.app.state.clock.now()) - timedelta(days=400)
    minutes = generated(5 * 400, Timeframe.M1, end_ms=to_milliseconds(end), seed=4)
    await store.load("binance", "BTC/USDT", Timeframe.M1, minutes, source=CandleSource.IMPORT)
    report = await validate(person, GOOD.replace('"1h"', '"5m"'), symbol="BTCUSDT")
    assert (report["tried_on"]["is_generated"], report["tried_on"]["candles"]) == (False, 400)


async def test_an_informative_timeframe_comes_along(person: Person) -> None:
    macd = next(one.source for one in templates() if one.name == "macd_trend")
    report = await validate(person, macd, symbol="BTCUSDT")
    assert report["described"]["informative"] != []
    assert report["is_valid"]


async def test_a_symbol_or_a_timeframe_that_is_not_there_is_refused(person: Person) -> None:
    made = (await person.call("POST", URL, json={"name": "Unmoved", "source": GOOD})).json()
    for given, refused in (
        ({"symbol": "NOPE/USDT"}, (404, "SYMBOL_NOT_FOUND")),
        ({"timeframe": "7m"}, (422, "INVALID_INPUT")),
        ({"exchange": "nowhere", "symbol": "BTC/USDT"}, (422, "UNSUPPORTED")),
    ):
        answer = await person.call("POST", f"{URL}/validate", json={"source": GOOD, "strategy_id": made["id"], **given})
        assert (answer.status_code, answer.json()["code"]) == refused, answer.text
    assert (await person.call("GET", f"{URL}/{made['id']}")).json()["symbol"] is None


async def test_the_market_of_a_trial_is_remembered_as_it_was_found(person: Person) -> None:
    made = (await person.call("POST", URL, json={"name": "Moved", "source": GOOD})).json()
    for what, given, known in (
        ("validate", {"symbol": "btcusdt"}, ("BTC/USDT", None)),
        ("quick", {"timeframe": "1h"}, ("BTC/USDT", "1h")),
        ("quick", {}, ("BTC/USDT", "1h")),
    ):
        answer = await person.call("POST", f"{URL}/{what}", json={"source": GOOD, "strategy_id": made["id"], **given})
        assert answer.status_code == 200, answer.text
        strategy = (await person.call("GET", f"{URL}/{made['id']}")).json()
        assert (strategy["symbol"], strategy["timeframe"]) == known


async def test_a_warm_up_that_is_longer_than_any_trial_fails_the_contract(person: Person) -> None:
    report = await validate(person, GOOD.replace("warm_up = 150", "warm_up = 900_000"))
    assert [one["code"] for one in found(report, "contract")] == ["WARM_UP_TOO_LONG"]
    assert not report["is_valid"]


async def events_of(person: Person, path: str, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    answer = await person.call("POST", path, json=body, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    told = []
    for block in answer.text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        told.append((lines["event"], orjson.loads(lines["data"])))
    return told


async def test_steps_are_streamed_as_they_are_taken(person: Person) -> None:
    told = await events_of(person, f"{URL}/validate", {"source": GOOD, "symbol": "BTCUSDT"})
    assert [name for name, _ in told] == ["begin", "step"] * len(STEPS) + ["report"]
    assert [data["step"] for name, data in told if name == "step"] == STEPS
    assert told[-1][1]["is_valid"]
    assert all(data["seconds"] > 0 for name, data in told if name == "step")


async def test_what_keeps_a_validation_from_going_on_is_told_in_its_stream(person: Person) -> None:
    told = await events_of(person, f"{URL}/validate", {"source": GOOD, "symbol": "NOPE/USDT"})
    assert told[-1][0] == "problem"
    assert told[-1][1]["code"] == "SYMBOL_NOT_FOUND"


async def test_a_check_while_typing_takes_the_steps_without_candles(person: Person) -> None:
    report = await validate(person, GOOD, is_whole=False)
    assert outcomes(report) == {"syntax": "passed", "lint": "passed", "contract": "passed"}
    assert (report["is_valid"], report["is_whole"]) == (False, False)


async def test_so_many_validations_a_minute(person: Person) -> None:
    answers = [await person.call("POST", f"{URL}/validate", json={"source": "a ="}) for _ in range(VALIDATIONS_PER_MINUTE + 2)]
    assert [answer.status_code for answer in answers[:VALIDATIONS_PER_MINUTE]] == [200] * VALIDATIONS_PER_MINUTE
    refused = answers[-1]
    assert (refused.status_code, refused.json()["code"]) == (429, "STRATEGY_TRIAL_RATE")
    assert int(refused.headers["retry-after"]) >= 1


async def test_what_one_user_tries_at_once_waits_for_its_turn(person: Person) -> None:
    asked = [("validate", {"is_whole": False}), ("validate", {}), ("quick", {})] * 3
    answers = await asyncio.gather(*(person.call("POST", f"{URL}/{what}", json={"source": GOOD, **more}) for what, more in asked))
    assert [answer.status_code for answer in answers] == [200] * len(asked), [answer.text[:200] for answer in answers]


async def test_very_many_at_once_are_refused(person: Person) -> None:
    answers = await asyncio.gather(*(person.call("POST", f"{URL}/validate", json={"source": GOOD, "is_whole": False}) for _ in range(20)))
    codes = {answer.status_code: answer.json().get("code") for answer in answers}
    assert codes == {200: None, 429: "JAIL_BUSY"}


async def quick(person: Person, source: str = GOOD, **given: Any) -> dict[str, Any]:
    answer = await person.call("POST", f"{URL}/quick", json={"source": source, "symbol": "BTCUSDT", **given})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_quick_backtest_adds_up(person: Person) -> None:
    result = await quick(person)
    assert result["candles"] == 1_000
    assert len(result["points"]) == 500
    assert result["points"][0]["equity"] == result["capital"] == 10_000
    assert result["points"][-1]["at_ms"] == result["tried_on"]["end_ms"]
    assert result["points"][-1]["equity"] == pytest.approx(result["capital"] + result["net"], abs=0.01)
    assert result["gross"] == pytest.approx(result["net"] + result["fees"] + result["slippage"])
    assert result["net"] == pytest.approx(sum(trade["profit"] for trade in result["trades"]), rel=1e-6)
    assert result["fees"] == pytest.approx(sum(trade["fees"] for trade in result["trades"]))
    assert (len(result["trades"]), result["has_few_trades"]) == (result["trade_count"], result["trade_count"] < 30)
    assert 0 < result["exposure"] < 1
    assert 0 < result["max_drawdown"] < 1
    assert result["points"][-1]["held"] == pytest.approx(result["capital"] * (1 + result["held_return"]), abs=0.01)
    assert all(trade["entry_ms"] < trade["exit_ms"] or trade["reason"] in ("stop", "target") for trade in result["trades"])


async def test_costs_of_a_quick_backtest_are_the_ones_asked_for(person: Person) -> None:
    free, dear = await quick(person, fee=0, slippage=0, capital=500), await quick(person, fee=0.01, slippage=0.001, capital=500)
    assert (free["fees"], free["gross"]) == (0, pytest.approx(free["net"]))
    assert free["slippage"] == pytest.approx(0, abs=1e-9)
    assert dear["net"] < free["net"]
    assert dear["held_return"] < free["held_return"]
    assert (free["capital"], free["points"][0]["equity"]) == (500, 500)


async def test_parameters_of_a_quick_backtest_are_the_ones_asked_for(person: Person) -> None:
    slow = await quick(person, parameters={"fast": 24})
    assert slow["trades"] != (await quick(person))["trades"]
    answer = await person.call("POST", f"{URL}/quick", json={"source": GOOD, "parameters": {"fast": 1000}})
    assert (answer.status_code, answer.json()["code"]) == (422, "STRATEGY_FAILED")


async def test_a_strategy_that_raises_fails_its_quick_backtest_with_the_line(person: Person) -> None:
    source = GOOD.replace("return ta.crossed_below(self.fast_ema, self.slow_ema)", "return missing")
    answer = await person.call("POST", f"{URL}/quick", json={"source": source})
    assert (answer.status_code, answer.json()["code"]) == (422, "STRATEGY_FAILED")
    assert answer.json()["detail"].startswith("line 21: NameError: name 'missing'")


async def test_a_quick_backtest_that_never_ends_is_stopped(person: Person) -> None:
    source = GOOD.replace("return ta.crossed_below(self.fast_ema, self.slow_ema)", "while True: pass")
    answer = await person.call("POST", f"{URL}/quick", json={"source": source})
    assert (answer.status_code, answer.json()["code"]) == (422, "STRATEGY_KILLED")


@pytest.mark.parametrize("text", ["\\0", "\\ud800", "\\x1b[31m</script>{{7*7}}\\r\\n", "\\u202e%(name)s%s"])
async def test_whatever_a_strategy_says_can_be_kept_and_told(person: Person, text: str) -> None:
    for number, source in enumerate(
        (GOOD + f'\nprint("{text}")\n', GOOD + f'\nraise ValueError("{text}")\n', GOOD.replace("Long when", text))
    ):
        made = (await person.call("POST", URL, json={"name": f"Says {number}", "source": source})).json()
        answer = await person.call("POST", f"{URL}/{made['id']}/versions/1/validate", json={})
        assert answer.status_code == 200, answer.text
        kept = await person.call("GET", f"{URL}/{made['id']}/versions/1")
        assert kept.json()["report"] == answer.json()
        await person.call("DELETE", f"{URL}/{made['id']}")
