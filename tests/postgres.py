"""One real PostgreSQL for a whole test run, and a fresh migrated database for each test that asks.

The server is an embedded one in a temporary folder, or that of TEST_DATABASE_URL: the superuser's address on a server that may be thrown
away, for our two roles are made there.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from app.core.database_url import DatabaseUrls, normalise, with_database
from app.core.db import FOR_THE_PLATFORM
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
from app.core.postgres_roles import APP_ROLE, OWNER_ROLE, ensure_role, grant_database, grant_schema
from tests.leaks import scan_database

#: A test's rows need not survive a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "400"}

#: Deletes every row of a database.
Emptying = Callable[[], Awaitable[None]]


def data_folder() -> Path:
    """Return a new folder for an embedded server. Not pytest's own: root's server could not pass through that one."""
    return Path(tempfile.mkdtemp(prefix="aristobot-test-"))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A plain connection that sees every tenant's rows, closed at the end."""
    connection = await asyncpg.connect(url, server_settings=FOR_THE_PLATFORM)
    try:
        yield connection
    finally:
        await connection.close()


class PostgresForTests:
    """A server, a migrated template, and copies of it."""

    def __init__(self) -> None:
        self._given = os.environ.get("TEST_DATABASE_URL")
        self._folder: Path | None = None
        self._server: EmbeddedPostgres | None = None
        self._template: str | None = None
        self._admin_url = ""
        self._urls = DatabaseUrls(owner="", app="")

    async def start(self) -> None:
        """Start or find the server; the template is made when it is first needed."""
        if self._given:
            await self._use(normalise(self._given))
            return
        self._folder = data_folder()
        self._server = EmbeddedPostgres(self._folder, settings=FAST)
        self._urls = await self._server.start()
        self._admin_url = self._server.superuser_url

    @property
    def admin_url(self) -> str:
        """The address as the superuser, for faults that nobody else may cause."""
        return self._admin_url

    async def stop(self) -> None:
        """Stop our own server, or remove what was made on the given one."""
        if self._server is not None:
            await self._server.stop()
        elif self._template is not None:
            await self._drop(self._template)
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder)

    async def create_database(self, *, migrated: bool = True) -> DatabaseUrls:
        """Return a new database, as its owner and as the application."""
        if migrated and self._template is None:
            self._template = await self._create(f"template_{secrets.token_hex(4)}", template=None)
            await upgrade(with_database(self._urls.owner, self._template))
        name = await self._create(f"test_{secrets.token_hex(6)}", template=self._template if migrated else None)
        return DatabaseUrls(owner=with_database(self._urls.owner, name), app=with_database(self._urls.app, name))

    async def drop_database(self, urls: DatabaseUrls) -> None:
        """Drop what `create_database` returned, whoever is still connected, after a look for secrets in it."""
        async with connected(urls.owner) as owner:
            await scan_database(owner, str(make_url(urls.owner).database))
        await self._drop(str(make_url(urls.owner).database))

    @asynccontextmanager
    async def emptying(self, urls: DatabaseUrls) -> AsyncIterator[Emptying]:
        """What deletes every row, after a look for secrets; row by row, for TRUNCATE writes a new file for each table and index."""
        name = str(make_url(urls.owner).database)
        async with connected(with_database(self._admin_url, name)) as admin:
            # No trigger and no foreign key has a say in it.
            await admin.execute("SET lock_timeout = '10s'; SET session_replication_role = replica")

            async def empty() -> None:
                tables = await scan_database(admin, name)
                if deletions := "; ".join(f"DELETE FROM {table}" for table in tables if table != "alembic_version"):
                    await admin.execute(deletions)

            yield empty

    async def _use(self, admin_url: str) -> None:
        # The same passwords each time, so that two runs on one server do not lock each other out.
        password = hashlib.sha256(admin_url.encode()).hexdigest()
        async with connected(admin_url) as admin:
            for role in (OWNER_ROLE, APP_ROLE):
                await ensure_role(admin, role)
                await admin.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{password}'")
        self._admin_url = admin_url
        owner, app = (
            make_url(admin_url).set(username=role, password=password).render_as_string(hide_password=False)
            for role in (OWNER_ROLE, APP_ROLE)
        )
        self._urls = DatabaseUrls(owner=owner, app=app)

    async def _create(self, name: str, *, template: str | None) -> str:
        async with connected(self._admin_url) as admin:
            await admin.execute(
                f"CREATE DATABASE {name} OWNER {OWNER_ROLE}" + (f" TEMPLATE {template} STRATEGY file_copy" if template else "")
            )
            await grant_database(admin, name)
        if template is None:
            async with connected(with_database(self._admin_url, name)) as inside:
                await grant_schema(inside)
        return name

    async def _drop(self, name: str) -> None:
        async with connected(self._admin_url) as admin:
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
