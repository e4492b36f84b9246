"""The database: SQLAlchemy sessions for ordinary work, plain asyncpg connections for the hot paths (inbox, orders, candles).

A hot path step costs two milliseconds more through an ORM session, and an alert makes five of them.

Every row of a tenant stands behind row-level security. A `Database` for tenants says on each connection for whom the present task works
(`core.tenancy`); the engine's says once that it works for the whole platform.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import orjson
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session

from app.core.database_url import sqlalchemy_url
from app.core.tenancy import present_tenant

Connection = asyncpg.pool.PoolConnectionProxy | asyncpg.Connection


#: A process that is frozen inside a transaction, or a host that is gone, must not keep its locks: among them is the engine's lease.
_SESSION: Final = {
    "idle_in_transaction_session_timeout": "5000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    # A page's statement takes a millisecond. Where the statistics promise more, helpers would be started for ten.
    "max_parallel_workers_per_gather": "0",
}


#: Each statement is planned once, without looking at its values: planning an order's statements costs more than running them.
_PLANNED_ONCE: Final = {"plan_cache_mode": "force_generic_plan"}


#: The same for what follows in a transaction, as a column of its first statement.
PLANNED_ONCE: Final = "set_config('plan_cache_mode', 'force_generic_plan', true)"


#: Connections of the ORM beyond its pool, while it needs them.
_MOST_OVERFLOW: Final = 5

#: What the policies of the tables read (migration 20261125_70).
FOR_THE_PLATFORM: Final = {"app.scope": "platform"}


class _TenantConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Remembers for whom it was last used, so that this is said once and not with every use."""

    _working_for = ""

    async def work_for(self, tenant: str) -> None:
        """Let what follows see the rows of `tenant`; of nobody when it is empty."""
        if self._working_for != tenant:
            # Should this fail half-way, nobody may rely on what is remembered.
            self._working_for = "?"
            await self.execute("SELECT set_config('app.user_id', $1, false)", tenant)
            self._working_for = tenant


class _TenantSession(Session):
    """The ORM's session of a database for tenants."""


@event.listens_for(_TenantSession, "after_begin")
def _say_whose(session: Session, transaction: Any, connection: Any) -> None:
    del session, transaction
    connection.execute(text("SELECT set_config('app.user_id', :tenant, true)"), {"tenant": _tenant()})


def _tenant() -> str:
    present = present_tenant()
    return "" if present is None else str(present)


class Database:
    """Three pools on one PostgreSQL, all as the role that cannot change the schema.

    Args:
        url: Address as that role.
        is_for_tenants: Whether only the rows of the user for whom the present task works are to be seen, instead of all.
        pool_size: Connections of the ORM.
        raw_pool_size: Plain connections.
        fast_pool_size: Plain connections for the fast path.
    """

    def __init__(
        self, url: str, *, is_for_tenants: bool = False, pool_size: int = 10, raw_pool_size: int = 12, fast_pool_size: int = 8
    ) -> None:
        self._url = url
        self._is_for_tenants = is_for_tenants
        self._settings = _SESSION if is_for_tenants else _SESSION | FOR_THE_PLATFORM
        self._raw_pool_size = raw_pool_size
        self._fast_pool_size = fast_pool_size
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=_MOST_OVERFLOW,
            pool_pre_ping=True,
            connect_args={"server_settings": self._settings},
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        kind = _TenantSession if is_for_tenants else Session
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, sync_session_class=kind)
        self._pool: Any = None
        self._fast: Any = None
        self._kept: list[Any] = []
        self._keeps = False
        self._places = asyncio.Semaphore(fast_pool_size)

    async def open(self) -> None:
        """Open the plain pools. The engine opens its connections as they are needed."""
        ours: dict[str, Any] = {"init": _register_codecs, "reset": _leave_as_it_is}
        if self._is_for_tenants:
            ours["connection_class"] = _TenantConnection
        planned_once = self._settings | _PLANNED_ONCE
        self._pool = await asyncpg.create_pool(self._url, min_size=2, max_size=self._raw_pool_size, server_settings=self._settings, **ours)
        if self._is_for_tenants:
            return  # whoever trades at speed trades with the platform's
        self._fast = await asyncpg.create_pool(self._url, min_size=1, max_size=self._fast_pool_size, server_settings=planned_once, **ours)
        self._keeps = True

    async def close(self) -> None:
        """Close all pools, once what is under way has ended."""
        self._keeps = False  # what comes back from now on must go to the pool, which waits for it
        while self._kept:
            await self._fast.release(self._kept.pop())
        for pool in (self._fast, self._pool):
            if pool is not None:
                await pool.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One unit of work through the ORM: commits at the end, rolls back on any error."""
        async with self._sessions() as session, session.begin():
            yield session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A plain asyncpg connection in autocommit: each statement is its own transaction."""
        async with self._pool.acquire() as connection:
            if self._is_for_tenants:
                await connection.work_for(_tenant())
            yield connection

    @asynccontextmanager
    async def fast_connection(self) -> AsyncIterator[Any]:
        """As `connection`, for the few statements of an order's fast path, which are best planned once for all values.

        One that comes back whole is kept at hand and not handed to the pool, whose book-keeping costs as much as a short statement.
        """
        # Whoever is inside finds a kept one or a free one of the pool, so nobody waits in the pool for what is kept here.
        async with self._places:
            connection = await self._at_hand()
            is_whole = False
            try:
                yield connection
                is_whole = self._keeps and not _is_gone(connection)
            finally:
                if is_whole:
                    self._kept.append(connection)
                else:
                    await self._fast.release(connection)

    def usage(self) -> dict[str, tuple[int, int, int]]:
        """Return of each pool the connections in use, open, and at most; before `open` of the ORM's only."""
        found = {}
        if self._pool is not None:
            size = self._pool.get_size()
            found["plain"] = (size - self._pool.get_idle_size(), size, self._pool.get_max_size())
        if self._fast is not None:
            size = self._fast.get_size()
            found["fast"] = (size - self._fast.get_idle_size() - len(self._kept), size, self._fast.get_max_size())
        pool: Any = self.engine.pool
        found["orm"] = (pool.checkedout(), pool.checkedout() + pool.checkedin(), pool.size() + _MOST_OVERFLOW)
        return found

    async def _at_hand(self) -> Any:
        while self._kept:
            connection = self._kept.pop()
            if not _is_gone(connection):
                return connection
            await self._fast.release(connection)
        return await self._fast.acquire()

    @asynccontextmanager
    async def raw_transaction(self) -> AsyncIterator[Any]:
        """A plain asyncpg connection inside one transaction."""
        async with self.connection() as connection, connection.transaction():
            yield connection


def _is_gone(connection: Any) -> bool:
    """Whether a connection of the pool is closed: the pool takes one back by itself when its other end hangs up, whoever has it."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


async def _leave_as_it_is(connection: Any) -> None:
    """Nothing to undo when a connection goes back: no session state is ever set on one, and transactions end with their context.

    asyncpg's own reset is a round trip after each use, a tenth of an order's whole cost here.
    """
    del connection


async def _register_codecs(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda v: orjson.dumps(v).decode(), decoder=orjson.loads, format="text"
    )
