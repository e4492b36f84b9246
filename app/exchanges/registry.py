"""Makes exchange clients and what they share: ccxt itself, one HTTP session, and one set of markets per venue address."""

import asyncio
import importlib
import ssl
from dataclasses import dataclass
from types import ModuleType
from typing import Final

import aiohttp

from app.core.clock import Clock
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.http_session import make_tls_context, open_session
from app.exchanges.listings import Listing
from app.exchanges.markets import MarketsSource
from app.exchanges.port import Credentials
from app.exchanges.user_stream_access import DEFAULT_USER_STREAM_URL, TESTNET_USER_STREAM_URL, Signer, UserStreamAccess
from app.exchanges.venue_setup import VenueAddress, make_exchange, quiet_ccxt

MARKETS_MAX_AGE_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """Where to find Binance when it is not at its usual address (the emulator, a mirror). Loopback addresses have no rate limit.

    Without `binance_ws_api_url` a venue on this machine is taken to have its websocket API beside its REST API, and a mirror to have none.
    """

    binance_rest_url: str | None = None
    binance_ws_api_url: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether Binance is an emulator on this machine."""
        return VenueAddress(exchange="binance", rest_url=self.binance_rest_url).is_loopback


class Registry:
    """The one maker of exchange clients in a process. Close it last."""

    def __init__(self, config: RegistryConfig, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._lock = asyncio.Lock()
        self._ccxt: ModuleType | None = None
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._sources: dict[VenueAddress, MarketsSource] = {}
        self._public: dict[VenueAddress, CcxtClient] = {}

    async def load(self) -> None:
        """Import ccxt, once, in a thread. It takes 1 s where byte-code is cached and 6 s where not: too long for the first page."""
        await self._loaded()

    async def client(self, exchange: str, credentials: Credentials, *, is_testnet: bool = False) -> CcxtClient:
        """Return a new client for one account. Its owner closes it.

        Raises:
            Unsupported: there is no such exchange, or it has no testnet.
        """
        return await self._make(self._address(exchange, is_testnet=is_testnet), credentials)

    async def public(self, exchange: str, *, is_testnet: bool = False) -> CcxtClient:
        """Return the client for public data, shared by everyone; the registry closes it. Raises as `client`."""
        address = self._address(exchange, is_testnet=is_testnet)
        if address not in self._public:
            made = await self._make(address, None)
            if address in self._public:
                await made.close()
            else:
                self._public[address] = made
        return self._public[address]

    async def listings(self, exchange: str, *, is_testnet: bool = False, max_age_s: float = MARKETS_MAX_AGE_S) -> tuple[Listing, ...]:
        """Return the venue's spot symbols with their rules, read again when older than `max_age_s` seconds.

        Raises:
            Unsupported: there is no such exchange, or it has no testnet.
            RetryableError: the venue cannot be reached.
        """
        address = self._address(exchange, is_testnet=is_testnet)
        await self.public(exchange, is_testnet=is_testnet)  # refuses an unknown exchange
        source = self._source(address)
        await source.refresh(max_age_s)
        return source.listings()

    async def close(self) -> None:
        """Close the public clients and the shared session; an account's client is closed by its owner, before or after."""
        for client in self._public.values():
            await client.close()
        self._public.clear()
        self._sources.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _make(self, address: VenueAddress, credentials: Credentials | None) -> CcxtClient:
        ccxt, tls = await self._loaded()
        if self._session is None:
            self._session = open_session(tls)
        exchange = make_exchange(ccxt, address, credentials=credentials, session=self._session, tls=tls)
        access = None if credentials is None else self._user_stream(address, credentials)
        return CcxtClient(exchange, self._source(address), clock=self._clock, user_stream=access)

    def _user_stream(self, address: VenueAddress, credentials: Credentials) -> UserStreamAccess | None:
        """Only Binance itself documents subscriptions by signature; its sister in the US does not."""
        if address.exchange != "binance":
            return None
        url = self._config.binance_ws_api_url
        if url is None and address.rest_url is not None:
            if not address.is_loopback:
                return None
            url = address.rest_url.removesuffix("/").removesuffix("/api/v3").replace("http", "ws", 1) + "/ws-api/v3"
        if url is None:
            url = TESTNET_USER_STREAM_URL if address.is_testnet else DEFAULT_USER_STREAM_URL
        signer = Signer(credentials.api_key, credentials.api_secret)
        is_here = VenueAddress(exchange=address.exchange, rest_url=url).is_loopback
        return UserStreamAccess(url=url, signer=signer, has_rate_limit=not is_here)

    async def _loaded(self) -> tuple[ModuleType, ssl.SSLContext]:
        async with self._lock:
            if self._ccxt is None:
                self._tls = await asyncio.to_thread(make_tls_context)
                self._ccxt = await asyncio.to_thread(importlib.import_module, "ccxt.async_support")
                quiet_ccxt()
            assert self._tls is not None  # noqa: S101  # set with the module
            return self._ccxt, self._tls

    def _source(self, address: VenueAddress) -> MarketsSource:
        if address not in self._sources:

            def make() -> object:
                assert self._ccxt is not None  # noqa: S101  # a source is made after a client
                assert self._tls is not None  # noqa: S101  # as above
                return make_exchange(self._ccxt, address, credentials=None, session=None, tls=self._tls)

            self._sources[address] = MarketsSource(address.exchange, make)
        return self._sources[address]

    def _address(self, exchange: str, *, is_testnet: bool) -> VenueAddress:
        rest_url = self._config.binance_rest_url if exchange == "binance" else None
        return VenueAddress(exchange=exchange, is_testnet=is_testnet, rest_url=rest_url)
