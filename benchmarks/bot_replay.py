"""One replay of candles with bots, from its first to its last candle, on a server that may be killed on the way: a part of bot_chaos.py."""

import asyncio
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.emulator.bars import MINUTE_MS
from app.emulator.config import EmulatorConfig
from app.trading.audit import ask_rules
from app.trading.audit_rules import RULES
from benchmarks.bot_fleet import API_SECRET, BotSpec, Fleet, server_settings
from benchmarks.bot_outcome import Outcome, trades_of
from tests import settled, shared_time
from tests.journeys.returning_server import ReturningServer
from tests.replay_venue import ReplayVenue, replaying

QUIET_S: Final = 90.0
_JUST_BEFORE_MS: Final = 1_000
_PATIENCE_S: Final = 8.0
_ARRIVES_WITHIN_MS: Final = 40_000
START_USDT: Final = Decimal(1_000_000)
_FILLS: Final = """
SELECT o.bot_id, f.position_id, f.side, f.price, f.quantity, f.fee, f.fee_asset, f.executed_at
  FROM fills f JOIN orders o ON o.id = f.order_id ORDER BY f.executed_at, o.created_at, f.trade_id
"""
_MISSED: Final = "SELECT bot_id, open_time FROM bot_signals WHERE state IN ('skipped', 'expired')"
_REASONS: Final = """
SELECT reason ->> 'message' AS why, reason ->> 'values' AS values, count(*) AS n FROM bot_signals
 WHERE state IN ('skipped', 'expired', 'denied') GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20
"""
_CUT_OFF: Final = "SELECT bot_id, key, client_order_id FROM orders WHERE state = 'lost' AND role IN ('entry', 'exit')"
_SEEN: Final = "SELECT bot_id, open_time FROM bot_signals"
_ENTRIES: Final = "SELECT bot_id, key, count(*) AS orders FROM orders WHERE role = 'entry' GROUP BY bot_id, key HAVING count(*) > 1"
_GUARDED: Final = """
SELECT b.name AS account, p.symbol, p.quantity, array_agg(o.client_order_id) AS legs
  FROM positions p JOIN protections g ON g.position_id = p.id AND g.status = 'active' JOIN brokers b ON b.id = p.broker_id
  LEFT JOIN orders o ON o.group_id = g.id AND o.role = 'stop' AND o.state IN ('open', 'partial')
 WHERE p.status <> 'closed' GROUP BY p.id, b.name
"""
_BARE: Final = (
    "SELECT count(*) FROM positions p WHERE status <> 'closed' AND NOT EXISTS (SELECT 1 FROM protections g WHERE g.position_id = p.id)"
)
_HELD: Final = (
    "SELECT b.name AS account, p.base, sum(p.quantity) AS quantity FROM positions p JOIN brokers b ON b.id = p.broker_id GROUP BY 1, 2"
)


@dataclass(frozen=True, slots=True)
class Kill:
    """A server is killed `after_s` seconds after a candle has closed and hears nothing of the next `missed` ones.

    With `again_after_s` it is killed once more while it starts.
    """

    after_s: float
    missed: int = 0
    again_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is replayed: a market, bots on its accounts, so many candles of `length_ms`, and kills by candle."""

    config: EmulatorConfig
    symbols: tuple[str, ...]
    strategies: Mapping[str, str]
    accounts: tuple[str, ...]
    specs: Sequence[BotSpec]
    candles: int
    length_ms: int
    history_minutes: int
    kills: Mapping[int, Kill] = field(default_factory=dict)


class Replay:
    """A replay under way."""

    def __init__(self, plan: Plan, venue: ReplayVenue, server: "KillableServer", database: Database) -> None:
        self._plan = plan
        self.venue = venue
        self._server = server
        self._database = database
        self._bots: list[UUID] = []
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """Do it."""
        begun = time.monotonic()
        with closing(await asyncio.to_thread(self._server.client)) as http:
            await self._make_bots(http)
            self.outcome.first_ms = self.venue.now_ms
            await self._replay(http)
        await self._read()
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    async def _replay(self, http: httpx.Client) -> None:
        step = 0
        while step < self._plan.candles:
            kill = self._plan.kills.get(step)
            await self._close(http)
            missed = 0 if kill is None else await self._killed(kill)
            await self._quiet()
            await self._look_for_stops()
            step += 1 + missed

    async def _make_bots(self, http: httpx.Client) -> None:
        fleet = Fleet(http, self._database, self.venue.clock)
        for account in self._plan.accounts:
            self.venue.open_account(account, API_SECRET, {"USDT": str(START_USDT)}, pays_in_quote=True)
            await asyncio.to_thread(fleet.take_account, account)
        for name, source in self._plan.strategies.items():
            await fleet.add_strategy(name, source)
        self._bots = await asyncio.to_thread(fleet.make, list(self._plan.specs))
        # All of them before the close of the first candle that they decide at.
        await self._until("bots are loaded", self._loading)
        await self._close(http)
        await self._quiet()

    async def _loading(self) -> str:
        rows = await self._rows("SELECT count(*) AS n FROM bots WHERE state = 'running' AND state_reason IS NULL")
        return "" if rows[0]["n"] == len(self._bots) else f"{rows[0]['n']} of {len(self._bots)}"

    async def _close(self, http: httpx.Client) -> None:
        """Let the market go on to the close of a candle: whoever decides there has heard of what happened inside it."""
        executed, length = self._executions(), self._plan.length_ms
        close = self.venue.now_ms // length * length + length
        await self.venue.until(close - _JUST_BEFORE_MS)
        if self._executions() != executed:
            await self._until("fills are counted", self._orders_busy)
        await self._hear_prices(http)
        await self.venue.until(close)

    async def _killed(self, kill: Kill) -> int:
        """Kill the server soon after a candle has closed, and start another; return how many candles nobody heard of."""
        await asyncio.sleep(kill.after_s)
        executed = self._executions()
        self._kill()
        for _ in range(kill.missed):
            await self.venue.advance(self._plan.length_ms)
        self.outcome.stopped_while_dead += self._executions() - executed
        if kill.again_after_s is not None:
            starting = asyncio.create_task(asyncio.to_thread(self._start_in_vain))  # noqa: TID251  # ended below, whatever it says
            await asyncio.sleep(kill.again_after_s)
            self._kill()
            await asyncio.wait([starting])
            # On a busy machine there may have been nothing to kill yet.
            self._kill()
        await asyncio.to_thread(self._server.start)
        return kill.missed

    def _start_in_vain(self) -> None:
        try:
            self._server.start()
        except (RuntimeError, AssertionError, AttributeError):
            return  # it was killed meanwhile

    def _kill(self) -> None:
        if self._server.is_running:
            self._server.kill()
            self.outcome.kills += 1

    def _executions(self) -> int:
        return self.venue.venue.exchange.last_execution_id

    async def _quiet(self) -> None:
        """Give the market time now and then: an order that was cut off on its way is given up, and made again, only as time passes."""
        given_at = time.monotonic()

        async def busy() -> str:
            nonlocal given_at
            found = await self._busy()
            if found and time.monotonic() - given_at > _PATIENCE_S:
                given_at = time.monotonic()
                await self.venue.advance(_ARRIVES_WITHIN_MS)
            return found

        await self._until("all is done", busy)

    async def _until(self, what: str, busy: Any) -> None:
        deadline = time.monotonic() + QUIET_S
        while found := await busy():
            if time.monotonic() > deadline:
                bots = [dict(row) for row in await self._rows("SELECT DISTINCT state, state_reason, last_candle_at FROM bots")]
                raise SystemExit(f"it did not come to be that {what}: {found}\n{bots}\n{self._server.log_path.read_text()[-3000:]}")
            await asyncio.sleep(0.01)

    async def _busy(self) -> str:
        closed = self.venue.now_ms // self._plan.length_ms * self._plan.length_ms - self._plan.length_ms
        (bots,) = await self._rows(settled.BOTS, datetime.fromtimestamp(closed / 1000, UTC))
        if bots["waiting"] or bots["acting"]:
            return f"{bots['waiting']} bots wait, {bots['acting']} signals are acted upon"
        return await self._orders_busy()

    async def _hear_prices(self, http: httpx.Client) -> None:
        """Wait until the server has the market's prices: an entry is sized by those of its moment, not by those before time went on."""
        closed_ms, deadline = self.venue.now_ms // MINUTE_MS * MINUTE_MS - MINUTE_MS, time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            newest = [await asyncio.to_thread(_newest_candle, http, symbol) for symbol in self._plan.symbols]
            if min(newest) >= closed_ms:
                return
            if not max(newest):
                await asyncio.to_thread(self._server.log_in, http)
            await asyncio.sleep(0.01)

    async def _orders_busy(self) -> str:
        (row,) = await self._rows(settled.QUERY)
        if row["busy"] or row["fills"] != self._executions():
            return f"{row['busy']} orders, {row['fills']} fills of {self._executions()}"
        return ""

    async def _look_for_stops(self) -> None:
        orders = {order.client_order_id: order for account in self._accounts() for order in account.open_orders.values()}
        for row in await self._rows(_GUARDED):
            alive = [orders[leg] for leg in row["legs"] if leg in orders]
            guarded = sum((order.remaining for order in alive), Decimal(0))
            step = self.venue.market(row["symbol"]).rules.step_size
            if row["quantity"] - guarded >= step:
                self.outcome.missing_stops.append(f"{row['account']} {row['symbol']}: {guarded} of {row['quantity']} is guarded")
        (bare,) = await self._rows(_BARE)
        if bare["count"]:
            self.outcome.missing_stops.append(f"{bare['count']} positions have no protection at all")

    def _accounts(self) -> list[Any]:
        return list(self.venue.venue.exchange.accounts.values())

    async def _rows(self, sql: str, *values: object) -> list[Any]:
        async with self._database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    # -- what came of it

    async def _read(self) -> None:
        outcome, place = self.outcome, {bot_id: number for number, bot_id in enumerate(self._bots)}
        fills = await self._rows(_FILLS)
        outcome.trades = trades_of(fills, place, self._plan.length_ms)
        outcome.missed = await self._missed(place)
        outcome.cut_off = await self._cut_off(place)
        outcome.reasons = [f"{row['n']} candles: {row['why']} {row['values']}" for row in await self._rows(_REASONS)]
        known = Counter(order.client_order_id for account in self._accounts() for order in account.orders.values())
        outcome.doubled = [f"{name} stands {times} times" for name, times in known.items() if times > 1]
        outcome.doubled += [f"bot {place.get(row['bot_id'])}: {row['orders']} entries {row['key']}" for row in await self._rows(_ENTRIES)]
        outcome.ledger_difference = await self._ledger_difference(fills)
        async with self._database.connection() as connection:
            outcome.audit = [str(finding) for finding in await ask_rules(connection, RULES, now=self.venue.clock.now(), is_full=True)]

    async def _missed(self, place: Mapping[UUID, int]) -> dict[int, set[int]]:
        length, first = self._plan.length_ms, self.outcome.first_ms
        every = set(range(first, first + self._plan.candles * length, length))
        seen, skipped = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
        for query, into in ((_SEEN, seen), (_MISSED, skipped)):
            for row in await self._rows(query):
                into[place[row["bot_id"]]].add(round(row["open_time"].timestamp() * 1000))
        return {number: (every - seen[number]) | (skipped[number] & every) for number in place.values()}

    async def _cut_off(self, place: Mapping[UUID, int]) -> dict[int, set[int]]:
        known = {order.client_order_id for account in self._accounts() for order in account.orders.values()}
        found = defaultdict[int, set[int]](set)
        for row in await self._rows(_CUT_OFF):
            opened = row["key"].split(":")[2]
            if opened.isdecimal() and row["client_order_id"] not in known:
                found[place[row["bot_id"]]].add(int(opened))
        return found

    async def _ledger_difference(self, fills: Sequence[Any]) -> Decimal:
        """By how much the bots' positions and payments differ from the accounts' balances, all assets together."""
        ours: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for row in await self._rows(_HELD):
            ours[row["account"], row["base"]] += row["quantity"]
        accounts = {account.api_key: account for account in self._accounts()}
        total = sum((self._paid(row) for row in fills), Decimal(0))
        theirs = sum((_total(account, "USDT") - START_USDT for account in accounts.values()), Decimal(0))
        differences = [abs(total - theirs)]
        for name, account in accounts.items():
            differences += [abs(_total(account, asset) - ours[name, asset]) for asset in account.balances if asset != "USDT"]
        return sum(differences, Decimal(0))

    @staticmethod
    def _paid(row: Any) -> Decimal:
        notional: Decimal = row["price"] * row["quantity"]
        fee = row["fee"] if row["fee_asset"] == "USDT" else Decimal(0)
        return (-notional if row["side"] == "buy" else notional) - fee


def _newest_candle(http: httpx.Client, symbol: str) -> int:
    try:
        answer = http.get("/api/ohlcv", params={"symbol": symbol, "timeframe": "1m", "limit": 1})
    except httpx.TransportError:
        return 0  # its connection is of a server that was killed
    # A token lasts for half a day, which is a second here.
    return int(answer.json()["items"][-1][0]) if answer.is_success else 0


def _total(account: Any, asset: str) -> Decimal:
    balance = account.balance(asset)
    total: Decimal = balance.free + balance.locked
    return total


class KillableServer(ReturningServer):
    """One that may be killed while it starts."""

    @property
    def is_running(self) -> bool:
        """Whether there is a process to kill."""
        return self._process is not None and self._process.poll() is None


@asynccontextmanager
async def replay(plan: Plan, urls: DatabaseUrls, folder: Path) -> AsyncIterator[Replay]:
    """A replay at its beginning: the market stands, a server is up on an empty database."""
    time_file = folder / "time"
    async with replaying(plan.config, time_file) as venue:
        settings = server_settings(urls, venue.url, plan.symbols, heartbeat_history_minutes=plan.history_minutes, access_token_minutes=1440)
        settings[shared_time.VARIABLE.lower()] = time_file
        # Of the market's time, which stands still until everything is done.
        settings["reconcile_settle_s"] = 0
        server = KillableServer(folder / "server", **settings)
        database = Database(urls.app)
        await database.open()
        try:
            await asyncio.to_thread(server.start)
            yield Replay(plan, venue, server, database)
        finally:
            await asyncio.to_thread(server.stop)
            await database.close()
