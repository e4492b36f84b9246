"""A server at its most talkative, led through errors of every kind: nothing secret comes out anywhere."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from app.core.database_url import DatabaseUrls
from tests.emulator_process import EmulatorProcess
from tests.journeys.conftest import MakeTrader, StartServer
from tests.leaks import SECRETS, dump, filled_tables
from tests.postgres import connected


async def _dump(url: str) -> str:
    async with connected(url) as connection:
        return await dump(connection, await filled_tables(connection))


def test_no_key_secret_or_token_is_in_logs_pages_answers_or_the_database(
    paused_market: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    server = start_server(paused_market, log_level="DEBUG", log_format="json")
    trader = make_trader(server, paused_market).log_in()
    trader.api_key = "PUBLICKEYOFAVERYCAREFULTRADER0123456789"
    trader.open_account()
    said: list[str] = []
    given = {"exchange": "binance", "name": "careful", "api_key": trader.api_key, "api_secret": trader.api_secret}
    trader.broker_id = trader.call("POST", "/api/brokers", json=given)["id"]
    hook = trader.call("POST", "/api/webhooks", json={"name": "careful", "broker_id": trader.broker_id})
    trader.hook_paths.append(urlsplit(hook["url"]).path)

    def ask(method: str, path: str, **request: object) -> None:
        answer = httpx.request(method, server.url + path, headers=dict(trader._http.headers), timeout=20, trust_env=False, **request)  # type: ignore[arg-type]
        said.append(f"{answer.headers}\n{answer.text}")

    order = {"symbol": "BTC/USDT", "side": "buy", "quantity": "0.001"}
    for fault in ({"do": "html"}, {"do": "status_after", "status": 504}, {"do": "drop_after"}, {"do": "status_before", "status": 500}):
        paused_market.fault(**fault, method="POST", path="/api/v3/order")
        ask("POST", "/api/orders", json=order)
    trader.alert(quantity="0.001")
    ask("POST", f"/api/brokers/{trader.broker_id}/test_connection")
    wrong = {**given, "name": "wrong", "api_secret": "secret-of-trader-999"}
    wrong_id = trader.call("POST", "/api/brokers", json=wrong)["id"]
    ask("POST", f"/api/brokers/{wrong_id}/test_connection")
    for body in ("{", '{"api_secret": "secret-of-trader-777"}', '{"exchange": "binance", "name": ["secret-of-trader-778"]}'):
        ask("POST", "/api/brokers", content=body)
    for path in ("/api/brokers", "/api/orders", "/api/fills", "/api/portfolio", "/api/webhooks", "/api/webhooks/deliveries", "/nowhere"):
        ask("GET", path)
    for path in ("/login", "/", "/brokers", "/webhooks", "/nowhere", "/readyz"):
        ask("GET", path)

    log = (tmp_path / "data" / "server.log").read_text()
    stored = asyncio.run(_dump(database_urls.owner))
    secret_path = trader.hook_paths[0].rpartition("/")[2]
    token = trader._http.headers["Authorization"].removeprefix("Bearer ")
    for place, text in {"the log": log, "the database": stored, "an answer": "\n".join(said)}.items():
        assert not SECRETS.search(text.encode()), f"{place}: {SECRETS.search(text.encode())}"
        for what in (trader.api_key, secret_path, token):
            assert what not in text, f"{what} is in {place}"
    assert "order_in_doubt" in log, "the log is one that says what went wrong"
