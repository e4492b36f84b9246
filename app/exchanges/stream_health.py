"""When a connection for market streams is well, when it needs a successor, and how often the venue may be asked for one. Pure."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Market data only, and apart from the servers that take orders: it fails alone. Source: web-socket-streams.md.
DEFAULT_STREAM_URLS: Final = ("wss://data-stream.binance.vision", "wss://stream.binance.com:9443")
_ATTEMPTS_WINDOW_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """How connections behave. Times are in seconds; the defaults keep Binance's limits.

    Attributes:
        urls: ws:// or wss:// bases without a path. A connection that takes the place of one that failed goes to the next of them.
        canary: A stream that always speaks, on every connection, so that silence means that the connection is dead.
        silence_standby_s: A connection without data for so long gets a successor beside it,
        silence_kill_s: and after so long is dropped.
        lag_s: How far an event's time may be from the venue's own clock, either way,
        lag_for_s: and for how long it may be farther before the connection is replaced.
        rotate_after_s: The age at which a connection is replaced; Binance cuts it at 24 h.
        overlap_s: How long an old connection may still deliver what its successor did not get, at most.
        streams_per_connection: Binance allows 1,024, of which the canary may be one.
        between_requests_s: Binance drops a connection that sends more than five messages a second, and pongs count.
        answer_timeout_s: A connection that leaves a subscription unanswered for so long is dropped.
        handshake_timeout_s: The same for the handshake.
        attempts_per_5_min: Binance allows an address 300, and the accounts' streams need some.
        watch_every_s: How often connections are judged.
        events_waiting: So many events may wait for the consumer; then the venue has to.
    """

    urls: tuple[str, ...] = DEFAULT_STREAM_URLS
    canary: str = "btcusdt@bookTicker"
    silence_standby_s: float = 5.0
    silence_kill_s: float = 10.0
    lag_s: float = 3.0
    lag_for_s: float = 30.0
    rotate_after_s: float = 23 * 3600.0
    overlap_s: float = 10.0
    streams_per_connection: int = 1000
    between_requests_s: float = 0.5
    answer_timeout_s: float = 10.0
    handshake_timeout_s: float = 10.0
    attempts_per_5_min: int = 240
    watch_every_s: float = 0.25
    events_waiting: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionHealth:
    """An open connection, for people to look at.

    `streams` counts what it carries, `age_s` is how old its last data is, `lag_ms` how far its last event's time was from the venue's
    clock (None: not known), `received` counts messages.
    """

    url: str
    streams: int
    opened_at: datetime
    age_s: float
    lag_ms: float | None
    received: int
    is_double: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What is known of an open connection, in seconds. `silent_s`, `unanswered_s` and `lagging_s` leave out what is our own fault."""

    age_s: float
    silent_s: float
    unanswered_s: float = 0.0
    lagging_s: float = 0.0
    lag_patience_s: float = 30.0
    is_shutting_down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be done about a connection, and why. `is_dead`: drop it; otherwise it needs a successor, which takes over from it.

    `is_host_well` says that the successor may well go to the same host.
    """

    reason: str
    is_dead: bool = False
    is_lag: bool = False
    is_host_well: bool = False


def judge(vitals: Vitals, config: StreamConfig) -> Verdict | None:
    """Return what to do about a connection; None when it is well."""
    if vitals.silent_s > config.silence_kill_s:
        return Verdict(reason=f"no data for {config.silence_kill_s:g} s", is_dead=True)
    if vitals.unanswered_s > config.answer_timeout_s:
        return Verdict(reason=f"a subscription was not answered for {config.answer_timeout_s:g} s", is_dead=True)
    if vitals.is_shutting_down:
        return Verdict(reason="the server is shutting down")
    if vitals.silent_s > config.silence_standby_s:
        return Verdict(reason=f"no data for {config.silence_standby_s:g} s")
    if vitals.lagging_s > vitals.lag_patience_s:
        return Verdict(reason=f"more than {config.lag_s:g} s from the exchange's clock", is_lag=True)
    if vitals.age_s > config.rotate_after_s:
        return Verdict(reason="old age", is_host_well=True)
    return None


class AttemptLimit:
    """Keeps all connection attempts below a number in five minutes.

    The first half may go at once. The rest is spread over the window, so that a venue that drops us over and over never finds us locked
    out for minutes.
    """

    def __init__(self, per_window: int) -> None:
        self._per_window = per_window
        self._taken: deque[float] = deque()
        self._not_before = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long the next attempt has to wait; `now` is monotonic seconds."""
        while self._taken and self._taken[0] <= now - _ATTEMPTS_WINDOW_S:
            self._taken.popleft()
        at = self._not_before
        free = max(1, self._per_window // 2)
        if len(self._taken) >= free:
            at = max(at, self._taken[-1] + _ATTEMPTS_WINDOW_S / max(1, self._per_window - free))
        if len(self._taken) >= self._per_window:
            at = max(at, self._taken[0] + _ATTEMPTS_WINDOW_S)
        return max(0.0, at - now)

    def take(self, now: float) -> None:
        """Count an attempt."""
        self._taken.append(now)

    def hold(self, now: float, pause_s: float) -> None:
        """Let none go for so long: the venue said so."""
        self._not_before = max(self._not_before, now + pause_s)
