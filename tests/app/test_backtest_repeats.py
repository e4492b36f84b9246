"""A run can be made again from what is stored of it, and what is stored of it can be computed again by anybody."""

import asyncio
import csv
import io
import json
import math
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from statistics import mean, stdev
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio
from sqlalchemy import select

from app.backtests.export import ExportKind
from app.backtests.models import Backtest, BacktestResult
from app.backtests.results import StoredResult, result_of
from app.domain.candles import Timeframe, to_milliseconds
from app.domain.outcome import NO_REASON, REASONS
from app.strategies.candles import generated
from tests.app.backtesting import END, ROLES, URL, begun, got, store_candles, strategy, until
from tests.app.library import refusal, somebody
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = 12_000
#: Everything that another run is made of.
HEADER = (
    "strategy_id", "version_id", "parameters", "exchange", "symbol", "timeframe", "start_at", "end_at", "capital", "fee", "maker_fee",
    "slippage", "options", "rules", "seed", "engine_version", "candles_sha256",
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site"), roles=ROLES) as running:
        await store_candles(running, ROWS)
        yield running


async def stored(site: Site, backtest_id: str) -> tuple[dict[str, Any], tuple[bytes, bytes, bytes]]:
    """Return the header and the bytes of trades, fills and equity as the database has them."""
    async with site.app.state.platform_database.transaction() as session:
        row = await session.scalar(select(Backtest).where(Backtest.id == UUID(backtest_id)))
        result = await session.scalar(select(BacktestResult).where(BacktestResult.backtest_id == UUID(backtest_id)))
        assert row is not None
        assert result is not None
        return {name: getattr(row, name) for name in HEADER}, (result.trades, result.fills, result.equity)


async def columns(site: Site, person: Person, backtest_id: str) -> StoredResult:
    async with site.app.state.platform_database.transaction() as session:
        return await result_of(session, UUID(person.ids["user_id"]), UUID(backtest_id))


async def completed(person: Person, backtest: dict[str, Any]) -> dict[str, Any]:
    done = await until(person, backtest["id"], within_s=120.0)
    assert done["state"] == "completed", done["error"]
    return done


async def test_a_run_repeated_from_its_stored_header_gives_the_same_trades_byte_for_byte(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    asked = {"minutes": 9_000, "parameters": {"fast": 4, "stop_loss": 0.004}, "capital": "2500.5", "slippage": "0.0003", "fee": "0.00075"}
    first = await completed(person, await begun(person, strategy_id, **asked))
    answer = await person.call("POST", f"{URL}/{first['id']}/repeat")
    assert answer.status_code == 201, answer.text
    second = await completed(person, answer.json())

    assert second["id"] != first["id"]
    header, result = await stored(site, first["id"])
    again, repeated = await stored(site, second["id"])
    assert again == header
    assert repeated == result
    assert second["report"] == first["report"]
    assert len((await columns(site, person, first["id"])).trades) > 30


async def test_a_wish_filled_in_from_a_shown_header_gives_the_same_trades_too(site: Site) -> None:
    """What a person copies into the form, rather than what the repeat button does."""
    person = await somebody(site)
    strategy_id = await strategy(person)
    first = await completed(person, await begun(person, strategy_id, minutes=6_000, parameters={"slow": 33}))
    shown = await got(person, first["id"])
    names = ("strategy_id", "version", "parameters", "symbol", "timeframe", "start_at", "end_at", "capital", "fee", "maker_fee", "slippage")
    answer = await person.call("POST", URL, json={name: shown[name] for name in names} | {"seed": shown["seed"]})
    assert answer.status_code == 201, answer.text
    second = await completed(person, answer.json())
    assert (await stored(site, second["id"]))[1] == (await stored(site, first["id"]))[1]


async def test_what_safeguards_did_is_told_and_repeated(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    safeguards = {"losses": {"trades": 2, "rearm_after": 30}, "cooldown": {"span": {"minutes": 5}}, "drawdown": {"fraction": "0.03"}}
    asked = {"minutes": 6_000, "parameters": {"fast": 4, "stop_loss": 0.004}, "options": {"safeguards": safeguards}}
    first = await completed(person, await begun(person, strategy_id, **asked))
    told = first["report"]["trips"]
    assert first["options"]["safeguards"] == safeguards
    assert {trip["rule"] for trip in told} == {"losses", "drawdown"}
    assert all(trip["values"] == {"count": "2", "limit": "2"} for trip in told if trip["rule"] == "losses")
    assert first["report"]["refused"] > 0
    assert {check["code"]: check["verdict"] for check in first["report"]["checks"]}["SAFEGUARDS"] == "warn"
    second = await completed(person, (await person.call("POST", f"{URL}/{first['id']}/repeat")).json())
    assert (await stored(site, second["id"]))[1] == (await stored(site, first["id"]))[1]
    assert second["report"] == first["report"]


async def test_another_version_does_not_change_what_a_header_repeats(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person)
    first = await completed(person, await begun(person, strategy_id, minutes=3_000))
    source = (await person.call("GET", f"/api/strategies/{strategy_id}/versions/1")).json()["source"]
    changed = source.replace("param(5,", "param(9,")
    answer = await person.call("POST", f"/api/strategies/{strategy_id}/versions", json={"source": changed})
    assert answer.status_code in (200, 201), answer.text
    second = await completed(person, (await person.call("POST", f"{URL}/{first['id']}/repeat")).json())
    newest = await completed(person, await begun(person, strategy_id, minutes=3_000))

    assert (await stored(site, second["id"]))[1] == (await stored(site, first["id"]))[1]
    assert (await stored(site, newest["id"]))[1] != (await stored(site, first["id"]))[1]


async def test_the_report_in_the_database_is_what_fills_and_candles_come_to(site: Site) -> None:
    """An account kept by hand: cash from the fills alone, marked at the closes, and its figures in plain Python."""
    person = await somebody(site)
    done = await completed(person, await begun(person, await strategy(person), minutes=9_000, parameters={"stop_loss": 0.003}))
    result, report = await columns(site, person, done["id"]), done["report"]
    candles = await asyncio.to_thread(generated, ROWS, Timeframe.M1, end_ms=to_milliseconds(END), seed=1)
    closes = candles["close"][np.searchsorted(candles["open_time"], result.time)].tolist()
    capital, equity = float(done["capital"]), equity_by_hand(result, closes, float(done["capital"]))
    assert result.equity.tolist() == pytest.approx(equity, rel=1e-9)

    start = result.time.tolist().index(to_milliseconds(datetime.fromisoformat(done["start_at"])))
    assert float(report["final_equity"]) == pytest.approx(equity[-1], abs=1e-6)
    assert float(report["kpis"]["net"]) == pytest.approx(equity[-1] - capital, abs=1e-6)
    assert report["candles"] == len(result.time) - start
    peak, deepest = 0.0, 0.0
    for level in equity[start:]:
        peak = max(peak, level)
        deepest = max(deepest, 1 - level / peak)
    assert report["kpis"]["max_drawdown"] == pytest.approx(deepest, rel=1e-9)
    assert report["kpis"]["sharpe"] == pytest.approx(sharpe_by_hand(result.time.tolist()[start:], equity[start:]), rel=1e-9)
    assert_trades_agree(result, report)


def equity_by_hand(result: StoredResult, closes: list[float], capital: float) -> list[float]:
    fills = result.fills
    cash, held, place, equity = capital, 0.0, 0, []
    for row in range(len(result.time)):
        while place < len(fills) and fills.candle[place] == row:
            signed = float(fills.side[place] * fills.quantity[place])
            cash -= signed * float(fills.price[place]) + float(fills.fee[place])
            held += signed
            place += 1
        equity.append(cash + held * closes[row])
    return equity


def sharpe_by_hand(times: list[int], equity: list[float]) -> float:
    last_of_day: dict[int, float] = {}
    for at, level in zip(times[1:], equity[1:], strict=True):
        last_of_day[at // 86_400_000] = level  # a candle that opens in a day closes in it, or ends it
    levels = [equity[0], *last_of_day.values()]
    returns = [after / before - 1 for before, after in pairwise(levels)]
    return mean(returns) / stdev(returns) * math.sqrt(365)


def assert_trades_agree(result: StoredResult, report: dict[str, Any]) -> None:
    trades = result.trades
    profits = [float(profit) for profit, code in zip(trades.profit, trades.reason, strict=True) if code != NO_REASON]
    won, lost = [one for one in profits if one > 0], [one for one in profits if one < 0]
    figures = report["trades"]
    assert (figures["closed"], figures["won"], figures["lost"]) == (len(profits), len(won), len(lost))
    assert figures["profit_factor"] == pytest.approx(sum(won) / -sum(lost))
    assert float(figures["expectancy"]) == pytest.approx(mean(profits), abs=1e-7)
    assert float(report["costs"]["fees"]) == pytest.approx(sum(result.fills.fee.tolist()))
    # Every trade is what its fills brought: buys and sells between flat and flat.
    fills = (getattr(result.fills, name).tolist() for name in ("side", "quantity", "price", "fee"))
    brought, held, sums = 0.0, 0.0, []
    for side, quantity, price, fee in zip(*fills, strict=True):
        brought -= side * quantity * price + fee
        held += side * quantity
        if abs(held) < 1e-9:
            sums.append(brought)
            brought = 0.0
    assert sums == pytest.approx(profits, abs=1e-6)


#: Enters whenever it is flat, and tells what was filled.
INSIDE = """from aristobot import Strategy, param


class Inside(Strategy):
    timeframe = "1h"
    warm_up = 2
    trailing_stop = param(0.004, low=0.001, high=0.1)
    take_profit = param(0.004, low=0.001, high=0.1)

    def should_long(self):
        return self.candles.close[-1] > self.candles.close[-2]

    def should_exit(self):
        return self.position.candles_held > 3

    def on_fill(self, fill):
        print(fill.reason, round(fill.price, 6))
"""


async def test_with_minutes_inside_candles_a_strategy_was_told_of_the_fills_that_are_stored(site: Site) -> None:
    person = await somebody(site)
    strategy_id = await strategy(person, INSIDE, name="Inside")
    wishes = [{"minutes": 9_000, "timeframe": "1h", "options": {"detail": is_detailed}} for is_detailed in (False, True)]
    told = []
    for wanted in wishes:
        done = await completed(person, await begun(person, strategy_id, **wanted))
        fills = (await columns(site, person, done["id"])).fills
        told.append(done["output"].splitlines())
        stored = [f"{REASONS[code].value} {round(price, 6)}" for code, price in zip(fills.reason, fills.price.tolist(), strict=True)]
        assert len(stored) > 20
        assert told[-1] == stored
    assert told[0] != told[1]


async def test_a_file_has_the_figures_of_the_database_in_the_language_that_is_asked_for(site: Site) -> None:
    person = await somebody(site)
    done = await completed(person, await begun(person, await strategy(person, name="=Cross"), minutes=1_000))
    found = await columns(site, person, done["id"])

    async def file(kind: ExportKind) -> str:
        answer = await person.call("GET", f"{URL}/{done['id']}/export", params={"format": kind.value, "language": "fr"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == kind.media_type
        return answer.text

    trades = list(csv.DictReader(io.StringIO(await file(ExportKind.TRADES_CSV))))
    assert [float(row["profit"]) for row in trades] == found.trades.profit.tolist()
    assert {row["strategy"] for row in trades} == {"'=Cross"}
    equity = list(csv.DictReader(io.StringIO(await file(ExportKind.EQUITY_CSV))))
    assert [float(row["equity"]) for row in equity] == found.equity[-1_000:].tolist()
    whole = json.loads(await file(ExportKind.JSON))
    assert (whole["header"]["candles_sha256"], whole["report"]) == (done["candles_sha256"], done["report"])
    assert "Rapport de backtest" in await file(ExportKind.HTML)


async def test_there_is_no_file_of_what_has_no_result_or_of_what_is_not_ones_own(site: Site) -> None:
    person, other = await somebody(site), await somebody(site)
    done = await completed(person, await begun(person, await strategy(person), minutes=1_000))
    assert refusal(await other.call("GET", f"{URL}/{done['id']}/export")) == (404, "BACKTEST_NOT_FOUND")
    failed = await begun(person, await strategy(person, "from aristobot import Strategy\nx = 1 / 0\n", name="Broken"), minutes=1_000)
    await until(person, failed["id"], "failed", within_s=60.0)
    assert refusal(await person.call("GET", f"{URL}/{failed['id']}/export")) == (409, "BACKTEST_RESULT_MISSING")
    assert (await person.call("GET", f"{URL}/{done['id']}/export", params={"format": "exe"})).status_code == 422
