"""Makes exchange clients and what they share: ccxt itself, and per venue address a gate, an HTTP session and the markets."""

import asyncio
import hashlib
import importlib
import ssl
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Final
from weakref import WeakSet

from app.core.clock import Clock
from app.core.supervisor import Beat
from app.exchanges.budgets import budgets_of
from app.exchanges.catalogue import Sandbox, venue_of
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.gate import LimitGauge, VenueGate
from app.exchanges.http_session import HostSession, make_tls_context
from app.exchanges.listings import Listing
from app.exchanges.markets import MarketsSource
from app.exchanges.port import Credentials
from app.exchanges.user_stream_access import DEFAULT_USER_STREAM_URL, TESTNET_USER_STREAM_URL, Signer, UserStreamAccess
from app.exchanges.user_stream_gate import GateTurnstile
from app.exchanges.venue_setup import VenueAddress, make_exchange, quiet_ccxt

MARKETS_MAX_AGE_S: Final = 3600.0
_TEND_EVERY_S: Final = 1.0
#: A clock that was not read for so long may have drifted: it is read each minute.
_CLOCK_GOOD_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """Where to find Binance when it is not at its usual address (the emulator, a mirror), and this process's part of the rate limits.

    Without `binance_ws_api_url` a venue on this machine is taken to have its websocket API beside its REST API, and a mirror to have none.
    `limiter_share` is 1 when no other process asks the venues from this machine's address, 1/k for k of them.
    """

    binance_rest_url: str | None = None
    binance_ws_api_url: str | None = None
    limiter_share: float = 1.0

    @property
    def is_loopback(self) -> bool:
        """Whether Binance is an emulator on this machine."""
        return VenueAddress(exchange="binance", rest_url=self.binance_rest_url).is_loopback


@dataclass(slots=True, kw_only=True)
class _Post:
    """What everyone at one venue address shares, from this machine's one address.

    `users` are the accounts' ccxt objects that are open, `reader` asks for the time.
    """

    gate: VenueGate
    session: HostSession
    reader: Any
    users: WeakSet[Any] = field(default_factory=WeakSet)

    @property
    def is_active(self) -> bool:
        return any(not user.closed_by_user for user in list(self.users))


class Registry:
    """The one maker of exchange clients in a process. Close it last."""

    def __init__(self, config: RegistryConfig, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._lock = asyncio.Lock()
        self._ccxt: ModuleType | None = None
        self._tls: ssl.SSLContext | None = None
        self._posts: dict[VenueAddress, _Post] = {}
        self._sources: dict[VenueAddress, MarketsSource] = {}
        self._public: dict[VenueAddress, CcxtClient] = {}
        self._timed: set[VenueAddress] = set()

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
        await self.public(exchange, is_testnet=is_testnet)  # refuses an unknown exchange, and makes the source
        source = self._sources[address]
        await source.refresh(max_age_s)
        return source.listings()

    async def release(self, exchange: str) -> None:
        """Let go of the markets of an exchange at which no account is open: 10 to 35 MB, for each whose symbols anybody asks for."""
        address = self._address(exchange, is_testnet=False)
        source, post = self._sources.get(address), self._posts.get(self._shared_address(address))
        if source is not None and (post is None or not post.is_active):
            await source.forget()

    def limits(self) -> list[LimitGauge]:
        """Return how each venue address that was used is doing: its limit, its circuit, its clock."""
        return [post.gate.gauge() for post in self._posts.values()]

    def limit_of(self, exchange: str, *, is_testnet: bool = False) -> LimitGauge | None:
        """Return how the address of such an account is doing; None while nothing was asked there."""
        post = self._posts.get(self._shared_address(self._address(exchange, is_testnet=is_testnet)))
        return None if post is None else post.gate.gauge()

    def keep_clock(self, exchange: str) -> None:
        """Have `run` read that exchange's clock each minute, whether or not an account is open there: the live feed goes by it."""
        self._timed.add(self._shared_address(self._address(exchange, is_testnet=False)))

    def clock_ahead_ms(self, exchange: str) -> float | None:
        """Return how far the exchange's clock is ahead of ours, milliseconds; None while that is not known, or not sure any more."""
        post = self._posts.get(self._shared_address(self._address(exchange, is_testnet=False)))
        clock = None if post is None else post.gate.clock
        return None if clock is None or not clock.is_sure or clock.age_s > _CLOCK_GOOD_S else float(-clock.offset_ms)

    async def run(self, beat: Beat) -> None:
        """Find out whether open circuits close, and keep the clocks compared, until cancelled. A supervised loop."""
        while True:
            async with asyncio.TaskGroup() as group:
                for address, post in self._posts.items():
                    is_active = post.is_active or address in self._timed
                    group.create_task(post.gate.tend(is_active=is_active), name=f"exchanges:{post.gate.exchange}")
            beat()
            await asyncio.sleep(_TEND_EVERY_S)

    async def close(self) -> None:
        """Close the public clients and the shared sessions; an account's client is closed by its owner, before or after."""
        for client in self._public.values():
            await client.close()
        self._public.clear()
        self._sources.clear()
        for post in self._posts.values():
            await post.reader.close()
            await post.session.close()
        self._posts.clear()

    async def _make(self, address: VenueAddress, credentials: Credentials | None) -> CcxtClient:
        ccxt, tls = await self._loaded()
        post = self._post(address, ccxt, tls)
        exchange = self._joined(post, make_exchange(ccxt, address, credentials=credentials, session=post.session, tls=tls))
        access = None
        if credentials is not None:
            access = self._user_stream(address, credentials, post.gate)
            exchange.account_key = hashlib.sha256(credentials.api_key.encode()).hexdigest()[:16]
            post.users.add(exchange)
        return CcxtClient(exchange, self._source(address, post.gate), clock=self._clock, user_stream=access)

    def _post(self, address: VenueAddress, ccxt: ModuleType, tls: ssl.SSLContext) -> _Post:
        shared = self._shared_address(address)
        post = self._posts.get(shared)
        if post is None:
            session, venue = HostSession(tls), venue_of(address.exchange)
            reader = make_exchange(ccxt, shared, credentials=None, session=session, tls=tls)
            budgets = () if address.is_loopback else budgets_of(address.exchange, rate_limit_ms=float(reader.rateLimit))
            gate = VenueGate(
                address.exchange, budgets, clock=self._clock, share=self._config.limiter_share, is_loopback=address.is_loopback
            )
            gate.is_testnet = shared.is_testnet
            gate.needs_clock = venue is not None and venue.is_tested
            if reader.has.get("fetchTime") is True:
                gate.read_time = reader.fetch_time
            post = self._posts[shared] = _Post(gate=gate, session=session, reader=reader)
            self._joined(post, reader)
        return post

    def _shared_address(self, address: VenueAddress) -> VenueAddress:
        """A demo mode is at the real address and counts in its limits; a test network has an address of its own."""
        venue = venue_of(address.exchange)
        return replace(address, is_testnet=False) if venue is not None and venue.sandbox is Sandbox.DEMO else address

    def _joined(self, post: _Post, exchange: Any) -> Any:
        exchange.venue_gate = exchange.witness = post.gate
        exchange.wall_clock = self._clock
        return exchange

    def _user_stream(self, address: VenueAddress, credentials: Credentials, gate: VenueGate) -> UserStreamAccess | None:
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
        return UserStreamAccess(url=url, signer=signer, has_rate_limit=not is_here, turnstile=GateTurnstile(gate))

    async def _loaded(self) -> tuple[ModuleType, ssl.SSLContext]:
        async with self._lock:
            if self._ccxt is None:
                self._tls = await asyncio.to_thread(make_tls_context)
                self._ccxt = await asyncio.to_thread(importlib.import_module, "ccxt.async_support")
                quiet_ccxt()
            assert self._tls is not None  # noqa: S101  # set with the module
            return self._ccxt, self._tls

    def _source(self, address: VenueAddress, gate: VenueGate) -> MarketsSource:
        if address not in self._sources:

            def make() -> object:
                assert self._ccxt is not None  # noqa: S101  # a source is made after a client
                assert self._tls is not None  # noqa: S101  # as above
                return make_exchange(self._ccxt, address, credentials=None, session=None, tls=self._tls)

            self._sources[address] = MarketsSource(address.exchange, make, gate)
        return self._sources[address]

    def _address(self, exchange: str, *, is_testnet: bool) -> VenueAddress:
        rest_url = self._config.binance_rest_url if exchange == "binance" else None
        return VenueAddress(exchange=exchange, is_testnet=is_testnet, rest_url=rest_url)
