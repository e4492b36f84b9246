"""Everything that is encrypted, in all tables: found by the type of its column, so that no table can be forgotten."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import MetaData

from app.core.crypto import Vault
from app.core.db import Database
from app.core.models import Encrypted
from app.errors import KeyMissing, KeyUnreadable

_PAGE: Final = 100
_FIRST: Final = UUID(int=0)


@dataclass(frozen=True)
class SealedTable:
    """A table with encrypted columns. `key` is its primary key, one UUID."""

    name: str
    key: str
    columns: dict[str, Encrypted]

    @cached_property
    def page(self) -> str:
        """SQL of the next rows after $1 in which something is sealed, $2 at most."""
        named = {name for kind in self.columns.values() for place in (kind.place, kind.before or "") for name in _fields(place)}
        listed = ", ".join(sorted({self.key, *named, *self.columns}))
        return f"SELECT {listed} FROM {self.name} WHERE {self.key} > $1 AND ({self.filled}) ORDER BY {self.key} LIMIT $2"  # noqa: S608  # names of ours

    @cached_property
    def filled(self) -> str:
        """SQL: whether a row holds anything sealed."""
        return " OR ".join(f"{column} IS NOT NULL" for column in sorted(self.columns))

    def change(self, columns: list[str]) -> str:
        """SQL that sets these columns of the row $1."""
        changes = ", ".join(f"{column} = ${place}" for place, column in enumerate(columns, start=2))
        return f"UPDATE {self.name} SET {changes} WHERE {self.key} = $1"  # noqa: S608  # names of ours


@dataclass(slots=True)
class Resealed:
    """What a walk over all sealed values did, in values."""

    changed: int = 0
    unchanged: int = 0
    unreadable: int = 0


def _fields(place: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(place) if name}


def sealed_tables(metadata: MetaData) -> list[SealedTable]:
    """Return every table that has an encrypted column, in the order in which rows refer to each other."""
    found = []
    for table in metadata.sorted_tables:
        columns = {column.name: column.type for column in table.columns if isinstance(column.type, Encrypted)}
        if columns:
            (key,) = table.primary_key.columns
            found.append(SealedTable(table.name, key.name, columns))
    return found


async def is_anything_sealed(connection: Any, metadata: MetaData) -> bool:
    """Return whether any row of any table holds a sealed value."""
    for table in sealed_tables(metadata):
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table.name} WHERE {table.filled})"):  # noqa: S608  # names of ours
            return True
    return False


async def opened_by_any(connection: Any, metadata: MetaData, vault: Vault) -> bool:
    """Return whether a key of this vault opens anything at all."""
    return any(key is not None for key in await count_by_key(connection, metadata, vault))


async def count_by_key(connection: Any, metadata: MetaData, vault: Vault) -> Counter[str | None]:
    """Return how many values each key seals, by fingerprint; None stands for those that no key here opens."""
    counted: Counter[str | None] = Counter()
    for table in sealed_tables(metadata):
        async for row in _rows(connection, table):
            counted.update(vault.opener(row[column].encode()) for column in table.columns if row[column] is not None)
    return counted


async def _rows(connection: Any, table: SealedTable) -> AsyncIterator[Any]:
    after = _FIRST
    while rows := await connection.fetch(table.page, after, _PAGE):
        for row in rows:
            yield row
        after = rows[-1][table.key]


async def reseal_all(database: Database, metadata: MetaData, vault: Vault) -> Resealed:
    """Seal everything with the vault's present key, a page of rows in each transaction; what is so already stays.

    Killed at any moment, it leaves every value readable by the key before or by the present one; another run does the rest.
    """
    done = Resealed()
    for table in sealed_tables(metadata):
        after: UUID | None = _FIRST
        while after is not None:
            after = await _reseal_page(database, table, vault, after, done)
    return done


async def _reseal_page(database: Database, table: SealedTable, vault: Vault, after: UUID, done: Resealed) -> UUID | None:
    """Reseal the rows of a page and commit; return where the next one begins, None after the last."""
    async with database.raw_transaction() as connection:
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        # What somebody enters anew at this moment is not overwritten. An order that refers to the row does not wait for it.
        rows = await connection.fetch(f"{table.page} FOR NO KEY UPDATE", after, _PAGE)
        for row in rows:
            changed: dict[str, str] = {}
            for column, kind in table.columns.items():
                if row[column] is None:
                    continue
                try:
                    sealed = vault.resealed(row[column].encode(), **_places(kind, row))
                except (KeyUnreadable, KeyMissing):
                    done.unreadable += 1
                    continue
                if sealed is None:
                    done.unchanged += 1
                else:
                    changed[column] = sealed.decode()
            if changed:
                await connection.execute(table.change(list(changed)), row[table.key], *changed.values())
                done.changed += len(changed)
    return rows[-1][table.key] if rows else None


def _places(kind: Encrypted, row: Any) -> Any:
    return kind.named(dict(row))
