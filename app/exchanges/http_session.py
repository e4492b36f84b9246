"""The HTTP session that all exchange clients of one process share."""

import ssl

import aiohttp

_DNS_CACHE_S = 300


def make_tls_context() -> ssl.SSLContext:
    """Return the TLS settings for venues. Making one costs 28 ms, so it is made once and shared."""
    return ssl.create_default_context()


def open_session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """Open the shared session; call it in the event loop that will use it.

    No cookies: they would mix the tenants' sessions at a venue. No proxies from the environment: orders go where the settings say.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=0, limit_per_host=256, ttl_dns_cache=_DNS_CACHE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
