"""Sends one message to one place and says what came of it. Apprise waits where it sends, so it does that in threads, few and bounded.

It is loaded when the first message is sent or the first address is read: a hundred modules are nothing to a page, but much to a start.
"""

import asyncio
import importlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LookupTimeout
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import httpx
import structlog

from app.core.addresses import Address
from app.core.i18n import N_
from app.core.outgoing import Failure, Outgoing, failed
from app.core.tenancy import working_for
from app.errors import AddressRefused, AppError, TargetRefused
from app.notifications.answers import without
from app.notifications.kinds import Severity

if TYPE_CHECKING:
    from app.notifications.doors import Door
    from app.notifications.services import Place

log = structlog.get_logger(__name__)

T = TypeVar("T")

AT_ONCE: Final = 8
OF_ONE: Final = 2
TOTAL_S: Final = 20.0
#: They write whole addresses, tokens and all, when they are asked for details.
_TALKATIVE: Final = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")
_NOT_SENT: Final = N_("It could not be sent. Is the address complete?")
_TOO_SLOW: Final = N_("It did not answer in time.")
_STOPPED: Final = N_("The server stopped before it was answered.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a message. `words` is a sentence for its user, without anything secret; `is_final`: trying again would not help."""

    is_sent: bool
    words: str
    is_final: bool = False
    is_limited: bool = False
    rest_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is said. `key` is the same for each attempt at it."""

    title: str
    body: str
    severity: Severity
    key: str | None = None


class Messenger:
    """Reads addresses and sends to them.

    Args:
        outgoing: Says which addresses of a name may be called.
        total_s: Seconds that one message may take.
        trusted: A file of certificates to trust; None for the usual ones.
    """

    def __init__(self, outgoing: Outgoing, *, total_s: float = TOTAL_S, trusted: str | None = None) -> None:
        self._outgoing = outgoing
        self._total_s = total_s
        self._trusted = trusted
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notifications")
        self._of_user: Counter[UUID] = Counter()
        self._doors: set[Door] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Take nothing more, and end what is under way: no thread outlives this by more than a moment."""
        self._is_closed = True
        with self._lock:
            for door in self._doors:
                door.shut()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def is_free_for(self, user_id: UUID) -> bool:
        """Return whether another message of this user may be sent now: one whose places never answer keeps nobody else's waiting."""
        return self._of_user[user_id] < OF_ONE and self._of_user.total() < AT_ONCE

    async def read(self, url: str) -> "Place":
        """Return what an address names.

        Raises:
            TargetRefused: nothing can be sent there.
        """
        return await self._in_thread(partial(_read, url))

    async def send(self, url: str, message: Message, *, user_id: UUID) -> Outcome:
        """Send and wait for what comes of it; never raises for what the other end does."""
        loop = asyncio.get_running_loop()
        self._of_user[user_id] += 1
        try:
            outcome = await self._in_thread(partial(self._send, loop, url, message, user_id))
        except TargetRefused as error:
            outcome = Outcome(is_sent=False, words=error.message, is_final=True)
        except CancelledError:
            outcome = Outcome(is_sent=False, words=_STOPPED)
        finally:
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]
        return outcome

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _send(self, loop: asyncio.AbstractEventLoop, url: str, message: Message, user_id: UUID) -> Outcome:
        place = _read(url)
        door = _doors().Door(
            partial(self._addresses, loop, user_id),
            total_s=self._total_s,
            key=message.key if place.service in ("json", "jsons", "xml", "xmls") else None,
            trusted=self._trusted,
        )
        with self._lock:
            self._doors.add(door)
        try:
            with door.open():
                if self._is_closed:
                    door.shut()
                is_sent = place.notify(title=message.title, body=message.body, severity=message.severity)
        except Exception as error:  # noqa: BLE001  # whatever a kind of place trips over; the text may hold the address
            log.warning("notification_failed", service=place.service, error=type(error).__name__)
            is_sent = False
        finally:
            with self._lock:
                self._doors.discard(door)
        return _outcome(door, url, is_sent=is_sent)

    def _addresses(self, loop: asyncio.AbstractEventLoop, user_id: UUID, host: str, port: int, left_s: float) -> list[Address]:
        async def look_up() -> list[Address]:
            with working_for(user_id):
                url = self._outgoing.check(str(httpx.URL(scheme="http", host=host, port=port)))
                return await self._outgoing.addresses(url, is_ours=False)

        asked = asyncio.run_coroutine_threadsafe(look_up(), loop)
        try:
            return asked.result(left_s)
        except (LookupTimeout, CancelledError):
            asked.cancel()
            raise failed(Failure.TOO_SLOW) from None
        except (httpx.InvalidURL, ValueError):
            raise failed(Failure.UNKNOWN_NAME) from None


def _outcome(door: "Door", url: str, *, is_sent: bool) -> Outcome:
    exchange = door.exchange
    if is_sent:
        return Outcome(is_sent=True, words=without(exchange.words, [url]) if exchange else "")
    if door.refusal is not None:
        return Outcome(is_sent=False, words=door.refusal.message, is_final=isinstance(door.refusal, AddressRefused))
    if exchange is not None and not exchange.is_good:
        return Outcome(
            is_sent=False,
            words=without(exchange.words, [url]),
            is_final=exchange.is_final,
            is_limited=exchange.is_limited,
            rest_s=exchange.rest_s,
        )
    if door.is_late or door.failure is Failure.TOO_SLOW:
        return Outcome(is_sent=False, words=_TOO_SLOW)
    if door.failure is not None:
        return Outcome(is_sent=False, words=failed(door.failure).message)
    return Outcome(is_sent=False, words=without(exchange.words, [url]) if exchange else _NOT_SENT)


def _read(url: str) -> "Place":
    """Load Apprise with our doors in it, once, and read an address."""
    with _LOADING:
        services: Any = importlib.import_module("app.notifications.services")
        _put_doors()
    try:
        place: Place = services.read(url)
    except AppError:
        raise
    except Exception as error:  # noqa: BLE001  # a hundred parsers of strangers' addresses; the text may hold the address
        log.warning("notification_address_unread", error=type(error).__name__)
        raise TargetRefused from None
    return place


_LOADING: Final = threading.Lock()


def _doors() -> Any:
    return importlib.import_module("app.notifications.doors")


def _put_doors() -> None:
    """Give the modules of Apprise ours in place of the network, and silence it."""
    if _DONE.is_set():
        return
    importlib.import_module("app.notifications.plugins").put_doors()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL if name == "apprise" else logging.WARNING)
    _DONE.set()


_DONE: Final = threading.Event()
