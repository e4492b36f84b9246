"""A process in which two bots and the hand trade one symbol of one account, at random, until it has done its steps or is killed."""

import asyncio
import multiprocessing
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any, Final
from uuid import UUID

from app.brokers.connections import Connections
from app.core.clock import SystemClock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.events import EventBus
from app.core.leases import LeaseHolder
from app.core.supervisor import Supervisor
from app.domain.enums import OrderType, Side, Source
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.errors import AppError
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata.instruments import InstrumentBook
from app.marketdata.quotes import Quotes
from app.trading.cancel import cancel
from app.trading.close import close_position, protect_position
from app.trading.desk import ENGINE_ROLE, Desk
from app.trading.guardian import Guardian, guard
from app.trading.levels import move_levels
from app.trading.prices import FeedPrices
from app.trading.reconcile import Reconciler
from app.trading.submit import submit
from app.trading.watch import TriggerWatch
from tests.app.conftest import FERNET_KEY, SYMBOL
from tests.app.scripted_client import scripted
from tests.emulator_process import EmulatorProcess

context: Final = multiprocessing.get_context("forkserver")
#: Where the market may go, and how the venue keeps stops: whole pairs, stops only, or nothing that waits.
PRICES: Final = [Decimal(price) for price in range(58_000, 62_001, 100)]
VENUES: Final = ("pairs", "stop_at_venue", "supervised")
_ROUNDS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where they trade: all that a process must be told."""

    database_url: str
    emulator_url: str
    user_id: UUID
    broker_id: UUID
    owners: tuple[UUID | None, ...]
    venue: str


def start(place: Place, seed: int, *, steps: int | None) -> tuple[Any, Connection]:
    """Start such a process; it says each step before it begins, and trades for ever without a number of steps."""
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(place, seed, steps, writer), daemon=True)
    process.start()
    writer.close()
    return process, reader


def _main(place: Place, seed: int, steps: int | None, told: Connection) -> None:
    asyncio.run(_work(place, seed, steps, told))


async def _work(place: Place, seed: int, steps: int | None, told: Connection) -> None:
    async with _desk(place) as (desk, quotes):
        hands = Hands(desk, quotes, place, random.Random(seed))
        await hands.market()
        await hands.settle()
        number = 0
        while steps is None or number < steps:
            told.send(number)
            await hands.step()
            number += 1
        await hands.settle()
        told.send("settled")


@asynccontextmanager
async def _desk(place: Place) -> AsyncIterator[tuple[Desk, Quotes]]:
    database = Database(place.database_url)
    await database.open()
    clock, vault, bus = SystemClock(), Vault((FERNET_KEY,)), EventBus()
    registry = Registry(RegistryConfig(binance_rest_url=place.emulator_url), clock=clock)
    connections = Connections(database, vault, registry)
    quotes = Quotes("binance")
    lease = LeaseHolder(database, ENGINE_ROLE)
    assert await lease.renew(), "the one before is dead"
    desk = Desk(
        database=database,
        connections=connections,
        instruments=InstrumentBook(database, registry, clock=clock),
        quotes=FeedPrices(quotes),
        bus=bus,
        lease=lease,
        clock=clock,
    )
    whole = (await connections.client(place.broker_id)).capabilities
    able = {
        "pairs": whole,
        "stop_at_venue": replace(whole, has_oco=False, has_replace=False),
        "supervised": replace(whole, has_oco=False, has_replace=False, order_types=frozenset({OrderType.MARKET, OrderType.LIMIT})),
    }[place.venue]
    desk, _ = await scripted(desk, place.broker_id, capabilities=able)
    async with Supervisor(on_fatal=lambda: None) as supervisor:
        supervisor.start("lease", lease.run)
        supervisor.start("guardian", Guardian(desk).run)
        yield desk, quotes
    await connections.close()
    await registry.close()
    await database.close()


class Hands:
    """What they do, one thing after the other."""

    def __init__(self, desk: Desk, quotes: Quotes, place: Place, chance: random.Random) -> None:
        self._desk = desk
        self._quotes = quotes
        self._place = place
        self._chance = chance
        self._emulator = EmulatorProcess()
        self._emulator.url = place.emulator_url
        self._price = Decimal(60_000)
        self._watch = TriggerWatch(desk)
        self._reconciler = Reconciler(desk)

    async def step(self) -> None:
        """One thing that happens, whatever comes of it, and some of what the other loops would do then."""
        chance = self._chance
        does: Any = chance.choice([self._buy, self._buy, self._close, self._part, self._move, self._protect, self._rest, self._take_back])
        # Refusals are part of it: nothing to sell, a venue that keeps the units for a stop, a moment in which all changes.
        with suppress(AppError):
            await does(chance.choice(self._place.owners))
        if chance.random() < 0.4:
            await self.market()
        if chance.random() < 0.5:
            await self._guard_all()
        if chance.random() < 0.3:
            await self._reconciler.once()

    async def market(self) -> None:
        """One trade at another price, small enough to fill a resting order in part, and the feed tells it."""
        self._price = self._chance.choice(PRICES)
        quantity = self._chance.choice([None, "0.001", "0.004", "5"])
        await asyncio.to_thread(self._emulator.price, str(self._price), quantity=quantity)
        price = self._price
        self._quotes.put(SYMBOL, at=self._desk.clock.now(), last=price, bid=price, ask=price)
        await self._watch.once("binance", SYMBOL, price)

    async def settle(self) -> None:
        """Let everything come to rest: what the loops would do in some seconds."""
        before: Any = None
        for _ in range(_ROUNDS):
            await self._reconciler.once()
            await self._watch.once("binance", SYMBOL, self._price)
            await self._guard_all()
            now = [tuple(row) for row in await self._rows("SELECT id, state, filled_quantity, fills_quantity FROM orders ORDER BY id")]
            if now == before:
                return
            before = now

    async def _guard_all(self) -> None:
        for row in await self._rows(
            "SELECT id FROM protections WHERE status = 'active' UNION SELECT group_id FROM orders"
            " WHERE role IN ('stop', 'target') AND state IN ('intent', 'submitting', 'unknown', 'open', 'partial')"
        ):
            with suppress(AppError):
                await guard(self._desk, row["id"])

    async def _buy(self, owner: UUID | None) -> None:
        quantity = Decimal(self._chance.randint(1_000, 20_000)) / 1_000_000
        plan, is_limit = self._plan(), self._chance.random() < 0.3
        price = self._price - self._chance.choice([0, 100]) if is_limit else None
        await self._order(
            owner, Side.BUY, quantity=quantity, price=price, type=OrderType.LIMIT if is_limit else OrderType.MARKET, protection=plan
        )

    def _plan(self) -> ProtectionPlan | None:
        chance = self._chance
        if chance.random() < 0.2:
            return None
        halves = chance.random() < 0.5
        gains = (Decimal("0.004"), Decimal("0.012")) if halves else (Decimal("0.008"),)
        targets = tuple(Target(gain=gain, fraction=1 / Decimal(len(gains))) for gain in gains) if chance.random() < 0.6 else ()
        below = Decimal(chance.randint(2, 30)) / 1000
        if chance.random() < 0.5:
            return ProtectionPlan(stop_fraction=below, targets=targets)
        return ProtectionPlan(stop_price=(self._price * (1 - below)).quantize(Decimal(1)), targets=targets)

    async def _close(self, owner: UUID | None) -> None:
        await self._order(owner, Side.SELL, close_position=True)

    async def _part(self, owner: UUID | None) -> None:
        """Whoever it is, by hand: a person may sell a part of what a bot holds."""
        position = await self._position(owner)
        if position is not None:
            fraction = Decimal(self._chance.randint(10, 90)) / 100
            await close_position(self._desk, self._place.user_id, position["id"], key=self._key(), fraction=fraction)

    async def _move(self, owner: UUID | None) -> None:
        position = await self._position(owner)
        if position is not None:
            stop = self._price - self._chance.choice([-100, 100, 300, 1000])
            await move_levels(self._desk, self._place.user_id, position["id"], stop_price=stop)

    async def _protect(self, owner: UUID | None) -> None:
        position, plan = await self._position(owner), self._plan()
        if position is not None:
            await protect_position(self._desk, self._place.user_id, position["id"], plan or ProtectionPlan())

    async def _rest(self, owner: UUID | None) -> None:
        """A limit above the market for some of it, beside what guards it."""
        position = await self._position(owner)
        if position is not None:
            quantity = (position["quantity"] / 3).quantize(Decimal("0.00001"))
            await self._order(owner, Side.SELL, quantity=quantity, type=OrderType.LIMIT, price=self._price + 200, close_position=True)

    async def _take_back(self, owner: UUID | None) -> None:
        rows = await self._rows(
            "SELECT id FROM orders WHERE bot_id IS NOT DISTINCT FROM $1 AND role IN ('entry', 'exit') AND state IN ('open', 'partial')",
            owner,
        )
        if rows:
            await cancel(self._desk, self._place.user_id, self._chance.choice(rows)["id"])

    async def _order(self, owner: UUID | None, side: Side, **fields: Any) -> None:
        source = Source.MANUAL if owner is None else Source.BOT
        intent = OrderIntent(symbol=SYMBOL, side=side, source=source, key=self._key(), bot_id=owner, **fields)
        await submit(self._desk, self._place.user_id, intent, broker_id=self._place.broker_id)

    async def _position(self, owner: UUID | None) -> Any:
        rows = await self._rows("SELECT * FROM positions WHERE bot_id IS NOT DISTINCT FROM $1 AND status <> 'closed'", owner)
        return rows[0] if rows else None

    async def _rows(self, sql: str, *values: object) -> list[Any]:
        async with self._desk.database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    def _key(self) -> str:
        return f"hands:{self._chance.getrandbits(64)}"
