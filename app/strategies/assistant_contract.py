"""What a model is told of the interface that strategies are written with, read from that interface's own source.

Read as text and not imported: it belongs in the jail, with numpy and TA-Lib. So that what is told is what holds, nothing is written twice.
"""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from app.strategies.builtins import builtin

_PACKAGE: Final = "app.sandbox.guest"
_HEAD: Final = """\
What strategies are written with
================================
The file has one class that extends Strategy. `from aristobot import Fill, Strategy, param, ta` is all that it needs; numpy may be imported.
Two styles, of which one is enough: per-candle methods (`should_long`, `should_exit`, …) that look at series, where [-1] is the candle that
has just closed and [-2] the one before; or `signals`, which returns whole arrays. What `indicators` assigns to `self` is an array there and
a series in per-candle methods. A decision at a close becomes a market order at the next open. Fractions are of one: 0.02 is 2 %.
"""
_TA: Final = """\
ta: every function of TA-Lib under its own name, with arrays of floats (ta.EMA(candles.close, 20), ta.RSI, ta.ATR(high, low, close, 14), \
ta.BBANDS, ta.MACD, …), and these, which take arrays in `indicators` and series in per-candle methods:"""
_EXAMPLE: Final = "ema_cross"
#: Module, class or None for functions, and how what follows is introduced.
_SHOWN: Final = (
    ("strategy", "Strategy", "class Strategy:"),
    ("strategy", "Position", "self.position, false while flat:"),
    ("strategy", "Fill", "Fill, what on_fill is told:"),
    ("candles", "MarketCandles", "candles, what indicators and signals are given:"),
    ("candles", "TradedCandles", "candles besides:"),
    ("candles", "OtherCandles", "candles.other(…), of another timeframe or symbol that `informative` names:"),
)


@cache
def contract() -> str:
    """Return the interface as text: signatures, and what each of them says of itself."""
    parts = [_HEAD.rstrip(), f"Importable: {', '.join(_names(_source('imports'), 'ALLOWED'))}."]
    parts += ["\n".join([title, *_members(_source(module), name)]) for module, name, title in _SHOWN]
    parts.append(f"signals returns a mapping of arrays with some of: {', '.join(_names(_source('strategy'), 'SIGNAL_COLUMNS'))}.")
    parts += _functions(_source("params"), ("param",), "")
    ta = _source("ta")
    parts.append("\n".join([_TA, *_functions(ta, _names(ta, "HELPERS"), "  ")]))
    example = builtin(_EXAMPLE)
    if example is not None:
        parts.append(f"An example:\n```python\n{example.source.rstrip()}\n```")
    return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Source:
    """A module as it is written: the tree has no comments, which the lines have."""

    tree: ast.Module
    lines: tuple[str, ...]


def _source(module: str) -> _Source:
    text = files(_PACKAGE).joinpath(f"{module}.py").read_text(encoding="utf-8")
    return _Source(ast.parse(text), tuple(text.splitlines()))


def _names(source: _Source, name: str) -> tuple[str, ...]:
    """Return the strings of a constant tuple."""
    for each in source.tree.body:
        targets = [each.target] if isinstance(each, ast.AnnAssign) else each.targets if isinstance(each, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets) and isinstance(each, ast.Assign | ast.AnnAssign):
            value = ast.literal_eval(each.value) if each.value is not None else ()
            return tuple(str(part) for part in value if not str(part).startswith("_"))
    raise LookupError(name)


def _members(source: _Source, name: str) -> Iterator[str]:
    shown = next(each for each in source.tree.body if isinstance(each, ast.ClassDef) and each.name == name)
    if doc := _doc(shown):
        yield f"  {doc}"
    for each in shown.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and not each.target.id.startswith("_"):
            default = f" = {ast.unparse(each.value)}" if each.value is not None else ""
            yield f"  {each.target.id}{default}{_comment(source, each.lineno)}"
        elif isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
            is_value = any(isinstance(mark, ast.Name) and mark.id == "property" for mark in each.decorator_list)
            yield f"  {each.name}: {_doc(each)}" if is_value else _function(each, "  ")


def _functions(source: _Source, names: Collection[str], indent: str) -> list[str]:
    return [_function(each, indent) for each in source.tree.body if isinstance(each, ast.FunctionDef) and each.name in names]


def _function(each: ast.FunctionDef, indent: str) -> str:
    given = each.args
    given.args = [argument for argument in given.args if argument.arg != "self"]
    for argument in (*given.args, *given.kwonlyargs):
        # `Any` says nothing; what is taken says the docstring.
        if argument.annotation is not None and ast.unparse(argument.annotation) == "Any":
            argument.annotation = None
    returns = ast.unparse(each.returns) if each.returns is not None else "Any"
    return f"{indent}{each.name}({ast.unparse(given)}){'' if returns in ('Any', 'None') else f' -> {returns}'}: {_doc(each)}"


def _doc(each: ast.ClassDef | ast.FunctionDef) -> str:
    return " ".join((ast.get_docstring(each) or "").split())


def _comment(source: _Source, line: int) -> str:
    """Return the `#:` comment above an attribute, which is what it says of itself."""
    found: list[str] = []
    for above in reversed(source.lines[: line - 1]):
        if not above.strip().startswith("#:"):
            break
        found.insert(0, above.strip().removeprefix("#:").strip())
    return f"  # {' '.join(found)}" if found else ""
