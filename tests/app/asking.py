"""A person with a strategy and an AI provider, and what the assistant streams to them."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest_asyncio
import uvicorn
from fastapi import FastAPI

from app.accounts.ai import AiProviders
from app.core.addresses import parse_allowed
from app.core.ids import new_id
from app.core.outgoing import Outgoing
from app.core.tenancy import working_for
from app.strategies.models import Strategy
from tests.app.ai_server import KEY, AiServer, ai_server
from tests.app.conftest import PASSWORD
from tests.app.whole_site import Person, Site, log_in, state_of

SOURCE = '''from aristobot import Strategy, ta


class Cross(Strategy):
    """Long above the average."""

    timeframe = "1h"

    def indicators(self, candles):
        self.average = ta.SMA(candles.close, 20)

    def should_long(self):
        return self.candles.close[-1] > self.average[-1]
'''
PROPOSED = SOURCE.replace('timeframe = "1h"', 'timeframe = "1h"\n    stop_loss = 0.02')
ASSIST = "/api/strategies/assist"
FENCED = f"Here it is.\n\n```python\n{PROPOSED}```\n\nIt may be hit by noise."
_numbers = count(1)


@dataclass(kw_only=True)
class Asker:
    """Somebody who asks the assistant about a strategy of theirs."""

    site: Site
    person: Person
    user_id: UUID
    name: str
    strategy_id: UUID

    async def ask(self, message: str = "Add a stop of 2 %.", *, source: str = SOURCE, **more: Any) -> httpx.Response:
        body = {"strategy_id": str(self.strategy_id), "message": message, "source": source, **more}
        return await self.person.call("POST", ASSIST, json=body)

    async def told(self, message: str = "Add a stop of 2 %.", **more: Any) -> list[tuple[str, Any]]:
        """Ask and return the events of the answer."""
        answer = await self.ask(message, **more)
        assert answer.status_code == 200, answer.text
        return events_of(answer.text)

    async def conversation(self) -> list[dict[str, Any]]:
        answer = await self.person.call("GET", f"/api/strategies/{self.strategy_id}/assist")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def has_ended(self) -> bool:
        """Whether the newest answer has."""
        return bool((await self.conversation())[-1]["outcome"] != "running")

    async def rows(self, sql: str, *values: object) -> list[Any]:
        async with self.site.app.state.platform_database.connection() as connection:
            return list(await connection.fetch(sql, *values))


def events_of(text: str) -> list[tuple[str, Any]]:
    """Return (name, data) of the events in a finished stream."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], orjson.loads(lines["data"])))
    return found


def words_of(events: list[tuple[str, Any]]) -> str:
    return "".join(data["text"] for name, data in events if name == "words")


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """The application on a port of its own; yields its address. What starts and stops it is somebody else's."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await server.shutdown([listener])


async def choose(person: Person, **preferences: Any) -> None:
    answer = await person.call("PUT", "/api/auth/preferences", json=preferences)
    assert answer.status_code == 200, answer.text


async def openrouter(person: Person, model: str = "vendor/clever") -> None:
    await choose(person, ai_provider="openrouter", ai_api_key=KEY, ai_model=model)


async def ollama(person: Person, provider: AiServer, model: str = "qwen3:32b") -> None:
    await choose(person, ai_provider="ollama", ai_endpoint_url=provider.url, ai_model=model)


async def make_strategy(site: Site, user_id: UUID, name: str = "Cross") -> UUID:
    state, strategy_id = site.app.state, new_id()
    now = state.clock.now()
    with working_for(user_id):
        async with state.database.transaction() as session:
            session.add(Strategy(id=strategy_id, user_id=user_id, name=name, created_at=now, changed_at=now))
    return strategy_id


async def asker(site: Site) -> Asker:
    """Somebody new, whose provider is still off."""
    name = f"quincy-{next(_numbers)}"
    user = await site.app.state.accounts.create_user(name, PASSWORD)
    return Asker(
        site=site,
        person=await log_in(site.app, site.http, name),
        user_id=user.id,
        name=name,
        strategy_id=await make_strategy(site, user.id),
    )


@pytest_asyncio.fixture(loop_scope="module")
async def provider(site: Site) -> AsyncIterator[AiServer]:
    """A provider that the administrator allows as an Ollama, and that stands in for OpenRouter."""
    async with ai_server() as running:
        outgoing = Outgoing(allowed=parse_allowed((f"127.0.0.1:{running.port}",)))
        with state_of(site, ai_providers=AiProviders(outgoing, openrouter_url=f"{running.url}/v1")):
            yield running


@pytest_asyncio.fixture(loop_scope="module")
async def quincy(site: Site) -> Asker:
    return await asker(site)
