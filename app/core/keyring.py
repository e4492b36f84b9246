"""Which encryption key seals, who has it, and what follows when it is missing.

The database names the keys by their fingerprints: one of them seals. A server that lacks that one reads what it can, stores no secret and
trades nothing; it never makes another key while something is sealed. Every process says every few seconds which keys it has, so that
`core.rotation` moves to a new key only when all of them have it.

A process says what it has before it reads which key seals, and a rotation writes which key seals before it reads who has it: whatever the
timing, one of the two sees the other.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from cryptography.fernet import Fernet

from app.core.crypto import Vault, fingerprint
from app.core.db import Database
from app.core.models import Base
from app.core.sealed_values import is_anything_sealed, opened_by_any
from app.core.secrets_file import KeySource
from app.core.supervisor import Beat
from app.errors import ConfigError

log = structlog.get_logger(__name__)

#: A process that has been silent for this long is gone.
GONE_S: Final = 30.0
_EVERY_S: Final = 2.0
#: The turn to look at the keys and to change them.
TURN: Final = int.from_bytes(b"arkeys", "big")
#: Stands for the key of a database that has noted none, while secrets are sealed in it that none of our keys opens.
_UNKNOWN: Final = "of an earlier version"
SEALING: Final = "SELECT fingerprint FROM encryption_keys WHERE is_sealing"
_REGISTER: Final = "INSERT INTO encryption_keys (fingerprint, is_sealing) VALUES ($1, true)"
_HERE: Final = """
INSERT INTO key_holders (process, fingerprints, sealing, seen_at) VALUES ($1, $2, $3, now())
ON CONFLICT (process) DO UPDATE SET fingerprints = excluded.fingerprints, sealing = excluded.sealing, seen_at = excluded.seen_at
"""
_LEAVE: Final = "DELETE FROM key_holders WHERE process = $1 OR seen_at < now() - interval '1 day'"
_HOLDERS: Final = """
SELECT process, fingerprints, sealing FROM key_holders WHERE seen_at > now() - make_interval(secs => $1) ORDER BY process
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A running server process: the keys it has, and the one it seals with."""

    process: str
    fingerprints: frozenset[str]
    sealing: str | None


async def holders(connection: Any) -> list[Holder]:
    """Return the server processes that run now."""
    rows = await connection.fetch(_HOLDERS, GONE_S)
    return [Holder(process=row["process"], fingerprints=frozenset(row["fingerprints"]), sealing=row["sealing"]) for row in rows]


class Keyring:
    """This process's keys, and whether the one that seals is among them."""

    def __init__(self, database: Database, source: KeySource) -> None:
        self._database = database
        self._source = source
        self._keys: tuple[str, ...] = ()
        self._process = f"{socket.gethostname()} process {os.getpid()} {secrets.token_hex(4)}"
        self._has_warned = False
        self.vault = Vault(())
        #: Done once, when the key that seals is there: for what could not be started without it.
        self.on_whole: Callable[[], Awaitable[None]] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the key that seals is here."""
        return self.vault.is_whole

    @property
    def place(self) -> str:
        """Where this process looks for its keys."""
        return self._source.place

    @property
    def advice(self) -> str | None:
        """What is missing, where it was expected and what to do, for whoever runs the server; None when nothing is."""
        if self.is_whole:
            return None
        found = ", ".join(self.vault.fingerprints) or "none"
        back = "set it and start again" if self._source.is_given else "put the file back; trading begins by itself then"
        return (
            f"the stored secrets are encrypted with the key {self.vault.sealing}, which is missing. "
            f"It was expected as {self._source.place}; found there: {found}. Take it from your copy and {back}. "
            "If there is no copy: aristobot keys replace-lost"
        )

    async def open(self) -> bool:
        """Find this process's keys, and make the first one when nothing was ever sealed; True when it was made.

        Raises:
            ConfigError: a key is malformed.
        """
        return await self._find(await asyncio.to_thread(self._source.read))

    async def _find(self, keys: tuple[str, ...]) -> bool:
        self._take(keys, None)
        await self._say_what_is_here()
        async with self._database.raw_transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", TURN)
            sealing = await connection.fetchval(SEALING)
            made = False
            if not keys:
                # Another process with the same folder may have made one while this one waited for its turn.
                self._take(await self._read(), None)
            if sealing is None or sealing not in self.vault.fingerprints:
                sealing, made = await self._begin(connection, sealing)
        self.vault.replace(self._keys, sealing=sealing)
        await self._say_what_is_here()
        return made

    async def _begin(self, connection: Any, sealing: str | None) -> tuple[str, bool]:
        """The database knows no key of ours. Where nothing depends on the one it knows, ours is the one from now on."""
        is_sealed = await is_anything_sealed(connection, Base.metadata)
        if sealing is not None and (is_sealed or any(sealing in holder.fingerprints for holder in await holders(connection))):
            return sealing, False
        if is_sealed and not await opened_by_any(connection, Base.metadata, self.vault):
            return _UNKNOWN, False
        keys = self._keys
        is_made = not keys
        if is_made:
            keys = (Fernet.generate_key().decode(),)
            await asyncio.to_thread(self._source.write, keys)
        self._take(keys, None)
        first = fingerprint(keys[0])
        await connection.execute("DELETE FROM encryption_keys")
        await connection.execute(_REGISTER, first)
        return first, is_made

    async def look(self) -> None:
        """Read the keys anew, say which are here, and follow the database's choice of the one that seals."""
        was_whole = self.is_whole
        if not was_whole:
            await self._find(await self._read())
        if self.is_whole and self.on_whole is not None:
            log.info("encryption_key_back", fingerprint=self.vault.sealing)
            await self.on_whole()
            self.on_whole = None
        if was_whole:
            await self._follow(await self._read())

    async def _follow(self, keys: tuple[str, ...]) -> None:
        is_gone = self.vault.sealing not in {fingerprint(key) for key in keys}
        if is_gone and not self._has_warned:
            # This process still has it, and nobody will once it ends.
            log.critical("encryption_key_gone", place=self._source.place, fingerprint=self.vault.sealing)
        self._has_warned = is_gone
        if not is_gone:
            self._take(keys, self.vault.sealing)
        await self._say_what_is_here()
        async with self._database.connection() as connection:
            sealing = await connection.fetchval(SEALING)
        if sealing is not None and sealing != self.vault.sealing:
            self._take(keys if is_gone else self._keys, sealing)
            await self._say_what_is_here()
            if not self.is_whole:
                log.critical("encryption_key_missing", fingerprint=sealing, place=self._source.place)

    async def run(self, beat: Beat) -> None:
        """Look every two seconds, until cancelled. A supervised loop."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.look()
            beat()

    async def leave(self) -> None:
        """Say that this process ends."""
        async with self._database.connection() as connection:
            await connection.execute(_LEAVE, self._process)

    async def _read(self) -> tuple[str, ...]:
        try:
            return await asyncio.to_thread(self._source.read)
        except (ConfigError, OSError) as error:
            log.warning("encryption_key_unreadable", place=self._source.place, reason=str(error))
            return self._keys

    def _take(self, keys: tuple[str, ...], sealing: str | None) -> None:
        self._keys = keys
        self.vault.replace(keys, sealing=sealing)

    async def _say_what_is_here(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_HERE, self._process, list(self.vault.fingerprints), self.vault.sealing)
