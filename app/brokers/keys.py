"""Sealing and opening an account's keys. Each ciphertext is bound to its user, its account and its field."""

from typing import Any

from app.brokers.models import Broker
from app.core.crypto import Vault
from app.exchanges.port import Credentials


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
