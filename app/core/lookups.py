"""Names that users give, looked up apart from our own.

The event loop has two threads for look-ups, and the exchanges' connections need them. A name whose server never answers holds one for some
ten seconds or more, and nothing can take it back: whoever asked for eight such names kept us from every exchange. So each of these gets a
thread of its own, of which there are few, and a user has two at most, counted until the thread is done and not until its caller gave up.
"""

import asyncio
import socket
from collections import Counter
from ipaddress import ip_address
from threading import Thread
from typing import Any, Final
from uuid import UUID

from app.core.addresses import Address
from app.core.tenancy import present_tenant

_AT_ONCE: Final = 8
_AT_ONCE_OF_ONE: Final = 2


class TooManyLookups(Exception):
    """As many names as may be looked up at once are being looked up."""


class Lookups:
    """Looks names up as this machine resolves them."""

    def __init__(self, *, at_once: int = _AT_ONCE, at_once_of_one: int = _AT_ONCE_OF_ONE) -> None:
        self._at_once = at_once
        self._at_once_of_one = at_once_of_one
        self._running: Counter[UUID | None] = Counter()

    async def __call__(self, host: str, port: int) -> list[Address]:
        """Return all addresses of a name.

        Raises:
            OSError: it has none.
            TooManyLookups: too many others are looked up, or too many of this user's.
        """
        who = present_tenant()
        if self._running.total() >= self._at_once or (who is not None and self._running[who] >= self._at_once_of_one):
            raise TooManyLookups
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._running[who] += 1

        def done(found: Any) -> None:
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]
            if answer.done():
                return  # whoever asked has gone
            if isinstance(found, BaseException):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            found: Any
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, ValueError) as error:
                found = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(done, found)

        # A daemon: a server that stops does not wait for a name.
        Thread(target=ask, name="look-up", daemon=True).start()
        return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in await answer]
