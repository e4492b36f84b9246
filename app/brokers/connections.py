"""One live exchange client per broker account, shared by everything that talks to that account."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.brokers.keys import DIGEST, credentials_of, digest_of
from app.brokers.models import Broker
from app.core.crypto import Vault
from app.core.db import Database
from app.core.supervisor import Beat
from app.errors import BrokerNotFound
from app.exchanges.paper.exchange import PaperExchange
from app.exchanges.port import Credentials, ExchangeClient
from app.exchanges.registry import Registry

_LOOK_EVERY_S: Final = 5.0
#: The sealed keys never leave the database: their digest tells whether they changed.
_DIGESTS: Final = f"SELECT id, {DIGEST} AS digest FROM brokers WHERE id = ANY($1) AND removed_at IS NULL"  # noqa: S608  # a constant


class Connections:
    """Makes clients when they are first needed and drops them when their keys change."""

    def __init__(self, database: Database, vault: Vault, registry: Registry, *, paper: PaperExchange | None = None) -> None:
        self._database = database
        self._vault = vault
        self._registry = registry
        self._paper = paper
        self._clients: dict[UUID, ExchangeClient] = {}
        self._digests: dict[UUID, bytes] = {}
        self._locks: dict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._drops: dict[UUID, int] = defaultdict(int)

    def ready(self, broker_id: UUID) -> ExchangeClient | None:
        """Return the client if there is one already; the hot path asks here first."""
        return self._clients.get(broker_id)

    async def client(self, broker_id: UUID) -> ExchangeClient:
        """Return the account's client, made now if needed. A paper account's needs no keys and no exchange.

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
                client, digest = await self._make(broker_id)
                if drops == self._drops[broker_id]:
                    self._clients[broker_id], self._digests[broker_id] = client, digest
                    break
                await client.close()  # its keys were changed while it was being made
        return client

    async def _make(self, broker_id: UUID) -> tuple[ExchangeClient, bytes]:
        # Waits for a change of the keys that is not committed yet: its `drop` may come before its commit.
        query = select(Broker).where(Broker.id == broker_id, Broker.removed_at.is_(None)).with_for_update(read=True)
        async with self._database.transaction() as session:
            broker = await session.scalar(query)
        if broker is None:
            raise BrokerNotFound
        if broker.is_paper and self._paper is not None:
            return self._paper.client(broker_id), digest_of(broker)
        client = await self._registry.client(broker.exchange, credentials_of(self._vault, broker), is_testnet=broker.is_testnet)
        return client, digest_of(broker)

    @asynccontextmanager
    async def visit(self, exchange: str, credentials: Credentials, *, is_testnet: bool) -> AsyncIterator[ExchangeClient]:
        """Lend a client with keys that are stored nowhere, to find out whether they work.

        Raises:
            Unsupported: there is no such exchange, or it has no testnet.
        """
        client = await self._registry.client(exchange, credentials, is_testnet=is_testnet)
        try:
            yield client
        finally:
            await client.close()

    def clock_offset_ms(self, exchange: str, *, is_testnet: bool) -> int | None:
        """Return our clock minus the exchange's as last compared, milliseconds; None while it was not."""
        gauge = self._registry.limit_of(exchange, is_testnet=is_testnet)
        return None if gauge is None else gauge.clock_offset_ms

    async def drop(self, broker_id: UUID) -> None:
        """Close the account's client: its keys changed or it was removed."""
        self._drops[broker_id] += 1
        self._digests.pop(broker_id, None)
        client = self._clients.pop(broker_id, None)
        if client is not None:
            await client.close()

    async def drop_changed(self) -> set[UUID]:
        """Close the clients whose keys another process has changed since they were made; return their accounts."""
        held = dict(self._digests)
        if not held:
            return set()
        async with self._database.connection() as connection:
            rows = await connection.fetch(_DIGESTS, list(held))
        stored = {row["id"]: row["digest"] for row in rows}
        changed = {broker_id for broker_id, digest in held.items() if stored.get(broker_id) != digest}
        # One that was made again while we asked has the new keys already.
        for broker_id in [broker_id for broker_id in changed if self._digests.get(broker_id) == held[broker_id]]:
            await self.drop(broker_id)
        return changed

    async def run(self, beat: Beat) -> None:
        """Drop clients whose keys another process changes, until cancelled. A supervised loop."""
        while True:
            await self.drop_changed()
            beat()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def close(self) -> None:
        """Close every client."""
        for broker_id in list(self._clients):
            await self.drop(broker_id)
