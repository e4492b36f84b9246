"""A venue under the contract: a client of a fresh account there, and a market that the test moves between known prices."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.domain.enums import OrderState, OrderType, Side, TimeInForce
from app.domain.orders import Reported
from app.exchanges.port import Balance, ExchangeClient, OcoRequest, OrderRequest

SYMBOL, BASE, QUOTE = "BTC/USDT", "BTC", "USDT"
#: Where the market stands, how far it falls, and how far it rises after that.
FLAT, LOW, HIGH = Decimal(60000), Decimal(59000), Decimal(61000)
START = {QUOTE: Decimal(1_000_000), BASE: Decimal(10)}
OPEN = (OrderState.OPEN, OrderState.PARTIAL)
GONE = (OrderState.CANCELED, OrderState.EXPIRED)

_numbers = itertools.count(1)
Move = Callable[[], Awaitable[None]]


def unguarded() -> None:
    """Let everything leave."""


@dataclass(kw_only=True)
class ContractVenue:
    """One implementation of the port. `fall` takes the market from 60000 to 59000, `rise` from there to 61000.

    `offered` tells how much the best level holds for an order of a side; no order of the contract is larger than ten times that.
    """

    name: str
    client: ExchangeClient
    fall: Move
    rise: Move
    offered: Callable[[Side], Awaitable[Decimal]]
    #: What the venue's own rules of the symbol say beside its capabilities.
    symbol_takes_pairs: bool = True
    symbol_takes_replacing: bool = True
    _ids: Iterator[int] = field(default_factory=lambda: _numbers)

    def needs(self, is_promised: bool, what: str) -> None:  # noqa: FBT001  # reads as a sentence
        """Skip the rest of a test when the venue's capabilities do not promise `what`."""
        if not is_promised:
            pytest.skip(f"the capabilities of {self.client.exchange} do not promise {what}")

    def needs_type(self, kind: OrderType) -> None:
        """Skip unless the venue itself watches orders of that kind."""
        self.needs(self.client.capabilities.is_native(kind), f"{kind.value} orders")

    def request(self, side: Side = Side.BUY, quantity: str | Decimal = "0.01", **fields: Any) -> OrderRequest:
        """A market order, unless the fields say otherwise."""
        values: dict[str, Any] = {
            "client_order_id": f"qcontract{next(self._ids):08d}",
            "symbol": SYMBOL,
            "side": side,
            "type": OrderType.MARKET,
            "quantity": Decimal(quantity),
            "price": None,
            "trigger_price": None,
            "time_in_force": TimeInForce.GTC,
            "post_only": False,
            "sent_at": SystemClock().now(),
        }
        return OrderRequest(**(values | fields))

    def limit(self, price: str | int | Decimal, side: Side = Side.BUY, quantity: str | Decimal = "0.01", **fields: Any) -> OrderRequest:
        """A limit order."""
        return self.request(side, quantity, **({"type": OrderType.LIMIT, "price": Decimal(price)} | fields))

    def waiting(self, kind: OrderType, trigger: str | None, side: Side = Side.SELL, **fields: Any) -> OrderRequest:
        """An order that waits for its trigger price."""
        return self.request(side, **({"type": kind, "trigger_price": None if trigger is None else Decimal(trigger)} | fields))

    def pair(self, target: str, stop: str, *, side: Side = Side.SELL, quantity: str = "0.01") -> OcoRequest:
        """A target and a stop with a limit, of which one may trade."""
        beyond = Decimal(stop) + side.sign * 50
        return OcoRequest(
            list_client_order_id=f"qlist{next(self._ids):08d}",
            target=self.limit(target, side, quantity),
            stop=self.waiting(OrderType.STOP_LIMIT, stop, side, quantity=Decimal(quantity), price=beyond),
        )

    async def place(self, request: OrderRequest) -> Reported:
        """Send an order."""
        return await self.client.place_order(request, guard=unguarded)

    async def known(self, request: OrderRequest) -> Reported:
        """What the venue says of an order, found by our id alone."""
        found = await self.client.fetch_order(
            request.symbol, client_order_id=request.client_order_id, venue_order_id=None, type=request.type
        )
        assert found is not None, f"{self.name} does not know {request.client_order_id}"
        return found

    async def becomes(self, request: OrderRequest, *states: OrderState, within_s: float = 5.0) -> Reported:
        """Wait until an order is in one of these states."""
        deadline = time.monotonic() + within_s
        while (found := await self.known(request)).state not in states:
            assert time.monotonic() < deadline, f"{self.name}: {request.client_order_id} is {found.state}, not {states}"
            await asyncio.sleep(0.02)
        return found

    async def cancel(self, request: OrderRequest) -> Reported | None:
        """Cancel an order by our id alone."""
        return await self.client.cancel_order(
            request.symbol, client_order_id=request.client_order_id, venue_order_id=None, type=request.type
        )

    async def held(self, asset: str) -> Balance:
        """What the account has of an asset."""
        return (await self.client.fetch_balances()).get(asset, Balance(asset=asset, free=Decimal(0), locked=Decimal(0)))

    async def open_ids(self) -> set[str | None]:
        """Our ids of the open orders of the symbol."""
        return {order.client_order_id for order in await self.client.fetch_open_orders(SYMBOL)}
