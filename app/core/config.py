"""Settings from the environment and `.env`, and the secrets that a first start makes for itself.

Every variable stands in `.env.example` with its unit and default; a test compares the two.
"""

import ipaddress
import os
import secrets
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.addresses import parse_allowed
from app.errors import ConfigError

_SHORTEST_JWT_SECRET = 32
_WEAK_WORDS = ("changethis", "changeme", "secret", "password", "aristobot", "example")


class LogFormat(StrEnum):
    """How log lines look."""

    CONSOLE = "console"
    JSON = "json"


class Registration(StrEnum):
    """Who may make an account."""

    CLOSED = "closed"
    INVITATION = "invitation"
    OPEN = "open"


class Settings(BaseSettings):
    """All configuration. Durations carry their unit in the name."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = None
    database_owner_url: SecretStr | None = None
    data_dir: Path = Path("aristobot-data")
    jwt_secret: SecretStr | None = None
    fernet_key: SecretStr | None = None
    admin_user: str = "admin"
    admin_password: SecretStr | None = None
    registration: Registration = Registration.CLOSED
    debug_aristobot: bool = False
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    public_url: str | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    access_token_minutes: int = Field(10, ge=1, le=24 * 60)
    session_idle_minutes: int = Field(30, ge=1)
    session_hours: int = Field(12, ge=1)
    heartbeat_exchange: str = "binance"
    heartbeat_symbols: Annotated[tuple[str, ...], NoDecode] = ("BTC/USDT", "ETH/USDT")
    heartbeat_history_minutes: int = Field(3 * 24 * 60, ge=0)
    binance_rest_url: str | None = None
    binance_stream_url: str | None = None
    binance_ws_api_url: str | None = None
    openrouter_url: str = "https://openrouter.ai/api/v1"
    ollama_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("localhost:11434", "127.0.0.1:11434", "[::1]:11434")
    limiter_share: float = Field(1.0, gt=0, le=1)
    webhook_repeat_window_s: int = Field(30, ge=0)
    reconcile_interval_s: float = Field(5.0, gt=0)
    reconcile_full_interval_s: float = Field(900.0, gt=0)
    reconcile_settle_s: float = Field(10.0, ge=0)
    audit_interval_s: float = Field(900.0, gt=0)
    equity_interval_s: float = Field(60.0, gt=0)
    roles: Annotated[tuple[str, ...], NoDecode] = ("web", "heartbeat", "engine")
    log_level: str = "INFO"
    log_format: LogFormat = LogFormat.CONSOLE
    log_file: Path | None = None

    @field_validator("heartbeat_symbols", "roles", "allowed_hosts", "trusted_proxies", "ollama_allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("ollama_allowed_hosts", mode="after")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_allowed(value)
        return value

    @property
    def access_token_lifetime(self) -> timedelta:
        """How long a bearer token is good for."""
        return timedelta(minutes=self.access_token_minutes)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return _is_loopback(self.host)

    @property
    def own_names(self) -> frozenset[str]:
        """The names that this server is known by, beside addresses and local names."""
        public = urlsplit(self.public_url).hostname if self.public_url else None
        return frozenset(name.lower() for name in (*self.allowed_hosts, public, self.host) if name)

    @property
    def is_simulated(self) -> bool:
        """Whether Binance is an emulator on this machine: no order can reach a real exchange there."""
        return self.binance_rest_url is not None and _is_loopback(urlsplit(self.binance_rest_url).hostname or "")

    @model_validator(mode="after")
    def _debug_stays_at_home(self) -> "Settings":
        if self.debug_aristobot and (self.trusted_proxies or self.public_url):
            raise ValueError("DEBUG_ARISTOBOT lets anyone in without a password, so there may be no TRUSTED_PROXIES and no PUBLIC_URL")
        if self.debug_aristobot and not self.is_loopback:
            raise ValueError(
                f"DEBUG_ARISTOBOT lets anyone in without a password, so HOST must be a loopback address such as 127.0.0.1, was {self.host}"
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Secrets:
    """The two secrets the server cannot work without, given or made."""

    def __init__(self, *, jwt_secret: str, fernet_keys: tuple[str, ...]) -> None:
        self.jwt_secret = jwt_secret
        self.fernet_keys = fernet_keys

    def __repr__(self) -> str:
        return "Secrets(…)"


def load_secrets(settings: Settings) -> tuple[Secrets, list[str]]:
    """Return the secrets and the names of those that were just made (into `data_dir/secrets.env`, mode 0600).

    Raises:
        ConfigError: a secret given by hand is weak or malformed.
    """
    stored = _read_secret_file(settings.data_dir)
    made: list[str] = []
    jwt_secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else stored.get("JWT_SECRET")
    if jwt_secret is None:
        jwt_secret = secrets.token_urlsafe(48)
        stored["JWT_SECRET"] = jwt_secret
        made.append("JWT_SECRET")
    fernet = settings.fernet_key.get_secret_value() if settings.fernet_key else stored.get("FERNET_KEY")
    if fernet is None:
        fernet = Fernet.generate_key().decode()
        stored["FERNET_KEY"] = fernet
        made.append("FERNET_KEY")
    _refuse_weak(jwt_secret)
    keys = tuple(key.strip() for key in fernet.split(",") if key.strip())
    for key in keys or ("",):
        try:
            Fernet(key)
        except ValueError as error:
            raise ConfigError("FERNET_KEY must be 32 random bytes in URL-safe base64; make one with `aristobot keys new`") from error
    if made:
        _write_secret_file(settings.data_dir, stored)
    return Secrets(jwt_secret=jwt_secret, fernet_keys=keys), made


def _refuse_weak(jwt_secret: str) -> None:
    if len(jwt_secret.encode()) < _SHORTEST_JWT_SECRET:
        raise ConfigError(
            f"JWT_SECRET must have at least {_SHORTEST_JWT_SECRET} bytes, was {len(jwt_secret.encode())}; leave it out to have one made"
        )
    if len(set(jwt_secret)) < 10 or any(word in jwt_secret.lower() for word in _WEAK_WORDS):
        raise ConfigError("JWT_SECRET is guessable; leave it out to have a random one made")


def _read_secret_file(data_dir: Path) -> dict[str, str]:
    path = data_dir / "secrets.env"
    if not path.exists():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def _write_secret_file(data_dir: Path, values: dict[str, str]) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = "# Made by Aristobot at its first start. Losing FERNET_KEY makes every stored exchange key unreadable: keep a copy apart.\n"
    text += "".join(f"{name}={value}\n" for name, value in sorted(values.items()))
    fresh = data_dir / f".secrets.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(data_dir / "secrets.env")
