"""What Alembic runs, both for the application (`app.core.migrate.upgrade`, which passes the address) and for the command line.

The command line takes DATABASE_OWNER_URL or DATABASE_URL, else the embedded server of DATA_DIR, which it starts or joins and leaves again.
"""

import asyncio
import importlib
import importlib.util
import pkgutil
from logging.config import fileConfig

from alembic import context
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import SchemaItem

import app
from app.core.config import Settings
from app.core.database_url import DatabaseUrls, prepare_external, sqlalchemy_url
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import grant_rows, limit_transaction, migration_turn
from app.core.models import Base
from app.errors import ConfigError

config = context.config

_PARTITIONS = text("SELECT relname FROM pg_class WHERE relispartition AND relnamespace = 'public'::regnamespace")


def import_all_tables() -> None:
    """Fill the metadata: every package that has tables keeps them in its `models`."""
    for package in pkgutil.iter_modules(app.__path__):
        name = f"app.{package.name}.models"
        if package.ispkg and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


def run_on(connection: Connection, app_role: str) -> None:
    """Run what Alembic was asked for, and give the application its rights in the same transaction as each new table."""
    with connection.begin():
        partitions = set(connection.scalars(_PARTITIONS))

    def is_ours(item: SchemaItem, name: str | None, kind: str, reflected: bool, compare_to: SchemaItem | None) -> bool:  # noqa: FBT001  # Alembic's
        del item, compare_to
        return not (kind == "table" and reflected and name in partitions)  # partitions come and go with the months, not with the code

    def after_each(ctx: MigrationContext, step: object, heads: object, run_args: object) -> None:
        del step, heads, run_args
        if ctx.connection is not None:
            grant_rows(ctx.connection, app_role)

    context.configure(
        connection=connection,
        target_metadata=Base.metadata,  # with its naming convention, so that generated migrations name every constraint
        compare_type=True,
        include_object=is_ours,
        transaction_per_migration=True,
        on_version_apply=after_each,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_at(owner_url: str, app_role: str) -> None:
    """Take the turn, then run."""
    engine = create_async_engine(sqlalchemy_url(owner_url), poolclass=NullPool)
    event.listen(engine.sync_engine, "begin", limit_transaction)
    async with migration_turn(owner_url), engine.connect() as connection:
        await connection.run_sync(run_on, app_role)
    await engine.dispose()


async def run_from_command_line() -> None:
    """Find the database that the settings name."""
    settings = Settings()
    if settings.database_url is not None:
        owner = settings.database_owner_url
        urls = await prepare_external(settings.database_url.get_secret_value(), owner_url=owner.get_secret_value() if owner else None)
        await run_at_urls(urls)
        return
    server = EmbeddedPostgres(settings.data_dir)
    urls = await server.start()
    try:
        await run_at_urls(urls)
    finally:
        await server.stop()


async def run_at_urls(urls: DatabaseUrls) -> None:
    """Run as the owner, for the application's role."""
    await run_at(urls.owner, urls.app_role)


def main() -> None:
    """Run, and tell the command line in words what is wrong with its database."""
    if context.is_offline_mode():
        raise CommandError("--sql is not offered: these migrations look at the database they change")
    import_all_tables()
    if "owner_url" in config.attributes:
        asyncio.run(run_at(config.attributes["owner_url"], config.attributes["app_role"]))
        return
    if config.config_file_name is not None:
        fileConfig(config.config_file_name, disable_existing_loggers=False)
    try:
        asyncio.run(run_from_command_line())
    except ConfigError as e:
        raise CommandError(e.message) from e


main()
