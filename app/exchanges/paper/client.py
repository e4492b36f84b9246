"""A paper account behind the port that every real venue has."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

import asyncpg

from app.core.clock import Clock
from app.core.outage import DATABASE_GONE
from app.domain.book import Depth
from app.domain.candles import Candle, Timeframe
from app.domain.enums import Lane, OrderType
from app.domain.instruments import Instrument
from app.domain.orders import Reported
from app.errors import (
    AppError,
    BrokerNotFound,
    ExchangeError,
    ExchangeUnavailable,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RetryableError,
    SymbolNotFound,
    Unsupported,
)
from app.exchanges.capabilities import capabilities_of
from app.exchanges.catalogue import PAPER
from app.exchanges.paper.account import PaperAccount
from app.exchanges.paper.accounts import PaperAccounts
from app.exchanges.paper.prices import Prices, Venue
from app.exchanges.paper.records import PaperOrder
from app.exchanges.paper.store import PaperStore
from app.exchanges.port import (
    Balance,
    Guard,
    KeyRights,
    MarketTrade,
    OcoReport,
    OcoRequest,
    OrderRequest,
    ReplaceOutcome,
    Ticker,
    VenueOrder,
    VenueTrade,
)

_T = TypeVar("_T")
#: How long after its timestamp a request is taken, as on Binance.
WINDOW: Final = timedelta(seconds=5)
_PAGE: Final = 1000
#: What the driver raises when a statement failed or its fate is unknown.
_TROUBLE: Final = (*DATABASE_GONE, asyncpg.PostgresError)


class VenueClock:
    """How far our clock is ahead of the database's, which is the paper exchange's; read once, and again after a request came too late."""

    def __init__(self, store: PaperStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ahead: timedelta | None = None

    async def last_moment(self, sent_at: datetime) -> datetime:
        """Return until when, by the database's clock, a request made at `sent_at` by ours is taken."""
        if self._ahead is None:
            theirs = await self._store.clock()
            self._ahead = self._clock.now() - theirs
        return sent_at - self._ahead + WINDOW

    def doubt(self) -> None:
        """Read the difference again before the next request."""
        self._ahead = None


class PaperClient:
    """An `ExchangeClient` of one paper account; made by `PaperExchange`."""

    def __init__(
        self, broker_id: UUID, *, venue: Venue, store: PaperStore, prices: Prices, accounts: PaperAccounts, clock: Clock, fence: VenueClock
    ) -> None:
        self.exchange = PAPER
        self.capabilities = capabilities_of(PAPER)
        self._broker_id = broker_id
        self._venue = venue
        self._store = store
        self._prices = prices
        self._accounts = accounts
        self._clock = clock
        self._fence = fence

    def __repr__(self) -> str:
        return f"PaperClient({self._broker_id})"

    async def instruments(self) -> dict[str, Instrument]:
        """Return the instruments of the venue whose prices are used."""
        return await self._prices.instruments()

    async def place_order(self, request: OrderRequest, *, guard: Guard) -> Reported:
        """Place an order at the present market. Raises as the port says."""
        instrument = await self._instrument(request.symbol)
        asked = await self._prices.now(request.symbol)

        def step(account: PaperAccount) -> Reported:
            now = self._prices.present(request.symbol) or asked
            return _placed(account, account.place(request, instrument, now, at=self._clock.now()))

        return await self._write(step, guard=guard, sent_at=request.sent_at)

    async def place_oco(self, request: OcoRequest, *, guard: Guard) -> OcoReport:
        """Place both legs. Raises as the port says, for both together."""
        symbol = request.target.symbol
        instrument = await self._instrument(symbol)
        asked = await self._prices.now(symbol)

        def step(account: PaperAccount) -> OcoReport:
            now = self._prices.present(symbol) or asked
            target, stop = account.place_pair(request, instrument, now, at=self._clock.now())
            return OcoReport(target=_placed(account, target), stop=_placed(account, stop))

        return await self._write(step, guard=guard, sent_at=request.target.sent_at)

    async def replace_order(
        self, request: OrderRequest, *, old_client_order_id: str, old_venue_order_id: str | None, guard: Guard
    ) -> ReplaceOutcome:
        """Put a new order into an open one's place; when the new one is refused, the old one stands as it was."""
        instrument = await self._instrument(request.symbol)
        asked = await self._prices.now(request.symbol)

        def step(account: PaperAccount) -> ReplaceOutcome:
            old = account.find(old_client_order_id, old_venue_order_id)
            if old is None or old.symbol != request.symbol:
                return ReplaceOutcome(canceled=None, created=None, refusal="the order that was to be replaced is not open any more")
            account.cancel(old, at=self._clock.now())
            now = self._prices.present(request.symbol) or asked
            created = account.place(request, instrument, now, at=self._clock.now())
            return ReplaceOutcome(canceled=old.report(), created=_placed(account, created))

        try:
            return await self._write(step, guard=guard, sent_at=request.sent_at)
        except OrderRejected as refusal:
            return ReplaceOutcome(canceled=None, created=None, refusal=refusal.message)

    async def cancel_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Cancel an open order; None when no such order is open."""
        del type

        def step(account: PaperAccount) -> PaperOrder | None:
            order = account.find(client_order_id, venue_order_id)
            if order is None or order.symbol != symbol:
                return None
            account.cancel(order, at=self._clock.now())
            return order

        canceled = await self._write(step)
        return None if canceled is None else await self._reported(canceled)

    async def fetch_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Return what is known of the order, with its fills; None when there is none."""
        del type
        with _reading():
            order = await self._store.find(self._broker_id, symbol, client_order_id=client_order_id, venue_order_id=venue_order_id)
            return None if order is None else await self._reported(order)

    async def fetch_open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Return the account's open orders."""
        with _reading():
            return [order.listed() for order in await self._store.open_orders(self._broker_id, symbol)]

    async def fetch_recent_orders(self, symbol: str, *, since: datetime) -> list[VenueOrder]:
        """Return the orders of `symbol` made since then, finished ones too."""
        with _reading():
            return [order.listed() for order in await self._store.recent_orders(self._broker_id, symbol, since=since, limit=_PAGE)]

    async def fetch_trades(self, symbol: str, *, after_trade_id: str | None = None, since: datetime | None = None) -> list[VenueTrade]:
        """Return the account's executions in `symbol`, oldest first."""
        after = 0 if after_trade_id is None else int(after_trade_id)
        with _reading():
            return [fill.listed() for fill in await self._store.trades(self._broker_id, symbol, after=after, since=since, limit=_PAGE)]

    async def fetch_balances(self) -> dict[str, Balance]:
        """Return what the account holds."""
        with _reading():
            held = await self._store.holdings(self._broker_id)
        found = (Balance(asset=asset, free=holding.free, locked=holding.locked) for asset, holding in held.items())
        return {balance.asset: balance for balance in found if balance.total}

    async def fetch_key_rights(self) -> KeyRights:
        """Raise Unsupported: a paper account has no key."""
        raise Unsupported("a paper account has no key")

    async def fetch_ticker(self, symbol: str, *, lane: Lane = Lane.MARKET) -> Ticker:
        """Return the best prices that an order would meet now."""
        del lane  # nobody waits here
        return await self._prices.ticker(symbol)

    async def fetch_depth(self, symbol: str, *, limit: int = 50, lane: Lane = Lane.MARKET) -> Depth:
        """Return the book of the venue whose prices are used. A paper order still fills at the best price told."""
        return await (await self._venue.public()).fetch_depth(symbol, limit=limit, lane=lane)

    async def fetch_market_trades(self, symbol: str, *, limit: int = 50, lane: Lane = Lane.MARKET) -> list[MarketTrade]:
        """Return the newest trades at the venue whose prices are used."""
        return await (await self._venue.public()).fetch_market_trades(symbol, limit=limit, lane=lane)

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = _PAGE
    ) -> list[Candle]:
        """Return the candles of the venue whose prices are used."""
        client = await self._venue.public()
        return await client.fetch_candles(symbol, timeframe, start=start, end=end, limit=limit)

    async def server_time(self) -> datetime:
        """Return the database's clock: by it a request comes too late."""
        with _reading():
            return await self._store.clock()

    async def close(self) -> None:
        """Nothing is held for one account."""

    async def _instrument(self, symbol: str) -> Instrument:
        try:
            return await self._prices.instrument(symbol)
        except SymbolNotFound as error:
            raise OrderRejected(error.message) from error
        except RetryableError as error:
            raise NotSent("the exchange's symbols could not be read; the order was not sent") from error

    async def _write(self, step: Callable[[PaperAccount], _T], *, guard: Guard | None = None, sent_at: datetime | None = None) -> _T:
        has_left = False

        def leaving() -> None:
            nonlocal has_left
            if guard is not None:
                guard()
            has_left = True

        try:
            not_after = None if sent_at is None else await self._fence.last_moment(sent_at)
            return await self._accounts.act(self._broker_id, step, leaving=leaving, not_after=not_after)
        except BrokerNotFound as error:
            raise OrderRejected(error.message) from error
        except ExchangeUnavailable as error:
            raise NotSent(error.message) from error
        except ExchangeError:
            self._fence.doubt()
            raise
        except AppError:
            raise  # the guard's own refusal
        except _TROUBLE as error:
            if has_left:
                raise OutcomeUnknown("the database did not say whether the paper order was written; it is being looked up") from error
            raise NotSent("the paper exchange's database does not answer; nothing was written") from error

    async def _reported(self, order: PaperOrder) -> Reported:
        if not order.filled_quantity:
            return order.report()
        fills = await self._store.fills_of(self._broker_id, order.order_id)
        return order.report(tuple(fill.reported() for fill in fills))


def _placed(account: PaperAccount, order: PaperOrder) -> Reported:
    return order.report(tuple(fill.reported() for fill in account.fills_of(order)))


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise ExchangeUnavailable("the paper exchange's database does not answer") from error
