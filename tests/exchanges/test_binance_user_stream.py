import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

from app.core.clock import SystemClock
from app.domain.enums import OrderState
from app.exchanges.binance_user_stream import (
    AccountLost,
    AccountSubscribed,
    BalanceUpdate,
    Missed,
    OrderUpdate,
    Reconnected,
    UserEvent,
    UserStream,
)
from app.exchanges.user_stream_access import Signer
from app.exchanges.user_stream_pace import UserStreamConfig
from tests.exchanges.fake_ws_api import FakeWsApi, fake_ws_api
from tests.exchanges.test_binance_user_messages import TRADE
from tests.fault_matrix import row

pytestmark = pytest.mark.asyncio

QUICK = UserStreamConfig(probe_every_s=30, answer_timeout_s=5).unpaced()
POSITION = {"e": "outboundAccountPosition", "E": 1564034571105, "u": 1, "B": []}
E = TypeVar("E")


class Reader:
    """A running stream whose events a test awaits by kind; what it passes over is kept in `passed`."""

    def __init__(self, stream: UserStream, group: asyncio.TaskGroup) -> None:
        self.stream = stream
        self.passed: list[UserEvent] = []
        self._events = stream.events()
        self._task = group.create_task(stream.run())

    def add(self, key: str) -> UUID:
        account = uuid4()
        self.stream.add(account, Signer(key, "secret"))
        return account

    async def next(self, kind: type[E]) -> E:
        async with asyncio.timeout(10):
            async for event in self._events:
                if isinstance(event, kind):
                    return event
                self.passed.append(event)
        raise AssertionError

    async def subscribed(self, *keys: str) -> list[UUID]:
        """Add accounts under these keys and wait until their events come."""
        accounts = [self.add(key) for key in keys]
        told = {(await self.next(AccountSubscribed)).account for _ in accounts}
        assert told == set(accounts)
        return accounts

    async def stop(self) -> None:
        self._task.cancel()
        await self._events.aclose()


@asynccontextmanager
async def reading(config: UserStreamConfig = QUICK) -> AsyncIterator[tuple[FakeWsApi, Reader]]:
    async with fake_ws_api() as api, asyncio.TaskGroup() as group:
        reader = Reader(UserStream(api.url, clock=SystemClock(), config=config), group)
        yield api, reader
        await reader.stop()


async def eventually(is_true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not is_true():  # noqa: ASYNC110  # what is awaited happens in a server that knows no event of ours
            await asyncio.sleep(0.01)


async def test_accounts_share_one_connection_and_each_hears_its_own_news() -> None:
    async with reading() as (api, reader):
        ada, bob = await reader.subscribed("ada", "bob")
        assert len(api.lines) == 1
        await api.last.tell("bob", TRADE)
        await api.last.tell("ada", POSITION)
        update = await reader.next(OrderUpdate)
        assert (update.account, update.market, update.client_order_id) == (bob, "ETHBTC", "q0000000000000001")
        assert (update.report.state, len(update.report.fills)) == (OrderState.PARTIAL, 1)
        assert await reader.next(BalanceUpdate) == BalanceUpdate(account=ada)


async def test_event_that_cannot_be_read_is_still_news_of_its_account() -> None:
    async with reading() as (api, reader):
        (ada,) = await reader.subscribed("ada")
        await api.last.tell("ada", {**TRADE, "z": None})
        assert (await reader.next(Missed)).account == ada


async def test_frame_that_cannot_be_read_makes_a_new_connection() -> None:
    async with reading() as (api, reader):
        (ada,) = await reader.subscribed("ada")
        await api.last.connection.send("{not json")
        lost = await reader.next(AccountLost)
        assert (lost.account, lost.reason, lost.is_credentials) == (ada, "a message could not be read", False)
        assert await reader.next(Reconnected) == Reconnected(accounts=1)
        assert (await reader.next(AccountSubscribed)).account == ada


@row(14)
async def test_killed_connection_is_made_again_and_signed_anew() -> None:
    async with reading() as (api, reader):
        accounts = await reader.subscribed("ada", "bob")
        (before,) = [request["timestamp"] for request in api.last.asked("userDataStream.subscribe.signature")][:1]
        await asyncio.sleep(0.002)
        api.last.connection.transport.abort()
        assert {(await reader.next(AccountLost)).account for _ in accounts} == set(accounts)
        assert {(await reader.next(AccountSubscribed)).account for _ in accounts} == set(accounts)
        after = [request["timestamp"] for request in api.last.asked("userDataStream.subscribe.signature")]
        assert min(after) > before
        assert len({request["signature"] for line in api.lines for request in line.asked("userDataStream.subscribe.signature")}) == 4


@row(37)
async def test_venue_whose_clock_differs_takes_our_requests() -> None:
    async with reading() as (api, reader):
        api.skew_ms = -7000
        await reader.subscribed("ada")
        assert len(api.last.asked("userDataStream.subscribe.signature")) == 1


@row(37)
async def test_venue_whose_clock_jumps_is_asked_for_the_time_again() -> None:
    async with reading() as (api, reader):
        await reader.subscribed("ada")
        api.skew_ms = 20_000
        await reader.subscribed("bob")
        assert len(api.last.asked("time")) == 2


@row(10)
async def test_idle_connection_that_answers_is_kept_and_one_that_does_not_is_left() -> None:
    async with reading(replace(QUICK, probe_every_s=0.05, answer_timeout_s=0.4)) as (api, reader):
        (ada,) = await reader.subscribed("ada")
        await eventually(lambda: len(api.last.asked("time")) > 5)
        assert reader.stream.is_live(ada)
        assert len(api.lines) == 1
        api.is_deaf = True
        lost = await reader.next(AccountLost)
        assert lost.reason == "a request had no answer for 0.4 s"
        api.is_deaf = False
        assert (await reader.next(AccountSubscribed)).account == ada


async def test_refused_key_is_given_up_and_the_others_go_on() -> None:
    async with reading() as (api, reader):
        api.refuse = lambda key: (401, -2015, "Invalid API-key, IP, or permissions for action.") if key == "bad" else None
        bad = reader.add("bad")
        lost = await reader.next(AccountLost)
        assert (lost.account, lost.is_credentials) == (bad, True)
        await reader.subscribed("good")
        assert bad not in reader.stream.accounts
        api.last.connection.transport.abort()
        await reader.next(AccountSubscribed)
        assert [request["apiKey"] for request in api.last.asked("userDataStream.subscribe.signature")] == ["good"]


@pytest.mark.parametrize("code", [-1022, -2014])
async def test_wrong_secret_and_malformed_key_are_matters_of_credentials(code: int) -> None:
    async with reading() as (api, reader):
        api.refuse = lambda _key: (400, code, "no")
        reader.add("ada")
        assert (await reader.next(AccountLost)).is_credentials


async def test_passing_refusal_is_tried_again() -> None:
    async with reading() as (api, reader):
        answers = iter([(500, -1001, "Internal error; unable to process your request. Please try again."), None])
        api.refuse = lambda _key: next(answers)
        await reader.subscribed("ada")
        assert len(api.last.asked("userDataStream.subscribe.signature")) == 2


async def test_venue_that_asks_for_patience_is_left_alone_until_then() -> None:
    async with reading() as (api, reader):
        await reader.subscribed("ada")
        until = api.now_ms() + 1500
        await api.last.send({"id": None, "status": 429, "error": {"code": -1003, "msg": "slow", "data": {"retryAfter": until}}})
        await api.last.tell("ada", POSITION)
        await reader.next(BalanceUpdate)
        await reader.subscribed("bob")
        assert api.now_ms() >= until


async def test_ended_subscription_is_made_again() -> None:
    async with reading() as (api, reader):
        (ada,) = await reader.subscribed("ada")
        line = api.last
        await line.tell("ada", {"e": "eventStreamTerminated", "E": 1})
        line.subscriptions.clear()
        lost = await reader.next(AccountLost)
        assert (lost.account, lost.is_credentials) == (ada, False)
        assert (await reader.next(AccountSubscribed)).account == ada
        assert len(api.lines) == 1


async def test_removed_account_is_unsubscribed_and_its_news_passed_over() -> None:
    async with reading() as (api, reader):
        ada, bob = await reader.subscribed("ada", "bob")
        line = api.last
        reader.stream.remove(ada)
        await line.tell("ada", POSITION)
        await line.tell("bob", POSITION)
        assert (await reader.next(BalanceUpdate)).account == bob
        await eventually(lambda: list(line.subscriptions.values()) == ["bob"])
        assert reader.stream.accounts == {bob}


async def test_account_with_a_new_key_is_subscribed_with_it() -> None:
    async with reading() as (api, reader):
        (ada,) = await reader.subscribed("old")
        reader.stream.add(ada, Signer("new", "secret"))
        assert (await reader.next(AccountSubscribed)).account == ada
        await eventually(lambda: list(api.last.subscriptions.values()) == ["new"])


async def test_connection_without_accounts_is_closed_and_another_is_made_when_one_comes() -> None:
    async with reading() as (api, reader):
        (ada,) = await reader.subscribed("ada")
        reader.stream.remove(ada)
        await eventually(lambda: not api.open_lines)
        assert reader.stream.connection_count == 0
        await reader.subscribed("bob")
        assert len(api.open_lines) == 1


async def test_more_accounts_than_a_connection_takes_share_several() -> None:
    async with reading(replace(QUICK, accounts_per_connection=2)) as (api, reader):
        await reader.subscribed(*"abcde")
        assert sorted(len(line.subscriptions) for line in api.open_lines) == [1, 2, 2]


async def test_two_of_our_accounts_that_are_one_at_the_venue_get_a_connection_each() -> None:
    async with reading() as (api, reader):
        api.same_account = {"ada-too": "ada"}
        await reader.subscribed("ada", "ada-too", "bob")
        assert sorted(sorted(line.subscriptions.values()) for line in api.open_lines) == [["ada", "bob"], ["ada-too"]]


@row(14)
async def test_old_connection_is_left_only_when_its_successor_has_every_account() -> None:
    async with reading() as (api, reader):
        ada, bob = await reader.subscribed("ada", "bob")
        old = api.last
        await old.send({"event": {"e": "serverShutdown", "E": 1}})
        await eventually(lambda: len(api.lines) == 2 and len(api.lines[1].subscriptions) == 2)
        await eventually(lambda: api.open_lines == [api.lines[1]])
        await api.last.tell("bob", POSITION)
        assert (await reader.next(BalanceUpdate)).account == bob
        assert reader.passed == []  # nobody was told of a loss, for nothing was lost
        assert reader.stream.is_live(ada)


async def test_successor_that_fails_leaves_the_old_connection_at_work() -> None:
    async with reading() as (api, reader):
        (ada,) = await reader.subscribed("ada")
        old = api.last
        api.refuse = lambda _key: (500, -1000, "An unknown error occurred while processing the request.")
        await old.send({"event": {"e": "serverShutdown", "E": 1}})
        await eventually(lambda: len(api.lines) == 2 and api.lines[1].asked("userDataStream.subscribe.signature"))
        api.lines[1].connection.transport.abort()
        await old.tell("ada", POSITION)
        assert (await reader.next(BalanceUpdate)).account == ada
        api.refuse = lambda _key: None
        await eventually(lambda: len(api.lines) > 2 and api.open_lines == [api.lines[-1]])
        assert reader.passed == []


@row(14)
async def test_old_age_brings_a_successor() -> None:
    async with reading(replace(QUICK, rotate_after_s=0.2)) as (api, reader):
        (ada,) = await reader.subscribed("ada")
        await eventually(lambda: len(api.lines) > 1 and api.lines[1].subscriptions)
        await eventually(lambda: api.lines[0] not in api.open_lines)
        assert reader.stream.is_live(ada)
        assert reader.passed == []


async def test_requests_keep_the_pace_the_venue_allows() -> None:
    async with reading(replace(QUICK, between_requests_s=0.05)) as (api, reader):
        await reader.subscribed(*"abcdef")
        moments = [at for at, method, _ in api.last.requests if method.startswith("userDataStream")]
        assert moments[-1] - moments[0] >= 5 * 0.05 * 0.9


async def test_venue_that_is_not_there_is_tried_again() -> None:
    async with asyncio.TaskGroup() as group:
        reader = Reader(UserStream("ws://127.0.0.1:9/ws-api/v3", clock=SystemClock(), config=QUICK), group)
        account = reader.add("ada")
        started = time.monotonic()
        await eventually(lambda: time.monotonic() - started > 0.3)
        assert reader.stream.accounts == {account}
        assert not reader.stream.is_live(account)
        await reader.stop()


async def test_nothing_that_is_told_or_logged_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with reading() as (api, reader):
        await reader.subscribed("key-nobody-may-see")
        api.last.connection.transport.abort()
        await reader.next(AccountSubscribed)
        ours = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]  # the fake venue's own
        said = " ".join([*ours, repr(reader.passed), repr(reader.stream), repr(vars(reader.stream))])
        signatures = [request["signature"] for line in api.lines for request in line.asked("userDataStream.subscribe.signature")]
    assert len(signatures) == 2
    assert not [secret for secret in ("key-nobody-may-see", *(signature[-12:] for signature in signatures)) if secret in said]
