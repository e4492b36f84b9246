"""Where passwords are judged. One hash is a quarter of a second of CPU, so who guesses must not make everybody else wait.

There are two lanes with one hash at a time each: one for people at an address from which they have logged in before, one for everybody
else. So a thousand guessing machines delay the owner by their own queue at most. The queue of strangers is short: whoever finds it full is
told to come back, which costs no hash, and the attempt is not held against them. From one address one password is judged at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from app.accounts.throttle import Attempt, Throttle
from app.core.i18n import N_
from app.core.security import PasswordHasher
from app.errors import InvalidInput, TooManyAttempts

BUSY: Final = N_("Very many people log in at this moment. Try again in %(seconds)d seconds.")
#: About five seconds of hashing.
_LONGEST_QUEUE: Final = 20
_COME_BACK_S: Final = 5.0


class _Lane:
    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(1)
        self.waiting = 0


class PasswordJudge:
    """Tells right passwords from wrong ones, in turn."""

    def __init__(self, throttle: Throttle, hasher: PasswordHasher) -> None:
        self._throttle = throttle
        self._hasher = hasher
        self._known, self._strangers = _Lane(), _Lane()
        self._of_address: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def is_right(self, attempt: Attempt, password: str, hashed: str | None) -> bool:
        """Tell whether it is the password, after the same time when there is none to compare with. A right one is forgiven the wrong ones.

        Raises:
            TooManyAttempts: too many others wait; nothing was judged, and nothing counted.
        """
        lane = self._known if attempt.is_known else self._strangers
        # The address's own queue comes first: what waits there does not fill the lane for the others. An IPv6 customer's are one address.
        async with self._of_address.setdefault(attempt.address or b"", asyncio.Lock()), self._turn(lane, attempt):
            matches = await self._hasher.verify(password, hashed)
        if matches:
            await self._throttle.succeeded(attempt)
        return matches

    async def hash_new(self, password: str, *, origin: str) -> str:
        """Return the hash of a new account's password.

        Raises:
            TooManyAttempts: many accounts were made from that address lately, or too many others wait.
            InvalidInput: it is too short or too long.
        """
        attempt = await self._throttle.begin_account(origin)
        try:
            async with self._turn(self._strangers, attempt):
                return await self._hasher.hash(password)
        except InvalidInput:
            await self._throttle.take_back(attempt)
            raise

    @asynccontextmanager
    async def _turn(self, lane: _Lane, attempt: Attempt) -> AsyncIterator[None]:
        if lane is self._strangers and lane.waiting >= _LONGEST_QUEUE:
            await self._throttle.take_back(attempt)
            raise TooManyAttempts(BUSY, retry_after_s=_COME_BACK_S)
        lane.waiting += 1
        try:
            async with lane.turn:
                yield
        finally:
            lane.waiting -= 1
