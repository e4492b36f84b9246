import asyncpg
import pytest

from app.core.database_url import DatabaseUrls, normalise, prepare_external, sqlalchemy_url, with_database
from app.errors import ConfigError
from tests.postgres import connected


@pytest.mark.asyncio
async def test_neither_role_has_a_special_right(emptied_urls: DatabaseUrls) -> None:
    async with connected(emptied_urls.app) as app:
        for role in ("aristobot_app", "aristobot_owner"):
            special = await app.fetchrow(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = $1", role
            )
            assert list(special) == [False] * 5


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SET ROLE aristobot_owner",
        "ALTER TABLE users ADD COLUMN mine int",
        "TRUNCATE users",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
@pytest.mark.asyncio
async def test_application_may_not(emptied_urls: DatabaseUrls, statement: str) -> None:
    async with connected(emptied_urls.app) as app:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


@pytest.mark.asyncio
async def test_application_writes_rows_of_a_table_made_later_but_cannot_pass_row_level_security(emptied_urls: DatabaseUrls) -> None:
    async with connected(emptied_urls.owner) as owner:
        await owner.execute("""
            CREATE TABLE walled (id bigserial, tenant text);
            ALTER TABLE walled ENABLE ROW LEVEL SECURITY;
            CREATE POLICY own ON walled USING (tenant = current_setting('aristobot.tenant', true));
        """)
    async with connected(emptied_urls.app) as app:
        await app.execute("SET aristobot.tenant = 'a'")
        await app.execute("INSERT INTO walled (tenant) VALUES ('a')")
        assert await app.fetchval("SELECT count(*) FROM walled") == 1
        await app.execute("SET aristobot.tenant = 'b'")
        assert await app.fetchval("SELECT count(*) FROM walled") == 0
        await app.execute("SET row_security = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.fetchval("SELECT count(*) FROM walled")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("ALTER TABLE walled DISABLE ROW LEVEL SECURITY")


@pytest.mark.asyncio
async def test_given_address_is_proved_by_connecting(emptied_urls: DatabaseUrls) -> None:
    app, owner = normalise(emptied_urls.app), normalise(emptied_urls.owner)
    assert await prepare_external(app) == DatabaseUrls(owner=app, app=app)
    assert await prepare_external(app.replace("postgresql://", "postgres://"), owner_url=owner) == DatabaseUrls(owner=owner, app=app)


@pytest.mark.asyncio
async def test_every_mistake_in_a_given_address_has_words_and_no_password(emptied_urls: DatabaseUrls) -> None:
    password = emptied_urls.app.split(":")[2].split("@")[0]
    mistakes = {
        emptied_urls.app.replace(password, "wrong"): "refused the password",
        with_database(emptied_urls.app, "absent"): "has no database 'absent'",
        "postgresql://a:b@127.0.0.1:1/c": "cannot be reached",
        "mysql://a:b@127.0.0.1/c": "must begin with postgresql://",
        "nonsense": "is no address",
    }
    for url, words in mistakes.items():
        with pytest.raises(ConfigError, match=words) as caught:
            await prepare_external(url)
        assert password not in caught.value.message


def test_sslmode_becomes_what_asyncpg_calls_it() -> None:
    url = sqlalchemy_url("postgres://a:b@db.example:6543/c?sslmode=require")
    assert (url.drivername, url.host, url.port, dict(url.query)) == ("postgresql+asyncpg", "db.example", 6543, {"ssl": "require"})
