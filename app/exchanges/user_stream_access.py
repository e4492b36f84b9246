"""How an account's own events are reached: where, and with whose signature. The secret stays inside the signer."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, runtime_checkable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app.errors import BadCredentials
from app.exchanges.user_stream_pace import Turnstile

#: Source: binance-spot-api-docs web-socket-api.md "General API Information".
DEFAULT_USER_STREAM_URL: Final = "wss://ws-api.binance.com:443/ws-api/v3"
TESTNET_USER_STREAM_URL: Final = "wss://ws-api.testnet.binance.vision/ws-api/v3"
_Parameter = str | int


class Signer:
    """Signs requests of Binance's websocket API for one account; it shows its secret to nobody and cannot be copied out.

    Source: binance-spot-api-docs web-socket-api.md "SIGNED request example" for HMAC, RSA and Ed25519 keys.
    """

    __slots__ = ("__key", "__secret")

    def __init__(self, api_key: str, api_secret: str) -> None:
        self.__key = api_key
        self.__secret = api_secret

    def signed(self, parameters: Mapping[str, _Parameter]) -> dict[str, _Parameter]:
        """Return `parameters` with the account's key and signature: for the wire, never for a log.

        Raises:
            BadCredentials: the secret is a private key of no kind that the venue takes.
        """
        complete: dict[str, _Parameter] = {**parameters, "apiKey": self.__key}
        payload = "&".join(f"{name}={complete[name]}" for name in sorted(complete))
        return {**complete, "signature": _signature(self.__secret, payload.encode())}

    def __repr__(self) -> str:
        return "Signer(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer stays in its process")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStreamAccess:
    """Where an account's events come from, who signs for them, and where they are counted.

    `has_rate_limit` is False for a venue on this machine.
    """

    url: str
    signer: Signer
    has_rate_limit: bool
    turnstile: Turnstile | None = None


@runtime_checkable
class HasUserStream(Protocol):
    """An exchange client whose venue may tell an account's events as they happen."""

    def user_stream(self) -> UserStreamAccess | None:
        """Return the way to the account's events; None where this version knows none, and asking is all there is."""


def _signature(secret: str, payload: bytes) -> str:
    if "PRIVATE KEY" not in secret:
        return hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()
    try:
        key = load_pem_private_key(secret.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise BadCredentials("the private key stored for this account cannot be read") from error
    if isinstance(key, Ed25519PrivateKey):
        signature = key.sign(payload)
    elif isinstance(key, RSAPrivateKey):
        signature = key.sign(payload, PKCS1v15(), SHA256())
    else:
        raise BadCredentials("the private key stored for this account is neither an RSA nor an Ed25519 key")
    return base64.b64encode(signature).decode()
