"""One live exchange client per broker account, shared by everything that talks to that account."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.brokers.keys import DIGEST, UNREADABLE, credentials_of, digest_of, pause_unreadable
from app.brokers.models import Broker
from app.core.crypto import Vault
from app.core.db import Database
from app.core.supervisor import Beat
from app.errors import BadCredentials, BrokerNotFound, KeyMissing, KeyUnreadable, NotSent
from app.exchanges.paper.exchange import PaperExchange
from app.exchanges.port import Credentials, ExchangeClient
from app.exchanges.registry import Registry

_LOOK_EVERY_S: Final = 5.0
#: The sealed keys never leave the database: their digest tells whether they changed.
_DIGESTS: Final = f"SELECT id, {DIGEST} AS digest FROM brokers WHERE id = ANY($1) AND removed_at IS NULL"  # noqa: S608  # a constant


@dataclass(frozen=True, slots=True)
class _Digests:
    """What a client was made from: the ciphertext as it was stored, and what was in it."""

    stored: bytes
    secret: bytes


class Connections:
    """Makes clients when they are first needed and drops them when their keys change."""

    def __init__(self, database: Database, vault: Vault, registry: Registry, *, paper: PaperExchange | None = None) -> None:
        self._database = database
        self._vault = vault
        self._registry = registry
        self._paper = paper
        self._clients: dict[UUID, ExchangeClient] = {}
        self._digests: dict[UUID, _Digests] = {}
        self._locks: dict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._drops: dict[UUID, int] = defaultdict(int)

    def ready(self, broker_id: UUID) -> ExchangeClient | None:
        """Return the client if there is one already; the hot path asks here first."""
        return self._clients.get(broker_id)

    async def client(self, broker_id: UUID) -> ExchangeClient:
        """Return the account's client, made now if needed. A paper account's needs no keys and no exchange.

        Raises:
            BrokerNotFound: the account was removed.
            BadCredentials: its stored keys do not open, for which it is paused.
            NotSent: this server's encryption key is missing.
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

    async def _make(self, broker_id: UUID) -> tuple[ExchangeClient, _Digests]:
        # Waits for a change of the keys that is not committed yet: its `drop` may come before its commit.
        query = select(Broker).where(Broker.id == broker_id, Broker.removed_at.is_(None)).with_for_update(read=True)
        async with self._database.transaction() as session:
            broker = await session.scalar(query)
        if broker is None:
            raise BrokerNotFound
        if broker.is_paper and self._paper is not None:
            return self._paper.client(broker_id), _Digests(digest_of(broker), b"")
        credentials = await self._credentials(broker)
        client = await self._registry.client(broker.exchange, credentials, is_testnet=broker.is_testnet)
        return client, _Digests(digest_of(broker), _digest_of(credentials))

    async def _credentials(self, broker: Broker) -> Credentials:
        try:
            return credentials_of(self._vault, broker)
        except KeyMissing as error:
            raise NotSent(error.message, code=error.code) from None
        except KeyUnreadable as error:
            await pause_unreadable(self._database, broker.id)
            raise BadCredentials(UNREADABLE, code=error.code) from None

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
        changed = {broker_id for broker_id, digests in held.items() if stored.get(broker_id) != digests.stored}
        changed -= await self._only_resealed({broker_id: held[broker_id] for broker_id in changed})
        # One that was made again while we asked has the new keys already.
        for broker_id in [broker_id for broker_id in changed if self._digests.get(broker_id) == held[broker_id]]:
            await self.drop(broker_id)
        return changed

    async def _only_resealed(self, held: dict[UUID, _Digests]) -> set[UUID]:
        """Of accounts with another ciphertext, those whose keys are the same: a new encryption key is no reason to drop a connection."""
        if not held:
            return set()
        async with self._database.transaction() as session:
            brokers = (await session.scalars(select(Broker).where(Broker.id.in_(held), Broker.removed_at.is_(None)))).all()
        same = set()
        for broker in brokers:
            try:
                secret = _digest_of(credentials_of(self._vault, broker))
            except (KeyUnreadable, KeyMissing):
                continue
            if secret == held[broker.id].secret:
                same.add(broker.id)
                if self._digests.get(broker.id) == held[broker.id]:
                    self._digests[broker.id] = _Digests(digest_of(broker), secret)
        return same

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


def _digest_of(credentials: Credentials) -> bytes:
    parts = (
        credentials.api_key,
        credentials.api_secret,
        credentials.api_password or "",
        credentials.api_uid or "",
        credentials.subaccount or "",
    )
    return hashlib.sha256(b"/".join(hashlib.sha256(part.encode()).digest() for part in parts)).digest()
