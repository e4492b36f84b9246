"""Settings from the environment and `.env`. The two secrets among them may be left out; `core.secrets_file` says where they are then.

Every variable stands in `.env.example` with its unit and default; a test compares the two.
"""

import ipaddress
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.addresses import parse_allowed


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
    registrations_per_hour: int = Field(20, ge=1, le=100_000)
    debug_aristobot: bool = False
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    public_url: str | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    public_api_docs: bool = False
    metrics_open_on_loopback: bool = False
    access_token_minutes: int = Field(10, ge=1, le=24 * 60)
    session_idle_minutes: int = Field(30, ge=1)
    session_hours: int = Field(12, ge=1)
    heartbeat_exchange: str = "binance"
    heartbeat_symbols: Annotated[tuple[str, ...], NoDecode] = ("BTC/USDT", "ETH/USDT")
    heartbeat_history_minutes: int = Field(3 * 24 * 60, ge=0)
    candle_check_share: float = Field(0.05, ge=0, le=0.4)
    candles_keep_months: int = Field(0, ge=0, le=1200)
    symbols_refresh_hour: int = Field(3, ge=0, le=23)
    binance_rest_url: str | None = None
    binance_stream_url: str | None = None
    binance_ws_api_url: str | None = None
    openrouter_url: str = "https://openrouter.ai/api/v1"
    ollama_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("localhost:11434", "127.0.0.1:11434", "[::1]:11434")
    assistant_per_minute: int = Field(10, ge=1, le=1000)
    assistant_reply_s: float = Field(600.0, gt=0, le=3600)
    assistant_silence_s: float = Field(180.0, gt=0, le=3600)
    limiter_share: float = Field(1.0, gt=0, le=1)
    webhook_repeat_window_s: int = Field(30, ge=0)
    reconcile_interval_s: float = Field(5.0, gt=0)
    reconcile_full_interval_s: float = Field(900.0, gt=0)
    reconcile_settle_s: float = Field(10.0, ge=0)
    audit_interval_s: float = Field(900.0, gt=0)
    equity_interval_s: float = Field(60.0, gt=0)
    sandbox_socket: Path | None = None
    trust_strategies: bool = False
    strategy_call_ms: int = Field(250, ge=50, le=2_000)
    strategy_run_s: int = Field(120, ge=5, le=3_600)
    strategies_per_user: int = Field(20, ge=1, le=10_000)
    strategies_at_once: int = Field(200, ge=1, le=5_000)
    backtests_per_user: int = Field(2, ge=1, le=100)
    backtests_at_once: int = Field(0, ge=0, le=64)
    backtests_queued_per_user: int = Field(50, ge=1, le=10_000)
    backtests_kept_per_user: int = Field(1_000, ge=1, le=1_000_000)
    backtest_memory_mb: int = Field(2_048, ge=256, le=1_048_576)
    shadow_slippage: float = Field(0.0, ge=0, lt=0.1)
    shadow_alert_share: float = Field(0.01, gt=0, le=1)
    shadow_keep_days: int = Field(400, ge=1, le=10_000)
    dask_scheduler: str | None = None
    notifications_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    notifications_per_minute: int = Field(10, ge=2, le=1_000)
    notifications_keep_days: int = Field(30, ge=1, le=3_650)
    deadman_url: SecretStr | None = None
    deadman_minutes: int = Field(5, ge=1, le=1_440)
    deadman_tells_failure: bool = False
    strategy_cpu_minutes_a_day: int = Field(240, ge=1, le=100_000)
    roles: Annotated[tuple[str, ...], NoDecode] = ("web", "heartbeat", "engine", "backtests")
    log_level: str = "INFO"
    log_format: LogFormat = LogFormat.CONSOLE
    log_file: Path | None = None

    @field_validator(
        "heartbeat_symbols",
        "roles",
        "allowed_hosts",
        "trusted_proxies",
        "ollama_allowed_hosts",
        "notifications_allowed_hosts",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("admin_user")
    @classmethod
    def _administrator_is_not_the_developer(cls, value: str) -> str:
        if value.strip().lower() == "dev":
            raise ValueError("dev is the name of development mode's own user; choose another for the administrator")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                network = ipaddress.ip_network(proxy)
            except ValueError as error:
                # A name would never match, and an asterisk would let everybody say where they come from.
                raise ValueError(f"must be addresses or networks such as 127.0.0.1 or 10.0.0.0/8, was {proxy}") from error
            if network.prefixlen == 0:
                raise ValueError(f"{proxy} is everybody: anyone could then say where they come from")
        return value

    @property
    def proxies(self) -> list[str]:
        """The trusted proxies, each as a socket for IPv4 alone and as one for both shows it."""
        networks = [ipaddress.ip_network(proxy) for proxy in self.trusted_proxies]
        mapped = [f"::ffff:{network.network_address}/{96 + network.prefixlen}" for network in networks if network.version == 4]
        return [*(str(network) for network in networks), *mapped]

    @field_validator("ollama_allowed_hosts", mode="after")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_allowed(value)
        return value

    @field_validator("notifications_allowed_hosts", mode="after")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_allowed(value, setting="NOTIFICATIONS_ALLOWED_HOSTS")
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
