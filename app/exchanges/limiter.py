"""One limiter per venue address and egress IP: a place for each request, by right, in every budget that the request counts in."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from app.domain.enums import Lane
from app.errors import AppError, DenialReason, ExchangeRateLimited, NotSent
from app.exchanges.budgets import Budget, Kind, Unit
from app.exchanges.rate_window import RANKS, Monotonic, Window


class Slot:
    """A place for one request; `async with` waits for it. One that ends with an error of ours before it left has used nothing.

    `account` is whose request it is, None for a public one, and `kind` what it is. `has_left` is set when the request is handed to the
    network.
    """

    __slots__ = ("_deadline", "_name", "_rank", "_taken", "_wanted", "account", "has_left", "kind")

    def __init__(
        self, name: str, wanted: Sequence[tuple[Window, int]], *, lane: Lane, kind: Kind, account: str, deadline: float | None
    ) -> None:
        self.account = None if kind is Kind.PUBLIC else account
        self.has_left = False
        self._name = name
        self._wanted = wanted
        self.kind = kind
        self._rank = RANKS[lane]
        self._deadline = deadline
        self._taken: list[tuple[Window, int, tuple[int, int]]] = []

    def observe(self, counts: Callable[[str], int | None]) -> None:
        """Believe what the answer's headers say was used; `counts` returns the number in a header, by its lower-case name."""
        for window, weight, mark in self._taken:
            if window.budget.header is not None and (counted := counts(window.budget.header)) is not None:
                window.observe(counted, mark, weight)

    async def __aenter__(self) -> Self:
        try:
            for window, weight in self._wanted:
                if not window.try_take(self._rank, weight):
                    await window.take(self._rank, weight, deadline=self._deadline)
                self._taken.append((window, weight, window.mark))
        except BaseException as error:
            self._give_back()
            if isinstance(error, TimeoutError):
                raise self._refusal() from error
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and issubclass(kind, AppError) and not self.has_left:
            self._give_back()
            return
        for window, weight, _mark in self._taken:
            window.complete(weight)

    def _give_back(self) -> None:
        for window, weight, _mark in self._taken:
            window.give_back(weight)

    def _refusal(self) -> AppError:
        text = f"{self._name}'s rate limit left no room in time; nothing was sent"
        if self.kind in (Kind.PLACE, Kind.CANCEL):
            return NotSent(text, code=DenialReason.RATE_LIMIT.value)
        return ExchangeRateLimited(text)


class Limiter:
    """All windows of one venue address; accounts get theirs when they first ask."""

    def __init__(self, name: str, budgets: Iterable[Budget], *, share: float = 1.0, monotonic: Monotonic = time.monotonic) -> None:
        self._name = name
        self._share = share
        self._monotonic = monotonic
        self._budgets: tuple[Budget, ...] = ()
        self._shared: list[Window] = []
        self._of_account: dict[str, list[Window]] = {}
        self.allow(budgets)

    def allow(self, budgets: Iterable[Budget]) -> None:
        """Go by these budgets from now on; what was counted in one of the same unit and length stays."""
        self._budgets = tuple(budgets)
        self._shared = self._renewed(self._shared, per_account=False)
        for account, windows in self._of_account.items():
            self._of_account[account] = self._renewed(windows, per_account=True)

    def slot(
        self, *, lane: Lane, weight: int = 1, deadline: float | None = None, kind: Kind = Kind.READ, account: str = "", orders: int = 1
    ) -> Slot:
        """Return a place for one request, to be entered with `async with`.

        Args:
            lane: Who goes first; strictly by right between lanes, in order of arrival within one.
            weight: What the request counts in budgets of weight.
            deadline: Monotonic seconds; when there is no room before, entering raises NotSent (RATE_LIMIT), or ExchangeRateLimited for
                a read. None waits as long as it takes.
            kind: What the request is.
            account: Whose; the account's own budgets count by it.
            orders: How many orders it places, when it does.
        """
        windows = self._shared if kind is Kind.PUBLIC else [*self._account(account), *self._shared]
        amounts = {Unit.WEIGHT: weight, Unit.REQUESTS: 1, Unit.ORDERS: orders}
        wanted = [(window, amounts[window.budget.unit]) for window in windows if kind in window.budget.kinds]
        return Slot(self._name, wanted, lane=lane, kind=kind, account=account, deadline=deadline)

    def pause(self, account: str, for_s: float, *, kind: Kind) -> None:
        """Send no request of this account and kind for so long."""
        for window in self._account(account):
            if kind in window.budget.kinds and window.budget.window_s:
                window.pause(for_s)

    @property
    def used(self) -> int:
        """What is used of the address's first budget; 0 where it has none."""
        return self._shared[0].used if self._shared else 0

    @property
    def budget(self) -> int | None:
        """How much the address's first budget allows; None where it has none."""
        return self._shared[0].budget.limit if self._shared else None

    def waiting(self) -> dict[Lane, int]:
        """How many requests wait, by lane; lanes where none does are left out."""
        windows = [*self._shared, *(window for windows in self._of_account.values() for window in windows)]
        counted = Counter(rank for window in windows for rank in window.waiting())
        return {lane: counted[rank] for lane, rank in RANKS.items() if counted[rank]}

    def _account(self, account: str) -> list[Window]:
        found = self._of_account.get(account)
        if found is None:
            found = self._of_account[account] = self._renewed([], per_account=True)
        return found

    def _renewed(self, old: Iterable[Window], *, per_account: bool) -> list[Window]:
        kept = {(window.budget.unit, window.budget.window_s, window.budget.kinds): window for window in old}
        renewed = []
        for budget in self._budgets:
            if budget.per_account is not per_account:
                continue
            window = kept.get((budget.unit, budget.window_s, budget.kinds))
            if window is None:
                window = Window(budget, share=self._share, monotonic=self._monotonic)
            else:
                window.resize(budget, share=self._share)
            renewed.append(window)
        return renewed
