"""Login attempts, counted in the database: by name and by address, each attempt before it is judged, so that many at once count too.

After five attempts in vain each further one must wait twice as long, up to a minute for a name and a quarter of an hour for an address.
Nobody is locked out for good: that would let a stranger lock out the owner. For the same reason a name is counted apart for an address from
which its owner has logged in before. A name that does not exist is counted like any other.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.core.clock import Clock
from app.core.db import Database
from app.errors import TooManyAttempts

_FREE: Final = 5
_FREE_OF_ADDRESS: Final = 20
_LONGEST_FOR_NAME_S: Final = 60
_LONGEST_FOR_ADDRESS_S: Final = 900
#: A second factor has a million values: five tries, then one a minute.
_WAIT_FOR_CODE_S: Final = 60
_FORGET_AFTER: Final = timedelta(hours=1)
#: Whoever logged in from an address is known there for so long.
_KNOWN_FOR: Final = timedelta(days=90)
_IS_KNOWN: Final = """
SELECT EXISTS (SELECT 1 FROM user_sessions s JOIN users u ON u.id = s.user_id
                WHERE lower(u.username) = $1 AND s.ip_address = $2 AND s.created_at > $3)
"""
#: The keys come sorted, so that two attempts never wait for each other in a ring. Who need not wait is blocked until long ago: of two at
#: the same moment the one that comes to the row second may have looked at the clock first.
_COUNT: Final = """
WITH given AS (SELECT * FROM unnest($1::bytea[], $2::int[], $3::int[], $6::int[]) AS g (key, free, longest, first)),
blocked AS (SELECT max(a.blocked_until) AS until FROM login_attempts a JOIN given g ON g.key = a.key WHERE a.blocked_until > $4),
counted AS (
  INSERT INTO login_attempts AS a (key, failures, last_at, blocked_until)
  SELECT g.key, 1, $4, $4 - interval '1 hour' FROM given g, blocked WHERE blocked.until IS NULL ORDER BY g.key
  ON CONFLICT (key) DO UPDATE
     SET failures = CASE WHEN a.last_at < $5 THEN 1 ELSE a.failures + 1 END, last_at = greatest(a.last_at, excluded.last_at),
         blocked_until = excluded.last_at + make_interval(secs => CASE
           WHEN a.last_at < $5 THEN -3600
           ELSE (SELECT CASE WHEN a.failures + 1 < g.free THEN -3600
                             ELSE least(g.first * power(2, least(a.failures + 1 - g.free, 20)), g.longest) END
                   FROM given g WHERE g.key = a.key) END)
   WHERE a.blocked_until <= excluded.last_at
  RETURNING key)
SELECT blocked.until, (SELECT count(*) FROM counted) AS counted FROM blocked
"""
_LATEST: Final = "SELECT max(blocked_until) FROM login_attempts WHERE key = ANY($1)"
_FORGET: Final = "DELETE FROM login_attempts WHERE key = $1"
_TAKE_BACK: Final = (
    "UPDATE login_attempts SET failures = greatest(failures - 1, 0), blocked_until = last_at - interval '1 hour' WHERE key = ANY($1)"
)
_OLD: Final = "DELETE FROM login_attempts WHERE last_at < $1"


@dataclass(frozen=True, slots=True)
class _Counter:
    key: bytes
    free: int
    longest_s: int
    first_s: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that was counted. `succeeded` takes it back.

    `address` stands for where it comes from, an IPv6 customer's addresses being one; `is_known` says that the owner of the name has logged
    in from there before.
    """

    own: bytes
    address: bytes | None = None
    is_known: bool = False


class Throttle:
    """Who may try now."""

    def __init__(self, database: Database, clock: Clock, *, registrations_per_hour: int = 20) -> None:
        self._registrations = registrations_per_hour
        self._database = database
        self._clock = clock

    async def begin(self, username: str, address: str | None) -> Attempt:
        """Count an attempt to log in.

        Raises:
            TooManyAttempts: too many went wrong; this one is not counted and must not be judged.
        """
        name = username.strip().lower()
        now = self._clock.now()
        async with self._database.connection() as connection:
            # What is not printable is nobody's name, and the database has no words for some of it.
            known = address is not None and name.isprintable() and await connection.fetchval(_IS_KNOWN, name, address, now - _KNOWN_FOR)
            own = _Counter(_key("name", name, address if known and address else ""), _FREE, _LONGEST_FOR_NAME_S)
            counters = [own]
            network = None if address is None else _Counter(_key("address", _network(address)), _FREE_OF_ADDRESS, _LONGEST_FOR_ADDRESS_S)
            if network is not None:
                counters.append(network)
            await self._count(connection, counters, now)
        return Attempt(own=own.key, address=None if network is None else network.key, is_known=bool(known))

    async def begin_code(self, subject: str) -> Attempt:
        """Count a try of a second factor. Raises as `begin`."""
        return await self._begin(_Counter(_key("code", subject), _FREE, _WAIT_FOR_CODE_S, first_s=_WAIT_FOR_CODE_S))

    async def begin_account(self, address: str) -> Attempt:
        """Count an account that somebody makes. Raises as `begin`."""
        return await self._begin(_Counter(_key("account", _network(address)), self._registrations, _LONGEST_FOR_ADDRESS_S))

    async def _begin(self, counter: _Counter) -> Attempt:
        async with self._database.connection() as connection:
            await self._count(connection, [counter], self._clock.now())
        return Attempt(own=counter.key)

    async def succeeded(self, attempt: Attempt) -> None:
        """The attempt was right: what was wrong before it is forgiven, but to the address only this one."""
        async with self._database.connection() as connection:
            await connection.execute(_FORGET, attempt.own)
            if attempt.address is not None:
                await connection.execute(_TAKE_BACK, [attempt.address])

    async def take_back(self, attempt: Attempt) -> None:
        """The attempt was not judged at all: it does not count."""
        async with self._database.connection() as connection:
            await connection.execute(_TAKE_BACK, [key for key in (attempt.own, attempt.address) if key is not None])

    async def forget_old(self) -> None:
        """Remove what nobody waits for any more."""
        async with self._database.connection() as connection:
            await connection.execute(_OLD, self._clock.now() - _FORGET_AFTER)

    @staticmethod
    async def _count(connection: Any, counters: list[_Counter], now: datetime) -> None:
        counters = sorted(counters, key=lambda counter: counter.key)
        keys = [counter.key for counter in counters]
        columns = (keys, [counter.free for counter in counters], [counter.longest_s for counter in counters])
        found = await connection.fetchrow(_COUNT, *columns, now, now - _FORGET_AFTER, [counter.first_s for counter in counters])
        if found["counted"] == len(counters):
            return
        # None was counted, or another attempt of the same moment was counted first.
        until = found["until"] or await connection.fetchval(_LATEST, keys) or now
        raise TooManyAttempts.until(until, now=now)


def _key(kind: str, *parts: str) -> bytes:
    """A digest: people type passwords where a name belongs, and those must not be stored."""
    return hashlib.sha256("\0".join((kind, *parts)).encode(errors="surrogatepass")).digest()


def _network(address: str) -> str:
    """An IPv6 customer has a whole /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return address
