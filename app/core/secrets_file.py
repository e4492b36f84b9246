"""The two secrets a server cannot work without: given by hand, or made by a first start into `data_dir/secrets.env`.

The signing secret is made whenever it is missing: that logs everybody out and loses nothing. The encryption key is made by `core.keyring`
alone, which knows whether something is encrypted already.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

from app.core.config import Settings
from app.core.file_lock import FileLock
from app.errors import ConfigError

FILE: Final = "secrets.env"
_LOCK: Final = "secrets.lock"
_PATIENCE_S: Final = 10.0
_POLL_S: Final = 0.02
_SHORTEST_JWT_SECRET: Final = 32
_WEAK_WORDS: Final = ("changethis", "changeme", "secret", "password", "aristobot", "example")
_HEAD: Final = "# Made by Aristobot. Losing FERNET_KEY makes every stored exchange key unreadable: keep a copy apart from the database's.\n"


def load_jwt_secret(settings: Settings) -> tuple[str, bool]:
    """Return the signing secret, and whether it was just made.

    Raises:
        ConfigError: one given by hand is weak.
    """
    given = settings.jwt_secret.get_secret_value() if settings.jwt_secret else _read(settings.data_dir).get("JWT_SECRET")
    if given is None:
        return _make_jwt_secret(settings.data_dir)
    _refuse_weak(given)
    return given, False


def _make_jwt_secret(data_dir: Path) -> tuple[str, bool]:
    with _turn(data_dir):
        found = _read(data_dir).get("JWT_SECRET")
        if found is not None:
            return found, False  # another process with the same folder was first
        made = secrets.token_urlsafe(48)
        _write(data_dir, JWT_SECRET=made)
        return made, True


class KeySource:
    """Where the encryption keys of this server come from: FERNET_KEY of the environment or `.env`, or the secrets file."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.fernet_key.get_secret_value() if settings.fernet_key else None
        self._data_dir = settings.data_dir

    def __repr__(self) -> str:
        return f"KeySource({self.place})"

    @property
    def is_given(self) -> bool:
        """Whether they were given by hand, so that this program cannot change them."""
        return self._given is not None

    @property
    def place(self) -> str:
        """Where they are looked for, for whoever runs the server."""
        return "FERNET_KEY in the environment or .env" if self.is_given else f"FERNET_KEY in {(self._data_dir / FILE).absolute()}"

    def read(self) -> tuple[str, ...]:
        """Return the keys as they are there now, none when there are none.

        Raises:
            ConfigError: one is malformed.
        """
        text = self._given if self._given is not None else _read(self._data_dir).get("FERNET_KEY")
        if text is None:
            return ()
        keys = tuple(dict.fromkeys(key.strip() for key in text.split(",") if key.strip()))
        for key in keys or ("",):
            try:
                Fernet(key)
            except ValueError as error:
                raise ConfigError("FERNET_KEY must be 32 random bytes in URL-safe base64; make one with `aristobot keys new`") from error
        return keys

    def write(self, keys: tuple[str, ...]) -> None:
        """Keep these keys in the secrets file, instead of those that are there; durable when it returns."""
        with _turn(self._data_dir):
            _write(self._data_dir, FERNET_KEY=",".join(keys))


def _refuse_weak(jwt_secret: str) -> None:
    if len(jwt_secret.encode()) < _SHORTEST_JWT_SECRET:
        raise ConfigError(
            f"JWT_SECRET must have at least {_SHORTEST_JWT_SECRET} bytes, was {len(jwt_secret.encode())}; leave it out to have one made"
        )
    if len(set(jwt_secret)) < 10 or any(word in jwt_secret.lower() for word in _WEAK_WORDS):
        raise ConfigError("JWT_SECRET is guessable; leave it out to have a random one made")


def _read(data_dir: Path) -> dict[str, str]:
    path = data_dir / FILE
    if not path.exists():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


@contextmanager
def _turn(data_dir: Path) -> Iterator[None]:
    """Let no other process write between our reading and our writing: what it had added would be gone.

    Raises:
        ConfigError: another process does not come to an end with it.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(data_dir / _LOCK)
    deadline = time.monotonic() + _PATIENCE_S
    while not lock.try_acquire():
        if time.monotonic() > deadline:
            raise ConfigError(f"another process has held {data_dir / _LOCK} for {_PATIENCE_S:.0f} seconds; is it stuck?")
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.release()


def _write(data_dir: Path, **values: str) -> None:
    text = _HEAD + "".join(f"{name}={value}\n" for name, value in sorted((_read(data_dir) | values).items()))
    fresh = data_dir / f".secrets.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(data_dir / FILE)
    if os.name == "posix":  # Windows opens no folders
        # Without this a power cut may bring the old file back, after secrets were sealed with the new key.
        folder = os.open(data_dir, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
