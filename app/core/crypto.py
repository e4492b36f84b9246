"""Encryption of exchange keys at rest. Each ciphertext is bound to its place, so rows cannot be swapped in the table."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.errors import ConfigError

_SEPARATOR = b"\x00"


class Vault:
    """Encrypts and decrypts with rotatable keys; the first one encrypts."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, plaintext: str, *, context: str) -> bytes:
        """Return ciphertext of `plaintext` bound to `context` (for example `broker:<id>:api_key`)."""
        return self._fernet.encrypt(context.encode() + _SEPARATOR + plaintext.encode())

    def open(self, ciphertext: bytes, *, context: str) -> str:
        """Return the plaintext.

        Raises:
            ConfigError: no configured key opens it, or it was sealed for another place.
        """
        try:
            found, _, plaintext = self._fernet.decrypt(ciphertext).partition(_SEPARATOR)
        except InvalidToken as error:
            raise ConfigError("FERNET_KEY does not open the stored exchange keys; put back the key they were stored with") from error
        if found != context.encode():
            raise ConfigError("a stored exchange key was moved to another row; it is not used")
        return plaintext.decode()
