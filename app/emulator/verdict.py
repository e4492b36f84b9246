"""Whether a run was as its scenario expects."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any

from app.emulator.expectations import Bounds, Expectations
from app.emulator.ledger import ZERO, Account
from app.emulator.venue import Venue
from app.errors import InvalidInput

Json = dict[str, object]
Fills = Mapping[str, Mapping[str, Decimal]]

_SHOWN = 20
_ORDER_PATHS = ("/api/v3/order", "/api/v3/order/cancelReplace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One expectation and what was found. `is_passed` None means that it cannot be told, `detail` why."""

    name: str
    expected: object
    found: object
    is_passed: bool | None
    detail: object = None

    def describe(self) -> Json:
        """Return it for `GET /_verdict`."""
        return {"name": self.name, "expected": self.expected, "found": self.found, "passed": self.is_passed, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All checks of a run."""

    checks: tuple[Check, ...]

    @property
    def is_passed(self) -> bool:
        """Whether no check has failed; one that cannot be told has not."""
        return all(check.is_passed is not False for check in self.checks)

    def describe(self) -> Json:
        """Return it for `GET /_verdict`."""
        return {"passed": self.is_passed, "checks": [check.describe() for check in self.checks]}


def judge(venue: Venue, expect: Expectations, *, fills: Fills | None = None) -> Verdict:
    """Return the verdict on what a venue has seen so far.

    Args:
        venue: The venue.
        expect: What is expected of it.
        fills: What the client says it has bought or sold: per API key and client order id a quantity in base units.
    """
    return Verdict(checks=tuple(_checks(venue, expect, fills)))


def read_fills(document: Mapping[str, Any]) -> Fills:
    """Return the fills of a control request's body, `{"fills": {api_key: {client_order_id: quantity}}}`.

    Raises:
        InvalidInput: it is of another shape.
    """
    fills = document.get("fills")
    if document.keys() != {"fills"} or not isinstance(fills, dict) or not all(isinstance(each, dict) for each in fills.values()):
        raise InvalidInput("the body must be {fills: {api_key: {client_order_id: quantity}}}", field="fills")
    try:
        return {api_key: {name: Decimal(str(text)) for name, text in told.items()} for api_key, told in fills.items()}
    except DecimalException as error:
        raise InvalidInput("a quantity is no decimal", field="fills") from error


def _checks(venue: Venue, expect: Expectations, fills: Fills | None) -> Iterator[Check]:
    exchange = venue.exchange
    if expect.venue_orders_per_intent is not None:
        yield _per_intent("venue_orders_per_intent", expect.venue_orders_per_intent, _orders_per_intent(venue), forgotten=0)
    if expect.posts_per_intent is not None:
        posts = Counter(_posts(venue))
        yield _per_intent("posts_per_intent", expect.posts_per_intent, posts, forgotten=venue.journal.forgotten)
    for name, bounds, number in (
        ("orders", expect.orders, len(exchange.orders)),
        ("open_orders", expect.open_orders, sum(len(account.open_orders) for account in exchange.accounts.values())),
        ("executions", expect.executions, sum(len(order.executions) for order in exchange.orders.values())),
    ):
        if bounds is not None:
            yield Check(name=name, expected=bounds.describe(), found=number, is_passed=bounds.holds(number))
    if expect.statuses:
        counted = Counter(entry.status for entry in venue.journal.since())
        for status, bounds in expect.statuses.items():
            yield _total(f"statuses.{status}", bounds, counted[status], forgotten=venue.journal.forgotten)
    if expect.is_audited:
        problems = list(_audit(venue))
        yield Check(name="audit", expected="clean", found=len(problems), is_passed=not problems, detail=problems[:_SHOWN] or None)
    if expect.is_fills_equal:
        yield _fills_equal(venue, fills)


def _posts(venue: Venue) -> Iterator[tuple[str, str]]:
    for entry in venue.journal.since(method="POST"):
        if entry.path in _ORDER_PATHS and entry.api_key is not None and entry.client_order_id is not None:
            yield entry.api_key, entry.client_order_id


def _orders_per_intent(venue: Venue) -> Counter[tuple[str, str]]:
    """How many orders the venue has of each intent that was sent, none included."""
    counted = Counter((order.api_key, order.client_order_id) for order in venue.exchange.orders.values())
    for intent in _posts(venue):
        counted.setdefault(intent, 0)
    return counted


def _per_intent(name: str, bounds: Bounds, counted: Counter[tuple[str, str]], *, forgotten: int) -> Check:
    wrong = [f"{key}: {client_id}: {number}" for (key, client_id), number in counted.items() if not bounds.holds(number)]
    found = {"intents": len(counted), "least": min(counted.values(), default=0), "most": max(counted.values(), default=0)}
    return Check(
        name=name,
        expected=bounds.describe(),
        found=found,
        is_passed=False if wrong else None if forgotten else True,
        detail=wrong[:_SHOWN] or _forgotten(forgotten),
    )


def _total(name: str, bounds: Bounds, number: int, *, forgotten: int) -> Check:
    is_passed: bool | None = bounds.holds(number)
    # What was forgotten can only add to the number: that it is too high already, no more can change.
    if forgotten and not (bounds.most is not None and number > bounds.most):
        is_passed = None
    return Check(name=name, expected=bounds.describe(), found=number, is_passed=is_passed, detail=_forgotten(forgotten))


def _forgotten(count: int) -> str | None:
    return f"the journal has forgotten {count} requests; give --journal a larger number" if count else None


def _fills_equal(venue: Venue, fills: Fills | None) -> Check:
    executed: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
    for order in venue.exchange.orders.values():
        if order.executed:
            executed[order.api_key][order.client_order_id] += order.executed
    found = sum(map(len, executed.values()))
    if fills is None:
        return Check(name="fills_equal", expected=True, found=found, is_passed=None, detail="tell your fills with POST /_verdict")
    wrong = [
        f"{key}: {name}: the client says {told}, the venue {real}"
        for key in {*executed, *fills}
        for name in {*executed.get(key, {}), *fills.get(key, {})}
        if (told := fills.get(key, {}).get(name, ZERO)) != (real := executed.get(key, {}).get(name, ZERO))
    ]
    return Check(name="fills_equal", expected=True, found=found, is_passed=not wrong, detail=sorted(wrong)[:_SHOWN] or None)


def _audit(venue: Venue) -> Iterator[str]:
    for order in venue.exchange.orders.values():
        quantity = sum((execution.quantity for execution in order.executions), ZERO)
        if quantity != order.executed:
            yield f"order {order.order_id} says {order.executed} executed, its executions add up to {quantity}"
    for account in venue.exchange.accounts.values():
        for asset, balance in account.balances.items():
            if balance.free < 0 or balance.locked < 0:
                yield f"{account.api_key} has {balance.free} {asset} free and {balance.locked} locked"
    for spec in venue.config.accounts:
        known = venue.exchange.accounts.get(spec.api_key)
        if known is not None:
            yield from _audit_totals(venue, known, spec.balances)


def _audit_totals(venue: Venue, account: Account, opening: Mapping[str, Decimal]) -> Iterator[str]:
    totals: dict[str, Decimal] = defaultdict(lambda: ZERO, opening)
    for symbol, executions in account.executions.items():
        rules = venue.exchange.markets[symbol].rules
        for execution in executions:
            sign = 1 if execution.is_buyer else -1
            totals[rules.base] += sign * execution.quantity
            totals[rules.quote] -= sign * execution.quote_quantity
            totals[execution.commission_asset] -= execution.commission
    for asset in sorted({*totals, *account.balances}):
        balance = account.balance(asset)
        if balance.free + balance.locked != totals[asset]:
            yield f"{account.api_key} holds {balance.free + balance.locked} {asset}, its opening and its executions give {totals[asset]}"
