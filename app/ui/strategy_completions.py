"""What the editor offers while a strategy is typed, read from what strategies are written with: it cannot fall behind."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from talib import abstract

from app.sandbox.frames import CANDLE_COLUMNS
from app.sandbox.guest import ta
from app.sandbox.guest.params import param
from app.sandbox.guest.strategy import ATTRIBUTES, METHODS, Position, Strategy

Completion = dict[str, str]
#: What a method's body begins with, where the way it is written is always the same.
_BODIES: Final = {"indicators": "self.${series} = ${}", "signals": 'return {"long": ${}, "exit": ${}}'}


@cache
def completions() -> dict[str, list[Completion]]:
    """Return what is offered after `ta.`, after `self.`, after `candles.`, where a method begins, and elsewhere."""
    return {
        "ta": [*(_function(name, getattr(ta, name)) for name in ta.HELPERS), *(_talib(name) for name in ta.FUNCTIONS)],
        "members": _members(),
        "candles": [{"label": name, "type": "property"} for name in CANDLE_COLUMNS],
        "methods": [*(_method(name) for name in METHODS if inspect.isfunction(getattr(Strategy, name, None))), *_attributes()],
        "names": [
            _function("param", param),
            {"label": Strategy.__name__, "type": "class", "info": _first(Strategy.__doc__)},
            {"label": "ta", "type": "namespace", "info": _first(ta.__doc__)},
        ],
    }


def _function(name: str, function: Callable[..., Any]) -> Completion:
    return {"label": name, "type": "function", "detail": _arguments(function), "info": _first(function.__doc__)}


def _talib(name: str) -> Completion:
    info = abstract.Function(name).info  # type: ignore[attr-defined]  # made when it is imported
    series = [one for given in info["input_names"].values() for one in ([given] if isinstance(given, str) else given)]
    arguments = ", ".join([*series, *(f"{key}={value}" for key, value in info["parameters"].items())])
    gives = ", ".join(info["output_names"])
    return {"label": name, "type": "function", "detail": f"({arguments})", "info": f"{info['display_name']} → {gives}"}


def _members() -> list[Completion]:
    own = [
        {"label": name, "type": "property", "info": _first(value.__doc__)}
        for name, value in vars(Strategy).items()
        if isinstance(value, property)
    ]
    position = [
        {"label": f"position.{name}", "type": "property", "info": _first(value.__doc__)}
        for name, value in vars(Position).items()
        if isinstance(value, property)
    ]
    helpers = [
        _function(name, value)
        for name, value in vars(Strategy).items()
        if inspect.isfunction(value) and name not in METHODS and not name.startswith("_")
    ]
    return [*own, {"label": "position", "type": "property", "info": _first(Position.__doc__)}, *position, *helpers]


def _method(name: str) -> Completion:
    function = getattr(Strategy, name)
    signature = inspect.signature(function)
    arguments = ", ".join(signature.parameters)
    returns = signature.return_annotation
    answer = " -> bool" if returns is bool else " -> float" if returns == float | None else ""
    return {
        "label": f"def {name}",
        "type": "method",
        "info": _first(function.__doc__),
        "snippet": f"def {name}({arguments}){answer}:\n    {_BODIES.get(name, 'return ${}')}",
    }


def _attributes() -> list[Completion]:
    return [{"label": name, "type": "property", "snippet": f"{name} = ${{}}"} for name in ATTRIBUTES]


def _arguments(function: Callable[..., Any]) -> str:
    shown = []
    for one in inspect.signature(function).parameters.values():
        shown.append(one.name if one.default is one.empty else f"{one.name}={one.default!r}")
    return f"({', '.join(shown)})"


def _first(docstring: str | None) -> str:
    """The first paragraph, on one line."""
    return " ".join((docstring or "").strip().split("\n\n")[0].split())
