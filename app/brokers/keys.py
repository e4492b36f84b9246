"""Sealing and opening an account's keys. Each ciphertext is bound to its user, its account and its field.

An account whose keys do not open is paused with the reason, and the others trade. The pause ends when the keys open again or are given
anew.
"""

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


def credentials_of(vault: Vault, broker: Broker) -> Credentials:
    """Return the account's keys in the clear.

    Raises:
        KeyUnreadable: no key here opens them, or they were sealed for another account.
        KeyMissing: the server's encryption key is not here.
    """
    return Credentials(
        api_key=vault.open(broker.api_key or b"", **_named(broker, "api_key")),
        api_secret=vault.open(broker.api_secret or b"", **_named(broker, "api_secret")),
        api_password=vault.open(broker.api_password, **_named(broker, "api_password")) if broker.api_password else None,
    )


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
