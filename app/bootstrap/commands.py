"""What a command does beside a server or without one."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from app.accounts.development import DevelopmentMode
from app.bootstrap.accounts import ensure_first_administrator, make_service
from app.bootstrap.ground import Announce, open_database, open_secrets, opened
from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.db import Database
from app.core.rotation import Rotation
from app.core.secrets_file import KeySource
from app.marketdata.status import ensure_row
from app.sandbox.connection import examine
from app.sandbox.link import Report
from app.trading.audit import Finding, ask_rules
from app.trading.audit_rules import RULES as AUDIT_RULES
from app.webhooks.audit import RULES as AUDIT_OF_ALERTS


async def inspect(settings: Settings) -> list[Finding]:
    """Return what of the audit's invariants does not hold in the database now. No row is changed, and no server need run.

    Raises:
        ConfigError: the database that the settings name cannot be used.
    """
    async with AsyncExitStack() as stack:
        urls, _ = await open_database(settings, stack)
        database = await opened(Database(urls.app), stack)
        async with database.connection() as connection:
            return await ask_rules(connection, (*AUDIT_RULES, *AUDIT_OF_ALERTS), now=SystemClock().now(), is_full=True)


async def change_keys(settings: Settings, change: Callable[[Rotation], Awaitable[object]], announce: Announce) -> None:
    """Open the database and change its encryption key; servers may run meanwhile.

    Raises:
        ConfigError: the database cannot be used, or the key cannot be changed so; the sentence says what to do.
        Conflict: another command is at it.
    """
    async with AsyncExitStack() as stack:
        urls, _ = await open_database(settings, stack)
        await change(Rotation(await opened(Database(urls.app), stack), KeySource(settings), announce))


async def examine_jail(settings: Settings) -> Report:
    """Start a sandboxd as the server would, or ask the one that the settings name, and return what its doctor found.

    Raises:
        ConfigError: there is none and none can be started.
    """
    return await examine(settings.sandbox_socket)


async def initialise(settings: Settings, announce: Announce) -> None:
    """Make the database, its schema and the rows that everything begins with; what is there already stays as it is.

    Raises:
        ConfigError: the database that the settings name cannot be used, or somebody has the name that `dev` needs.
    """
    async with AsyncExitStack() as stack:
        urls, _ = await open_database(settings, stack)
        database = await opened(Database(urls.app), stack)
        clock = SystemClock()
        jwt_secret, keyring = await open_secrets(settings, database, stack, announce)
        accounts = make_service(settings, jwt_secret, keyring, database, clock)
        await ensure_first_administrator(accounts, settings, announce)
        await DevelopmentMode(database, clock, accounts, is_offered=settings.debug_aristobot).ensure_user()
        await ensure_row(database, settings.heartbeat_exchange, now=clock.now())
        announce(f"The database is ready, with an administrator, the user dev and the heartbeat of {settings.heartbeat_exchange}.")
