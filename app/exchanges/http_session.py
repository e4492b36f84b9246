"""The HTTP sessions of exchange clients: one per venue address, shared by all its accounts, closed to everything a venue could mix up."""

import ssl
from typing import Any, Final

import aiohttp

_DNS_CACHE_S: Final = 300
_CONNECTIONS: Final = 256
#: A connection that is not there by then never will be; nothing of the request has left. It includes the wait for a free one.
CONNECT_TIMEOUT_S: Final = 3.0


def make_tls_context() -> ssl.SSLContext:
    """Return the TLS settings for venues. Making one costs 28 ms, so it is made once and shared."""
    return ssl.create_default_context()


class HostSession:
    """The part of aiohttp's session that ccxt uses, for one host, with a shorter time for connecting than for answering.

    No cookies: they would mix the tenants' sessions at a venue. No proxies from the environment: orders go where the settings say.
    It opens with the first request, in the event loop that makes it.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.headers: dict[str, str] = {}  # what ccxt adds to every request
        self._tls = tls
        self._opened: aiohttp.ClientSession | None = None
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    def get(self, url: Any, *, timeout: aiohttp.ClientTimeout, **options: Any) -> Any:
        """As aiohttp's."""
        return self._session.get(url, timeout=self._limited(timeout), **options)

    def post(self, url: Any, *, timeout: aiohttp.ClientTimeout, **options: Any) -> Any:
        """As aiohttp's."""
        return self._session.post(url, timeout=self._limited(timeout), **options)

    def put(self, url: Any, *, timeout: aiohttp.ClientTimeout, **options: Any) -> Any:
        """As aiohttp's."""
        return self._session.put(url, timeout=self._limited(timeout), **options)

    def patch(self, url: Any, *, timeout: aiohttp.ClientTimeout, **options: Any) -> Any:
        """As aiohttp's."""
        return self._session.patch(url, timeout=self._limited(timeout), **options)

    def delete(self, url: Any, *, timeout: aiohttp.ClientTimeout, **options: Any) -> Any:
        """As aiohttp's."""
        return self._session.delete(url, timeout=self._limited(timeout), **options)

    async def close(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            await self._opened.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=_CONNECTIONS, limit_per_host=_CONNECTIONS, ttl_dns_cache=_DNS_CACHE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._opened

    def _limited(self, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
        total_s = timeout.total or 0.0
        limited = self._timeouts.get(total_s)
        if limited is None:
            connect_s = min(CONNECT_TIMEOUT_S, total_s) if total_s else CONNECT_TIMEOUT_S
            limited = aiohttp.ClientTimeout(total=timeout.total, connect=connect_s, sock_connect=connect_s, sock_read=timeout.sock_read)
            self._timeouts[total_s] = limited
        return limited
