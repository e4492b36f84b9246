"""What will be placed once a bracket's entry has filled: `domain.guard`, asked beforehand. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from app.core.i18n import N_
from app.domain.enums import OrderType
from app.domain.guard import PlacePair, PlaceStop, PlaceTarget, decide
from app.domain.guarded import Guarded, Mode
from app.domain.instruments import Instrument
from app.domain.protection import ProtectionPlan
from app.exchanges.capabilities import Capabilities
from app.exchanges.catalogue import venue_of
from app.trading.fit import is_native_trail
from app.trading.protections import possible_mode

#: A pair holds a part's target and its stop, of which one trades.
StepKind = Literal["pair", "stop", "target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One order, or pair, that will guard the position. `target` is quote per base; one that is `here` waits on this server."""

    kind: StepKind
    quantity: Decimal
    target: Decimal | None
    is_here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """How a position will be guarded. `reason` is a sentence that says why not all of it is at the exchange; None where it is."""

    plan: ProtectionPlan
    steps: tuple[Step, ...]
    reason: str | None


def foretell(
    plan: ProtectionPlan, instrument: Instrument, capabilities: Capabilities, *, exchange: str, quantity: Decimal, price: Decimal
) -> Bracket:
    """Return what a position of `quantity` (base units, the entry's fee paid) bought at `price` will be guarded by."""
    guarded = Guarded(
        plan=plan,
        mode=possible_mode(Mode.PAIRS, plan, capabilities),
        instrument=instrument,
        quantity=quantity,
        base_quantity=quantity,
        average_price=price,
        last_price=price,
    )
    steps = tuple(step for action in decide(guarded) if (step := _step(action)) is not None)
    is_anything_here = any(step.is_here for step in steps)
    return Bracket(plan=plan, steps=steps, reason=_why_here(plan, capabilities, exchange) if is_anything_here else None)


def _step(action: object) -> Step | None:
    match action:
        case PlacePair():
            return Step(kind="pair", quantity=action.quantity, target=action.price, is_here=False)
        case PlaceStop():
            return Step(kind="stop", quantity=action.quantity, target=None, is_here=action.is_held)
        case PlaceTarget():
            return Step(kind="target", quantity=action.quantity, target=action.price, is_here=action.is_held)
    return None


def _why_here(plan: ProtectionPlan, capabilities: Capabilities, exchange: str) -> str:
    venue = venue_of(exchange)
    name = exchange if venue is None else venue.name
    if not is_native_trail(plan.trailing_delta):
        return N_(f"{name} takes no trailing distance like this one")
    if plan.trailing_delta is not None:
        if not capabilities.is_native(OrderType.TRAILING_STOP):
            return N_(f"{name} takes no trailing stops from here")
        return N_(f"{name} takes no pair of a trailing stop and a target")
    if not capabilities.has_oco and capabilities.is_native(
        OrderType.STOP_MARKET if plan.stop_limit_price is None else OrderType.STOP_LIMIT
    ):
        return N_(f"{name} takes no pair of a stop and a target")
    return N_(f"{name} takes no stop orders of this kind from here")
