"""The paper accounts in memory, each behind a lock, and the way every change of one takes into the tables.

Memory is a copy: what cannot be written on top of the revision it was made from is thrown away with its account, which is then read
again. So two processes, or a request and the market, can never both have their way with the same money.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from app.core.clock import Clock
from app.errors import AppError, BrokerNotFound, ExchangeUnavailable, NotSent
from app.exchanges.paper.account import PaperAccount
from app.exchanges.paper.market import Tick
from app.exchanges.paper.prices import Prices
from app.exchanges.paper.records import Changes
from app.exchanges.paper.store import PaperStore

_T = TypeVar("_T")
#: How often a step is made anew because the account had changed in the tables meanwhile.
_TRIES: Final = 5
Listener = Callable[[Changes], None]


@dataclass(slots=True)
class _Place:
    """One account's place. `account` is None until it is read; `ticks` were traded while somebody was at the account."""

    broker_id: UUID
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    account: PaperAccount | None = None
    symbols: set[str] = field(default_factory=set)
    ticks: dict[str, list[Tick]] = field(default_factory=dict)


class PaperAccounts:
    """All accounts that this process has touched, and while `matches` is set every one that has open orders."""

    def __init__(self, store: PaperStore, prices: Prices, *, clock: Clock) -> None:
        self.matches = False
        self._store = store
        self._prices = prices
        self._clock = clock
        self._places: dict[UUID, _Place] = {}
        #: By symbol, the places with open orders: where the market can do something.
        self._by_symbol: dict[str, dict[UUID, _Place]] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every change that the market made, once it is committed. It must not wait."""
        self._listeners.append(listener)

    def open_orders(self, broker_id: UUID) -> int:
        """Return how many open orders the copy of an account has; 0 when there is no copy."""
        place = self._places.get(broker_id)
        return 0 if place is None or place.account is None else len(place.account.orders)

    async def act(
        self,
        broker_id: UUID,
        step: Callable[[PaperAccount], _T],
        *,
        leaving: Callable[[], None] | None = None,
        not_after: datetime | None = None,
    ) -> _T:
        """Do a step on an account, commit it, and return what the step returned.

        Args:
            broker_id: The account.
            step: What to do; it may be done anew on a younger copy of the account.
            leaving: Called in the last moment before the commit; may raise to stop it.
            not_after: By the database's clock, when the step may no longer happen.

        Raises:
            AppError: the step's refusal; nothing was done.
            BrokerNotFound: there is no such paper account.
            NotSent: it is later than `not_after`.
            ExchangeUnavailable: others were faster time and again; nothing was done.
        """
        place = self._place(broker_id)
        async with place.lock:
            for _ in range(_TRIES):
                account = await self._settled(place)
                result: _T
                refusal: AppError | None = None
                try:
                    result = step(account)
                except AppError as error:
                    refusal = error
                if refusal is None and account.has_changes:
                    if await self._write(place, account.take_changes(), leaving=leaving, not_after=not_after):
                        return result
                    if not_after is not None and await self._store.clock() > not_after:
                        raise NotSent("the exchange did not take the request: it came too late")
                    continue
                # Nothing is to be written, so nothing has shown yet whether the copy was the account as it is.
                is_current = await self._store.revision(broker_id) == account.revision
                if account.has_changes or not is_current:
                    self._forget(place)
                if is_current and refusal is not None:
                    raise refusal
                if is_current:
                    return result
        raise ExchangeUnavailable("the paper account was being changed by others all the time; nothing was done")

    def trade(self, ticks: Mapping[str, Sequence[Tick]]) -> list[UUID]:
        """Let the market trade with all accounts, in memory; return those where something is to be written by `settle`."""
        at = self._clock.now()
        due: dict[UUID, None] = {}
        for symbol, run in ticks.items():
            instrument = self._prices.known_instrument(symbol)
            if instrument is None:
                continue
            low, high = min(tick.price for tick in run), max(tick.price for tick in run)
            for place in self._by_symbol.get(symbol, {}).values():
                account = place.account
                if account is None or place.lock.locked():
                    place.ticks.setdefault(symbol, []).extend(run)
                    due[place.broker_id] = None
                elif account.reacts_to(symbol, instrument, low=low, high=high):
                    account.trade(symbol, instrument, run, at=at)
                    if account.has_changes:
                        due[place.broker_id] = None
        return list(due)

    async def settle(self, broker_id: UUID) -> None:
        """Write what the market did to an account."""
        place = self._place(broker_id)
        async with place.lock:
            await self._settled(place)

    async def stale(self) -> list[UUID]:
        """Return the accounts with open orders that this process does not have, or has in an older state than the tables."""
        busy = await self._store.busy()
        return [broker_id for broker_id, revision in busy.items() if not self._has(broker_id, revision)]

    async def renew(self, broker_id: UUID) -> None:
        """Read an account again, and let the present market trade with it."""
        place = self._place(broker_id)
        async with place.lock:
            if place.account is None or await self._store.revision(broker_id) != place.account.revision:
                self._forget(place)
                await self._settled(place)

    def begin(self) -> None:
        """Let the market trade with the accounts from now on; they are read anew, for somebody else did so until now."""
        self.matches = True
        for place in self._places.values():
            self._forget(place)
        self._follow()

    def end(self) -> None:
        """Let the market trade no more."""
        self.matches = False
        self._prices.follow(())

    def forget(self, broker_id: UUID) -> None:
        """Throw the copy of an account away, after trouble with it."""
        self._forget(self._place(broker_id))

    async def keep_watermarks(self) -> None:
        """Write how far trailing stops have followed."""
        accounts = [place.account for places in self._by_symbol.values() for place in places.values() if place.account is not None]
        await self._store.move_watermarks(
            (account.broker_id, order_id, seen) for account in accounts for order_id, seen in account.moved_watermarks()
        )

    def _place(self, broker_id: UUID) -> _Place:
        return self._places.setdefault(broker_id, _Place(broker_id))

    def _has(self, broker_id: UUID, revision: int) -> bool:
        place = self._places.get(broker_id)
        # One that somebody is at has, or will have, what the tables have.
        return place is not None and (place.lock.locked() or (place.account is not None and place.account.revision >= revision))

    async def _settled(self, place: _Place) -> PaperAccount:
        """Return the account with everything written that the market has done to it."""
        while True:
            account = place.account or await self._read(place)
            self._catch_up(place, account)
            if not account.has_changes:
                return account
            changes = account.take_changes()
            if await self._write(place, changes):
                for listener in self._listeners:
                    listener(changes)
            # Once more now: the market may have gone on meanwhile.

    async def _read(self, place: _Place) -> PaperAccount:
        snapshot = await self._store.load(place.broker_id)
        if snapshot is None:
            raise BrokerNotFound("there is no such paper account")
        account = place.account = PaperAccount(snapshot)
        self._index(place)
        if self.matches:
            for symbol in account.symbols:
                tick = self._prices.present(symbol)
                if tick is not None:
                    place.ticks.setdefault(symbol, []).append(tick)
        return account

    def _catch_up(self, place: _Place, account: PaperAccount) -> None:
        ticks, place.ticks = place.ticks, {}
        for symbol, run in ticks.items():
            instrument = self._prices.known_instrument(symbol)
            if instrument is not None and self.matches:
                account.trade(symbol, instrument, run, at=self._clock.now())

    async def _write(
        self,
        place: _Place,
        changes: Changes,
        *,
        leaving: Callable[[], None] | None = None,
        not_after: datetime | None = None,
    ) -> bool:
        is_written = False
        try:
            if leaving is not None:
                leaving()
            is_written = await self._store.write(changes, not_after=not_after)
        finally:
            if not is_written:
                self._forget(place)
        if is_written:
            self._index(place)
        return is_written

    def _forget(self, place: _Place) -> None:
        place.account = None
        place.ticks = {}
        self._index(place)

    def _index(self, place: _Place) -> None:
        symbols = place.account.symbols if place.account is not None else set()
        for symbol in place.symbols - symbols:
            del self._by_symbol[symbol][place.broker_id]
            if not self._by_symbol[symbol]:
                del self._by_symbol[symbol]
        for symbol in symbols - place.symbols:
            self._by_symbol.setdefault(symbol, {})[place.broker_id] = place
        if symbols != place.symbols:
            place.symbols = symbols
            self._follow()

    def _follow(self) -> None:
        if self.matches:
            self._prices.follow(self._by_symbol)
