"""Encryption of secrets at rest: exchange keys, second factors. Each ciphertext is bound to its place, so rows cannot be swapped.

A key is named by its fingerprint, which tells nothing about it. Any key here opens; which one seals is written in the database
(`core.keyring`), so that of several processes none seals with a key that another lacks.
"""

import hashlib
import hmac
from typing import Final, NoReturn

from cryptography.fernet import Fernet, InvalidToken

from app.errors import KeyMissing, KeyUnreadable

_SEPARATOR: Final = b"\x00"
_PURPOSE: Final = b"aristobot: fingerprint of an encryption key"
_DIGITS: Final = 16

UNREADABLE: Final = (
    "a stored secret cannot be read: it was encrypted with a key that this server does not have. Put that key back, or enter it anew"
)
MOVED: Final = "a stored secret was moved here from another row, so it is not used. Enter it anew"


def fingerprint(key: str) -> str:
    """Return the name of a key: sixteen hexadecimal digits, from which nobody can learn the key."""
    return hmac.new(key.encode(), _PURPOSE, hashlib.sha256).hexdigest()[:_DIGITS]


class Vault:
    """Seals with one key and opens with several. Its keys may change while the server runs."""

    def __init__(self, keys: tuple[str, ...], *, sealing: str | None = None) -> None:
        self._fernets: dict[str, Fernet] = {}
        self._sealing: str | None = None
        self.replace(keys, sealing=sealing)

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._fernets)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault stays in its process")

    def replace(self, keys: tuple[str, ...], *, sealing: str | None = None) -> None:
        """Work with these keys from now on.

        Args:
            keys: Every key that opens.
            sealing: The fingerprint of the one that seals; the first one's by default. Should it be none of them, nothing can be sealed.
        """
        self._fernets = {fingerprint(key): Fernet(key) for key in keys}
        self._sealing = sealing or next(iter(self._fernets), None)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The keys that open."""
        return tuple(self._fernets)

    @property
    def sealing(self) -> str | None:
        """The key that seals, whether it is here or not."""
        return self._sealing

    @property
    def is_whole(self) -> bool:
        """Whether the key that seals is here."""
        return self._sealing in self._fernets

    def seal(self, plaintext: str, *, context: str) -> bytes:
        """Return ciphertext of `plaintext` bound to `context`: a place as `core.models.Encrypted` names it.

        Raises:
            KeyMissing: the key that seals is not here.
        """
        return self._fernet().encrypt(context.encode() + _SEPARATOR + plaintext.encode())

    def open(self, ciphertext: bytes, *, context: str, before: str | None = None) -> str:
        """Return the plaintext.

        Args:
            ciphertext: What `seal` returned.
            context: The place it was read from.
            before: How an earlier version of this program called that place; what it sealed opens too.

        Raises:
            KeyUnreadable: no key here opens it, or it was sealed for another place.
            KeyMissing: no key here opens it, and the one that seals is missing.
        """
        _, opened, _ = self._opened(ciphertext)
        return _inside(opened, context, before)[1]

    def opener(self, ciphertext: bytes) -> str | None:
        """Return the fingerprint of the key that opens `ciphertext`, wherever it was sealed for; None when no key here does."""
        try:
            return self._opened(ciphertext)[0]
        except (KeyUnreadable, KeyMissing):
            return None

    def resealed(self, ciphertext: bytes, *, context: str, before: str | None = None) -> bytes | None:
        """Return the same secret sealed with the present key for the present name of its place; None when it is so already.

        The moment at which it was first sealed stays the same. Raises as `open`.
        """
        key, opened, sealed_at = self._opened(ciphertext)
        found, plaintext = _inside(opened, context, before)
        if key == self._sealing and found == context:
            return None
        return self._fernet().encrypt_at_time(context.encode() + _SEPARATOR + plaintext.encode(), sealed_at)

    def _fernet(self) -> Fernet:
        if self._sealing is None or self._sealing not in self._fernets:
            raise KeyMissing
        return self._fernets[self._sealing]

    def _opened(self, ciphertext: bytes) -> tuple[str, bytes, int]:
        for name, fernet in self._fernets.items():
            try:
                return name, fernet.decrypt(ciphertext), fernet.extract_timestamp(ciphertext)
            except InvalidToken:
                continue
        if not self.is_whole:
            raise KeyMissing
        raise KeyUnreadable(UNREADABLE)


def _inside(opened: bytes, context: str, before: str | None) -> tuple[str, str]:
    """Return what the place was called when it was sealed, and the plaintext."""
    found, _, plaintext = opened.partition(_SEPARATOR)
    place = found.decode(errors="replace")
    if place not in (context, before):
        raise KeyUnreadable(MOVED)
    return place, plaintext.decode()
