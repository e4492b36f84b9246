"""The three roles of the embedded server, their passwords, and the database. None but `postgres` is a superuser.

* `postgres` makes roles and databases when the server is new; the application never works as it, it only proves the server alive.
* `aristobot_owner` owns the database and its schema and runs the migrations.
* `aristobot_app` reads and writes rows. It owns nothing, cannot change the schema, and row-level security applies to it.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from app.core.database_url import DatabaseUrls, socket_url
from app.errors import ConfigError

log = structlog.get_logger(__name__)

SUPERUSER = "postgres"
OWNER_ROLE = "aristobot_owner"
APP_ROLE = "aristobot_app"
DATABASE = "aristobot"
PORT = 5432  # only a part of the socket's name; nothing listens on the network

#: Answers that mean "the role or the database is not (yet) as it should be", as opposed to "the server is not well".
_NOT_SET_UP = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)


class Passwords:
    """The generated passwords, in two files of the data folder that only their owner can read."""

    def __init__(self, data_dir: Path) -> None:
        self.superuser_file = data_dir / "postgres-superuser"
        self.roles_file = data_dir / "postgres-roles.json"

    def superuser(self) -> str:
        """Return the superuser's password, made when the file does not exist yet."""
        if not self.superuser_file.exists():
            write_private(self.superuser_file, secrets.token_urlsafe(32))
        return self.superuser_file.read_text(encoding="ascii").strip()

    def roles(self) -> dict[str, str]:
        """Return the passwords by role, made when the file does not exist yet.

        Raises:
            ConfigError: the file is damaged.
        """
        if not self.roles_file.exists():
            made = {role: secrets.token_urlsafe(32) for role in (OWNER_ROLE, APP_ROLE)}
            write_private(self.roles_file, json.dumps(made, indent=2) + "\n")
        try:
            stored = json.loads(self.roles_file.read_text(encoding="ascii"))
            return {role: str(stored[role]) for role in (OWNER_ROLE, APP_ROLE)}
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(f"{self.roles_file} is damaged; remove it, and new passwords are made at the next start") from e


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(fd)
    unfinished.replace(path)


def database_urls(passwords: dict[str, str], *, socket_dir: Path, database: str = DATABASE) -> DatabaseUrls:
    """Return the addresses of one database as its owner and as the application."""
    owner, app = (
        socket_url(role, passwords[role], socket_dir=str(socket_dir), port=PORT, database=database) for role in (OWNER_ROLE, APP_ROLE)
    )
    return DatabaseUrls(owner=owner, app=app)


async def ensure_roles(superuser_url: str, *, passwords: dict[str, str], socket_dir: Path) -> DatabaseUrls:
    """Return addresses that were proved to work, after making whatever role, database or grant is missing.

    The application's right to log in is given last, so that a set-up that was cut off anywhere is done again.
    """
    urls = database_urls(passwords, socket_dir=socket_dir)
    if await _connects(urls.app) and await _connects(urls.owner):
        return urls
    log.info("setting up the database's roles", database=DATABASE, owner=OWNER_ROLE, app=APP_ROLE)
    admin = await asyncpg.connect(superuser_url)
    try:
        await ensure_role(admin, OWNER_ROLE)
        await ensure_role(admin, APP_ROLE)
        await _set_password(admin, OWNER_ROLE, passwords[OWNER_ROLE])
        if not await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await admin.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}")
        await grant_database(admin, DATABASE)
    finally:
        await admin.close()
    inside = await asyncpg.connect(superuser_url, database=DATABASE)
    try:
        await grant_schema(inside)
        await _set_password(inside, APP_ROLE, passwords[APP_ROLE])
    finally:
        await inside.close()
    return urls


async def ensure_role(connection: Any, role: str) -> None:
    """Make the role if it is missing and take every special right away from it. A new one cannot log in yet."""
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        await connection.execute(f"CREATE ROLE {role} NOLOGIN")
    await connection.execute(f"ALTER ROLE {role} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT")


async def grant_database(connection: Any, database: str) -> None:
    """Let our two roles, and nobody else, connect. A database made from a template does not inherit this."""
    await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {APP_ROLE}")


async def grant_schema(connection: Any) -> None:
    """Give the schema to the owner, and to the application the rows of every table the owner will make."""
    async with connection.transaction():
        await connection.execute(f"ALTER SCHEMA public OWNER TO {OWNER_ROLE}")
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        await connection.execute(f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}")
        for_owner = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER_ROLE} IN SCHEMA public"
        await connection.execute(f"{for_owner} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {APP_ROLE}")
        await connection.execute(f"{for_owner} GRANT USAGE, SELECT ON SEQUENCES TO {APP_ROLE}")


async def _connects(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url)
    except _NOT_SET_UP:
        return False
    await connection.close()
    return True


async def _set_password(connection: Any, role: str, password: str) -> None:
    # ALTER ROLE takes no parameters; the server quotes the literal, since the file it comes from could have been edited.
    literal = await connection.fetchval("SELECT quote_literal($1)", password)
    await connection.execute(f"ALTER ROLE {role} LOGIN PASSWORD {literal}")
