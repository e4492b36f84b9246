"""Moving everything that is sealed to a new encryption key, beside running servers: the work of `aristobot keys`.

1. The new key is put in front of the keys. Every running server must have it before anything depends on it: those with the same secrets
   file read it within two seconds, others need it by hand.
2. The database says that the new key seals, and every running server has said that it follows.
3. What the older keys seal is sealed anew, a page of rows in each transaction.
4. With `drop_old`, once nothing in any table is sealed with them, the older keys are forgotten.

Killed between any two steps, it leaves everything readable, and the next run goes on from there: it makes no key while two are present.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from cryptography.fernet import Fernet

from app.core.crypto import Vault, fingerprint
from app.core.db import Database
from app.core.keyring import GONE_S, SEALING, TURN, Holder, holders
from app.core.models import Base
from app.core.sealed_values import Resealed, count_by_key, is_anything_sealed, reseal_all, sealed_tables
from app.core.secrets_file import KeySource
from app.errors import ConfigError, Conflict

Say = Callable[[str], None]

_ALONE: Final = int.from_bytes(b"arrotate", "big")
_STEP_S: Final = 0.25
_SEAL_WITH: Final = """
INSERT INTO encryption_keys (fingerprint, is_sealing) VALUES ($1, true) ON CONFLICT (fingerprint) DO UPDATE SET is_sealing = true
"""
_GIVEN: Final = """FERNET_KEY comes from the environment or .env, which this program does not change. Nothing was changed. To rotate:
  1. aristobot keys new
  2. set FERNET_KEY=NEW,PRESENT (the new key, a comma, the present key) for every server and for this command; restart every server
  3. aristobot keys rotate"""


class Rotation:
    """Changes of the encryption key, one at a time. It tells counts and fingerprints, never a key.

    Args:
        database: The platform's.
        source: The keys.
        say: Tells the person at the terminal how far it is.
        patience_s: How long it waits for running servers, in seconds; longer than one that was killed counts as running.
    """

    def __init__(self, database: Database, source: KeySource, say: Say, *, patience_s: float = GONE_S + 15.0) -> None:
        self._database = database
        self._source = source
        self._say = say
        self._patience_s = patience_s

    async def rotate(self, *, drop_old: bool = False) -> Resealed:
        """Seal everything with a new key, or finish doing so; see the module.

        Raises:
            ConfigError: the present key is not here, a running server lacks the new one, or the keys must be changed by hand.
            Conflict: another command is at it, or something was sealed with an older key again.
        """
        async with self._alone():
            keys, sealing = self._source.read(), await self._sealing()
            if sealing is None:
                raise ConfigError("nothing was ever encrypted here: a first start makes the key")
            if sealing not in _names(keys):
                raise ConfigError(f"the present key {sealing} is missing; it was expected as {self._source.place}")
            if len(keys) == 1 and not drop_old:
                keys = self._with_a_new_one(keys)
            return await self._move(keys, sealing, drop_old=drop_old)

    async def replace_lost(self) -> Resealed:
        """Give up a key that is lost for good: a new one seals from now on, and what the lost one sealed stays unreadable.

        Raises:
            ConfigError: nothing is lost, or a running server still has the key.
            Conflict: another command is at it.
        """
        async with self._alone():
            keys, sealing = self._source.read(), await self._sealing()
            await self._refuse_unless_lost(keys, sealing)
            if not self._source.is_given:
                keys = (Fernet.generate_key().decode(), *keys)
                self._source.write(keys)
            if not keys:
                raise ConfigError("FERNET_KEY is empty")
            await self._seal_with(fingerprint(keys[0]))
            done = await reseal_all(self._database, Base.metadata, Vault(keys))
            self._say(f"{fingerprint(keys[0])} seals from now on. {done.unreadable} values stay unreadable.")
            self._say(
                "Their accounts are paused until their API keys are entered again. Second factors among them: recovery codes still work."
            )
            return done

    async def _move(self, keys: tuple[str, ...], sealing: str, *, drop_old: bool) -> Resealed:
        new, older = fingerprint(keys[0]), _names(keys)[1:]
        if new != sealing:
            await self._wait_until(lambda holder: sealing not in holder.fingerprints or new in holder.fingerprints, f"have the key {new}")
            await self._seal_with(new)
        self._say(f"{new} seals.")
        await self._wait_until(lambda holder: holder.sealing == new or holder.sealing not in holder.fingerprints, f"seal with {new}")
        done = await reseal_all(self._database, Base.metadata, Vault(keys, sealing=new))
        self._say(f"Sealed anew: {done.changed}. Sealed with it already: {done.unchanged}. Opened by no key here: {done.unreadable}.")
        if drop_old:
            await self._drop(keys, new)
        elif older:
            self._say(f"Older keys that are still accepted: {', '.join(older)}.")
            self._say("Keep a copy of the new key now, then: aristobot keys rotate --drop-old")
        return done

    async def _drop(self, keys: tuple[str, ...], new: str) -> None:
        async with self._database.raw_transaction() as connection:
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            # Whoever is about to commit a sealed value is waited for, and whoever comes next seals with the new key.
            names = ", ".join(table.name for table in sealed_tables(Base.metadata))
            await connection.execute(f"LOCK TABLE {names} IN SHARE MODE")
            counted = await count_by_key(connection, Base.metadata, Vault(keys, sealing=new))
            left = sum(count for key, count in counted.items() if key not in (new, None))
            if left:
                raise Conflict(f"{left} values were sealed with an older key meanwhile; nothing was dropped. Run the command again")
            await connection.execute("DELETE FROM encryption_keys WHERE NOT is_sealing")
        older = ", ".join(_names(keys)[1:])
        if not older:
            self._say("There is no older key.")
        elif self._source.is_given:
            self._say(f"Nothing is sealed with {older}. Set FERNET_KEY to its first key ({new}) alone for every server, and restart them.")
        else:
            self._source.write(keys[:1])
            self._say(f"Dropped {older}. Only copies of the database made before now still need it.")

    def _with_a_new_one(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        if self._source.is_given:
            raise ConfigError(_GIVEN)
        keys = (Fernet.generate_key().decode(), *keys)
        # Durable before anything is sealed with it.
        self._source.write(keys)
        self._say(f"Made the key {fingerprint(keys[0])}, the first of {self._source.place}.")
        return keys

    async def _refuse_unless_lost(self, keys: tuple[str, ...], sealing: str | None) -> None:
        async with self._database.raw_transaction() as connection:
            if not await is_anything_sealed(connection, Base.metadata):
                raise ConfigError("nothing is encrypted here, so nothing is lost; start the server")
            counted = await count_by_key(connection, Base.metadata, Vault(keys))
            having = [holder.process for holder in await holders(connection) if sealing in holder.fingerprints]
        if sealing in _names(keys) or (sealing is None and any(key is not None for key in counted)):
            raise ConfigError("nothing is lost: the present key is here")
        if having:
            raise ConfigError(f"the key {sealing} is not lost: a running server still has it ({'; '.join(having)}). Copy that server's key")

    async def _wait_until(self, is_well: Callable[[Holder], bool], what: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        is_said = False
        while True:
            async with self._database.connection() as connection:
                late = [holder.process for holder in await holders(connection) if not is_well(holder)]
            if not late:
                return
            if not is_said:
                self._say(f"Waiting for {len(late)} running servers to {what} (one that was killed counts for {GONE_S:.0f} s) …")
                is_said = True
            if loop.time() > deadline:
                raise ConfigError(
                    f"running servers do not {what}: {'; '.join(late)}. Give them the same FERNET_KEY or secrets file, "
                    "restart or stop them, and run the command again. Everything stays readable meanwhile"
                )
            await asyncio.sleep(_STEP_S)

    async def _seal_with(self, new: str) -> None:
        async with self._database.raw_transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", TURN)
            await connection.execute("UPDATE encryption_keys SET is_sealing = false WHERE is_sealing")
            await connection.execute(_SEAL_WITH, new)

    async def _sealing(self) -> str | None:
        async with self._database.connection() as connection:
            sealing: str | None = await connection.fetchval(SEALING)
        return sealing

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with self._database.connection() as connection:
            await self._lock(connection)
            try:
                yield
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _ALONE)

    @staticmethod
    async def _lock(connection: Any) -> None:
        # Ends with the connection, so a command that is killed keeps nobody out.
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ALONE):
            raise Conflict("another command is changing the encryption key")


def _names(keys: tuple[str, ...]) -> list[str]:
    return [fingerprint(key) for key in keys]
