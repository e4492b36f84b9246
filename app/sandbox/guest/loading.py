"""From source to a class: compiled, executed, found and described."""

import difflib
import inspect
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import cleandoc
from types import CodeType, ModuleType
from typing import Any, Literal

from app.domain.candles import Timeframe
from app.sandbox.guest import template
from app.sandbox.guest.failures import FILENAME
from app.sandbox.guest.imports import builtins_for_strategy
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.params import Param, params_of, values_for
from app.sandbox.guest.strategy import Strategy, informative_of, overrides
from app.sandbox.messages import LONGEST_DOCSTRING, MOST_OTHERS, MOST_PARAMETERS, Described, Informative, Value

MODULE = "strategy"

Style = Literal["per_candle", "signals", "both", "template"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A strategy that can be made.

    Attributes:
        strategy: The class, after the adapter where it follows the older template.
        written: The class as it was written.
        values: Of its parameters.
        source: Its text.
    """

    strategy: type[Strategy]
    written: type
    params: Mapping[str, Param]
    values: Mapping[str, Any]
    style: Style
    source: str

    def make(self) -> Strategy:
        """Return a fresh instance with its parameters set."""
        instance = self.strategy.__new__(self.strategy)
        # Set before __init__, which may look at them.
        vars(instance).update(self.values)
        if self.style == "template":
            vars(instance)["_values"] = dict(self.values)
        try:
            inspect.signature(self.strategy).bind()
        except TypeError as error:
            raise StrategyMistake(
                "INIT_ARGUMENTS", "__init__ must be written as def __init__(self): parameters are set before it", attribute="__init__"
            ) from error
        instance.__init__()  # type: ignore[misc]
        return instance

    @property
    def can_short(self) -> bool:
        """Whether it may ever sell short."""
        if self.style == "template":
            return bool(getattr(self.written, "allow_short", False))
        return overrides(self.strategy, "should_short") or self.style in ("signals", "both")


def load(source: str, given: Mapping[str, Value]) -> Loaded:
    """Compile, execute and find the class.

    Raises:
        StrategyMistake: there is no strategy in it, or a parameter is wrong.
        SyntaxError: it is no Python.
        BaseException: whatever the source raises.
    """
    # Editors of another system begin files with a mark of the byte order.
    source = source.removeprefix("\ufeff")
    code = _compiled(source)
    linecache.cache[FILENAME] = (len(source), None, source.splitlines(keepends=True), FILENAME)
    module = ModuleType(MODULE)
    # The older template is written without an import.
    vars(module).update(__builtins__=builtins_for_strategy(), Strategy=Strategy)
    sys.modules[MODULE] = module  # dataclasses and typing look a class's module up by name
    exec(code, vars(module))  # noqa: S102 -- what this process is for; it was locked before the source came
    written = _find(module)
    style: Style = "template"
    strategy: type[Strategy]
    if template.is_template(written):
        strategy = template.adapted(written)
    else:
        strategy = written
        style = _style(strategy)
    params = params_of(written) | template.params_of_template(written)
    for name, each in params.items():
        if problem := each.problem():
            raise StrategyMistake("PARAMETER_DECLARATION", f"parameter {name}: {problem}", attribute=name)
    return Loaded(strategy, written, params, values_for(params, given), style, source)


@lru_cache(maxsize=1)
def _compiled(source: str) -> CodeType:
    # A sweep loads one source with many sets of parameters; what a module keeps in variables of its own must not go from one to the next.
    return compile(source, FILENAME, "exec", dont_inherit=True)


def describe(loaded: Loaded) -> Described:
    """Return what the strategy says of itself.

    Raises:
        StrategyMistake: one of its attributes is of no use.
    """
    instance = loaded.make()
    return Described(
        class_name=loaded.written.__name__[:64],
        docstring=cleandoc(str(loaded.written.__doc__ or ""))[:LONGEST_DOCSTRING],
        timeframe=timeframe_of(loaded.strategy),
        warm_up=warm_up_of(instance),
        style=loaded.style,
        can_short=loaded.can_short,
        parameters=[each.described() for each in list(loaded.params.values())[:MOST_PARAMETERS]],
        informative=[Informative(symbol=symbol, timeframe=timeframe) for symbol, timeframe in _informative(instance)],
    )


def timeframe_of(strategy: type[Strategy]) -> str:
    """Return its timeframe.

    Raises:
        StrategyMistake: there is none of that name.
    """
    given = strategy.timeframe
    if given not in set(Timeframe):
        known = ", ".join(Timeframe)
        raise StrategyMistake("TIMEFRAME_UNKNOWN", f"timeframe must be one of {known}, was {given!r}", attribute="timeframe")
    return str(given)


def warm_up_of(instance: Strategy) -> int:
    """Return how many candles it needs before its first decision.

    Raises:
        StrategyMistake: it is no whole number, or too large.
    """
    given = instance.warm_up
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= 1_000_000:
        raise StrategyMistake(
            "WARM_UP_INVALID", f"warm_up must be a whole number of candles, 0 or more, was {given!r}", attribute="warm_up"
        )
    return int(given)


def _informative(instance: Strategy) -> list[tuple[str, str]]:
    wanted = informative_of(instance)
    if len(wanted) > MOST_OTHERS:
        raise StrategyMistake(
            "INFORMATIVE_INVALID", f"informative may name {MOST_OTHERS} at most, was {len(wanted)}", attribute="informative"
        )
    for _, timeframe in wanted:
        if timeframe not in set(Timeframe):
            known = ", ".join(Timeframe)
            raise StrategyMistake(
                "TIMEFRAME_UNKNOWN", f"informative: the timeframe must be one of {known}, was {timeframe!r}", attribute="informative"
            )
    return wanted


def _find(module: ModuleType) -> type:
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == MODULE]
    usable = [each for each in classes if issubclass(each, Strategy) or template.is_template(each)]
    # A class that another one extends is there for that.
    leaves = [each for each in usable if not any(each in other.__mro__[1:] for other in usable)]
    if len(set(leaves)) > 1:
        names = " and ".join(dict.fromkeys(each.__name__ for each in leaves))
        raise StrategyMistake("CLASSES_SEVERAL", f"there are several strategies in one source, {names}: keep the one that is to trade")
    if leaves:
        return leaves[-1]
    if classes:
        near = classes[-1]
        raise StrategyMistake(
            "CLASS_NOT_A_STRATEGY", f"class {near.__name__} does not extend Strategy: write class {near.__name__}(Strategy):"
        )
    raise StrategyMistake(
        "CLASS_MISSING", "there is no class that extends Strategy: from aristobot import Strategy, then class MyStrategy(Strategy):"
    )


def _style(strategy: type[Strategy]) -> Style:
    has_signals = overrides(strategy, "signals")
    has_methods = overrides(strategy, "should_long") or overrides(strategy, "should_short")
    if has_signals:
        return "both" if has_methods else "signals"
    if has_methods:
        return "per_candle"
    decides = ("should_long", "should_short", "signals")
    similar = [(name, near[0]) for name in vars(strategy) if (near := difflib.get_close_matches(name.lower(), decides, n=1, cutoff=0.7))]
    hint = f"; did you mean {similar[0][1]} instead of {similar[0][0]}?" if similar else ""
    raise StrategyMistake(
        "NOTHING_DECIDES",
        f"class {strategy.__name__} never decides anything: write should_long() or should_short(), or signals(){hint}",
    )
