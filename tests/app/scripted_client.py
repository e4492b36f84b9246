"""A real client of the emulator of which single questions are answered by a test, and the connections that hand it out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from app.brokers.connections import Connections
from app.exchanges.capabilities import Capabilities
from app.exchanges.port import ExchangeClient
from app.trading.desk import Desk

Answer = Callable[..., Awaitable[Any]]


class ScriptedClient:
    """Answers what `answers` names by those, and everything else as `client` does; counts the questions."""

    def __init__(self, client: ExchangeClient, *, capabilities: Capabilities | None = None, **answers: Answer) -> None:
        self._client = client
        self.capabilities = capabilities or client.capabilities
        self._answers = answers
        self.exchange = client.exchange
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return self._answers.get(name) or getattr(self._client, name)


@dataclass
class ScriptedConnections:
    """The connections, except for the accounts in `clients`."""

    connections: Connections
    clients: dict[UUID, ScriptedClient] = field(default_factory=dict)

    async def client(self, broker_id: UUID) -> Any:
        """Return the account's client."""
        return self.clients.get(broker_id) or await self.connections.client(broker_id)

    def ready(self, broker_id: UUID) -> Any:
        """Return the account's client if there is one."""
        return self.clients.get(broker_id) or self.connections.ready(broker_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connections, name)


async def scripted(
    desk: Desk, broker_id: UUID, *, capabilities: Capabilities | None = None, **answers: Answer
) -> tuple[Desk, ScriptedClient]:
    """The desk on which that account's exchange answers so, or can do no more than `capabilities`."""
    client = ScriptedClient(await desk.connections.client(broker_id), capabilities=capabilities, **answers)
    if isinstance(desk.connections, ScriptedConnections):
        desk.connections.clients[broker_id] = client
        return desk, client
    connections: Any = ScriptedConnections(desk.connections, {broker_id: client})
    return replace(desk, connections=connections), client
