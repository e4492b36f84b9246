"""The guard against a venue that does at random whatever a venue may do."""

import random
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.enums import OrderState, OrderType, Role
from app.domain.guard import (
    Action,
    Cancel,
    ChangeMode,
    ChangePlan,
    Finish,
    MoveStop,
    PlacePair,
    PlaceStop,
    PlaceTarget,
    SendTriggered,
    decide,
)
from app.domain.guarded import REST, WHOLE, Guarded, Leg, Mode
from app.domain.protection import ProtectionPlan
from tests.domain.test_guard import BTC, HALVES, ONE, SIXTY, STOP, D, guarded

ZERO = D(0)


@dataclass
class Venue:
    """A toy venue in lock step: it takes, fills, cancels and refuses at random, and never lets more be locked than there is.

    Some fills are counted late, and now and then an order closes a part of the position.
    """

    rng: random.Random
    plan: ProtectionPlan
    mode: Mode
    held: Decimal = ONE
    uncounted: Decimal = ZERO
    closing: Decimal = ZERO
    price: Decimal = SIXTY
    legs: dict[str, Leg] = field(default_factory=dict)
    now: float = 0.0
    born: dict[str, float] = field(default_factory=dict)
    mode_since: float = -1e9
    count: int = 0
    #: A part of the position of which this venue never takes a pair.
    refused_slice: int | None = None

    def look(self) -> Guarded:
        legs = tuple(replace(leg, age_s=self.now - self.born[name]) for name, leg in self.legs.items())
        known: dict[str, Any] = {"uncounted": self.uncounted, "leaving": self.closing, "last_price": self.price}
        counted = f"{self.held + self.uncounted}"
        return guarded(self.plan, self.mode, held=counted, legs=legs, mode_age_s=self.now - self.mode_since, **known)

    def add(self, slice_: int, role: Role, quantity: Decimal, *, is_held: bool, **fields: Any) -> None:
        self.count += 1
        name = f"o{self.count}"
        is_of_refused = slice_ == self.refused_slice and self.mode is Mode.PAIRS
        refused = not is_held and (is_of_refused or self.rng.random() < 0.15)
        state = OrderState.INTENT if is_held else OrderState.REJECTED if refused else OrderState.OPEN
        self.legs[name] = Leg(order_id=name, slice=slice_, role=role, quantity=quantity, state=state, is_held=is_held, **fields)
        self.born[name] = self.now

    def do(self, action: Action) -> None:  # noqa: C901  # one case for each kind of step
        match action:
            case Cancel(order_id=name):
                leg = self.legs[name]
                if leg.is_held or leg.is_triggered or self.rng.random() < 0.7:
                    self.legs[name] = replace(leg, state=OrderState.DENIED if leg.is_held else OrderState.CANCELED, is_held=False)
                    self.born[name] = self.now
                else:
                    self.legs[name] = replace(leg, is_cancel_requested=True)
            case PlaceStop(slice=index, quantity=quantity, is_held=is_held, is_market=True):
                assert not is_held
                self.add(index, Role.STOP, quantity, is_held=False, type=OrderType.MARKET)
            case PlaceStop(slice=index, quantity=quantity, is_held=is_held):
                stop: dict[str, Any] = {"type": OrderType.STOP_MARKET, "trigger_price": self.plan.stop_price, "is_working": False}
                self.add(index, Role.STOP, quantity, is_held=is_held, **stop)
            case PlaceTarget(slice=index, quantity=quantity, price=price, is_held=is_held):
                self.add(index, Role.TARGET, quantity, is_held=is_held, type=OrderType.TAKE_PROFIT, trigger_price=price)
            case PlacePair(slice=index, quantity=quantity, price=price):
                self.add(index, Role.TARGET, quantity, is_held=False, type=OrderType.LIMIT, price=price)
                state = list(self.legs.values())[-1].state
                self.add(
                    index,
                    Role.STOP,
                    quantity,
                    is_held=False,
                    type=OrderType.STOP_MARKET,
                    trigger_price=self.plan.stop_price,
                    is_working=False,
                )
                name = f"o{self.count}"
                self.legs[name] = replace(self.legs[name], state=state)
            case MoveStop(order_id=name, quantity=quantity):
                self.legs[name] = replace(self.legs[name], state=OrderState.CANCELED)
                self.add(WHOLE, Role.STOP, quantity, is_held=False, type=OrderType.STOP_MARKET, trigger_price=self.plan.stop_price)
            case SendTriggered(order_id=name, quantity=quantity):
                self.legs[name] = replace(
                    self.legs[name], is_triggered=False, state=OrderState.OPEN, quantity=quantity, type=OrderType.MARKET
                )
            case ChangePlan(plan=plan):
                self.plan = plan
            case ChangeMode(mode=mode):
                self.mode, self.mode_since = mode, self.now

    def locked(self) -> Decimal:
        """What the venue keeps back, by its own reckoning."""
        total = D(0)
        sent = [leg for leg in self.legs.values() if leg.is_sent]
        for index in {leg.slice for leg in sent}:
            sums = {role: sum((leg.leaves for leg in sent if leg.slice == index and leg.role is role), D(0)) for role in Role}
            total += max(sums.values()) if index < REST else sum(sums.values(), D(0))
        return total

    def live_something(self) -> None:
        """The market and the venue do something of their own."""
        self.now += self.rng.choice((0.5, 3.0, 40.0))
        for name, leg in list(self.legs.items()):
            if leg.is_cancel_requested and leg.is_live:
                self.legs[name] = replace(leg, state=OrderState.CANCELED)
        if self.rng.random() < 0.3:
            self.uncounted = ZERO
        self.close_something()
        live = [(name, leg) for name, leg in self.legs.items() if leg.is_live]
        if not live or self.rng.random() < 0.3:
            self.price = D(self.rng.choice((58000, 59500, 60000, 61500, 63000)))
            return
        name, leg = self.rng.choice(live)
        if leg.is_held:
            self.legs[name] = replace(leg, is_held=False, is_triggered=True)
        elif not leg.is_triggered:
            self.fill(name, leg)

    def close_something(self) -> None:
        """A close begins, or sells once there is room for it, or comes to nothing."""
        if self.closing and (self.rng.random() < 0.2 or not self.look().in_the_way):
            sold = min(self.closing, self.held) if self.rng.random() < 0.7 else ZERO
            if sold and not self.look().in_the_way:
                assert self.locked() + sold <= self.held, "a close would sell what a leg holds"
                self.held, self.uncounted = self.held - sold, self.uncounted + sold
            self.closing = ZERO
        elif not self.closing and self.rng.random() < 0.1:
            self.closing = self.held if self.rng.random() < 0.5 else BTC.floor_quantity(self.held / 2)

    def fill(self, name: str, leg: Leg) -> None:
        quantity = leg.leaves if self.rng.random() < 0.6 else BTC.floor_quantity(leg.leaves / 2)
        if quantity <= 0:
            return
        assert quantity <= self.held, "more was sold than is held"
        self.held -= quantity
        if self.rng.random() < 0.5:
            self.uncounted += quantity
        filled = leg.filled + quantity
        state = OrderState.FILLED if filled == leg.quantity else OrderState.PARTIAL
        self.legs[name] = replace(leg, filled=filled, state=state, is_working=True)
        for other, sibling in self.legs.items():
            if sibling.slice == leg.slice < REST and sibling.role is not leg.role and sibling.is_sent:
                self.legs[other] = replace(sibling, state=OrderState.EXPIRED)


@pytest.mark.parametrize("mode", list(Mode))
def test_whatever_the_venue_does_the_guard_never_oversells_and_comes_to_rest_with_the_position_covered(mode: Mode) -> None:
    for seed in range(400):
        rng = random.Random(seed)
        plan = rng.choice((STOP, HALVES, replace(HALVES, break_even_after=1), replace(STOP, targets=HALVES.targets[:1])))
        venue = Venue(rng, plan, mode, refused_slice=rng.choice((None, None, 1)))
        for _ in range(25):
            venue.live_something()
            for action in decide(venue.look()):
                venue.do(action)
            assert venue.locked() <= venue.held, seed
        _come_to_rest(venue)
        look = venue.look()
        uncovered = look.held - look.covered
        assert not look.is_tradable(uncovered), (seed, look)
        stops = sum((leg.leaves for leg in look.legs if leg.role is Role.STOP and leg.is_live), D(0))
        assert stops <= look.held, seed


def _come_to_rest(venue: Venue) -> None:
    """Nothing happens any more and nothing is refused; the guard must stop asking for more."""
    venue.rng = random.Random(0)
    venue.rng.random = lambda: 0.5  # type: ignore[method-assign]  # neither refused nor postponed
    venue.price = D(60000)
    venue.closing = ZERO
    for _ in range(60):
        venue.uncounted = ZERO
        venue.now += 40
        for name, leg in list(venue.legs.items()):
            if leg.is_cancel_requested and leg.is_live:
                venue.legs[name] = replace(leg, state=OrderState.CANCELED)
            elif leg.is_sent and leg.type is OrderType.MARKET:
                venue.fill(name, leg)
        actions = [action for action in decide(venue.look()) if not isinstance(action, Finish)]
        if not actions and not any(
            leg.is_triggered or (leg.is_sent and leg.type is OrderType.MARKET) for leg in venue.legs.values() if leg.is_live
        ):
            return
        for action in actions:
            venue.do(action)
    raise AssertionError(f"the guard never comes to rest: {decide(venue.look())} of {venue.look()}")
