"""The two addresses of the database, in the form libpq reads, and the proof that a server outside is really there."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.errors import ConfigError

#: Older servers lack what the migrations use; 14 is the oldest major version that PostgreSQL itself still repairs.
MINIMUM_SERVER_VERSION = 140000
DEFAULT_PORT = 5432
_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Where the database is: as the role that owns the schema, and as the role that the process works with."""

    owner: str
    app: str

    @property
    def app_role(self) -> str:
        """The role whose rights the migrations keep up to date."""
        return make_url(self.app).username or ""


def socket_url(role: str, password: str, *, socket_dir: str, port: int, database: str) -> str:
    """Return the address of a database behind a unix socket."""
    place = urlencode({"host": socket_dir, "port": port})
    return f"postgresql://{quote(role, safe='')}:{quote(password, safe='')}@/{quote(database, safe='')}?{place}"


def with_database(url: str, database: str) -> str:
    """Return the same address for another database of the same server."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def port_of(url: str) -> int:
    """Return the port that an address names, or the usual one; a unix socket has one too."""
    return make_url(normalise(url)).port or DEFAULT_PORT


def normalise(url: str) -> str:
    """Return `url` as libpq and asyncpg read it: `postgres://` and SQLAlchemy's `postgresql+driver://` become `postgresql://`.

    Raises:
        ConfigError: it is no PostgreSQL address.
    """
    try:
        parsed = make_url(url.strip())
    except ArgumentError as e:
        raise ConfigError("DATABASE_URL is no address; write it as postgresql://role:password@host:5432/database") from e
    if parsed.drivername.split("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigError(f"DATABASE_URL must begin with postgresql://, was {parsed.drivername}://")
    return parsed.set(drivername="postgresql").render_as_string(hide_password=False)


def sqlalchemy_url(url: str) -> URL:
    """Return the address for `create_async_engine`. libpq's `sslmode` is what asyncpg's connect calls `ssl`."""
    parsed = make_url(normalise(url)).set(drivername="postgresql+asyncpg")
    query: Mapping[str, str | tuple[str, ...]] = {("ssl" if key == "sslmode" else key): value for key, value in parsed.query.items()}
    return parsed.set(query=dict(query))


async def prepare_external(url: str, *, owner_url: str | None = None) -> DatabaseUrls:
    """Prove by connecting that the given server can be used, and return its addresses.

    Nothing is created there. Without `owner_url` the role of `url` runs the migrations too, so it must own the database's schema.

    Raises:
        ConfigError: in words, what about the address is wrong.
    """
    app = normalise(url)
    owner = normalise(owner_url) if owner_url else app
    await _prove(app, name="DATABASE_URL")
    if owner != app:
        await _prove(owner, name="DATABASE_OWNER_URL")
    return DatabaseUrls(owner=owner, app=app)


async def _prove(url: str, *, name: str) -> None:
    parsed = make_url(url)
    shown = parsed.render_as_string(hide_password=True)
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S)
    except asyncpg.InvalidPasswordError as e:
        raise ConfigError(f"{name}: the server refused the password of role {parsed.username!r} ({shown})") from e
    except asyncpg.InvalidAuthorizationSpecificationError as e:
        raise ConfigError(f"{name}: the server does not let role {parsed.username!r} in: {e.args[0]} ({shown})") from e
    except asyncpg.InvalidCatalogNameError as e:
        raise ConfigError(f"{name}: the server has no database {parsed.database!r}; create it first ({shown})") from e
    except TimeoutError as e:
        raise ConfigError(f"{name}: the server did not answer within {_CONNECT_TIMEOUT_S:.0f} seconds ({shown})") from e
    except OSError as e:
        raise ConfigError(f"{name}: the server cannot be reached: {e.strerror or e} ({shown})") from e
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as e:
        raise ConfigError(f"{name}: the connection failed: {e} ({shown})") from e
    try:
        version: int = await connection.fetchval("SELECT current_setting('server_version_num')::int")
        passes: bool = await connection.fetchval("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    finally:
        await connection.close()
    if version < MINIMUM_SERVER_VERSION:
        raise ConfigError(f"{name}: PostgreSQL {MINIMUM_SERVER_VERSION // 10000} or newer is needed, was {version // 10000} ({shown})")
    if passes:
        raise ConfigError(
            f"{name}: role {parsed.username!r} is a superuser or has BYPASSRLS, and nothing would keep one user's rows from another; "
            f"give the role of an ordinary login ({shown})"
        )
