"""Random lives of orders at a venue, and what reaches us of them: parts lost, doubled, swapped and torn, with doubts in between."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from app.domain.enums import OrderState
from app.domain.orders import InDoubt, NotFoundAfterWindow, OrderEvent, OrderStatus, Rejected, Reported

S = OrderState
#: An order is for so many parts of this size.
PARTS: Final = 20
PART: Final = Decimal(1) / PARTS


@dataclass(frozen=True, slots=True)
class History:
    """One order: how it begins here, what reaches us, and what the venue answers when it is asked in the end.

    `answer` is None when the request never arrived.
    """

    start: OrderStatus
    events: tuple[OrderEvent, ...]
    answer: Reported | None


def random_history(chance: random.Random) -> History:
    """Return the life of one order, as `chance` has it."""
    start = OrderStatus(state=S.SUBMITTING, quantity=Decimal(1), is_by_notional=chance.random() < 0.2)
    doubts: list[OrderEvent] = [InDoubt(detail="?"), NotFoundAfterWindow(detail="gone")]
    if chance.random() < 0.05:
        heard = chance.choices(doubts, k=chance.randrange(6))
        return History(start, tuple(heard), None)
    told = list(_told(chance, start))
    events: list[OrderEvent] = list(chance.choices(told, k=chance.randrange(12)))
    if len(told) > 2 and chance.random() < 0.3:
        # A venue's replicas: the state of one moment with the amounts of another.
        one, other = chance.choice(told), chance.choice(told)
        torn = one if one.state is S.FILLED else replace(one, filled_quantity=other.filled_quantity, average_price=other.average_price)
        events.append(torn)
        chance.shuffle(events)
    for _ in range(chance.randrange(4)):
        events.insert(chance.randint(0, len(events)), chance.choice(doubts))
    if chance.random() < 0.05:
        events.insert(chance.randint(0, len(events)), Rejected(code="ORDER_REJECTED", detail="read wrongly"))
    return History(start, tuple(events), told[-1])


def _told(chance: random.Random, start: OrderStatus) -> Iterator[Reported]:
    """Everything the venue says of the order, in the order in which it was true."""
    if waits := chance.random() < 0.2:
        yield _report(S.OPEN, 0, is_working=False)
        if chance.random() < 0.2:
            yield _report(chance.choice([S.CANCELED, S.EXPIRED, S.REJECTED]), 0, is_working=False)
            return
    yield _report(S.OPEN, 0)
    done = 0
    whole = PARTS + (chance.randint(-2, 2) if start.is_by_notional else 0)
    for _ in range(chance.randrange(5)):
        step = min(chance.randint(1, 8), whole - done)
        if step == 0:
            break
        done += step
        yield _report(S.FILLED if done == whole else S.PARTIAL, done)
    if done < whole:
        yield from _rest(chance, done, whole, may_overfill=not (waits or start.is_by_notional))


def _rest(chance: random.Random, done: int, whole: int, *, may_overfill: bool) -> Iterator[Reported]:
    end = chance.choice([S.OPEN, S.CANCELED, S.EXPIRED, S.FILLED, S.FILLED])
    if end is S.OPEN:
        return
    if end is S.FILLED:
        yield _report(S.FILLED, whole + (1 if may_overfill and chance.random() < 0.1 else 0))
        return
    yield _report(end, done)
    if chance.random() < 0.3:
        late = min(done + chance.randint(1, 6), whole)
        yield _report(S.FILLED if late == whole else end, late)


def _report(state: OrderState, done: int, *, is_working: bool = True) -> Reported:
    """A report of so many parts filled; each part costs a little more than the last, so that a wrong mean shows."""
    average = 100 + Decimal(done) / 10 if done else None
    return Reported(state=state, venue_order_id="77", filled_quantity=PART * done, average_price=average, is_working=is_working)
