"""Paper accounts for tests, made as a broker account makes them."""

import itertools
import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.clock import Clock, SystemClock
from app.core.db import Database
from app.core.ids import new_id
from app.domain.enums import OrderType, Side, TimeInForce
from app.domain.instruments import Instrument
from app.errors import ExchangeUnavailable
from app.exchanges.paper.exchange import PaperExchange
from app.exchanges.paper.prices import Venue
from app.exchanges.paper.records import Terms
from app.exchanges.paper.store import open_account
from app.exchanges.port import OrderRequest, Ticker
from app.marketdata.quotes import Quotes


async def open_paper_account(database: Database, holds: Mapping[str, Decimal], *, fee: str = "0.001") -> UUID:
    """Open an account of a new user that starts with its USDT and has the other assets as well."""
    user_id, broker_id = new_id(), new_id()
    async with database.connection() as connection:
        await connection.execute("INSERT INTO users (id, username) VALUES ($1, $2)", user_id, f"user-{user_id}")
        await connection.execute("INSERT INTO brokers (id, user_id, exchange, name) VALUES ($1, $2, 'paper', 'Paper')", broker_id, user_id)
    terms = Terms(balance_usdt=holds["USDT"], maker_fee=Decimal(fee), taker_fee=Decimal(fee))
    async with database.transaction() as session:
        await open_account(session, user_id, broker_id, terms)
    async with database.connection() as connection:
        await connection.executemany(
            "INSERT INTO paper_balances (broker_id, user_id, asset, free, locked) VALUES ($1, $2, $3, $4, 0)",
            [(broker_id, user_id, asset, amount) for asset, amount in holds.items() if asset != "USDT"],
        )
    return broker_id


#: What an account holds beside what its fills say it must hold since it was begun; and what it locks beside what its orders lock.
_BOOKS: Final = """
WITH fresh AS (
  SELECT f.* FROM paper_fills f JOIN paper_accounts a USING (broker_id) WHERE broker_id = $1 AND trade_id > started_after_trade_id),
flows AS (
  SELECT split_part(symbol, '/', 1) AS asset, CASE side WHEN 'buy' THEN quantity ELSE -quantity END AS amount FROM fresh
  UNION ALL SELECT split_part(symbol, '/', 2), CASE side WHEN 'buy' THEN -notional ELSE notional END FROM fresh
  UNION ALL SELECT fee_asset, -fee FROM fresh
  UNION ALL SELECT unnest($2::text[]), unnest($3::numeric[])),
owed AS (SELECT asset, sum(amount) AS total FROM flows GROUP BY asset),
kept AS (
  SELECT CASE side WHEN 'buy' THEN split_part(symbol, '/', 2) ELSE split_part(symbol, '/', 1) END AS asset, sum(locked) AS locked
    FROM paper_orders WHERE broker_id = $1 AND state IN ('open', 'partial') GROUP BY 1)
SELECT asset, coalesce(b.free + b.locked, 0) AS has, coalesce(owed.total, 0) AS total, coalesce(b.locked, 0) AS locks,
       coalesce(kept.locked, 0) AS locked
  FROM (SELECT asset, free, locked FROM paper_balances WHERE broker_id = $1) b
  FULL JOIN owed USING (asset) FULL JOIN kept USING (asset)
"""
_FILLED: Final = """
SELECT o.order_id, o.filled_quantity, o.filled_notional, coalesce(sum(f.quantity), 0) AS quantity, coalesce(sum(f.notional), 0) AS notional
  FROM paper_orders o LEFT JOIN paper_fills f USING (broker_id, order_id) WHERE o.broker_id = $1 GROUP BY 1, 2, 3
"""


async def check_books(database: Database, broker_id: UUID, start: Mapping[str, Decimal]) -> None:
    """Fail unless balances, locks, orders and fills of an account agree with one another and with what it started with."""
    async with database.connection() as connection, connection.transaction(isolation="repeatable_read"):
        for line in await connection.fetch(_BOOKS, broker_id, list(start), list(start.values())):
            assert line["has"] == line["total"], dict(line)
            assert line["locks"] == line["locked"], dict(line)
        for order in await connection.fetch(_FILLED, broker_id):
            assert (order["filled_quantity"], order["filled_notional"]) == (order["quantity"], order["notional"]), dict(order)
        counted = await connection.fetchrow(
            "SELECT last_trade_id, (SELECT count(*) FROM paper_fills f WHERE f.broker_id = a.broker_id) AS fills,"
            " last_order_id, (SELECT count(*) FROM paper_orders o WHERE o.broker_id = a.broker_id) AS orders"
            " FROM paper_accounts a WHERE broker_id = $1",
            broker_id,
        )
    assert counted["last_trade_id"] == counted["fills"]
    assert counted["last_order_id"] == counted["orders"]


BTC: Final = Instrument(
    symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.00001"), min_notional=Decimal(5)
)


class PaperParts:
    """A paper exchange on a feed that the test speaks through; no venue is behind it unless `ticker` says what it would answer."""

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self.quotes = Quotes("binance")
        self.ticker: Ticker | None = None
        self.asked = 0
        self.rules: dict[str, Instrument] = {"BTC/USDT": BTC}
        venue = Venue(feed=self.quotes, public=self._public, instruments=self._instruments)
        self.exchange = PaperExchange(database, venue, clock=clock or SystemClock(), keep_every_s=0.1, ask_every_s=0.1)

    def say(self, price: str | int | Decimal, *, offered: str = "1", symbol: str = "BTC/USDT") -> None:
        """Let the feed tell of a trade at `price` with bid and ask around it."""
        ask, quantity = Decimal(price), Decimal(offered)
        bid = ask - self.rules[symbol].tick_size
        self.quotes.put(symbol, at=SystemClock().now(), bid=bid, ask=ask, last=ask, bid_quantity=quantity, ask_quantity=quantity)

    async def _instruments(self) -> dict[str, Instrument]:
        return self.rules

    async def _public(self) -> Any:
        return self

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """What the venue's public ticker says."""
        self.asked += 1
        if self.ticker is None:
            raise ExchangeUnavailable(f"nobody says a price of {symbol}")
        return self.ticker


_orders = itertools.count(1)


def order(side: Side = Side.BUY, quantity: str = "0.01", **fields: Any) -> OrderRequest:
    """A market order, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "client_order_id": f"qpaper{os.getpid()}x{next(_orders)}",
        "symbol": "BTC/USDT",
        "type": OrderType.MARKET,
        "price": None,
        "trigger_price": None,
        "time_in_force": TimeInForce.GTC,
        "post_only": False,
        "sent_at": SystemClock().now(),
    }
    return OrderRequest(side=side, quantity=Decimal(quantity), **(values | fields))


def limit(price: str | int, side: Side = Side.BUY, quantity: str = "0.01", **fields: Any) -> OrderRequest:
    """A limit order."""
    return order(side, quantity, type=OrderType.LIMIT, price=Decimal(price), **fields)


def unguarded() -> None:
    """Let everything leave."""
