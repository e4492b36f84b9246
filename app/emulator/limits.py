"""How much a client may ask: weight and requests per IP, orders per account, connections per IP; and bans for those who do not stop.

Source: Binance Spot API documentation, rest-api.md "LIMITS", web-socket-api.md "Rate limits" and faqs/order_count_decrement.md.
Everything is counted always and told in the headers; refused is only what a limit was set for. Windows begin at whole multiples of their
length.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from app.emulator.changes import Change, ExecutionType, OrderChange
from app.emulator.errors import VenueError
from app.errors import ConfigError, InvalidInput

Json = dict[str, object]

MINUTE_MS: Final = 60_000
DOCUMENTED: Final = {"weight_1m": 6_000, "raw_requests_5m": 300_000, "orders_10s": 100, "orders_1d": 200_000, "connections_5m": 300}
"""What the real venue announces; told to clients while no limit is set."""
FIRST_BAN_S: Final = 120
LONGEST_BAN_S: Final = 3 * 86_400
TAKER_RELIEF: Final = 1
MAKER_RELIEF: Final = 5
"""By how much an order's first fill lowers the count of unfilled orders."""
_MOST_IPS = 10_000
_LARGEST_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """The limits in force; None sets none. An IP that is refused more than `ban_after` times in a minute is banned."""

    weight_1m: int | None = None
    raw_requests_5m: int | None = None
    orders_10s: int | None = None
    orders_1d: int | None = None
    connections_5m: int | None = None
    ban_after: int = 10

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not 0 <= value <= _LARGEST_LIMIT:
                raise ConfigError(f"the limit {name} must be 0 to {_LARGEST_LIMIT}, was {value}")


NO_LIMITS = LimitSettings()


def changed_settings(settings: LimitSettings, document: Mapping[str, Any]) -> LimitSettings:
    """Return `settings` with the fields of a control request's body in place of its own.

    Raises:
        InvalidInput: a field is unknown or has a value that cannot be used.
    """
    known = {each.name for each in fields(LimitSettings)}
    for name, value in document.items():
        if name not in known:
            raise InvalidInput(f"there is no limit {name!r}", field=name)
        is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_LIMIT
        if not is_number and (value is not None or name == "ban_after"):
            raise InvalidInput(f"{name} cannot be {value!r}", field=name)
    return replace(settings, **document)


class LimitExceeded(VenueError):
    """A refusal with the seconds after which to come back. `until_ms` is the venue's time of that moment."""

    def __init__(self, code: int, message: str, *, status: int, retry_after_s: int, until_ms: int) -> None:
        super().__init__(code, message, status=status)
        self.retry_after_s = retry_after_s
        self.until_ms = until_ms


class _Window:
    """A count that begins anew at every multiple of `length_ms`."""

    __slots__ = ("_begun", "count", "length_ms")

    def __init__(self, length_ms: int) -> None:
        self.length_ms = length_ms
        self._begun = 0
        self.count = 0

    def at(self, now: int) -> int:
        """Return the count at `now`."""
        begun = now - now % self.length_ms
        if begun != self._begun:
            self._begun, self.count = begun, 0
        return self.count

    def add(self, now: int, amount: int) -> None:
        """Count `amount` more or less, never below 0."""
        self.count = max(0, self.at(now) + amount)

    def seconds_left(self, now: int) -> int:
        """Return the whole seconds until it begins anew, at least one."""
        return max(1, math.ceil((self.length_ms - now % self.length_ms) / 1000))


class _IpUsage:
    """What one IP has used up, and how it behaved."""

    __slots__ = ("banned_until", "bans", "connections", "raw", "refusals", "weight")

    def __init__(self) -> None:
        self.weight = _Window(MINUTE_MS)
        self.raw = _Window(5 * MINUTE_MS)
        self.connections = _Window(5 * MINUTE_MS)
        self.refusals = _Window(MINUTE_MS)
        self.banned_until = 0
        self.bans = 0


class _AccountUsage:
    """How many unfilled orders one account has placed."""

    __slots__ = ("day", "ten_seconds")

    def __init__(self) -> None:
        self.ten_seconds = _Window(10_000)
        self.day = _Window(86_400_000)

    def add(self, now: int, amount: int) -> None:
        self.ten_seconds.add(now, amount)
        self.day.add(now, amount)


@dataclass(frozen=True, slots=True)
class ForcedBan:
    """A refusal of everything, decided by a fault. `ip` None means every one."""

    status: int
    until_ms: int
    ip: str | None


class Limits:
    """All counts of a venue.

    Args:
        settings: What is refused.
        now_ms: The wall's time.
        told_ms: What the venue says the time is; a message names moments in it.
        on_ban: Told the IP that is banned.
    """

    def __init__(
        self, settings: LimitSettings, *, now_ms: Callable[[], int], told_ms: Callable[[], int], on_ban: Callable[[str | None], None]
    ) -> None:
        self.settings = settings
        self._now_ms = now_ms
        self._told_ms = told_ms
        self._on_ban = on_ban
        self._ips: dict[str, _IpUsage] = {}
        self._accounts: dict[str, _AccountUsage] = {}
        self._forced: ForcedBan | None = None

    def admit(self, ip: str, weight: int) -> None:
        """Count a request.

        Raises:
            LimitExceeded: 429 over a limit, 418 while the IP is banned.
        """
        now, usage = self._now_ms(), self._of(ip)
        self._refuse_banned(ip, usage, now)
        usage.raw.add(now, 1)
        settings = self.settings
        if settings.raw_requests_5m is not None and usage.raw.count > settings.raw_requests_5m:
            self._refuse(ip, usage, "Too many requests queued.", left_s=usage.raw.seconds_left(now))
        if settings.weight_1m is not None and usage.weight.at(now) + weight > settings.weight_1m:
            message = (
                f"Too much request weight used; current limit is {settings.weight_1m} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API."
            )
            self._refuse(ip, usage, message, left_s=usage.weight.seconds_left(now))
        usage.weight.add(now, weight)

    def give_back(self, ip: str, weight: int) -> None:
        """Uncount the weight of a request that turned out to weigh nothing."""
        self._of(ip).weight.add(self._now_ms(), -weight)

    def admit_connection(self, ip: str, weight: int = 0) -> None:
        """Count a websocket handshake.

        Raises:
            LimitExceeded: 429 over a limit, 418 while the IP is banned.
        """
        now, usage = self._now_ms(), self._of(ip)
        self._refuse_banned(ip, usage, now)
        usage.connections.add(now, 1)
        limit = self.settings.connections_5m
        if limit is not None and usage.connections.count > limit:
            message = f"Too many connection attempts from IP; current limit is {limit} per '5 MINUTE'."
            self._refuse(ip, usage, message, code=-1034, left_s=usage.connections.seconds_left(now))
        if weight:
            self.admit(ip, weight)

    def admit_orders(self, api_key: str, count: int) -> None:
        """Count orders about to be placed.

        Raises:
            LimitExceeded: 429 with -1015.
        """
        now = self._now_ms()
        usage = self._accounts.setdefault(api_key, _AccountUsage())
        for window, limit, name in (
            (usage.day, self.settings.orders_1d, "1 DAY"),
            (usage.ten_seconds, self.settings.orders_10s, "10 SECOND"),
        ):
            if limit is not None and window.at(now) + count > limit:
                left_s = window.seconds_left(now)
                message = f"Too many new orders; current limit is {limit} orders per {name}."
                raise LimitExceeded(-1015, message, status=429, retry_after_s=left_s, until_ms=self._told_ms() + left_s * 1000)
        usage.add(now, count)

    def give_back_orders(self, api_key: str, count: int) -> None:
        """Uncount orders that were refused."""
        self._accounts[api_key].add(self._now_ms(), -count)

    def hear(self, change: Change) -> None:
        """Let an order's first fill lower the count; a listener of the exchange's changes."""
        if isinstance(change, OrderChange) and change.execution_type is ExecutionType.TRADE and change.execution is not None:
            usage = self._accounts.get(change.api_key)
            if usage is not None and change.order.executed == change.execution.quantity:
                usage.add(self._now_ms(), -(MAKER_RELIEF if change.execution.is_maker else TAKER_RELIEF))

    def force(self, ban: ForcedBan | None) -> None:
        """Refuse everything whatever the counts say, or stop doing so."""
        self._forced = ban
        if ban is not None:
            self._on_ban(ban.ip)

    def forget(self) -> None:
        """Begin all counts anew and lift the bans they led to."""
        self._ips.clear()
        self._accounts.clear()

    # -- what clients are told --------------------------------------------------------------------------------------------------------

    def used_weight(self, ip: str) -> int:
        """Return the weight an IP has used in this minute."""
        return self._of(ip).weight.at(self._now_ms())

    def order_counts(self, api_key: str) -> tuple[int, int]:
        """Return an account's unfilled orders of these ten seconds and of this day."""
        usage, now = self._accounts.get(api_key), self._now_ms()
        return (usage.ten_seconds.at(now), usage.day.at(now)) if usage is not None else (0, 0)

    def announced(self, name: str) -> int:
        """Return a limit as clients are told it: the one in force, or the real venue's."""
        limit: int | None = getattr(self.settings, name)
        return limit if limit is not None else DOCUMENTED[name]

    def describe(self) -> list[Json]:
        """Return `rateLimits` of GET /exchangeInfo."""
        return [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self.announced("weight_1m")},
            *self._order_limits(),
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": self.announced("raw_requests_5m")},
        ]

    def describe_orders(self, api_key: str) -> list[Json]:
        """Return GET /rateLimit/order."""
        return [{**limit, "count": count} for limit, count in zip(self._order_limits(), self.order_counts(api_key), strict=True)]

    def describe_weight(self, ip: str) -> list[Json]:
        """Return `rateLimits` of an answer of the websocket API."""
        return [{**self.describe()[0], "count": self.used_weight(ip)}]

    def describe_usage(self) -> Json:
        """Return `GET /_limits`."""
        now = self._now_ms()
        return {
            "limits": asdict(self.settings),
            "ips": {
                ip: {
                    "used_weight_1m": usage.weight.at(now),
                    "raw_requests_5m": usage.raw.at(now),
                    "refusals_1m": usage.refusals.at(now),
                    "bans": usage.bans,
                    "banned_until": usage.banned_until if usage.banned_until > now else None,
                }
                for ip, usage in self._ips.items()
            },
            "accounts": {
                api_key: dict(zip(("orders_10s", "orders_1d"), self.order_counts(api_key), strict=True)) for api_key in self._accounts
            },
        }

    def _order_limits(self) -> list[Json]:
        return [
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": self.announced("orders_10s")},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": self.announced("orders_1d")},
        ]

    # -- refusals ---------------------------------------------------------------------------------------------------------------------

    def _of(self, ip: str) -> _IpUsage:
        usage = self._ips.get(ip)
        if usage is None:
            if len(self._ips) >= _MOST_IPS:
                now = self._now_ms()
                self._ips = {known: each for known, each in self._ips.items() if each.banned_until > now or each.raw.at(now)}
            usage = self._ips[ip] = _IpUsage()
        return usage

    def _refuse(self, ip: str, usage: _IpUsage, message: str, *, left_s: int, code: int = -1003) -> None:
        now = self._now_ms()
        usage.refusals.add(now, 1)
        if usage.refusals.count > self.settings.ban_after:
            duration_s = min(LONGEST_BAN_S, FIRST_BAN_S * 2 ** min(usage.bans, 20))
            usage.bans += 1
            usage.banned_until = now + duration_s * 1000
            self._on_ban(ip)
            raise self._banned(418, duration_s * 1000)
        raise LimitExceeded(code, message, status=429, retry_after_s=left_s, until_ms=self._told_ms() + left_s * 1000)

    def _refuse_banned(self, ip: str, usage: _IpUsage, now: int) -> None:
        if usage.banned_until > now:
            raise self._banned(418, usage.banned_until - now)
        forced = self._forced
        if forced is not None and forced.ip in (None, ip) and forced.until_ms > now:
            raise self._banned(forced.status, forced.until_ms - now)

    def _banned(self, status: int, left_ms: int) -> LimitExceeded:
        until_ms = self._told_ms() + left_ms
        message = (
            f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket Streams for live updates to avoid bans."
            if status == 418
            else "Too many requests queued."
        )
        return LimitExceeded(-1003, message, status=status, retry_after_s=math.ceil(left_ms / 1000), until_ms=until_ms)
