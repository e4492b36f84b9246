"""The space of a search: which parameters vary and through which values. Pure; a point is a place on each axis.

Every axis is a list of values, fractions as well: a grid, a random search and a sampler then share one space, a heat map has cells, and
a value is what one would type (0.035 and not 0.034999999999999996).
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from app.core.i18n import N_
from app.errors import InvalidInput
from app.sandbox.messages import Parameter, Value

Point = tuple[int, ...]

#: Values on one axis, and axes of one space.
MOST_VALUES: Final = 1_000
MOST_AXES: Final = 10
#: Steps that an axis is given where nobody said how many.
_USUAL_STEPS: Final = 20
#: Digits after which a fraction is rounding.
_DIGITS: Final = 12


class AxisWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one parameter varies, as it is asked for: from `low` to `high` by `step`; what is None is what the parameter declares."""

    name: str
    low: float | None = None
    high: float | None = None
    step: float | None = None


class Axis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One parameter with the values that it takes, ascending where they are numbers. `is_ordered`: neighbours are alike."""

    name: str
    values: list[Value]
    is_ordered: bool = True


class Space(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that varies."""

    axes: list[Axis]

    @property
    def size(self) -> int:
        """How many points there are."""
        return math.prod(len(axis.values) for axis in self.axes)

    def parameters(self, point: Sequence[int]) -> dict[str, Value]:
        """Return the values at a point."""
        return {axis.name: axis.values[place] for axis, place in zip(self.axes, point, strict=True)}

    def point_of(self, parameters: Mapping[str, Value]) -> Point | None:
        """Return where these values lie, None where one of them is on no axis' list."""
        try:
            return tuple(axis.values.index(parameters[axis.name]) for axis in self.axes)
        except (KeyError, ValueError):
            return None

    def point(self, number: int) -> Point:
        """Return the point of a number below `size`; the last axis moves first."""
        places = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis.values))
            places.append(place)
        return tuple(reversed(places))

    def grid(self, tried: int, count: int) -> list[Point]:
        """Return the next points of the grid after so many."""
        return [self.point(number) for number in range(tried, min(tried + count, self.size))]

    def random(self, seed: int, tried: Iterable[Sequence[int]], count: int) -> list[Point]:
        """Return so many points by chance that have not been tried, fewer where there are fewer.

        The same seed gives the same points after the same trials, whether the search was stopped in between or not.
        """
        seen = {tuple(point) for point in tried}
        chance = random.Random(f"{seed}:{len(seen)}")  # noqa: S311 -- a search, not a secret
        left = self.size - len(seen)
        found: list[Point] = []
        if left <= max(4 * count, 64) and self.size <= 100_000:
            rest = [point for number in range(self.size) if (point := self.point(number)) not in seen]
            return chance.sample(rest, min(count, len(rest)))
        while len(found) < min(count, left):
            point = tuple(chance.randrange(len(axis.values)) for axis in self.axes)
            if point not in seen:
                seen.add(point)
                found.append(point)
        return found


def space_of(parameters: Sequence[Parameter], wishes: Sequence[AxisWish]) -> Space:
    """Return the space that is asked for.

    Raises:
        InvalidInput: nothing varies, a parameter is unknown or cannot vary so, or there are too many values.
    """
    if not wishes:
        raise InvalidInput(N_("choose at least one parameter that varies"), field="space")
    if len(wishes) > MOST_AXES:
        raise InvalidInput(N_(f"at most {MOST_AXES} parameters may vary, was {len(wishes)}"), field="space")
    known = {one.name: one for one in parameters}
    axes: list[Axis] = []
    for wish in wishes:
        if wish.name not in known:
            raise InvalidInput(N_(f"the strategy has no parameter {wish.name}"), field="space")
        if any(axis.name == wish.name for axis in axes):
            raise InvalidInput(N_(f"the parameter {wish.name} is named twice"), field="space")
        axes.append(_axis(known[wish.name], wish))
    return Space(axes=axes)


def usual(parameter: Parameter) -> AxisWish | None:
    """Return how a parameter varies when nobody says otherwise; None for one that a search cannot vary."""
    if parameter.kind in ("bool", "choice"):
        return AxisWish(name=parameter.name)
    low, high = _bounds(parameter, None, None)
    if low is None or high is None or low >= high:
        return None
    return AxisWish(name=parameter.name, low=low, high=high, step=parameter.step or _step(low, high, is_whole=parameter.kind == "int"))


def _bounds(parameter: Parameter, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    default: Any = parameter.default
    around = None if default is None or isinstance(default, bool | str) or default == 0 else sorted((default / 2, default * 2))
    is_whole = parameter.kind == "int"
    if low is None:
        low = parameter.low if parameter.low is not None else None if around is None else around[0]
        low = math.ceil(low) if is_whole and low is not None else low
    if high is None:
        high = parameter.high if parameter.high is not None else None if around is None else around[1]
        high = math.floor(high) if is_whole and high is not None else high
    return low, high


def _step(low: float, high: float, *, is_whole: bool) -> float:
    """Return a round step that makes some twenty values."""
    rough = (high - low) / _USUAL_STEPS
    if is_whole:
        return float(max(1, round(rough)))
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(round(nice * magnitude, _DIGITS) for nice in (1, 2, 2.5, 5, 10) if nice * magnitude >= rough * 0.999)


def _axis(parameter: Parameter, wish: AxisWish) -> Axis:
    name = parameter.name
    if parameter.kind == "bool":
        return Axis(name=name, values=[False, True], is_ordered=False)
    if parameter.kind == "choice":
        return Axis(name=name, values=list(parameter.choices), is_ordered=False)
    low, high = _bounds(parameter, wish.low, wish.high)
    if low is None or high is None:
        raise InvalidInput(N_(f"{name} needs a lowest and a highest value"), field="space")
    _check(parameter, low, high)
    if low == high:
        step = 1.0
    else:
        step = wish.step if wish.step is not None else parameter.step or _step(low, high, is_whole=parameter.kind == "int")
    if not math.isfinite(step) or step <= 0 or (parameter.kind == "int" and step != int(step)):
        raise InvalidInput(N_(f"the step of {name} must be above 0, and whole for a whole number, was {step:g}"), field="space")
    count = int((high - low) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise InvalidInput(N_(f"{name} would take {count} values, at most {MOST_VALUES} are allowed: make its step larger"), field="space")
    if parameter.kind == "int":
        return Axis(name=name, values=[int(low) + place * int(step) for place in range(count)])
    return Axis(name=name, values=[round(low + place * step, _DIGITS) for place in range(count)])


def _check(parameter: Parameter, low: float, high: float) -> None:
    name = parameter.name
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise InvalidInput(N_(f"the lowest value of {name} must not be above its highest, was {low:g} to {high:g}"), field="space")
    if parameter.kind == "int" and (low != int(low) or high != int(high)):
        raise InvalidInput(N_(f"{name} takes whole numbers only, was {low:g} to {high:g}"), field="space")
    for bound, is_beyond in ((parameter.low, low), (parameter.high, high)):
        outside = bound is not None and (is_beyond < bound if bound is parameter.low else is_beyond > bound)
        if outside:
            raise InvalidInput(N_(f"{name} may be {parameter.low:g} to {parameter.high:g}, was {low:g} to {high:g}"), field="space")
