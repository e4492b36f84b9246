"""What the rest of the application knows of an exchange: one protocol and frozen reports. Implementations live beside this file.

Errors are ours (`app.errors`): a write raises OrderRejected, InsufficientFunds, BadCredentials, Unsupported, ExchangeRateLimited or
NotSent when the venue definitely does not have the order, and OutcomeUnknown in every other case. Reads raise ExchangeUnavailable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.domain.candles import Candle, Timeframe
from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.instruments import Instrument
from app.domain.orders import Fill, Reported

#: Called in the last moment before a write leaves; raises NotSent to stop it (lease lost, deadline passed).
Guard = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order as it goes to the venue: quantised, checked and already committed as `submitting`.

    `sent_at` becomes the request's timestamp, so that a paused process that wakes too late is refused by the venue (recvWindow).
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
class Credentials:
    """Keys of one broker account, in the clear: only in memory, never in a log, a page or an exception."""

    api_key: str
    api_secret: str
    api_password: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


class ExchangeClient(Protocol):
    """One broker account at one exchange (or public data only, without credentials)."""

    exchange: str

    async def instruments(self) -> dict[str, Instrument]:
        """Return the venue's spot instruments by unified symbol (`BTC/USDT`)."""

    async def place_order(self, request: OrderRequest, *, guard: Guard) -> Reported:
        """Send exactly one request; never repeated here. Raises as the module says."""

    async def cancel_order(self, symbol: str, *, client_order_id: str, venue_order_id: str | None) -> Reported | None:
        """Ask the venue to cancel; None when it does not know the order (ask again before believing it)."""

    async def fetch_order(self, symbol: str, *, client_order_id: str, venue_order_id: str | None) -> Reported | None:
        """Return what the venue knows of the order, with its fills, or None when it does not know it."""

    async def fetch_balances(self) -> dict[str, Balance]:
        """Return the account's assets that are not zero, by asset."""

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """Return the best prices of one symbol."""

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = 1000
    ) -> list[Candle]:
        """Return candles oldest first, open times in [start, end]; the last may still be open."""

    async def server_time(self) -> datetime:
        """Return the venue's clock."""

    async def close(self) -> None:
        """Release connections; the client is dead afterwards."""


__all__ = ["Balance", "Credentials", "ExchangeClient", "Fill", "Guard", "OrderRequest", "Reported", "Ticker"]
