"""What must never be written down: secrets and signatures of the tests' own accounts, looked for wherever this run has written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

#: Secrets that the tests give to accounts, logins and servers, and what a signed request ends with. Keys (public names of accounts) are
#: part of the exchange's own records, but never of ours.
SECRETS: Final = re.compile(
    rb"api-secret-of-a-test|secret-of-trader-\d|correct horse battery|a long sentence, number \d"
    rb"|sk-or-v1-a-key-of-a-test"
    rb"|signature=[0-9a-f]{32}|[Xx]-MBX-APIKEY: *\w|arb_[0-9a-f]{32}_\w"
)
#: Candles come from nobody's account.
_TABLES: Final = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname NOT LIKE 'candles%'
"""
#: What was found in databases that are gone by now.
found_in_databases: list[str] = []


async def dump(connection: Any) -> str:
    """Return every row of every table as text."""
    tables = [row["relname"] for row in await connection.fetch(_TABLES)]
    if not tables:
        return ""
    parts = " UNION ALL ".join(f"SELECT string_agg(t::text, E'\\n') FROM {table} t" for table in tables)
    return "\n".join(row[0] or "" for row in await connection.fetch(parts))


async def scan_database(connection: Any, name: str) -> None:
    """Look through the database before it is emptied or dropped."""
    for leak in SECRETS.findall((await dump(connection)).encode()):
        found_in_databases.append(f"database {name}: {leak.decode()}")


def leaks_in_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what the servers and emulators of this run wrote into their logs and should not have."""
    for path in folder.rglob("*.log*"):
        if path.is_file():
            for leak in set(SECRETS.findall(path.read_bytes())):
                yield path, leak.decode()
