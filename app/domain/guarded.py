"""A position and the orders that guard it, as `domain.guard` looks at them. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from app.domain.enums import OrderState, OrderType, Role
from app.domain.instruments import Instrument
from app.domain.orders import TERMINAL
from app.domain.protection import ProtectionPlan

ZERO: Final = Decimal(0)
#: Slices beside those of the targets: what no target sells, and everything.
REST: Final = 90
WHOLE: Final = 91
_ROLES: Final = (Role.STOP, Role.TARGET)
_AT_VENUE: Final = frozenset({OrderState.OPEN, OrderState.PARTIAL})


class Mode(StrEnum):
    """Who watches a protection's prices."""

    PAIRS = "pairs"
    STOP_AT_VENUE = "stop_at_venue"
    SUPERVISED = "supervised"

    @property
    def simpler(self) -> "Mode":
        """What is tried when the venue refuses this one."""
        return Mode.STOP_AT_VENUE if self is Mode.PAIRS else Mode.SUPERVISED


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One order of a protection, finished ones too. Quantities in base units, prices in quote per base, ages in seconds.

    `filled` is what the venue has told, counted into the position or not. `is_held` waits here for its trigger; `is_triggered` has reached
    it and is not sent yet; `is_at_market` was sent as a market order, whatever it was here. `is_of_plan` was made under the present plan.
    `age_s` counts from its last change.
    """

    order_id: str
    slice: int
    role: Role
    type: OrderType
    state: OrderState
    quantity: Decimal
    filled: Decimal = ZERO
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    trailing_delta: Decimal | None = None
    is_held: bool = False
    is_triggered: bool = False
    is_working: bool = True
    is_cancel_requested: bool = False
    is_of_plan: bool = True
    is_at_market: bool = False
    age_s: float = 0.0

    @property
    def is_live(self) -> bool:
        """Whether it may still fill."""
        return self.state not in TERMINAL

    @property
    def leaves(self) -> Decimal:
        """What may still fill."""
        return max(self.quantity - self.filled, ZERO) if self.is_live else ZERO

    @property
    def is_sent(self) -> bool:
        """Whether it locks base units at the venue, or may do so any moment."""
        return self.is_live and not self.is_held and not self.is_triggered

    @property
    def is_on_its_way(self) -> bool:
        """Whether nobody knows yet if the venue has it."""
        return self.is_sent and self.state not in _AT_VENUE

    @property
    def is_cover(self) -> bool:
        """Whether it is a stop that would sell now if its price came: known at the venue, or watched here."""
        return self.role is Role.STOP and (self.is_held or self.state in _AT_VENUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A position and all that is known of its protection, in base units.

    `quantity` is the position as counted, `uncounted` what was sold of it by fills that are not counted yet, and `leaving` what orders that
    close it may still sell. `base_quantity` is what the fractions are of.
    """

    plan: ProtectionPlan
    mode: Mode
    instrument: Instrument
    quantity: Decimal
    base_quantity: Decimal
    average_price: Decimal | None
    last_price: Decimal | None
    legs: tuple[Leg, ...] = ()
    uncounted: Decimal = ZERO
    leaving: Decimal = ZERO
    #: Since when the mode is this one, in seconds; what was refused before does not speak against it.
    mode_age_s: float = float("inf")
    #: The mode that the venue could do, were nothing refused; None when that is not known.
    best_mode: Mode | None = None
    #: Whether a target is over once it is filled, as in a backtest; else what comes in later has its part there as well.
    fills_once: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing that could be sold is left of the position, all fills counted."""
        return self.instrument.floor_quantity(max(self.quantity, ZERO)) <= 0

    @property
    def exposed(self) -> Decimal:
        """What of the position the market can still hurt: whole steps of what is not sold."""
        return self.instrument.floor_quantity(max(self.quantity - self.uncounted, ZERO))

    @property
    def held(self) -> Decimal:
        """What of the position the legs may sell: whole steps of what nobody has sold or is selling. No unit is sold twice."""
        return self.instrument.floor_quantity(max(self.quantity - self.uncounted - self.leaving, ZERO))

    @property
    def free(self) -> Decimal:
        """What of it no leg at the venue locks."""
        return max(self.held - self._locked_by([leg for leg in self.legs if leg.is_sent]), ZERO)

    @property
    def in_the_way(self) -> list[Leg]:
        """The legs that lock, or are about to lock, what an order that closes the position is to sell; none when there is room."""
        legs = [leg for leg in self.legs if leg.is_sent or leg.is_triggered]
        return legs if self._locked_by(legs) > self.held else []

    def _locked_by(self, legs: list[Leg]) -> Decimal:
        """The two legs of a pair lock the same units."""
        locked = ZERO
        for index in {leg.slice for leg in legs}:
            stops, targets = (sum((leg.leaves for leg in legs if leg.slice == index and leg.role is role), ZERO) for role in _ROLES)
            locked += max(stops, targets) if index < REST else stops + targets
        return locked

    def is_tradable(self, quantity: Decimal) -> bool:
        """Whether an order of that size, at the plan's lowest price, is one that the exchange takes."""
        rules = self.instrument
        if quantity < max(rules.min_quantity or ZERO, rules.step_size):
            return False
        price = self.plan.stop_price or self.last_price or (self.plan.targets[0].price if self.plan.targets else None)
        return price is None or not rules.min_notional or quantity * price >= rules.min_notional

    def is_left_over(self, quantity: Decimal, *, beside: Decimal) -> bool:
        """Whether that would stay behind when the legs beside it have sold: a bot would then hold for ever what nobody can sell."""
        return self.fills_once and beside > 0 and quantity >= self.instrument.step_size and not self.is_tradable(quantity)

    @property
    def is_beyond_stop(self) -> bool:
        """Whether the market is at the stop or under it."""
        return self.plan.stop_price is not None and self.last_price is not None and self.last_price <= self.plan.stop_price

    @property
    def has_stop(self) -> bool:
        """Whether the plan wants a stop."""
        return self.plan.has_stop

    @property
    def covered(self) -> Decimal:
        """What of the position a stop covers, at the venue or here. One that is in doubt covers nothing."""
        stops = sum((leg.leaves for leg in self.legs if leg.is_cover), ZERO)
        return min(stops, self.exposed)
