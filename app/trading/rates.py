"""What assets are worth in USDT. A loop asks exchanges and writes it down; pages and the API read the table and never wait for anybody."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from app.core.db import Database
from app.domain.currencies import Currency
from app.domain.limits import DOLLARS
from app.errors import ExchangeError, ExchangeUnavailable, RetryableError
from app.exchanges.port import ExchangeClient
from app.trading.desk import Desk

#: How long a reading may ask for prices, and how long a price, or that there is none, is remembered.
PRICES_S: Final = 8.0
_PRICE_S: Final = 60.0
_NO_PRICE_S: Final = 600.0
#: After so many questions in vain, an asset of which no price was ever told has none until one is.
_ATTEMPTS: Final = 3
#: A testnet's prices are taken where no other account told any for so long.
_LIVE_S: Final = 600.0
#: An older rate is none.
_MAX_AGE: Final = timedelta(hours=1)
_OFFERED: Final = tuple(currency for currency in Currency if currency is not Currency.USDT)
_STORE: Final = """
INSERT INTO rates (asset, usdt, at) SELECT r.asset, r.usdt, $3 FROM unnest($1::text[], $2::numeric[]) AS r (asset, usdt)
ON CONFLICT (asset) DO UPDATE SET usdt = excluded.usdt, at = excluded.at WHERE rates.at <= excluded.at
"""


_Key = tuple[str, bool, str]


class AssetPrices:
    """What an asset is worth: from the live feed, or else asked of its exchange now and then and remembered for all accounts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        #: What was told last; None where the exchange has no price.
        self._told: dict[_Key, Decimal | None] = {}
        #: When each is to be asked next, in monotonic seconds.
        self._due: dict[_Key, float] = {}
        self._failures: Counter[_Key] = Counter()

    def due(self, client: ExchangeClient, symbol: str, *, is_testnet: bool) -> float:
        """Return when a price is asked next: whoever has little time begins with those that have waited longest."""
        return self._due.get((client.exchange, is_testnet, symbol), 0.0)

    async def of(self, client: ExchangeClient, symbol: str, *, is_testnet: bool, until: float) -> Decimal | None:
        """Return the price, quote per base; None when there is none. From the monotonic moment `until` on, no exchange is asked.

        Raises:
            RetryableError: there may be one, and it could not be asked yet. One that was told before stands in until it can be.
        """
        exchange = client.exchange
        instrument = self._desk.instruments.cached(exchange, symbol) or await self._desk.instruments.get(exchange, symbol)
        if instrument is None:
            return None
        quoted = self._desk.quotes.reference_price(exchange, symbol, is_buy=False)
        if quoted is not None:
            return quoted
        key = (exchange, is_testnet, symbol)
        now = time.monotonic()
        if self._due.get(key, 0.0) <= now < until:
            await self._ask(client, key, now, until - now)
        if key not in self._told:
            raise ExchangeUnavailable(f"the price of {symbol} could not be read yet")
        return self._told[key]

    def recall(self, client: ExchangeClient, symbol: str, price: Decimal, *, is_testnet: bool) -> None:
        """Take what was told to a process before this one, unless something was told to this one."""
        self._told.setdefault((client.exchange, is_testnet, symbol), price)

    async def _ask(self, client: ExchangeClient, key: _Key, now: float, patience_s: float) -> None:
        self._due[key] = now + _PRICE_S
        try:
            async with asyncio.timeout(patience_s):
                self._told[key] = (await client.fetch_ticker(key[-1])).last
            self._failures.pop(key, None)
        except (RetryableError, TimeoutError):
            self._failures[key] += 1
            # What was told last is nearer to the truth than nothing.
            if self._failures[key] >= _ATTEMPTS:
                self._told.setdefault(key, None)
        except ExchangeError:
            self._told[key], self._due[key] = None, now + _NO_PRICE_S


class RateKeeper:
    """Writes down, once a minute, what the currencies are worth in which people may count."""

    def __init__(self, desk: Desk, prices: AssetPrices) -> None:
        self._desk = desk
        self._prices = prices
        #: By currency: one that this exchange does not list is asked of the next.
        self._due_at: dict[Currency, float] = {}
        self._live_until = 0.0

    async def keep(self, client: ExchangeClient, *, is_testnet: bool) -> None:
        """Ask the exchange of an account that was just read, if it is time; what it does not list stays as it was."""
        now = time.monotonic()
        due = [currency for currency in _OFFERED if now >= self._due_at.get(currency, 0.0)]
        if not due or (is_testnet and now < self._live_until):
            return
        if not is_testnet:
            self._live_until = now + _LIVE_S
        found: dict[str, Decimal] = {}
        for currency in due:
            price = await self._price(client, currency, is_testnet=is_testnet, until=now + PRICES_S)
            if price is not None and price > 0:
                self._due_at[currency] = now + _PRICE_S
                found[currency.value] = price
        if found:
            async with self._desk.database.connection() as connection:
                await connection.execute(_STORE, list(found), list(found.values()), self._desk.clock.now())

    async def _price(self, client: ExchangeClient, currency: Currency, *, is_testnet: bool, until: float) -> Decimal | None:
        try:
            direct = await self._prices.of(client, f"{currency}/USDT", is_testnet=is_testnet, until=until)
            if direct is not None:
                return direct
            turned = await self._prices.of(client, f"USDT/{currency}", is_testnet=is_testnet, until=until)
        except RetryableError:
            return None
        return 1 / turned if turned else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How amounts of USDT are shown: in `currency`, of which one is worth `usdt`.

    `missing` is the currency that was wished for where no rate of it is known; `is_par` says that no market was asked, because a dollar
    is counted as one USDT everywhere here.
    """

    currency: Currency
    usdt: Decimal = Decimal(1)
    missing: Currency | None = None
    is_par: bool = False

    def of(self, amount_usdt: Decimal | None) -> Decimal | None:
        """Return an amount of USDT in the currency; None stays None."""
        return None if amount_usdt is None else self.exactly(amount_usdt)

    def exactly(self, amount_usdt: Decimal) -> Decimal:
        """Return an amount of USDT in the currency."""
        return amount_usdt if self.usdt == 1 else amount_usdt / self.usdt


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one of an asset is worth in USDT, for the assets that were asked about lately."""

    usdt: Mapping[str, Decimal]

    def usdt_per(self, asset: str) -> Decimal | None:
        """Return what one of an asset is worth in USDT; None when nobody said so lately."""
        return Decimal(1) if asset in DOLLARS else self.usdt.get(asset)

    def into(self, currency: Currency) -> Rate:
        """Return how amounts are shown for somebody who wants this currency; in USDT where its rate is not known."""
        if currency is Currency.USDT:
            return Rate(currency=currency)
        known = self.usdt.get(currency.value)
        if known is not None:
            return Rate(currency=currency, usdt=known)
        if currency.value in DOLLARS:
            return Rate(currency=currency, is_par=True)
        return Rate(currency=Currency.USDT, missing=currency)

    def sum_usdt(self, amounts: Mapping[str, Decimal]) -> Decimal | None:
        """Return amounts of several assets together in USDT; None when one that is not nothing has no rate."""
        total = Decimal(0)
        for asset, amount in amounts.items():
            price = self.usdt_per(asset)
            if price is None and amount:
                return None
            total += amount * (price or Decimal(0))
        return total


async def read_rates(database: Database, *, now: datetime) -> Rates:
    """Return the rates that are young enough to be used."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT asset, usdt FROM rates WHERE at > $1", now - _MAX_AGE)
    return Rates(usdt={row["asset"]: row["usdt"] for row in rows})
