"""Make our orders agree with the venue: at start, when one is in doubt, and every few seconds. This is the loop; the work is in its parts.

Each order in doubt is asked about by a task of its own, the resting orders of each account are compared by one, and whole accounts by a few
at a time: a slow account delays no other, and resting orders delay a doubt of their own symbol by two seconds at most, so that what
happened there is counted as it happened.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.supervisor import Beat
from app.core.waiting import happens_within
from app.domain.enums import OrderState, Role
from app.errors import Fenced
from app.trading.account_check import AccountChecks
from app.trading.border import Border
from app.trading.catching_up import CatchingUp, Learnt
from app.trading.compare import ComparedAccount, Comparison, of_symbol
from app.trading.desk import Desk
from app.trading.doubts import is_to_be_denied, learn, settle_intent
from app.trading.records import OrderRecord
from app.trading.sweep import MissingOrders, due_lost, look_for_lost

log = structlog.get_logger(__name__)

_INTENT_GRACE: Final = timedelta(seconds=1)
_FIRST_DELAY_S: Final = 0.25
_LONGEST_DELAY_S: Final = 8.0
#: How often the resting orders of an account that is switched off are compared: nothing new can come of ours.
_SWITCHED_OFF_S: Final = 600.0
#: An account whose events come as they happen is compared in one of so many rounds.
_WITH_STREAM: Final = 6
_KEYS_EVERY_S: Final = 5.0
_Work = Callable[[], Awaitable[None]]
_DOUBTS: Final = """
SELECT * FROM orders
 WHERE state IN ('submitting', 'unknown') OR (state IN ('open', 'partial') AND cancel_requested_at IS NOT NULL)
    OR (state = 'intent' AND (execution = 'native' OR triggered_at IS NOT NULL OR cancel_requested_at IS NOT NULL))
 ORDER BY created_at
"""
#: Accounts with open orders, and with finished ones whose fills are not all here.
_RESTING: Final = """
SELECT b.id, b.user_id, b.removed_at IS NOT NULL OR NOT b.is_active OR b.paused_reason IS NOT NULL AS is_switched_off,
       array_agg(DISTINCT o.symbol ORDER BY o.symbol) AS symbols, count(*) AS orders,
       bool_or(o.fills_quantity <> o.filled_quantity) AS lacks_fills
  FROM orders o JOIN brokers b ON b.id = o.broker_id
 WHERE ((o.state IN ('open', 'partial') AND o.cancel_requested_at IS NULL)
        OR (o.fills_quantity <> o.filled_quantity AND o.state NOT IN ('intent', 'submitting', 'unknown', 'open', 'partial')))
   AND o.id <> ALL($1)
 GROUP BY b.id
"""


@dataclass(slots=True)
class _Due:
    """When to ask about one order again; monotonic seconds."""

    at: float = 0.0
    delay_s: float = _FIRST_DELAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often accounts are compared: their open orders, the whole account, and how long a gate stays closed when something is open."""

    interval_s: float = 5.0
    full_interval_s: float = 900.0
    settle_s: float = 10.0


class Reconciler:
    """Settles the orders of every broker account whose engine role this process holds."""

    def __init__(self, desk: Desk, *, interval_s: float = 5.0, pace: Pace | None = None) -> None:
        self._desk = desk
        self._pace = pace or Pace(interval_s=interval_s)
        self._border = Border()
        self._missing = MissingOrders(desk)
        self._catching_up = CatchingUp(desk, self._missing)
        self._comparison = Comparison(desk, self._missing, self._border, self._catching_up)
        self._checks = AccountChecks(
            desk,
            self._comparison,
            interval=timedelta(seconds=self._pace.full_interval_s),
            settle=timedelta(seconds=self._pace.settle_s),
        )
        self._due: dict[UUID, _Due] = {}
        #: By order while one is in doubt, by account while it is compared.
        self._working: dict[UUID, asyncio.Task[None]] = {}
        self._rested_at: dict[UUID, float] = {}
        self._next_round_at = 0.0
        self._next_keys_at = 0.0

    async def run(self, beat: Beat) -> None:
        """Reconcile until cancelled, while the role is ours. It never waits for an exchange."""
        async with asyncio.TaskGroup() as group:
            while True:
                beat()
                if self._desk.lease.is_held:
                    await self._start(group)
                    await self._start_checks(group)
                await self._wait()

    async def _wait(self) -> None:
        """Until the next round, or sooner when an order is in doubt."""
        waiting = [due.delay_s for due in self._due.values()]
        timeout_s = min([self._pace.interval_s, 1.0, *waiting, *([_FIRST_DELAY_S] if self._desk.suspects else [])])
        if await happens_within(self._desk.doubt, timeout_s):
            self._desk.doubt.clear()
            await asyncio.sleep(_FIRST_DELAY_S)

    async def once(self) -> int:
        """Ask about every unsettled order once, wait for all answers, and return how many orders there were."""
        self._next_round_at = 0.0
        async with asyncio.TaskGroup() as group:
            return await self._start(group)

    async def check_accounts(self) -> None:
        """Compare every account that is due in full, and wait until that is done."""
        async with asyncio.TaskGroup() as group:
            await self._start_checks(group)

    async def _start(self, group: asyncio.TaskGroup) -> int:
        """Begin whatever is due and not under way yet."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_keys_at:
            self._next_keys_at = now + _KEYS_EVERY_S
            await self._desk.connections.drop_changed()
        suspects = self._take_suspects()
        # Nothing is read between the first that begins and the last: an answer that came meanwhile would not wait for the others.
        doubts = await self._read_doubts()
        suspected = await self._checks.suspected(suspects) if suspects else []
        lost: Sequence[OrderRecord] = ()
        resting: Sequence[Any] = ()
        if now >= self._next_round_at:
            self._next_round_at = now + self._pace.interval_s
            lost, resting = await due_lost(self._desk), await self._read_resting()
        compared = self._start_suspects(group, suspected) | self._start_resting(group, resting)
        for order in lost:
            self._begin(group, order.id, partial(self._look_for_lost, order))
        found: int = sum(row["orders"] for row in resting)
        return found + self._start_doubts(group, doubts, suspects=suspects, compared=compared)

    def _take_suspects(self) -> set[UUID]:
        """Return the accounts to be asked about now; one that is being asked waits, as its answer may be older than the suspicion."""
        suspects = {broker_id for broker_id in self._desk.suspects if broker_id not in self._working}
        self._desk.suspects.difference_update(suspects)
        return suspects

    async def _read_doubts(self) -> list[OrderRecord]:
        """Those that nobody is sending: what was read of an order while its answer is being written down is old at once."""
        in_flight = set(self._desk.in_flight)
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_DOUBTS)
        return [OrderRecord.of(row) for row in rows if row["id"] not in in_flight]

    def _start_doubts(
        self, group: asyncio.TaskGroup, orders: Sequence[OrderRecord], *, suspects: Collection[UUID] = (), compared: Collection[UUID]
    ) -> int:
        """Ask about what is due; the orders of `suspects` are due at once.

        So is what is in doubt at `compared` accounts, whose comparison begins now: what it finds, a stop that sold, may have happened
        after it.
        """
        mine = [order for order in orders if order.id not in self._desk.in_flight and not self._waits_for_gate(order)]
        known = {order.id: self._due.get(order.id) for order in mine if order.broker_id not in suspects}
        self._due = {order.id: known.get(order.id) or _Due() for order in mine}
        for order in mine:
            if order.id not in self._working and (
                is_to_be_denied(self._desk, order) or self._is_due(order, is_compared=order.broker_id in compared)
            ):
                self._begin(group, order.id, partial(self._doubt, order))
        return len(mine)

    def _is_to_be_asked(self, order: OrderRecord, compared: Collection[UUID]) -> bool:
        if order.id in self._working:
            return False
        return is_to_be_denied(self._desk, order) or self._is_due(order, is_compared=order.broker_id in compared)

    def _waits_for_gate(self, order: OrderRecord) -> bool:
        """An entry that nobody has sent yet must not be refused for the moment that its account is being compared."""
        is_entry = order.state is OrderState.INTENT and order.role is Role.ENTRY
        return is_entry and order.broker_id in self._desk.awaited and not is_to_be_denied(self._desk, order)

    async def _read_resting(self) -> list[Any]:
        await self._missing.read()
        async with self._desk.database.connection() as connection:
            rows: list[Any] = await connection.fetch(_RESTING, list(self._desk.in_flight))
        return rows

    def _start_resting(self, group: asyncio.TaskGroup, rows: Sequence[Any]) -> set[UUID]:
        begun: set[UUID] = set()
        now = asyncio.get_running_loop().time()
        for row in rows:
            if now < self._rested_at.get(row["id"], float("-inf")) + self._rest_s(row):
                continue
            self._rested_at[row["id"]] = now
            account = ComparedAccount(id=row["id"], user_id=row["user_id"], symbols=tuple(row["symbols"]))
            if self._begin(group, account.id, partial(self._resting, account)):
                begun.add(account.id)
        return begun

    def _rest_s(self, row: Any) -> float:
        """How long an account's open orders are left alone: a list costs an exchange's limits, and a stream tells most of it."""
        if row["is_switched_off"]:
            return _SWITCHED_OFF_S
        is_told = row["id"] in self._desk.live and not row["lacks_fills"]
        return self._pace.interval_s * _WITH_STREAM if is_told else 0.0

    def _start_suspects(self, group: asyncio.TaskGroup, accounts: Sequence[ComparedAccount]) -> set[UUID]:
        """Compare accounts of which something was heard or missed: in full, or only what they use when that was done a moment ago."""
        begun: set[UUID] = set()
        for account in accounts:
            is_full = account.is_full or account.id in self._desk.strange
            self._desk.strange.discard(account.id)
            if self._begin(group, account.id, partial(self._check if is_full else self._catch_up, account)):
                begun.add(account.id)
        return begun

    async def _start_checks(self, group: asyncio.TaskGroup) -> None:
        accounts = await self._checks.due(self._working.keys())
        if not accounts:
            return
        doubts = await self._read_doubts()
        begun = {account.id for account in accounts if self._begin(group, account.id, partial(self._check, account))}
        self._start_doubts(group, doubts, compared=begun)

    def _begin(self, group: asyncio.TaskGroup, key: UUID, work: _Work) -> bool:
        """Start `work` as a task, unless the last one of its order or account is still under way; return whether it began."""
        if key in self._working:
            return False
        task = group.create_task(self._until_fenced(work), name=f"reconcile:{key}")
        self._working[key] = task
        task.add_done_callback(lambda _: self._working.pop(key, None))
        return True

    async def _until_fenced(self, work: _Work) -> None:
        try:
            await work()
        except* Fenced:
            log.warning("reconcile_fenced", role=self._desk.lease.role)

    def _is_due(self, order: OrderRecord, *, is_compared: bool) -> bool:
        if order.state is OrderState.INTENT and self._desk.clock.now() - order.created_at <= _INTENT_GRACE:
            return False  # its sender may be at it
        due = self._due[order.id]
        now = asyncio.get_running_loop().time()
        if now < due.at and not is_compared:
            return False
        due.at = now + due.delay_s
        due.delay_s = min(due.delay_s * 2, _LONGEST_DELAY_S)
        return True

    async def _doubt(self, order: OrderRecord) -> None:
        with self._border.around("reconcile_failed", order.id, order_id=str(order.id), broker_id=str(order.broker_id)):
            if order.state is OrderState.INTENT:
                await settle_intent(self._desk, order)
                return
            with ExitStack() as expecting:
                # From now on, and not only once it is asked: what is learnt of its symbol meanwhile waits for it.
                expecting.enter_context(self._catching_up.expecting(order.broker_id, [order.symbol]))
                client = await self._desk.connections.client(order.broker_id)
                await self._desk.instruments.all(client.exchange)

                async def ask() -> Learnt | None:
                    expecting.close()
                    return await learn(self._desk, order, client)

                await self._catching_up.settle(order, client, ask=ask)

    async def _resting(self, account: ComparedAccount) -> None:
        with (
            self._border.around("reconcile_unreachable", account.id, broker_id=str(account.id)),
            self._comparison.expecting(account) as expecting,
        ):
            try:
                client = await self._desk.connections.client(account.id)
                # A fill may close a position, and only the instrument's step tells what is left of it is dust.
                await self._desk.instruments.all(client.exchange)
                await self._comparison.compare(account, client, expecting)
            except Exception as error:
                await self._checks.failed(account, error)
                raise

    async def _check(self, account: ComparedAccount) -> None:
        with (
            self._border.around("account_not_compared", account.id, broker_id=str(account.id)),
            self._comparison.expecting(account) as expecting,
        ):
            await self._checks.check(account, expecting)

    async def _catch_up(self, account: ComparedAccount) -> None:
        with self._border.around("account_not_compared", account.id, broker_id=str(account.id)), ExitStack() as stack:
            expecting = {each: stack.enter_context(self._comparison.expecting(of_symbol(account, each))) for each in account.symbols}
            try:
                await self._checks.catch_up(account, expecting)
            except Exception as error:
                await self._checks.failed(account, error)
                raise

    async def _look_for_lost(self, order: OrderRecord) -> None:
        with self._border.around("lost_order_unreachable", order.id, order_id=str(order.id), broker_id=str(order.broker_id)):
            await look_for_lost(self._desk, order)
