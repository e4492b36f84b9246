"""What must happen next so that a long position is guarded as its plan says. Pure: the present in, the next steps out.

The guardian asks again after every change, so each answer is only the next step, and a crash between two steps loses nothing. The rules:

1. The orders that lock base units at the venue never add up to more than what of the position nobody has sold or is selling: a step first
   makes room, then uses it. While an order that closes the position is under way, its units are not guarded.
2. The stop comes first. A larger position gets a further stop for what came in; the one that is there stays.
3. In mode PAIRS each target's part has its own pair of target and stop at the venue, the rest a stop. In STOP_AT_VENUE one stop for all
   lies at the venue and the targets are watched here: one that is reached makes the stop step aside, sells, and the stop comes back for
   what is left. In SUPERVISED all is watched here.
4. A price at or beyond the stop while no stop covers the position is an exit at market, now.
5. A leg that the venue refuses is tried again after a growing pause, and after two refusals in the next simpler mode. The best mode is
   tried again after a while: what stood in its way may be gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from app.domain.enums import OrderState, OrderType, Role, Side
from app.domain.guarded import REST, WHOLE, ZERO, Guarded, Leg, Mode
from app.domain.protection import ProtectionPlan

#: A triggered stop limit that has not filled for so long was jumped by the market.
JUMPED_S: Final = 30.0
#: A pair whose target is filling has lost its stop; so long it may go on filling before the rest is paired again.
FILLING_S: Final = 5.0
_REFUSALS: Final = 2
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 30.0
#: Leaving the market is not put off for longer than that.
_EXIT_PAUSE_S: Final = 1.0
#: So long a simpler mode holds before a better one is tried again. While it is tried, the position is bare for a second or two.
BETTER_AFTER_S: Final = 600.0
_LEFT_OVER: Final = "what it leaves is too small for an order of its own"
_REFUSED: Final = frozenset({OrderState.REJECTED, OrderState.DENIED, OrderState.LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Take a leg back. A held one is only forgotten."""

    order_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceStop:
    """Put a stop for `quantity`: at the venue, or watched here; with `is_market` an exit now."""

    slice: int
    quantity: Decimal
    is_held: bool = False
    is_market: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceTarget:
    """Put a target for `quantity` at `price`: a limit order at the venue, or watched here."""

    slice: int
    quantity: Decimal
    price: Decimal
    is_held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacePair:
    """Put a target and a stop of which the venue lets one trade."""

    slice: int
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveStop:
    """Replace a stop at the venue by one at the plan's price, in one step where the venue can."""

    order_id: str
    slice: int
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTriggered:
    """Send a leg whose trigger was reached; there is room for it."""

    order_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """The plan itself moves on: the stop to break even."""

    plan: ProtectionPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMode:
    """Guard in another way: a simpler one, because the venue refused twice, or the best one again."""

    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Nothing is left to guard and no leg is live."""


Action = Cancel | PlaceStop | PlaceTarget | PlacePair | MoveStop | SendTriggered | ChangePlan | ChangeMode | Finish


def decide(guarded: Guarded) -> list[Action]:
    """Return the next steps, none when all is as it should be or an answer of the venue is awaited."""
    live = [leg for leg in guarded.legs if leg.is_live]
    if guarded.plan.is_empty or guarded.is_closed:
        return _cancel(live, "the position is closed") if live else [Finish()]
    if guarded.held <= 0:
        return _cancel(live, "another order sells the position")
    even = _break_even(guarded)
    if even is not None:
        return [ChangePlan(plan=even)]
    if guarded.mode is not Mode.SUPERVISED and _refusals(guarded) >= _REFUSALS:
        return [ChangeMode(mode=guarded.mode.simpler)]
    if guarded.best_mode not in (None, guarded.mode) and guarded.mode_age_s > BETTER_AFTER_S:
        return [ChangeMode(mode=Mode.PAIRS)]
    jumped = [leg for leg in guarded.legs if _is_jumped(leg)]
    if jumped:
        return _cancel(jumped, "the market jumped over the stop's limit")
    if guarded.mode is Mode.PAIRS and guarded.plan.targets and guarded.plan.stop_price is not None:
        return _in_pairs(guarded)
    return _stop_and_watched_targets(guarded)


def pause_s(guarded: Guarded) -> float:
    """Return how long the last refusal asks to wait, in seconds; 0 when nothing was refused."""
    refused = _last_refusals(guarded)
    if not refused:
        return 0.0
    longest = _EXIT_PAUSE_S if guarded.is_beyond_stop else _LONGEST_PAUSE_S
    pause = min(_FIRST_PAUSE_S * 4.0 ** (len(refused) - 1), longest)
    return max(pause - refused[0].age_s, 0.0)


def slices(guarded: Guarded) -> list[tuple[int, Decimal]]:
    """Return the position's parts as (target index or REST, quantity); parts too small to trade go into the one before or after."""
    parts: list[tuple[int, Decimal]] = []
    left, rest = guarded.held, _takes_the_rest(guarded)
    for index in sorted(range(len(guarded.plan.targets)), key=lambda index: index == rest):
        if _is_over(guarded, index):
            continue
        target = guarded.plan.targets[index]
        sold = sum((leg.filled for leg in _sales(guarded, index)), ZERO)
        whole = guarded.instrument.floor_quantity(guarded.base_quantity * target.fraction)
        wanted = left if index == rest else min(max(whole - sold, ZERO), left)
        if wanted < whole and not guarded.is_tradable(wanted):
            continue  # sold, but for what is too small to be sold alone: it joins the rest
        if guarded.is_tradable(wanted):
            parts.append((index, wanted))
            left -= wanted
    if guarded.is_tradable(left):
        parts.append((REST, left))
    elif parts and left > 0:
        index, quantity = parts[-1]
        parts[-1] = (index, quantity + left)
    return parts


def _sales(guarded: Guarded, index: int) -> list[Leg]:
    return [leg for leg in guarded.legs if leg.role is Role.TARGET and leg.slice == index and leg.is_of_plan]


def _is_over(guarded: Guarded, index: int) -> bool:
    """Whether a target that is filled once has been: what is added to the position afterwards is not for it, at a price that has passed."""
    sales = _sales(guarded, index)
    return guarded.fills_once and any(leg.state is OrderState.FILLED for leg in sales) and not any(leg.is_live for leg in sales)


def _takes_the_rest(guarded: Guarded) -> int | None:
    """The farthest target that is not over, where targets are filled once and sell everything: it has what was added, too."""
    targets = guarded.plan.targets
    if not guarded.fills_once or sum((target.fraction for target in targets), ZERO) < 1:
        return None
    return max((index for index in range(len(targets)) if not _is_over(guarded, index)), key=lambda index: targets[index].at, default=None)


def _in_pairs(guarded: Guarded) -> list[Action]:
    wanted = dict(slices(guarded))
    live = [leg for leg in guarded.legs if leg.is_live]
    misfits = [leg for leg in live if leg.slice not in wanted or not _fits(guarded, leg) or _is_alone(guarded, leg)]
    if misfits:
        return _cancel(misfits, "the plan or the position has changed")
    actions: list[Action] = []
    free = guarded.free
    for index, quantity in wanted.items():
        have = _pair_quantity(guarded, index)
        if have > quantity:
            return _cancel(_youngest(guarded, index, have - quantity), "the position has become smaller")
        missing = guarded.instrument.floor_quantity(min(quantity - have, free))
        if guarded.is_left_over(missing, beside=have):
            return _cancel([leg for leg in live if leg.slice == index], _LEFT_OVER)
        if not guarded.is_tradable(missing):
            continue
        free -= missing
        actions.append(_pair_or_stop(guarded, index, missing))
    return _after_pause(guarded, actions)


def _pair_or_stop(guarded: Guarded, index: int, quantity: Decimal) -> Action:
    if guarded.is_beyond_stop:
        return PlaceStop(slice=index, quantity=quantity, is_market=True)
    if index == REST:
        return PlaceStop(slice=REST, quantity=quantity)
    return PlacePair(slice=index, quantity=quantity, price=guarded.plan.targets[index].at)


def _stop_and_watched_targets(guarded: Guarded) -> list[Action]:
    has_watched_targets = guarded.has_stop
    triggered = [leg for leg in guarded.legs if leg.is_live and leg.is_triggered]
    if triggered:
        return _let_through(guarded, triggered)
    parts = [(index, quantity) for index, quantity in slices(guarded) if index < REST]
    in_use = {WHOLE, *(index for index, _ in parts)}
    live = [leg for leg in guarded.legs if leg.is_live]
    misfits = [leg for leg in live if leg.slice not in in_use or not _fits(guarded, leg) or _is_of_another_mode(guarded, leg)]
    # A move that was refused is not asked for again: the old stop is taken back, and a new one put.
    movable = [] if _last_refusals(guarded) else [leg for leg in misfits if _can_move(guarded, leg)]
    if movable:
        if any(leg.is_on_its_way and leg.slice == WHOLE for leg in guarded.legs):
            return []  # a stop that may have taken the old one's place: its answer tells
        return [MoveStop(order_id=leg.order_id, slice=WHOLE, quantity=leg.leaves) for leg in movable if not leg.is_cancel_requested]
    if misfits:
        return _cancel(misfits, "the plan or the position has changed")
    actions = [*_stop_step(guarded), *_target_steps(guarded, parts, is_held=has_watched_targets)]
    return _after_pause(guarded, actions)


def _stop_step(guarded: Guarded) -> Iterator[Action]:
    if not guarded.has_stop:
        return
    selling = sum((leg.leaves for leg in guarded.legs if leg.role is Role.TARGET and leg.is_sent), ZERO)
    stops = [leg for leg in guarded.legs if leg.role is Role.STOP and leg.is_live]
    wanted, have = guarded.held - selling, sum((leg.leaves for leg in stops), ZERO)
    if have > wanted:
        yield from _cancel(_fewest(stops, have - wanted), "the position has become smaller")
        return
    is_held = guarded.mode is Mode.SUPERVISED
    missing = wanted - have if is_held else min(wanted - have, guarded.free)
    missing = guarded.instrument.floor_quantity(missing)
    if guarded.is_left_over(missing, beside=have):
        yield from _cancel(stops, _LEFT_OVER)
    elif guarded.is_tradable(missing):
        yield PlaceStop(slice=WHOLE, quantity=missing, is_held=is_held and not guarded.is_beyond_stop, is_market=guarded.is_beyond_stop)


def _target_steps(guarded: Guarded, parts: list[tuple[int, Decimal]], *, is_held: bool) -> Iterator[Action]:
    free = guarded.free
    for index, quantity in parts:
        legs = [leg for leg in guarded.legs if leg.role is Role.TARGET and leg.slice == index and leg.is_live]
        have = sum((leg.leaves for leg in legs), ZERO)
        if have > quantity:
            yield from _cancel(legs, "the position has become smaller")
            continue
        missing = quantity - have
        if not is_held:
            missing = guarded.instrument.floor_quantity(min(missing, free))
            free -= missing
        if guarded.is_tradable(missing):
            yield PlaceTarget(slice=index, quantity=missing, price=guarded.plan.targets[index].at, is_held=is_held)


def _let_through(guarded: Guarded, triggered: list[Leg]) -> list[Action]:
    """A watched leg has reached its price: make room for it, then send it. A stop goes before a target."""
    leg = min(triggered, key=lambda leg: leg.role is not Role.STOP)
    quantity = min(leg.quantity, guarded.held)
    if not guarded.is_tradable(quantity):
        return _cancel([leg], "too little is left to be sold")
    if guarded.free >= quantity:
        return [SendTriggered(order_id=leg.order_id, quantity=quantity)]
    in_the_way = [other for other in guarded.legs if other.is_sent and other.order_id != leg.order_id]
    return _cancel(_fewest(in_the_way, quantity - guarded.free), "it makes room for an order whose price was reached")


def _cancel(legs: list[Leg], why: str) -> list[Action]:
    return [Cancel(order_id=leg.order_id, why=why) for leg in legs if not leg.is_cancel_requested]


def _fewest(legs: list[Leg], quantity: Decimal) -> list[Leg]:
    """The youngest legs that together free `quantity`."""
    chosen: list[Leg] = []
    for leg in sorted(legs, key=lambda leg: leg.age_s):
        if quantity <= 0:
            break
        chosen.append(leg)
        quantity -= leg.leaves
    return chosen


def _youngest(guarded: Guarded, index: int, quantity: Decimal) -> list[Leg]:
    stops = [leg for leg in guarded.legs if leg.slice == index and leg.role is Role.STOP and leg.is_live]
    return _fewest(stops, quantity)


def _pair_quantity(guarded: Guarded, index: int) -> Decimal:
    """What the slice's legs cover: the two of a pair count once."""
    by_role = {Role.STOP: ZERO, Role.TARGET: ZERO}
    for leg in guarded.legs:
        if leg.slice == index:
            by_role[leg.role] += leg.leaves
    return max(by_role.values())


def _fits(guarded: Guarded, leg: Leg) -> bool:
    """Whether a live leg has the plan's prices. A triggered or filling one is past changing.

    A target of an earlier plan does not fit at any price: what it has sold is not the present plan's.
    """
    if leg.type is OrderType.MARKET or leg.is_triggered:
        return True
    if leg.role is Role.TARGET:
        return (
            leg.is_of_plan
            and leg.slice < len(guarded.plan.targets)
            and guarded.plan.targets[leg.slice].price in (leg.price, leg.trigger_price)
        )
    if guarded.plan.trailing_delta is not None:
        return leg.trailing_delta == guarded.plan.trailing_delta
    return leg.trigger_price == guarded.plan.stop_price and leg.price == guarded.plan.stop_limit_price


def _is_alone(guarded: Guarded, leg: Leg) -> bool:
    """A pair's leg whose other half is gone, for long enough that its filling is no reason."""
    if leg.slice >= REST or leg.type is OrderType.MARKET or leg.age_s < FILLING_S or leg.state not in (OrderState.OPEN, OrderState.PARTIAL):
        return False
    other = Role.STOP if leg.role is Role.TARGET else Role.TARGET
    return not any(each.is_live and each.slice == leg.slice and each.role is other for each in guarded.legs)


def _is_of_another_mode(guarded: Guarded, leg: Leg) -> bool:
    """Half of a pair, which locks with its other half what the whole stop is to guard; or a stop watched here that the venue may keep."""
    if leg.type is OrderType.MARKET or leg.is_triggered:
        return False
    if leg.role is Role.TARGET:
        return leg.type is OrderType.LIMIT and guarded.has_stop
    return leg.slice < REST or (leg.is_held and guarded.mode is not Mode.SUPERVISED)


def _can_move(guarded: Guarded, leg: Leg) -> bool:
    is_resting = leg.state is OrderState.OPEN and not leg.is_held and not leg.is_working
    is_wanted_there = guarded.mode is not Mode.SUPERVISED and guarded.has_stop and not guarded.is_beyond_stop
    return leg.role is Role.STOP and leg.slice == WHOLE and is_resting and is_wanted_there


def _is_jumped(leg: Leg) -> bool:
    is_resting = leg.state in (OrderState.OPEN, OrderState.PARTIAL) and leg.is_working
    return leg.role is Role.STOP and leg.type is OrderType.STOP_LIMIT and is_resting and leg.age_s > JUMPED_S and not leg.is_held


def _break_even(guarded: Guarded) -> ProtectionPlan | None:
    plan = guarded.plan
    if plan.break_even_after is None or guarded.average_price is None:
        return None
    sold = [leg for leg in guarded.legs if leg.role is Role.TARGET and leg.is_of_plan and leg.filled > 0]
    done = {leg.slice for leg in sold if not leg.is_live}
    if len(done) < plan.break_even_after:
        return None
    entry = guarded.instrument.round_price(Side.SELL, guarded.average_price)
    if plan.stop_price is not None and plan.stop_price >= entry:
        return replace(plan, break_even_after=None)
    return replace(plan, stop_price=entry, stop_limit_price=None, trailing_delta=None, break_even_after=None, stop_fraction=None)


def _last_refusals(guarded: Guarded) -> list[Leg]:
    """The run of refused legs at the end of the history, the latest first. What we took back before it was sent is no refusal."""
    refused: list[Leg] = []
    sent = [leg for leg in guarded.legs if not leg.is_held and not (leg.state is OrderState.DENIED and leg.is_cancel_requested)]
    for leg in sorted(sent, key=lambda leg: leg.age_s):
        if leg.state not in _REFUSED or leg.age_s >= guarded.mode_age_s:
            break
        refused.append(leg)
    return refused


def _refusals(guarded: Guarded) -> int:
    """How often in a row; the two halves of a pair were refused at once."""
    roles = [leg.role for leg in _last_refusals(guarded) if leg.state is OrderState.REJECTED]
    return max(roles.count(Role.STOP), roles.count(Role.TARGET))


def _after_pause(guarded: Guarded, actions: list[Action]) -> list[Action]:
    """What was refused a moment ago is not tried again at once; taking back is never put off, and leaving the market not for long."""
    if pause_s(guarded) <= 0:
        return actions
    return [action for action in actions if isinstance(action, Cancel) or (isinstance(action, PlaceStop) and action.is_held)]
