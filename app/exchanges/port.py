"""What the rest of the application knows of an exchange: one protocol and frozen reports. Implementations live beside this file.

Errors are ours (`app.errors`): a write raises OrderRejected, InsufficientFunds, BadCredentials, Unsupported, ExchangeRateLimited or
NotSent when the venue definitely does not have the order, and OutcomeUnknown in every other case. Reads raise ExchangeUnavailable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.domain.book import Depth
from app.domain.candles import Candle, Timeframe
from app.domain.enums import Lane, OrderType, Side, TimeInForce
from app.domain.instruments import Instrument
from app.domain.orders import Fill, Reported
from app.exchanges.capabilities import Capabilities
from app.exchanges.key_rights import KeyRights

#: Called in the last moment before a write leaves; raises NotSent to stop it (lease lost, deadline passed).
Guard = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order as it goes to the venue: quantised, checked and already committed as `submitting`.

    `sent_at` becomes the request's timestamp, so that a paused process that wakes too late is refused by the venue (recvWindow).
    A market buy may say `notional` (quote units to spend): the venue then gets that and not the quantity, which is only our estimate.
    `trailing_delta` is the fraction at which a trailing stop follows; its `trigger_price`, where given, is the price that activates it.
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    trigger_price: Decimal | None
    time_in_force: TimeInForce
    post_only: bool
    sent_at: datetime
    notional: Decimal | None = None
    trailing_delta: Decimal | None = None
    lane: Lane = Lane.ENTRY


@dataclass(frozen=True, slots=True, kw_only=True)
class OcoRequest:
    """Two orders of which the venue lets at most one trade: `target` is a limit, `stop` waits for its trigger.

    Both are of the same symbol, side and quantity.
    """

    list_client_order_id: str
    target: OrderRequest
    stop: OrderRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class OcoReport:
    """What the venue says of the two legs."""

    target: Reported
    stop: Reported


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceOutcome:
    """What became of an order and of the one that was to take its place, in one call of the venue.

    `canceled` is what the old one then looked like; None means that it still stands as it was. `created` is the new one; None means that
    the venue definitely did not take it, and `refusal` says why.
    """

    canceled: Reported | None
    created: Reported | None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOrder:
    """An order in the venue's own lists, ours or not. `type` is None where the venue has a kind we do not know."""

    symbol: str
    client_order_id: str | None
    side: Side
    type: OrderType | None
    quantity: Decimal
    price: Decimal | None
    trigger_price: Decimal | None
    created_at: datetime | None
    report: Reported


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueTrade:
    """One execution of the account, with the venue's id of its order."""

    venue_order_id: str
    side: Side
    fill: Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One asset of an account, in units of the asset."""

    asset: str
    free: Decimal
    locked: Decimal

    @property
    def total(self) -> Decimal:
        """Free and locked together."""
        return self.free + self.locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """Best prices in quote per base; None where the venue does not say."""

    symbol: str
    last: Decimal
    bid: Decimal | None
    ask: Decimal | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketTrade:
    """A trade that happened in the market, whoever's: price in quote per base, quantity in base units. `side` is its taker's.

    `trade_id` is the venue's, None where it tells none.
    """

    trade_id: str | None
    price: Decimal
    quantity: Decimal
    side: Side
    traded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Keys of one broker account, in the clear: only in memory, never in a log, a page or an exception.

    `subaccount` names a part of the account, for the venues that take it with each request; elsewhere the key itself decides.
    """

    api_key: str
    api_secret: str
    api_password: str | None = None
    api_uid: str | None = None
    subaccount: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


class ExchangeClient(Protocol):
    """One broker account at one exchange (or public data only, without credentials)."""

    exchange: str
    capabilities: Capabilities

    async def instruments(self) -> dict[str, Instrument]:
        """Return the venue's spot instruments by unified symbol (`BTC/USDT`)."""

    async def place_order(self, request: OrderRequest, *, guard: Guard) -> Reported:
        """Send exactly one request; never repeated here. Raises as the module says."""

    async def place_oco(self, request: OcoRequest, *, guard: Guard) -> OcoReport:
        """Send both legs in one request; only where `capabilities.has_oco`. Raises as `place_order`, for both together."""

    async def replace_order(
        self, request: OrderRequest, *, old_client_order_id: str, old_venue_order_id: str | None, guard: Guard
    ) -> ReplaceOutcome:
        """Cancel the old order and place the new one in one request; only where `capabilities.has_replace`.

        Raises as `place_order`; OutcomeUnknown leaves both orders in doubt.
        """

    async def cancel_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Ask the venue to cancel; None when it does not know the order (ask again before believing it).

        `type` is the order's, because some venues keep waiting orders in a place of their own.
        """

    async def fetch_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Return what the venue knows of the order, with its fills, or None when it does not know it. `type` as in `cancel_order`."""

    async def fetch_open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Return the account's open orders, ours or not, without their fills; of one symbol, or of all where the venue offers that.

        Raises:
            Unsupported: the venue lists open orders by symbol only, and none was given.
        """

    async def fetch_recent_orders(self, symbol: str, *, since: datetime) -> list[VenueOrder]:
        """Return the orders of `symbol` created since then, finished ones too, without fills; at most the venue's page, oldest first."""

    async def fetch_trades(self, symbol: str, *, after_trade_id: str | None = None, since: datetime | None = None) -> list[VenueTrade]:
        """Return the account's executions in `symbol`, oldest first, at most the venue's page.

        Args:
            symbol: Unified symbol.
            after_trade_id: Only later ones, where the venue counts its trades (`capabilities.trades_by_id`); else ignored.
            since: Only from that moment on.
        """

    async def fetch_balances(self) -> dict[str, Balance]:
        """Return the account's assets that are not zero, by asset."""

    async def fetch_key_rights(self) -> KeyRights:
        """Return what the venue says that the account's key may do.

        Raises:
            Unsupported: the venue does not tell, or not a key like this one.
        """

    async def fetch_ticker(self, symbol: str, *, lane: Lane = Lane.MARKET) -> Ticker:
        """Return the best prices of one symbol; `lane` is the right of way of whatever waits for them."""

    async def fetch_depth(self, symbol: str, *, limit: int = 50, lane: Lane = Lane.MARKET) -> Depth:
        """Return the visible book of one symbol, best level first, at most `limit` levels (1 to 100) on each side."""

    async def fetch_market_trades(self, symbol: str, *, limit: int = 50, lane: Lane = Lane.MARKET) -> list[MarketTrade]:
        """Return the newest trades of the market in one symbol, oldest first, at most `limit` (1 to 50)."""

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = 1000
    ) -> list[Candle]:
        """Return candles oldest first, open times in [start, end]; the last may still be open."""

    async def server_time(self) -> datetime:
        """Return the venue's clock."""

    async def close(self) -> None:
        """Release connections; the client is dead afterwards."""


__all__ = [
    "Balance",
    "Capabilities",
    "Credentials",
    "ExchangeClient",
    "Fill",
    "Guard",
    "KeyRights",
    "MarketTrade",
    "OcoReport",
    "OcoRequest",
    "OrderRequest",
    "ReplaceOutcome",
    "Reported",
    "Ticker",
    "VenueOrder",
    "VenueTrade",
]
