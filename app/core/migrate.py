"""Bring the database's schema to the version this code was written for.

Several processes may start at once: whoever comes second waits for an advisory lock and finds nothing left to do. When the schema is up to
date already, one SELECT says so and Alembic is not even imported (0.3 s at every start).
"""

import asyncio
import re
import threading
from ast import literal_eval
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.core.paths import resource
from app.core.postgres_roles import APP_ROLE
from app.errors import ConfigError

log = structlog.get_logger(__name__)

#: A migration must not queue behind a long reader, for everybody else then queues behind the migration.
LOCK_TIMEOUT = "4s"
STATEMENT_TIMEOUT = "60s"
_ADVISORY_KEY = int.from_bytes(b"aristobt", "big")
_TURN_TIMEOUT_S = 300.0
_ASSIGNMENT = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+?)\s*(?:#.*)?$", re.MULTILINE)
#: Alembic keeps the run's context in a global of its module: two threads of one process would take each other's away.
_ONE_ALEMBIC = threading.Lock()
#: Tables to which the application adds rows and in which it changes none.
APPEND_ONLY = ("audit_log",)
_LOCK_NOT_AVAILABLE = "55P03"
_INSUFFICIENT_PRIVILEGE = "42501"


async def upgrade(owner_url: str, *, revision: str = "head", app_role: str = APP_ROLE, scripts: Path | None = None) -> None:
    """Run the migrations that the database has not seen yet, each in its own transaction.

    Args:
        owner_url: Address as the role that owns the schema.
        revision: Where to stop.
        app_role: Role that gets the rows of every table, if it exists and is another one than the owner.
        scripts: Folder of the migrations; ours by default.

    Raises:
        ConfigError: the database was written by a newer program, or its owner's role cannot migrate it now.
    """
    folder = scripts or resource("migrations")
    known, heads = read_revisions(folder / "versions")
    stored = await stored_revision(owner_url)
    if stored is not None and stored not in known:
        raise ConfigError(f"the database is at version {stored}, which this program does not know: it was written by a newer one")
    if revision == "head" and stored is not None and heads == {stored}:
        return
    log.info("migrating the database", stored=stored, target=revision)
    try:
        await asyncio.to_thread(_run_alembic, owner_url, folder=folder, revision=revision, app_role=app_role)
    except DBAPIError as e:
        raise _in_words(e) from e


def read_revisions(versions: Path) -> tuple[set[str], set[str]]:
    """Return all revisions in the folder and those that nothing follows, read from the text of the files."""
    known: set[str] = set()
    followed: set[str] = set()
    for file in versions.glob("*.py"):
        found = {name: literal_eval(value) for name, value in _ASSIGNMENT.findall(file.read_text(encoding="utf-8"))}
        if "revision" in found:
            known.add(found["revision"])
            before = found.get("down_revision")
            followed.update([before] if isinstance(before, str) else before or ())
    return known, known - followed


async def stored_revision(url: str) -> str | None:
    """Return the version the database is at, None for an empty one."""
    connection = await asyncpg.connect(url)
    try:
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return revision


@asynccontextmanager
async def migration_turn(url: str) -> AsyncIterator[None]:
    """Hold the right to migrate inside the block.

    The lock lives in a transaction of its own connection, since each migration commits; it goes with that connection, whatever happens.

    Raises:
        ConfigError: another process has been migrating for too long.
    """
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for setting in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
                await connection.execute(f"SET LOCAL {setting} = 0")
            try:
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _ADVISORY_KEY, timeout=_TURN_TIMEOUT_S)
            except TimeoutError as e:
                raise ConfigError(f"another process has been migrating the database for {_TURN_TIMEOUT_S:.0f} seconds") from e
            yield
    finally:
        await connection.close()


def limit_transaction(connection: Connection) -> None:
    """Put the limits on the transaction that just began. SET LOCAL also works behind a connection pooler, and leaves nothing behind."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
    # The owner's rows are behind their policies too: without this, a migration would change nothing and say nothing.
    connection.exec_driver_sql("SET LOCAL app.scope = 'platform'")


def grant_rows(connection: Connection, app_role: str) -> None:
    """Give the application's role the rows, and only the rows, of each table the present role owns and will own.

    Of the tables `APPEND_ONLY` it may change no row. Does nothing when there is no such role, or when it is the owner itself.
    """
    # Table by table: "ALL TABLES" fails on a database where an extension put its own into the schema.
    connection.execute(text("SELECT set_config('aristobot.app_role', :role, true)"), {"role": app_role})
    connection.execute(text("SELECT set_config('aristobot.append_only', :names, true)"), {"names": ",".join(APPEND_ONLY)})
    connection.exec_driver_sql(_GRANT_ROWS)


_GRANT_ROWS = """
DO $$
DECLARE
    app_role name := current_setting('aristobot.app_role');
    relation record;
BEGIN
    IF app_role = current_user OR NOT EXISTS (SELECT FROM pg_roles WHERE rolname = app_role) THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', app_role);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO %I', app_role);
    FOR relation IN
        SELECT c.oid::regclass AS name, c.relkind FROM pg_class c
        JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND r.rolname = current_user
    LOOP
        IF relation.relkind = 'S' THEN
            EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', relation.name, app_role);
        ELSIF relation.name::text = 'alembic_version' THEN
            EXECUTE format('REVOKE ALL ON %s FROM %I', relation.name, app_role);
            EXECUTE format('GRANT SELECT ON %s TO %I', relation.name, app_role);
        ELSIF relation.name::text = ANY(string_to_array(current_setting('aristobot.append_only'), ',')) THEN
            EXECUTE format('REVOKE ALL ON %s FROM %I', relation.name, app_role);
            EXECUTE format('GRANT SELECT, INSERT ON %s TO %I', relation.name, app_role);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', relation.name, app_role);
        END IF;
    END LOOP;
END $$
"""


def _run_alembic(owner_url: str, *, folder: Path, revision: str, app_role: str) -> None:
    from alembic import command  # noqa: PLC0415  # 0.3 s that only a start with something to migrate should pay
    from alembic.config import Config  # noqa: PLC0415  # as above

    config = Config(attributes={"owner_url": owner_url, "app_role": app_role})
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    with _ONE_ALEMBIC:
        command.upgrade(config, revision)


def _in_words(error: DBAPIError) -> Exception:
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate == _LOCK_NOT_AVAILABLE:
        return ConfigError(f"a migration waited {LOCK_TIMEOUT} for a table that another session holds, and gave up; start again")
    if sqlstate == _INSUFFICIENT_PRIVILEGE:
        return ConfigError(f"the database role may not change the schema ({error.orig}); give DATABASE_OWNER_URL the role that owns it")
    return error
