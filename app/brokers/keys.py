"""Sealing and opening an account's keys. Each ciphertext is bound to its account and field."""

from uuid import UUID

from app.brokers.models import Broker
from app.core.crypto import Vault
from app.exchanges.port import Credentials


def seal(vault: Vault, broker_id: UUID, field: str, value: str) -> bytes:
    """Return ciphertext bound to this account and field."""
    return vault.seal(value, context=f"broker:{broker_id}:{field}")


def credentials_of(vault: Vault, broker: Broker) -> Credentials:
    """Return the account's keys in the clear.

    Raises:
        ConfigError: no configured key opens them.
    """
    context = f"broker:{broker.id}:"
    return Credentials(
        api_key=vault.open(broker.api_key or b"", context=context + "api_key"),
        api_secret=vault.open(broker.api_secret or b"", context=context + "api_secret"),
        api_password=vault.open(broker.api_password, context=context + "api_password") if broker.api_password else None,
    )
