"""Words for tests of what requests pass on their way to a venue."""

import time
from datetime import datetime, timedelta

from app.core.clock import SystemClock
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.gate import VenueGate
from tests.exchanges.scripted_venue import says
from tests.exchanges.test_ccxt_client import go, request

UNKNOWN_ORDER = says({"code": -2013, "msg": "Order does not exist."}, status=400)


class SettableClock:
    """The machine's clock, and a hand at it."""

    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        return SystemClock().now() + self.step


def gate_of(client: CcxtClient) -> VenueGate:
    return client._source.gate


async def read(client: CcxtClient) -> None:
    assert await client.fetch_order("BTC/USDT", client_order_id="q1", venue_order_id=None) is None


async def place(client: CcxtClient, **changes: object) -> float:
    """Place an order claimed now, and return how long it took in seconds."""
    started = time.monotonic()
    await client.place_order(request(sent_at=client._clock.now(), **changes), guard=go)
    return time.monotonic() - started
