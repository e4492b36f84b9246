"""What must never be written down: secrets and signatures of the tests' own accounts, looked for wherever this run has written."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

#: Secrets that the tests give to accounts, logins and servers, and what a signed request ends with. Keys (public names of accounts) are
#: part of the exchange's own records, but never of ours.
SECRETS: Final = re.compile(
    rb"api-secret-of-a-test|secret-of-trader-\d|correct horse battery|a long sentence, number \d"
    rb"|sk-or-v1-a-key-of-a-test"
    rb"|signature=[0-9a-f]{32}|[Xx]-MBX-APIKEY: *\w|arb_[0-9a-f]{32}_\w"
)
_TABLES: Final = """
SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind = 'r'
"""
#: Candles come from nobody's account.
_NOBODYS: Final = "candles"
#: What was found in databases that are gone by now.
found_in_databases: list[str] = []


async def filled_tables(connection: Any) -> list[str]:
    """Return the tables that have rows."""
    names = [row["name"] for row in await connection.fetch(_TABLES)]
    if not names:
        return []
    rows = await connection.fetch(" UNION ALL ".join(f"SELECT '{name}' AS name WHERE EXISTS (SELECT FROM {name})" for name in names))
    return [row["name"] for row in rows]


async def dump(connection: Any, tables: Iterable[str]) -> str:
    """Return every row of these tables as text."""
    return "\n".join([await connection.fetchval(f"SELECT string_agg(t::text, E'\\n') FROM {name} t") or "" for name in tables])


async def scan_database(connection: Any, name: str) -> list[str]:
    """Look through the database before it is emptied or dropped; return the tables that have rows."""
    tables = await filled_tables(connection)
    text = await dump(connection, [table for table in tables if not table.startswith(_NOBODYS)])
    for leak in SECRETS.findall(text.encode()):
        found_in_databases.append(f"database {name}: {leak.decode()}")
    return tables


def leaks_in_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what the servers and emulators of this run wrote into their logs and should not have."""
    for path in folder.rglob("*.log*"):
        if path.is_file():
            for leak in set(SECRETS.findall(path.read_bytes())):
                yield path, leak.decode()
