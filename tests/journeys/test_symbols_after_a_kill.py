"""A server is killed while it updates an exchange's symbols: the next one says so, and begins anew when asked."""

from tests.emulator_process import EmulatorProcess
from tests.journeys.conftest import MakeTrader, StartServer
from tests.journeys.eventually import eventually


def test_an_update_that_a_killed_server_left_is_interrupted_and_the_list_is_whole(
    paused_market: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(paused_market)
    trader = make_trader(server, paused_market).log_in()
    assert len(trader.call("GET", "/api/symbols")["items"]) == 1
    paused_market.change_symbol(tick="0.1")
    paused_market.fault("delay", method="GET", path="/api/v3/exchangeInfo", delay_ms=8_000)
    begun = trader.call("POST", "/api/symbols/updates", json={"exchange": "binance"})
    assert (begun["state"], begun["is_mine"]) == ("running", True)
    server.kill()

    trader.server = start_server(paused_market)
    trader.log_in()
    left = eventually(lambda: _ended(trader.call("GET", f"/api/symbols/updates/{begun['id']}")), "the update is given up")
    assert (left["state"], left["code"], left["added"]) == ("interrupted", "INTERRUPTED", None)
    assert [item["tick_size"] for item in trader.call("GET", "/api/symbols")["items"]] == ["0.01"]

    paused_market.control("DELETE", "/_fault")
    again = trader.call("POST", "/api/symbols/updates", json={"exchange": "binance"})
    done = eventually(lambda: _ended(trader.call("GET", f"/api/symbols/updates/{again['id']}")), "the next one is done", within_s=30)
    assert (done["state"], done["updated"], done["names"]) == ("done", 1, {"updated": ["BTC/USDT"]})
    assert [item["tick_size"] for item in trader.call("GET", "/api/symbols")["items"]] == ["0.1"]
    assert [item["state"] for item in trader.call("GET", "/api/symbols/updates")["items"]] == ["done", "interrupted"]


def _ended(update: dict[str, object]) -> dict[str, object] | None:
    return None if update["state"] == "running" else update
