"""Parameters of a strategy: typed, bounded, in the order in which they are written."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.messages import Parameter, Value

Kind = Literal["int", "float", "bool", "choice"]


class Param:
    """What `param(...)` makes: a class attribute that becomes a plain value of each instance."""

    def __init__(
        self,
        default: Any,
        *,
        low: float | None,
        high: float | None,
        step: float | None,
        choices: Sequence[Any] | None,
        help_: str,
        is_optional: bool,
    ) -> None:
        self.name = ""
        self.default = default
        self.low, self.high, self.step = low, high, step
        self.choices = list(choices) if choices is not None else None
        self.help = help_
        self.is_optional = is_optional or default is None
        self.kind: Kind = self._kind()

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _kind(self) -> Kind:
        if self.choices is not None:
            return "choice"
        if isinstance(self.default, bool):
            return "bool"
        given = [value for value in (self.default, self.low, self.high, self.step) if value is not None]
        return "float" if any(isinstance(value, float) for value in given) else "int"

    def problem(self) -> str:
        """Return what is wrong with how it is written, empty if nothing is."""
        if self.choices is not None:
            if not self.choices or len(self.choices) > 50:
                return "choices must name 1 to 50 values"
            return "" if self.default in self.choices or self.default is None else f"the default {self.default!r} is none of its choices"
        for word, value in (("default", self.default), ("low", self.low), ("high", self.high), ("step", self.step)):
            if value is not None and (not isinstance(value, int | float) or not math.isfinite(value)):
                return f"{word} must be a number, was {value!r}"
        if self.low is not None and self.high is not None and self.low > self.high:
            return f"low is {self.low} and high is {self.high}; low must not be above high"
        if self.step is not None and self.step <= 0:
            return f"step must be above 0, was {self.step}"
        if self.default is None and self.low is None and self.high is None:
            return "a parameter that is None by default needs low and high, so that its kind is known"
        return "" if self.default is None else self._out_of_bounds(self.default, "the default")

    def value(self, given: Value) -> Any:
        """Return a given value in the parameter's type.

        Raises:
            StrategyMistake: it has the wrong type or is out of bounds.
        """
        if given is None:
            if self.is_optional:
                return None
            raise self._invalid("have a value", given)
        if self.choices is not None:
            for choice in self.choices:
                if given in (choice, str(choice)):
                    return choice
            raise self._invalid("be one of " + ", ".join(str(choice) for choice in self.choices), given)
        if self.kind == "bool":
            if not isinstance(given, bool):
                raise self._invalid("be True or False", given)
            return given
        return self._number(given)

    def _number(self, given: Value) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            raise self._invalid("be a number", given)
        if self.kind == "int" and given != int(given):
            raise self._invalid("be a whole number", given)
        if problem := self._out_of_bounds(given, f"parameter {self.name}"):
            raise StrategyMistake("PARAMETER_OUT_OF_BOUNDS", problem, attribute=self.name)
        return int(given) if self.kind == "int" else float(given)

    def _invalid(self, must: str, given: Value) -> StrategyMistake:
        return StrategyMistake("PARAMETER_INVALID", f"parameter {self.name} must {must}, was {given!r}", attribute=self.name)

    def _out_of_bounds(self, value: float, said: str) -> str:
        if self.low is not None and value < self.low:
            return f"{said} must be at least {self.low}, was {value}"
        if self.high is not None and value > self.high:
            return f"{said} must be at most {self.high}, was {value}"
        return ""

    def described(self) -> Parameter:
        """Return it as a form shows it."""
        if self.choices is not None:
            names = [str(choice)[:64] for choice in self.choices]
            default: Value = None if self.default is None else str(self.default)[:64]
            return Parameter(
                name=self.name, kind="choice", default=default, choices=names, help=self.help[:300], is_optional=self.is_optional
            )
        return Parameter(
            name=self.name,
            kind=self.kind,
            default=None if self.default is None else self.value(self.default),
            low=_number(self.low),
            high=_number(self.high),
            step=_number(self.step),
            help=self.help[:300],
            is_optional=self.is_optional,
        )


def param(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    choices: Sequence[Any] | None = None,
    help: str = "",
    optional: bool = False,
) -> Any:
    """Declare a parameter of a strategy; on an instance it is the plain value.

    Args:
        default: Its value where none is given; its type (or that of the bounds) is the parameter's.
        low: Smallest value allowed.
        high: Largest value allowed.
        step: Distance between the values that a form and a search try.
        choices: The values allowed, instead of bounds.
        help: A sentence for the form.
        optional: Whether None is allowed.
    """
    return Param(default, low=low, high=high, step=step, choices=choices, help_=str(help), is_optional=bool(optional))


def params_of(strategy: type) -> dict[str, Param]:
    """Return the parameters of a class as they are written, those of its bases first."""
    found: dict[str, Param] = {}
    for base in reversed(strategy.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Param):
                found[name] = value
            elif name in found:
                del found[name]
    return found


def values_for(params: Mapping[str, Param], given: Mapping[str, Value]) -> dict[str, Any]:
    """Return a value for every parameter.

    Raises:
        StrategyMistake: a name is unknown, or a value not allowed.
    """
    for name in given:
        if name not in params:
            near = difflib.get_close_matches(name, params, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise StrategyMistake("PARAMETER_UNKNOWN", f"there is no parameter {name}{hint}", attribute=name)
    return {name: each.value(given[name]) if name in given else each.value(each.default) for name, each in params.items()}


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
