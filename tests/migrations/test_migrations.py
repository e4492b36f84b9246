import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from app.core import migrate
from app.core.database_url import DatabaseUrls
from app.core.migrate import read_revisions, stored_revision, upgrade
from app.core.paths import resource
from app.core.postgres_roles import APP_ROLE
from app.errors import ConfigError
from tests.postgres import PostgresForTests, connected, data_folder

ROOT = resource("migrations").parent

REVISION = """
from alembic import op
revision = "{revision}"
down_revision = {before!r}
def upgrade():
    for statement in {statements!r}:
        op.execute(statement)
"""


class Scripts:
    """A folder of migrations of our own, under the real env.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "versions").mkdir()
        for name in ("env.py", "script.py.mako"):
            shutil.copy(resource("migrations") / name, folder)
        self._last: str | None = None

    def add(self, revision: str, *statements: str) -> None:
        (self.folder / "versions" / f"{revision}.py").write_text(
            REVISION.format(revision=revision, before=self._last, statements=statements)
        )
        self._last = revision


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


async def _value(url: str, query: str) -> Any:
    async with connected(url) as connection:
        return await connection.fetchval(query)


@pytest.mark.asyncio
async def test_models_and_migrations_agree(database_urls: DatabaseUrls) -> None:
    config = Config(attributes={"owner_url": database_urls.owner, "app_role": APP_ROLE})
    config.set_main_option("script_location", str(resource("migrations")))
    await asyncio.to_thread(command.check, config)


@pytest.mark.asyncio
async def test_the_database_is_at_the_one_head(database_urls: DatabaseUrls) -> None:
    _, heads = read_revisions(resource("migrations") / "versions")
    assert heads == {await stored_revision(database_urls.owner)}


@pytest.mark.asyncio
async def test_several_may_migrate_at_once(postgres: PostgresForTests) -> None:
    urls = await postgres.create_database(migrated=False)
    await asyncio.gather(*(upgrade(urls.owner) for _ in range(3)))
    assert await _value(urls.owner, "SELECT count(*) FROM alembic_version") == 1
    await postgres.drop_database(urls)


@pytest.mark.asyncio
async def test_application_gets_the_rows_of_every_table_and_no_more(database_urls: DatabaseUrls) -> None:
    query = """
        SELECT array_agg(c.relname::text ORDER BY 1) FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND {condition}
    """
    rows = "has_table_privilege(current_user, c.oid, 'SELECT, INSERT, UPDATE, DELETE')"
    every = " AND ".join(f"has_table_privilege(current_user, c.oid, '{right}')" for right in ("SELECT", "INSERT", "UPDATE", "DELETE"))
    assert "users" in await _value(database_urls.app, query.format(condition=rows))
    assert await _value(database_urls.app, query.format(condition=f"NOT ({every})")) == ["alembic_version", "audit_log"]
    assert await _value(database_urls.app, query.format(condition="has_table_privilege(current_user, c.oid, 'TRUNCATE')")) is None
    assert await _value(database_urls.app, "SELECT version_num FROM alembic_version") is not None


def test_a_start_without_anything_to_migrate_does_not_import_alembic() -> None:
    folder = data_folder()
    code = """
import asyncio, sys, pathlib
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
async def main():
    server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
    await upgrade((await server.start()).owner)
    await server.stop()
asyncio.run(main())
print("alembic" in sys.modules)
"""
    try:
        answers = [
            subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()[
                -1
            ]
            for _ in range(2)
        ]
    finally:
        shutil.rmtree(folder)
    assert answers == ["True", "False"]


@pytest.mark.asyncio
async def test_failing_migration_undoes_itself_and_keeps_the_one_before(postgres: PostgresForTests, scripts: Scripts) -> None:
    urls = await postgres.create_database(migrated=False)
    scripts.add("one", "CREATE TABLE kept (id int)")
    scripts.add("two", "CREATE TABLE undone (id int)", "SELECT 1 / 0")
    with pytest.raises(DBAPIError, match="division by zero"):
        await upgrade(urls.owner, scripts=scripts.folder)
    assert await stored_revision(urls.owner) == "one"
    assert await _value(urls.owner, "SELECT to_regclass('kept') IS NOT NULL AND to_regclass('undone') IS NULL")
    await postgres.drop_database(urls)


@pytest.mark.asyncio
async def test_migration_that_meets_a_held_table_gives_up_in_words(
    postgres: PostgresForTests, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "200ms")
    urls = await postgres.create_database(migrated=False)
    scripts.add("one", "CREATE TABLE busy (id int)")
    await upgrade(urls.owner, scripts=scripts.folder)
    scripts.add("two", "ALTER TABLE busy ADD COLUMN name text")
    async with connected(urls.app) as reader, reader.transaction():
        await reader.fetch("SELECT * FROM busy")
        with pytest.raises(ConfigError, match="another session holds"):
            await upgrade(urls.owner, scripts=scripts.folder)
    await upgrade(urls.owner, scripts=scripts.folder)
    assert await stored_revision(urls.owner) == "two"
    await postgres.drop_database(urls)


@pytest.mark.asyncio
async def test_database_of_a_newer_program_is_refused_in_words(database_urls: DatabaseUrls) -> None:
    async with connected(database_urls.owner) as connection:
        await connection.execute("UPDATE alembic_version SET version_num = 'of_the_future'")
    with pytest.raises(ConfigError, match="written by a newer one"):
        await upgrade(database_urls.owner)


@pytest.mark.asyncio
async def test_role_that_owns_nothing_is_refused_in_words(postgres: PostgresForTests) -> None:
    urls = await postgres.create_database(migrated=False)
    with pytest.raises(ConfigError, match="DATABASE_OWNER_URL"):
        await upgrade(urls.app)
    await postgres.drop_database(urls)


def test_alembic_check_works_from_the_command_line_on_an_empty_data_folder() -> None:
    folder = data_folder()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_")} | {"DATA_DIR": str(folder)}

    def alembic(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), *arguments]
        return subprocess.run(program, check=False, capture_output=True, text=True, env=environment, cwd=folder)

    try:
        done = [alembic("upgrade", "head"), alembic("check")]
        refused = alembic("upgrade", "head", "--sql")
    finally:
        shutil.rmtree(folder)
    assert [run.returncode for run in done] == [0, 0], [run.stderr for run in done]
    assert refused.returncode != 0
    assert "--sql is not offered" in refused.stdout + refused.stderr
