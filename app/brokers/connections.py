"""One live exchange client per broker account, shared by everything that talks to that account."""

import asyncio
from collections import defaultdict
from uuid import UUID

from sqlalchemy import select

from app.brokers.keys import credentials_of
from app.brokers.models import Broker
from app.core.crypto import Vault
from app.core.db import Database
from app.errors import BrokerNotFound
from app.exchanges.port import ExchangeClient
from app.exchanges.registry import Registry


class Connections:
    """Makes clients when they are first needed and drops them when their keys change."""

    def __init__(self, database: Database, vault: Vault, registry: Registry) -> None:
        self._database = database
        self._vault = vault
        self._registry = registry
        self._clients: dict[UUID, ExchangeClient] = {}
        self._locks: dict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._drops: dict[UUID, int] = defaultdict(int)

    def ready(self, broker_id: UUID) -> ExchangeClient | None:
        """Return the client if there is one already; the hot path asks here first."""
        return self._clients.get(broker_id)

    async def client(self, broker_id: UUID) -> ExchangeClient:
        """Return the account's client, made now if needed.

        Raises:
            BrokerNotFound: the account was removed.
            ExchangeUnavailable: the exchange's markets cannot be read.
        """
        client = self._clients.get(broker_id)
        if client is not None:
            return client
        async with self._locks[broker_id]:
            while (client := self._clients.get(broker_id)) is None:
                drops = self._drops[broker_id]
                client = await self._make(broker_id)
                if drops == self._drops[broker_id]:
                    self._clients[broker_id] = client
                    break
                await client.close()  # its keys were changed while it was being made
        return client

    async def _make(self, broker_id: UUID) -> ExchangeClient:
        # Waits for a change of the keys that is not committed yet: its `drop` may come before its commit.
        query = select(Broker).where(Broker.id == broker_id, Broker.removed_at.is_(None)).with_for_update(read=True)
        async with self._database.transaction() as session:
            broker = await session.scalar(query)
        if broker is None:
            raise BrokerNotFound
        return await self._registry.client(broker.exchange, credentials_of(self._vault, broker), is_testnet=broker.is_testnet)

    async def drop(self, broker_id: UUID) -> None:
        """Close the account's client: its keys changed or it was removed."""
        self._drops[broker_id] += 1
        client = self._clients.pop(broker_id, None)
        if client is not None:
            await client.close()

    async def close(self) -> None:
        """Close every client."""
        for broker_id in list(self._clients):
            await self.drop(broker_id)
