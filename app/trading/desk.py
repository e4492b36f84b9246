"""What every trading use case works with, put together by bootstrap."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from app.brokers.connections import Connections
from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.leases import LeaseHolder
from app.domain.instruments import Instrument
from app.trading.hints import Hints

#: The role whose holder sends orders.
ENGINE_ROLE = "engine"


class Instruments(Protocol):
    """Instruments by exchange, from memory once loaded."""

    async def get(self, exchange: str, symbol: str) -> Instrument | None:
        """Return one instrument by its unified symbol."""

    def cached(self, exchange: str, symbol: str) -> Instrument | None:
        """Return one instrument without waiting, or None when its exchange is not loaded yet."""

    async def all(self, exchange: str) -> Mapping[str, Instrument]:
        """Return all instruments of an exchange by unified symbol."""


@dataclass(slots=True)
class BalanceReadings:
    """When each account's balance was read for an order: the turn to do it, the last moment, and the last few (monotonic seconds)."""

    turns: dict[UUID, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    last: dict[UUID, datetime] = field(default_factory=dict)
    recent: dict[UUID, deque[float]] = field(default_factory=lambda: defaultdict(deque))


class Quotes(Protocol):
    """The latest prices of watched symbols, from memory."""

    def reference_price(self, exchange: str, symbol: str, *, is_buy: bool) -> Decimal | None:
        """Return what a market order would pay (ask) or get (bid) now, in quote per base; None when not known or too old."""

    def last_price(self, exchange: str, symbol: str) -> Decimal | None:
        """Return the price of the last trade, in quote per base; None when not known or too old."""

    def last_close(self, exchange: str, symbol: str) -> Decimal | None:
        """Return the close of the last closed one-minute candle, in quote per base; None when not known or too old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything an order passes on its way."""

    database: Database
    connections: Connections
    instruments: Instruments
    quotes: Quotes
    bus: EventBus
    lease: LeaseHolder
    clock: Clock
    #: Tells why this server takes no order at all, in a sentence; None while it does.
    closed: Callable[[], str | None] = lambda: None
    #: How balances are read outside the portfolio's rounds, when an order depends on it.
    readings: BalanceReadings = field(default_factory=BalanceReadings)
    #: What an order's fast path expects to find in the tables.
    hints: Hints = field(default_factory=Hints)
    #: Orders this process is sending right now; reconcile leaves them alone.
    in_flight: set[UUID] = field(default_factory=set)
    #: Accounts that are being compared with their venue for the first time since this process took the role.
    awaited: set[UUID] = field(default_factory=set)
    #: Set when an order is in doubt, so that reconcile asks at once instead of at its next round.
    doubt: asyncio.Event = field(default_factory=asyncio.Event)
    #: One lock for each protection, so that no two looks at it act at once.
    guarding: defaultdict[UUID, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    #: Accounts whose events come as they happen: less need be asked.
    live: set[UUID] = field(default_factory=set)
    #: Accounts of which something was heard, or missed, that only asking can settle. Reconcile takes them out as it asks.
    suspects: set[UUID] = field(default_factory=set)

    #: Suspects of which all is to be asked, not only about the symbols in use.
    strange: set[UUID] = field(default_factory=set)

    def suspect(self, broker_id: UUID, *, is_strange: bool = False) -> None:
        """Let reconcile ask about an account at once; of one that `is_strange`, everything."""
        self.suspects.add(broker_id)
        if is_strange:
            self.strange.add(broker_id)
        self.doubt.set()
