"""What an emulator is told at its start."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from app.domain.fees import FeeRates
from app.emulator.clock import REAL_CLOCK, ClockMode
from app.emulator.expectations import Expectations
from app.emulator.fault_rules import FaultRule
from app.emulator.limits import NO_LIMITS, LimitSettings
from app.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFile:
    """A csv or csv.gz file with 1m candles; its name tells the symbol unless one is given."""

    path: Path
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSymbol:
    """A symbol whose candles are made up, around `price` (quote per base); `volatility` is that of a year, 0.6 meaning 60 %."""

    symbol: str
    price: Decimal
    volatility: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentSymbol:
    """A symbol that is quoted around `price` and never traded."""

    symbol: str
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedSymbol:
    """A symbol whose candles go straight from each of `prices` to the next, one a minute from the start."""

    symbol: str
    prices: tuple[Decimal, ...]

    def __post_init__(self) -> None:
        if len(self.prices) < 2 or not all(price > 0 for price in self.prices):
            raise ConfigError(f"the script of {self.symbol} needs at least two prices above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """An account that is there from the start, with its opening balances by asset."""

    api_key: str
    api_secret: str = field(repr=False)
    balances: Mapping[str, Decimal]
    pays_in_bnb: bool = False


DEFAULT_FEES = FeeRates(maker=Decimal("0.001"), taker=Decimal("0.001"))
DEFAULT_GENERATED = (GeneratedSymbol(symbol="BTCUSDT", price=Decimal(60000)), GeneratedSymbol(symbol="ETHUSDT", price=Decimal(3000)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Settings of one emulator process.

    `replay`, `generate`, `silent` and `scripted` say what is traded; with none of them two made-up markets are. `speed` is market
    minutes per wall minute. `history_minutes` lie in the past at start. `start_at_ms` names the candle at which "now" begins, in
    the source's own time. With `is_shifted` the market is moved by whole minutes to the present. `port` 0 takes a free one. `is_paused`
    lets the market of a fresh start stand still; `ideal` is the slippage of one as backtests assume it. With a virtual `clock` everything
    stands until it is moved; it begins at the present, or without `is_shifted` at the source's own time, which makes a run repeatable.
    A connection is cut after `connection_lifetime_s`. The last `journal_capacity` requests are remembered. A websocket client that sends
    more than `message_limit` frames a second is disconnected. `accounts` are opened unless a state file has them, `faults` put in force or
    wait for their time, and what `expect` says is judged at the end.

    Raises:
        ConfigError: a value cannot be used; above all a host that others on the network could reach.
    """

    host: str = "127.0.0.1"
    port: int = 0
    replay: tuple[ReplayFile, ...] = ()
    generate: tuple[GeneratedSymbol, ...] = ()
    silent: tuple[SilentSymbol, ...] = ()
    scripted: tuple[ScriptedSymbol, ...] = ()
    seed: int = 42
    speed: float = 1.0
    history_minutes: int = 1440
    start_at_ms: int | None = None
    is_shifted: bool = True
    is_paused: bool = False
    ideal: Decimal | None = None
    state_file: Path | None = None
    fees: FeeRates = DEFAULT_FEES
    parent_pid: int | None = None
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 60.0
    clock: ClockMode = REAL_CLOCK
    connection_lifetime_s: float = 24 * 3600.0
    journal_capacity: int = 100_000
    limits: LimitSettings = NO_LIMITS
    message_limit: int | None = None
    accounts: tuple[AccountSpec, ...] = ()
    faults: tuple[FaultRule, ...] = ()
    expect: Expectations | None = None

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise ConfigError(f"the emulator listens on loopback only, was {self.host!r}")
        if not 0 < self.speed <= 100_000:
            raise ConfigError(f"speed must be above 0 and at most 100000, was {self.speed}")
        if self.history_minutes < 0:
            raise ConfigError(f"history must not be negative, was {self.history_minutes}")
        if self.clock.is_virtual and (self.speed != 1 or self.is_paused):
            raise ConfigError("a virtual clock stands still by itself and has no speed")
        if self.ideal is not None and not 0 < self.ideal < 1:
            raise ConfigError(f"the slippage of an ideal market must lie between 0 and 1, was {self.ideal}")
        if self.journal_capacity < 1:
            raise ConfigError(f"the journal must hold at least one request, was {self.journal_capacity}")
        if self.connection_lifetime_s <= 0:
            raise ConfigError(f"a connection's lifetime must be above 0 seconds, was {self.connection_lifetime_s}")

    @property
    def generated(self) -> tuple[GeneratedSymbol, ...]:
        """The symbols to make up: the ones asked for, or two well-known ones when nothing else is traded."""
        return self.generate if self.generate or self.replay or self.silent or self.scripted else DEFAULT_GENERATED


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host` (a name or an address, without port)."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
