"""A server is killed, or asked to end, while a search runs: the next one goes on from its trials, and none is lost, doubled or other."""

from typing import Any

import pytest

from app.core.database_url import DatabaseUrls
from tests.app.backtesting import slow, wish
from tests.emulator_process import EmulatorProcess
from tests.journeys.conftest import MakeTrader, StartServer
from tests.journeys.eventually import eventually
from tests.journeys.test_backtests_after_a_kill import _store_candles
from tests.journeys.trader import Trader

URL = "/api/searches"
_WANTED = 40
_Found = dict[str, Any]


def _search(trader: Trader, search_id: str, *, least: int = 0, state: str = "") -> _Found | None:
    found: _Found = trader.call("GET", f"{URL}/{search_id}")
    return found if found["tried"] >= least and state in ("", found["state"]) else None


def _trials(trader: Trader, search_id: str) -> list[tuple[Any, ...]]:
    items = trader.call("GET", f"{URL}/{search_id}/trials?limit=500")["items"]
    return [(one["number"], tuple(one["parameters"].items()), one["score"], one["train"], one["test"]) for one in items]


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.asyncio(loop_scope="function")
async def test_a_search_goes_on_in_the_next_server_as_if_nothing_had_been(
    paused_market: EmulatorProcess, database_urls: DatabaseUrls, start_server: StartServer, make_trader: MakeTrader, how: str
) -> None:
    server = start_server(paused_market)
    await _store_candles(database_urls)
    trader = make_trader(server, paused_market).log_in()
    strategy = trader.call("POST", "/api/strategies", json={"name": "Slow", "source": slow(1_500)})
    asked = {**wish(strategy["id"], minutes=1_500), "method": "grid", "trials": _WANTED, "least_trades": 1, "seed": 3}
    axes = [{"name": "fast", "low": 3, "high": 10, "step": 1}, {"name": "slow", "low": 20, "high": 40, "step": 5}]
    made = trader.call("POST", URL, json={**asked, "axes": axes})
    begun = eventually(lambda: _search(trader, made["id"], least=1), "trials come", within_s=40)
    assert begun["tried"] < _WANTED
    before = _trials(trader, made["id"])
    server.kill() if how == "kill" else server.stop()

    trader.server = start_server(paused_market)
    trader.log_in()
    done = eventually(lambda: _search(trader, made["id"], state="completed"), "it is done", within_s=60)
    after = _trials(trader, made["id"])
    assert (done["tried"], len(after)) == (_WANTED, _WANTED)
    assert after[: len(before)] == before
    assert len({one[1] for one in after}) == _WANTED, "none was tried twice"
    assert done["best_score"] == max(one[2] for one in after if one[2] is not None)
