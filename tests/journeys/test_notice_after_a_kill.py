"""The server dies between a messenger's answer and writing it down; its successor tells once more, and then never again."""

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.core.crash_points import MESSAGE_POINT
from app.core.database_url import DatabaseUrls
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.fault_matrix import row
from tests.journeys.conftest import MakeTrader, end, settings_for
from tests.journeys.eventually import eventually
from tests.journeys.test_crash_points import PATIENCE_S, MortalServer
from tests.postgres import PostgresForTests, connected


@pytest.fixture
def heard() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A receiver on this machine: its port, and of each message the title and the key."""
    messages: list[tuple[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            messages.append((body["title"], self.headers["Idempotency-Key"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1], messages
    server.shutdown()
    server.server_close()


@pytest.fixture
def venue() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--history", "60", *WITHOUT_LIMITS) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def urls(postgres: PostgresForTests) -> AsyncIterator[DatabaseUrls]:
    made = await postgres.create_database()
    yield made
    await postgres.drop_database(made)


async def _run(urls: DatabaseUrls, sql: str) -> list[Any]:
    async with connected(urls.owner) as owner:
        return list(await owner.fetch(sql))


def _states(urls: DatabaseUrls) -> list[str]:
    return [found["state"] for found in asyncio.run(_run(urls, "SELECT state FROM notification_attempts ORDER BY id"))]


@row(21)
def test_a_message_that_was_answered_before_a_kill_is_told_once_more_and_never_again(
    venue: EmulatorProcess, urls: DatabaseUrls, tmp_path: Path, make_trader: MakeTrader, heard: tuple[int, list[tuple[str, str]]]
) -> None:
    port, messages = heard
    settings = settings_for(venue, urls, registration="open", heartbeat_history_minutes=0)
    server = MortalServer(tmp_path, **settings, notifications_allowed_hosts=f"127.0.0.1:{port}")
    try:
        server.start_again()
        trader = make_trader(server, venue).sign_up()
        given = {"name": "Hook", "service": "webhook", "fields": {"url": f"http://127.0.0.1:{port}/hook"}}
        trader.call("POST", "/api/notifications/targets", json=given)
        server.stop()
        words = "INSERT INTO outbox (user_id, kind, body, created_at) SELECT user_id, 'order_lost', '{\"text\": \"lost\"}', now()"
        asyncio.run(_run(urls, f"{words} FROM notification_targets"))
        server.start_mortal(MESSAGE_POINT)
        assert server.died_by() == signal.SIGKILL
        assert len(messages) == 1
        # Half a minute later, when nobody who was only slow can be at it any more.
        asyncio.run(_run(urls, "UPDATE notice_deliveries SET claimed_until = now() - interval '1 second'"))
        server.start_again()
        eventually(lambda: _states(urls) == ["unknown", "sent"], "it is told once more, and the log says so", within_s=PATIENCE_S)
        assert messages == [messages[0]] * 2
        server.stop()
        server.start_again()
        asyncio.run(_run(urls, f"{words} FROM notification_targets"))
        eventually(lambda: _states(urls) == ["unknown", "sent", "sent"], "the next one is told", within_s=PATIENCE_S)
        assert len(messages) == 3
        assert messages[2][1] != messages[0][1]
    finally:
        end(server)
