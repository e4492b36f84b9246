"""Requests to where a user says. What may be called is decided here and nowhere else (docs/operations.md, "Outgoing requests").

The name is looked up once, every address it has is checked, and the connection goes to one that was: a name that changes between the check
and the call (DNS rebinding) changes nothing. No redirect is followed, no proxy of the environment is used, nothing of an answer is ever
shown but what its caller picks out of the JSON.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import httpx
import orjson

from app.core.addresses import LARGEST_PORT, Address, Refusal, comparable, refusal_of
from app.core.i18n import N_
from app.core.lookups import Lookups, TooManyLookups
from app.core.tenancy import present_tenant
from app.errors import AddressRefused, TooManyAttempts, UpstreamFailed

TOTAL_S: Final = 10.0
LARGEST_BYTES: Final = 2_000_000
_AT_ONCE: Final = 8
#: A page asks when it opens, and its button asks again.
_AT_ONCE_OF_ONE: Final = 2
_RETRY_S: Final = 10.0
_LONGEST_URL: Final = 500
_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[list[Address]]]


class Failure(StrEnum):
    """What went wrong with a call that was allowed."""

    UNKNOWN_NAME = "unknown_name"
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too_slow"
    UNTRUSTED = "untrusted"
    REDIRECTED = "redirected"
    REFUSED = "refused"
    LIMITED = "limited"
    ERROR = "error"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"


_WORDS: Final = {
    Failure.UNKNOWN_NAME: N_("There is no server by that name."),
    Failure.UNREACHABLE: N_("Nothing answers at that address. Is the program running there?"),
    Failure.TOO_SLOW: N_("It did not answer within ten seconds."),
    Failure.UNTRUSTED: N_("No secure connection can be made: its certificate is not good for that name."),
    Failure.REDIRECTED: N_("It sends us elsewhere instead of answering. Give the address where it really is."),
    Failure.REFUSED: N_("It refuses to answer without a key that is good there."),
    Failure.LIMITED: N_("It has been asked too often. Try again in a minute."),
    Failure.ERROR: N_("It answers with an error."),
    Failure.TOO_LARGE: N_("Its answer is larger than two megabytes."),
    Failure.UNREADABLE: N_("It does not answer as such a server does. Is the address right?"),
}
_NO_ADDRESS: Final = N_("That is no address. It begins with http:// or https:// and has no user name, question mark or # in it.")
_ASKING_ALREADY: Final = N_("You are asking already. Wait for the answer, then try again.")
_DATABASE: Final = N_("This server never calls the port of its own database.")
_PRIVATE: Final = N_("This server calls nothing inside its own network that its administrator has not allowed (OLLAMA_ALLOWED_HOSTS).")
_METADATA: Final = N_("This server never calls that address: it is where clouds keep their machines' secrets.")


def failed(failure: Failure) -> UpstreamFailed:
    """Return the error that says so."""
    return UpstreamFailed(_WORDS[failure], failure=failure)


@cache
def _default_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class Outgoing:
    """Calls other servers, within bounds.

    Args:
        allowed: (host, port) pairs inside our network that may be called (`addresses.parse_allowed`).
        forbidden_ports: Never called, whatever the host: the database's.
        resolve: Looks a name up; None for as this machine does.
        transport: Makes what carries a request; a test's own, or None for the network.
        context: What certificates are trusted; None for the usual ones.
        total_s: Seconds a call may take in all.
        private: What is said where an address is inside our network: it names the setting that allows some.
    """

    def __init__(
        self,
        *,
        allowed: frozenset[tuple[str, int]] = frozenset(),
        forbidden_ports: Collection[int] = (),
        resolve: Resolve | None = None,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
        context: ssl.SSLContext | None = None,
        total_s: float = TOTAL_S,
        private: str = _PRIVATE,
    ) -> None:
        self._refusals = {Refusal.PRIVATE: private, Refusal.METADATA: _METADATA}
        self._allowed = allowed
        self._forbidden_ports = frozenset(forbidden_ports)
        self._resolve = Lookups() if resolve is None else resolve
        self._transport = transport
        self._context = context
        self._total_s = total_s
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._asking: Counter[UUID | None] = Counter()

    def check(self, url: str) -> httpx.URL:
        """Return a user's address, read as it will be called; what it resolves to is checked with each call.

        Raises:
            AddressRefused: it is no address, or names a port that is never called.
        """
        parsed = _parsed(url)
        if _port(parsed) in self._forbidden_ports:
            raise AddressRefused(_DATABASE)
        return parsed

    def read(self, url: str, *, is_ours: bool) -> httpx.URL:
        """Return an address as it will be called: a user's after `check`, the administrator's whatever its port.

        Raises:
            AddressRefused: it is no address, or a user's that is never called.
        """
        return _parsed(url) if is_ours else self.check(url)

    async def get_json(self, url: str, *, headers: Mapping[str, str] | None = None, is_ours: bool = False) -> Any:
        """Return the JSON that answers a GET.

        Args:
            url: Where to.
            headers: What to send along.
            is_ours: The administrator wrote this address, so it may be inside our network.

        Raises:
            AddressRefused: it may not be called; nothing was sent.
            TooManyAttempts: this user asks as often as one may at once: who asks what never answers keeps nobody else from asking.
            UpstreamFailed: no answer that can be used; `context["failure"]` is the `Failure`.
        """
        parsed = self.read(url, is_ours=is_ours)
        try:
            with self._turn():
                async with asyncio.timeout(self._total_s), self._places:
                    addresses = await self.addresses(parsed, is_ours=is_ours)
                    return await self._first_that_answers(parsed, addresses, dict(headers or {}))
        except (TimeoutError, httpx.TimeoutException) as error:
            raise failed(Failure.TOO_SLOW) from error

    @contextmanager
    def _turn(self) -> Iterator[None]:
        who = present_tenant()
        if who is not None and self._asking[who] >= _AT_ONCE_OF_ONE:
            raise TooManyAttempts(_ASKING_ALREADY, retry_after_s=_RETRY_S)
        self._asking[who] += 1
        try:
            yield
        finally:
            self._asking[who] -= 1
            if not self._asking[who]:
                del self._asking[who]

    async def addresses(self, url: httpx.URL, *, is_ours: bool) -> list[Address]:
        """Look a name up, once, and return its addresses, all of which may be called; at least one.

        Raises:
            AddressRefused: one of them may not.
            TooManyAttempts: too many names are being looked up.
            UpstreamFailed: there is no such name.
        """
        port = _port(url)
        try:
            found = await self._resolve(url.host, port)
        except TooManyLookups as error:
            raise TooManyAttempts(_ASKING_ALREADY, retry_after_s=_RETRY_S) from error
        except (OSError, ValueError) as error:
            raise failed(Failure.UNKNOWN_NAME) from error
        if not found:
            raise failed(Failure.UNKNOWN_NAME)
        is_allowed = is_ours or (comparable(url.host), port) in self._allowed
        for address in found:
            # One that may not be called is enough: who has such a name chooses which of them answers.
            refusal = refusal_of(address, is_allowed=is_allowed)
            if refusal is not None:
                raise AddressRefused(self._refusals[refusal])
        return list(dict.fromkeys(found))

    def carrier(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests to addresses that were checked; its user closes it."""
        return self._transport() if self._transport else httpx.AsyncHTTPTransport(verify=self._context or _default_context())

    async def _first_that_answers(self, url: httpx.URL, addresses: list[Address], headers: dict[str, str]) -> Any:
        """Ask the addresses in their order; the next one only where the one before takes no connection."""
        client = httpx.AsyncClient(transport=self.carrier(), trust_env=False, follow_redirects=False, timeout=self._total_s)
        async with client:
            for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
                try:
                    return await _ask(client, url, address, headers)
                except httpx.ConnectError as error:
                    if not left:
                        raise no_connection(error) from error
                except httpx.TimeoutException:
                    raise
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    raise failed(Failure.UNREADABLE) from error
        raise failed(Failure.UNKNOWN_NAME)


async def _ask(client: httpx.AsyncClient, url: httpx.URL, address: Address, headers: dict[str, str]) -> Any:
    # The address stands in the URL, so that nothing is looked up again; the name stays in the Host header and in the certificate's check.
    at_address = url.copy_with(host=str(address))
    sent = {**headers, "Host": url.netloc.decode("ascii"), "Accept": "application/json", "Accept-Encoding": "identity"}
    extensions = {"sni_hostname": url.raw_host.decode("ascii")}
    async with client.stream("GET", at_address, headers=sent, extensions=extensions) as answer:
        _check_status(answer.status_code)
        if answer.headers.get("content-encoding", "identity") != "identity":
            # It was not asked for, and a small answer may unpack to a huge one.
            raise failed(Failure.UNREADABLE)
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > LARGEST_BYTES:
                raise failed(Failure.TOO_LARGE)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # Without its cause: that holds the answer.
        raise failed(Failure.UNREADABLE) from None


def _check_status(status: int) -> None:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise failed(Failure.REFUSED)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise failed(Failure.LIMITED)
    if 300 <= status < 400:
        raise failed(Failure.REDIRECTED)
    if status == HTTPStatus.NOT_FOUND:
        raise failed(Failure.UNREADABLE)
    if status != HTTPStatus.OK:
        raise failed(Failure.ERROR)


def no_connection(error: BaseException) -> UpstreamFailed:
    """Return what is said where no connection could be made."""
    return failed(Failure.UNTRUSTED if _is_about_trust(error) else Failure.UNREACHABLE)


def _is_about_trust(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _parsed(url: str) -> httpx.URL:
    # Signs that one reader of addresses takes for a slash or drops, and another does not, are in no honest address.
    if len(url) > _LONGEST_URL or not url.isprintable() or any(sign in url for sign in " \\?#"):
        raise AddressRefused(_NO_ADDRESS)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefused(_NO_ADDRESS) from error
    if parsed.scheme not in _PORTS or not parsed.host or parsed.userinfo or not 0 < _port(parsed) <= LARGEST_PORT:
        raise AddressRefused(_NO_ADDRESS)
    return parsed


def _port(url: httpx.URL) -> int:
    return _PORTS[url.scheme] if url.port is None else url.port
