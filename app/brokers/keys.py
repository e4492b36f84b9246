"""Sealing and opening an account's keys. Each ciphertext is bound to its user, its account and its field.

An account whose keys do not open is paused with the reason, and the others trade. The pause ends when the keys open again or are given
anew.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import select

from app.brokers.models import Broker
from app.core.crypto import Vault
from app.core.db import Database
from app.errors import KeyMissing, KeyUnreadable
from app.exchanges.port import Credentials

log = structlog.get_logger(__name__)

#: What an exchange may want of an account, in the order in which people are asked.
FIELDS: Final = ("api_key", "api_secret", "api_password", "api_uid")
_HINT: Final = 4

#: Stands in the reason of each such pause, which is how it is known from others.
CODE: Final = KeyUnreadable.default_code
UNREADABLE: Final = (
    "the stored API key cannot be read (KEY_UNREADABLE): it was encrypted with a key that this server does not have, or belongs to another "
    "account. Put that key back, or enter the API key again"
)
_PAUSE: Final = "UPDATE brokers SET paused_reason = $2 WHERE id = ANY($1) AND paused_reason IS NULL RETURNING id"
_RESUME: Final = "UPDATE brokers SET paused_reason = NULL WHERE id = ANY($1) AND strpos(paused_reason, $2) > 0 RETURNING id"


def seal(vault: Vault, broker: Broker, field: str, value: str) -> bytes:
    """Return ciphertext bound to this user's account and field.

    Raises:
        KeyMissing: the server's encryption key is not here.
    """
    context: str = _named(broker, field)["context"]
    return vault.seal(value, context=context)


def set_keys(vault: Vault, broker: Broker, given: Mapping[str, str | None]) -> None:
    """Give an account these keys and no others: what belonged to the keys before goes with them, and what was found out about those."""
    for field in FIELDS:
        value = (given.get(field) or "").strip()
        setattr(broker, field, seal(vault, broker, field, value) if value else None)
    key = (given.get("api_key") or "").strip()
    broker.key_hint = key[-_HINT:] if len(key) > 3 * _HINT else ""
    broker.key_rights = broker.last_connection_test = broker.last_connection_success = None
    broker.last_connection_message = broker.last_latency_ms = None


def forget_keys(broker: Broker) -> None:
    """Take an account's keys away."""
    for field in FIELDS:
        setattr(broker, field, None)
    broker.key_hint, broker.key_rights = "", None


def stored_keys(vault: Vault, broker: Broker) -> dict[str, str]:
    """Return the account's keys in the clear, by field; what it has none of is missing.

    Raises:
        KeyUnreadable, KeyMissing: as `credentials_of`.
    """
    sealed = {field: getattr(broker, field) for field in FIELDS}
    return {field: vault.open(value, **_named(broker, field)) for field, value in sealed.items() if value is not None}


def credentials_from(keys: Mapping[str, str], *, subaccount: str | None = None) -> Credentials:
    """Return keys by field as an exchange client takes them."""
    return Credentials(
        api_key=keys.get("api_key", ""),
        api_secret=keys.get("api_secret", ""),
        api_password=keys.get("api_password"),
        api_uid=keys.get("api_uid"),
        subaccount=subaccount,
    )


def credentials_of(vault: Vault, broker: Broker) -> Credentials:
    """Return the account's keys in the clear.

    Raises:
        KeyUnreadable: no key here opens them, or they were sealed for another account.
        KeyMissing: the server's encryption key is not here.
    """
    return credentials_from(stored_keys(vault, broker), subaccount=broker.subaccount_name)


def _named(broker: Broker, field: str) -> Any:
    kind: Any = Broker.__table__.c[field].type
    return kind.named({"id": broker.id, "user_id": broker.user_id})


async def pause_unreadable(database: Database, *broker_ids: UUID) -> None:
    """Stop trading on accounts whose keys do not open; one that is paused already keeps its reason."""
    async with database.connection() as connection:
        for row in await connection.fetch(_PAUSE, list(broker_ids), UNREADABLE):
            log.warning("broker_paused", broker_id=str(row["id"]), reason=UNREADABLE)


async def judge_stored_keys(database: Database, vault: Vault) -> int:
    """Try the keys of every account: pause those whose keys do not open and end that pause of those whose keys do.

    Args:
        database: The platform's, which sees all accounts.
        vault: One that has the key that seals; without it nothing could be said of any account.

    Returns:
        How many accounts do not open.
    """
    async with database.transaction() as session:
        brokers = (await session.scalars(select(Broker).where(Broker.removed_at.is_(None), Broker.api_key.is_not(None)))).all()
    unreadable = [broker.id for broker in brokers if not _opens(vault, broker)]
    readable = [broker.id for broker in brokers if broker.id not in set(unreadable)]
    await pause_unreadable(database, *unreadable)
    async with database.connection() as connection:
        for row in await connection.fetch(_RESUME, readable, CODE):
            log.info("broker_resumed", broker_id=str(row["id"]))
    return len(unreadable)


def _opens(vault: Vault, broker: Broker) -> bool:
    try:
        credentials_of(vault, broker)
    except (KeyUnreadable, KeyMissing):
        return False
    return True


def digest_of(broker: Broker) -> bytes:
    """Return what changes when the account's client must be made anew; `DIGEST` is the same in SQL."""
    parts = [*(getattr(broker, field) or b"" for field in FIELDS), (broker.subaccount_name or "").encode()]
    return hashlib.sha256(b"/".join(parts)).digest()


_COALESCED: Final = ", ".join(f"coalesce({column}, '')" for column in (*FIELDS, "subaccount_name"))
#: SQL: `digest_of` a row of brokers. The sealed keys never leave the database for it.
DIGEST: Final = f"sha256(convert_to(concat_ws('/', {_COALESCED}), 'UTF8'))"
