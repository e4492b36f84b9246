import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.brokers.schemas import BrokerPatch
from app.brokers.service import change_broker
from app.core.db import Database
from app.core.supervisor import Supervisor
from app.domain.enums import OrderState, Side
from app.exchanges.user_stream_pace import UserStreamConfig
from app.trading.desk import Desk
from app.trading.events import BalanceHeard
from app.trading.reconcile import Reconciler
from app.trading.user_stream import UserStreams
from tests.app.conftest import API_SECRET, Pieces, make_broker
from tests.emulator_process import SignedClient
from tests.fault_matrix import row
from tests.journeys.eventually import eventually_async

pytestmark = pytest.mark.asyncio

SYMBOL = "BTCUSDT"
BELOW = "59500.00"
"""A price that the market reaches when it is moved by twenty minutes."""

Said = Callable[[], str]


@asynccontextmanager
async def following(
    pieces: Pieces,
    *accounts: UUID,
    reconcile_every_s: float | None = None,
    desk: Desk | None = None,
    config: UserStreamConfig | None = None,
) -> AsyncIterator[UserStreams]:
    """The loop at work and its accounts subscribed; without `reconcile_every_s` nobody else asks the exchange about orders."""
    streams = UserStreams(desk or pieces.desk, config=config)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("userstream", streams.run)
        if reconcile_every_s is not None:
            supervisor.start("reconcile", Reconciler(pieces.desk, interval_s=reconcile_every_s).run)
        await until(lambda: streams.live >= {pieces.broker_id, *accounts}, "the accounts' events come")
        yield streams
        assert supervisor.health["userstream"].restarts == 0, supervisor.health["userstream"].last_error


async def until(is_true: Callable[[], Any], what: str, *, within_s: float = 10.0) -> None:
    async def ask() -> Any:
        return is_true()

    await eventually_async(ask, what, within_s=within_s)


async def reaches(pieces: Pieces, order_id: UUID, state: OrderState, *, within_s: float = 10.0) -> None:
    async def ask() -> bool:
        return (await pieces.order(order_id)).state is state

    await eventually_async(ask, f"order is {state}", within_s=within_s)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return all that was logged since the test began."""
    parts: list[str] = []

    def read() -> str:
        parts.append("".join(capsys.readouterr()))
        return "".join(parts)

    return read


def opened_key(pieces: Pieces) -> str:
    """Open another account at the exchange and return its key."""
    api_key = f"key-{uuid4().hex}"
    pieces.emulator.open_account(api_key, API_SECRET, {"USDT": "1000000", "BTC": "1"})
    return api_key


async def another(pieces: Pieces, name: str) -> UUID:
    """Another broker account of the user, an account of its own at the exchange."""
    return await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=opened_key(pieces), name=name)


def by_hand(pieces: Pieces) -> SignedClient:
    """The account's owner at the exchange itself."""
    return SignedClient(emulator=pieces.emulator, api_key=pieces.api_key, api_secret=API_SECRET)


async def assert_books_are_the_venues(pieces: Pieces) -> None:
    """Every fill of ours is the venue's and is counted once, in the orders and in the position."""
    trades = by_hand(pieces).call("GET", "/api/v3/myTrades", {"symbol": SYMBOL}).document
    fills = {row["trade_id"]: row["quantity"] for row in await pieces.rows("SELECT trade_id, quantity FROM fills")}
    assert fills == {str(trade["id"]): Decimal(trade["qty"]) for trade in trades}
    (held,) = await pieces.rows("SELECT sum(quantity) AS quantity FROM positions")
    bought = sum(Decimal(trade["qty"]) * (1 if trade["isBuyer"] else -1) for trade in trades)
    fees = sum(Decimal(trade["commission"]) for trade in trades if trade["commissionAsset"] == "BTC")
    assert held["quantity"] == bought - fees


async def test_resting_order_that_fills_is_filled_here_within_a_second_without_asking(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit(BELOW))).order
    assert order.state is OrderState.OPEN
    async with following(moving):
        moving.emulator.advance(20)
        await reaches(moving, order.id, OrderState.FILLED, within_s=1.0)
        filled = await moving.order(order.id)
        assert (filled.filled_quantity, filled.fills_quantity, filled.average_price) == (order.quantity, order.quantity, Decimal(BELOW))
    await assert_books_are_the_venues(moving)


async def test_order_canceled_at_the_exchange_is_canceled_here(pieces: Pieces) -> None:
    order = (await pieces.submit(pieces.limit("50000.00"))).order
    async with following(pieces):
        by_hand(pieces).call("DELETE", "/api/v3/order", {"symbol": SYMBOL, "origClientOrderId": order.client_order_id})
        await reaches(pieces, order.id, OrderState.CANCELED, within_s=1.0)


async def test_order_whose_reply_was_lost_is_found_by_its_news(pieces: Pieces) -> None:
    async with following(pieces):
        pieces.fault("drop_after")
        order = (await pieces.submit()).order
        await reaches(pieces, order.id, OrderState.FILLED, within_s=2.0)
    assert len(pieces.placed()) == 1
    await assert_books_are_the_venues(pieces)


async def test_news_of_an_order_that_its_own_request_told_is_no_news(pieces: Pieces) -> None:
    async with following(pieces):
        order = await pieces.filled()
        await asyncio.sleep(0.6)  # longer than news of a young order waits
        kinds = [row["kind"] for row in await pieces.rows("SELECT kind FROM order_events WHERE order_id = $1 ORDER BY id", order.id)]
    assert kinds.count("Reported") == 1
    assert pieces.desk.suspects <= {pieces.broker_id}
    await assert_books_are_the_venues(pieces)


@row(12)
@pytest.mark.parametrize("mode", [["dup", "reorder"], ["drop:0.5"], ["dup:0.5", "reorder:0.5", "drop:0.3"]])
async def test_events_twice_swapped_or_missing_end_in_the_exchanges_truth(moving: Pieces, mode: list[str]) -> None:
    async with following(moving, reconcile_every_s=1.0):
        moving.emulator.fault("user_events", mode=mode, for_ms=60_000)
        resting = [(await moving.submit(moving.limit(f"{price}.00"))).order for price in range(59100, 59900, 100)]
        moving.emulator.advance(6)
        market = [(await moving.submit(moving.intent(side, "0.02"))).order for side in (Side.BUY, Side.BUY, Side.SELL)]
        moving.emulator.advance(20)
        moving.emulator.control("DELETE", "/_fault")
        for order in [*resting, *market]:
            await reaches(moving, order.id, OrderState.FILLED)

        async def counted() -> bool:
            return not await moving.rows("SELECT 1 FROM orders WHERE filled_quantity <> fills_quantity")

        await eventually_async(counted, "every fill is counted")
    await assert_books_are_the_venues(moving)


@row(14)
async def test_killed_connection_is_made_again_and_what_it_missed_is_asked_for(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit(BELOW))).order
    # Reconcile's own round comes long after the test: it asks because the account was subscribed again.
    async with following(moving, reconcile_every_s=600) as streams:
        await until(lambda: not moving.desk.suspects, "the first questions are asked")
        moving.emulator.fault("ws_close")
        moving.emulator.fault("user_events", mode=["drop"], for_ms=60_000)
        moving.emulator.advance(20)
        await until(lambda: moving.broker_id in streams.live, "the account is subscribed again")
        await reaches(moving, order.id, OrderState.FILLED)
    await assert_books_are_the_venues(moving)


@row(14)
async def test_shutdown_notice_moves_the_accounts_before_the_connection_goes(moving: Pieces, said: Said) -> None:
    order = (await moving.submit(moving.limit(BELOW))).order
    async with following(moving) as streams:
        moving.emulator.fault("shutdown", on="api", delay_ms=5000)
        await until(lambda: "reason=replaced" in said(), "the successor has taken over")
        assert streams.live == {moving.broker_id}
        moving.emulator.advance(20)
        await reaches(moving, order.id, OrderState.FILLED, within_s=1.0)
        assert "user_stream_lost" not in said()


@row(6)
async def test_banned_server_keeps_away_until_the_exchange_lets_it_back(moving: Pieces, said: Said) -> None:
    async with following(moving) as streams:
        moving.emulator.fault("ban", code=418, retry_after=2)
        await until(lambda: "HTTP 418" in said(), "the server is banned")
        banned_at = time.monotonic()
        await until(lambda: streams.live, "the account is followed again")
        assert time.monotonic() - banned_at > 1.0
        assert said().count("HTTP 418") == 1


async def test_fifty_accounts_share_one_connection_and_each_hears_its_own(moving: Pieces) -> None:
    others = [await another(moving, f"Account {number}") for number in range(49)]
    orders = [(await moving.submit(moving.limit(BELOW), broker_id=broker_id)).order for broker_id in (others[0], others[-1])]
    async with following(moving, *others):
        state = moving.emulator.state()
        assert (state["stream_connections"], state["user_subscriptions"]) == (1, 50)
        moving.emulator.advance(20)
        for order in orders:
            await reaches(moving, order.id, OrderState.FILLED, within_s=1.0)


async def paused(pieces: Pieces) -> Any:
    """Wait until an account is paused, and return it."""

    async def ask() -> Any:
        return await pieces.rows("SELECT id, paused_reason FROM brokers WHERE paused_reason IS NOT NULL")

    (broker,) = await eventually_async(ask, "an account is paused")
    return broker


@row(19)
async def test_revoked_key_pauses_its_account_and_no_other(pieces: Pieces) -> None:
    other = await another(pieces, "Other")
    async with following(pieces, other) as streams:
        pieces.emulator.control("POST", "/_revoke", {"api_key": pieces.api_key})

        broker = await paused(pieces)
        assert broker["id"] == pieces.broker_id
        assert "API key no longer works" in broker["paused_reason"]
        assert streams.live == {other}


async def test_new_key_is_followed_in_place_of_the_refused_one(pieces: Pieces) -> None:
    async with following(pieces) as streams:
        pieces.emulator.control("POST", "/_revoke", {"api_key": pieces.api_key})
        await paused(pieces)
        key = opened_key(pieces)
        async with pieces.database.transaction() as session:
            patch = BrokerPatch.model_validate({"api_key": key, "api_secret": API_SECRET})
            await change_broker(session, pieces.vault, pieces.user_id, pieces.broker_id, patch)
        await until(lambda: streams.live == {pieces.broker_id}, "the account is followed with its new key")


async def test_accounts_that_are_made_or_switched_off_meanwhile_are_followed_or_left(pieces: Pieces) -> None:
    async with following(pieces) as streams:
        late = await another(pieces, "Late")
        await until(lambda: streams.live == {pieces.broker_id, late}, "the new account is followed")
        await pieces.rows("UPDATE brokers SET is_active = false WHERE id = $1", late)
        await until(lambda: streams.live == {pieces.broker_id}, "the account that is switched off is left")
        await until(lambda: pieces.emulator.state()["user_subscriptions"] == 1, "the exchange is told so")


async def test_who_does_not_hold_the_role_follows_nobody(pieces: Pieces) -> None:
    async with following(pieces) as streams:
        pieces.desk.lease.lose()
        await until(lambda: not streams.live, "nobody is followed")


async def test_order_that_nobody_here_knows_makes_reconcile_ask_and_changes_nothing(pieces: Pieces) -> None:
    async with following(pieces):
        pieces.desk.suspects.clear()
        by_hand(pieces).order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
        await until(lambda: pieces.broker_id in pieces.desk.suspects, "the account is suspect")
        assert await pieces.rows("SELECT 1 FROM fills") == []
        assert await pieces.rows("SELECT 1 FROM orders") == []


async def test_news_of_a_balance_has_it_read(pieces: Pieces) -> None:
    with pieces.bus.subscribe(BalanceHeard) as heard:
        async with following(pieces):
            by_hand(pieces).order(symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
            assert await asyncio.wait_for(heard.get(), 10) == BalanceHeard(broker_id=pieces.broker_id)


@dataclass
class DatabaseThatMayBeAway:
    """The database, which refuses connections while `is_away`."""

    database: Database
    is_away: bool = False

    def connection(self) -> Any:
        if self.is_away:
            raise ConnectionRefusedError("the database is away")
        return self.database.connection()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)


async def test_subscriptions_survive_an_outage_of_the_database_and_what_it_swallowed_is_asked_for(moving: Pieces) -> None:
    order = (await moving.submit(moving.limit(BELOW))).order
    database: Any = DatabaseThatMayBeAway(moving.database)
    async with following(moving, reconcile_every_s=600, desk=replace(moving.desk, database=database)) as streams:
        await until(lambda: not moving.desk.suspects, "the first questions are asked")
        database.is_away = True
        moving.emulator.advance(20)
        await reaches(moving, order.id, OrderState.FILLED)
        assert moving.broker_id in streams.live
    await assert_books_are_the_venues(moving)


async def test_no_key_or_signature_is_logged_or_stored(pieces: Pieces, said: Said, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with following(pieces) as streams:
        pieces.emulator.fault("ws_close")
        await until(lambda: "user_stream_reconnected" in said(), "the connection is made again")
        await until(lambda: streams.live, "the account is subscribed again")
        pieces.emulator.control("POST", "/_revoke", {"api_key": pieces.api_key})
        await until(lambda: "broker_paused" in said(), "the key is refused")
        stored = map(repr, await pieces.rows("SELECT * FROM brokers"))
        told = " ".join([said(), *stored, repr(vars(streams)), caplog.text])
    assert str(pieces.broker_id) in told
    for secret in (pieces.api_key, API_SECRET, "signature"):
        assert secret not in told
