"""Sealing and opening an account's keys. Each ciphertext is bound to its account and field."""

import hashlib
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from app.brokers.models import Broker
from app.core.crypto import Vault
from app.exchanges.port import Credentials

#: What an exchange may want of an account, in the order in which people are asked.
FIELDS: Final = ("api_key", "api_secret", "api_password", "api_uid")
_HINT: Final = 4


def seal(vault: Vault, broker_id: UUID, field: str, value: str) -> bytes:
    """Return ciphertext bound to this account and field."""
    return vault.seal(value, context=f"broker:{broker_id}:{field}")


def set_keys(vault: Vault, broker: Broker, given: Mapping[str, str | None]) -> None:
    """Give an account these keys and no others: what belonged to the keys before goes with them, and what was found out about those."""
    for field in FIELDS:
        value = (given.get(field) or "").strip()
        setattr(broker, field, seal(vault, broker.id, field, value) if value else None)
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
        ConfigError: no configured key opens them.
    """
    sealed = {field: getattr(broker, field) for field in FIELDS}
    return {field: vault.open(value, context=f"broker:{broker.id}:{field}") for field, value in sealed.items() if value is not None}


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
        ConfigError: no configured key opens them.
    """
    return credentials_from(stored_keys(vault, broker), subaccount=broker.subaccount_name)


def digest_of(broker: Broker) -> bytes:
    """Return what changes when the account's client must be made anew; `DIGEST` is the same in SQL."""
    parts = [*(getattr(broker, field) or b"" for field in FIELDS), (broker.subaccount_name or "").encode()]
    return hashlib.sha256(b"/".join(parts)).digest()


_COALESCED: Final = ", ".join(f"coalesce({column}, '')" for column in (*FIELDS, "subaccount_name"))
#: SQL: `digest_of` a row of brokers. The sealed keys never leave the database for it.
DIGEST: Final = f"sha256(convert_to(concat_ws('/', {_COALESCED}), 'UTF8'))"
