"""Where the defaults of parameters stand in the user's source, and what is to stand there instead."""

import ast
from collections.abc import Mapping
from typing import Any

from app.sandbox.guest.loading import Loaded
from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.messages import Edit, Rewritten, Value


def rewritten(loaded: Loaded, defaults: Mapping[str, Value]) -> Rewritten:
    """Return the edits after which these are the defaults.

    Raises:
        StrategyMistake: a parameter is unknown, its value is not allowed, or its default is not written as a plain `param(…)`.
    """
    written = _class_of(ast.parse(loaded.source), loaded.written.__name__)
    lines = _Lines(loaded.source)
    edits = []
    for name, given in defaults.items():
        param = loaded.params.get(name)
        if param is None:
            raise StrategyMistake("PARAMETER_UNKNOWN", f"there is no parameter {name}", attribute=name)
        value = param.value(given)
        place = _default_of(written, name)
        if place is None:
            raise StrategyMistake(
                "DEFAULT_NOT_FOUND",
                f"the default of {name} is not written in the class as {name} = param(…), so that it cannot be replaced there",
                attribute=name,
            )
        text = repr(value)
        if len(text) > 80:
            raise StrategyMistake("DEFAULT_TOO_LONG", f"the value of {name} is too long to be written as a default", attribute=name)
        edits.append(Edit(start=lines.offset(place.lineno, place.col_offset), end=lines.end(place), text=text))
    return Rewritten(edits=sorted(edits, key=lambda edit: edit.start))


class _Lines:
    """Turns Python's places, which count bytes of UTF-8, into offsets in characters."""

    def __init__(self, source: str) -> None:
        # Not splitlines(), which ends lines at signs that Python lets stand inside one.
        self._lines = [line + "\n" for line in source.split("\n")]
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def end(self, node: ast.expr) -> int:
        return self.offset(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)


def _class_of(tree: ast.Module, name: str) -> ast.ClassDef | None:
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return found[-1] if found else None


def _default_of(written: ast.ClassDef | None, name: str) -> ast.expr | None:
    """Return where the default stands; None where it is computed, inherited or written in another way."""
    for statement in reversed(written.body if written is not None else []):
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return _in_call(value)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                return _in_call(value)
            case ast.Assign(targets=[ast.Name(id="STRATEGY_PARAMS")], value=ast.Dict() as table):
                if (entry := _entry(table, name)) is not None:
                    return _entry(entry, "default") if isinstance(entry, ast.Dict) else None
    return None


def _in_call(value: Any) -> ast.expr | None:
    if not isinstance(value, ast.Call):
        return None
    function = value.func
    if (function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")) != "param":
        return None
    for keyword in value.keywords:
        if keyword.arg == "default":
            return keyword.value
    return value.args[0] if value.args and not isinstance(value.args[0], ast.Starred) else None


def _entry(table: ast.Dict, name: str) -> ast.expr | None:
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == name:
            return value
    return None
