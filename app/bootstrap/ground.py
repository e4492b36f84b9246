"""What lies under every service, and how it is opened."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from app.core.clock import Clock
from app.core.config import Settings
from app.core.database_url import DatabaseUrls, prepare_external
from app.core.db import Database
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.events import EventBus
from app.core.keyring import Keyring
from app.core.migrate import upgrade
from app.core.secrets_file import FILE, KeySource, load_jwt_secret

log = structlog.get_logger(__name__)

#: Says something to the person who started the server, on the terminal and nowhere else.
Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What lies under every service."""

    settings: Settings
    jwt_secret: str
    keyring: Keyring
    #: For what works for all users: the engine, its loops, logging in.
    database: Database
    #: For pages and the API: it shows the rows of who is asking.
    tenants: Database
    bus: EventBus
    clock: Clock


async def open_database(settings: Settings, stack: AsyncExitStack) -> tuple[DatabaseUrls, EmbeddedPostgres | None]:
    """Start or find PostgreSQL and bring its schema up to date.

    Raises:
        ConfigError: the server that DATABASE_URL names cannot be used.
    """
    embedded: EmbeddedPostgres | None = None
    if settings.database_url is not None:
        owner = settings.database_owner_url
        urls = await prepare_external(settings.database_url.get_secret_value(), owner_url=owner.get_secret_value() if owner else None)
    else:
        embedded = EmbeddedPostgres(settings.data_dir)
        urls = await embedded.start()
        stack.push_async_callback(embedded.stop)
    await upgrade(urls.owner, app_role=urls.app_role)
    return urls, embedded


async def opened(database: Database, stack: AsyncExitStack) -> Database:
    """Return the database, open until the stack ends."""
    await database.open()
    stack.push_async_callback(database.close)
    return database


async def open_secrets(settings: Settings, database: Database, stack: AsyncExitStack, announce: Announce) -> tuple[str, Keyring]:
    """Return the signing secret and the encryption keys. What a first start makes is announced, and what is missing."""
    jwt_secret, is_made = load_jwt_secret(settings)
    keyring = Keyring(database, KeySource(settings))
    stack.push_async_callback(keyring.leave)
    made = [name for name, is_new in (("JWT_SECRET", is_made), ("FERNET_KEY", await keyring.open())) if is_new]
    if made:
        announce(f"Made {' and '.join(made)} in {settings.data_dir / FILE} (readable by you only; keep a copy apart).")
    if keyring.advice is not None:
        announce(f"ENCRYPTION_KEY_MISSING: nothing is traded, for {keyring.advice}.")
        log.critical("encryption_key_missing", fingerprint=keyring.vault.sealing, place=keyring.place)
    return jwt_secret, keyring
