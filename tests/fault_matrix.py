"""The fault matrix: what can go wrong, how the tests make it go wrong, and what must come of it. One table for tests and documentation.

A test that shows a row carries `@row(7)`, once or for several rows. `uv run pytest -m fault --fault-matrix=docs/reliability.md` runs them
all and writes the table into that page, between its two marks.
"""

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.fault_rows import ROWS

BEGIN: Final = "<!-- fault matrix: written by `uv run pytest -m fault --fault-matrix=docs/reliability.md` -->"
END: Final = "<!-- end of the fault matrix -->"


def row(*numbers: int) -> pytest.MarkDecorator:
    """Mark a test as one that shows these rows."""
    unknown = [number for number in numbers if number not in ROWS]
    if unknown or not numbers:
        raise ValueError(f"the fault matrix has no row {unknown}")
    return pytest.mark.fault(*numbers)


@dataclass(slots=True)
class Results:
    """What the tests of each row came to in this run."""

    by_row: dict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, numbers: tuple[int, ...], name: str, outcome: str) -> None:
        """Note a test's outcome; one that failed in any of its cases has failed."""
        for number in numbers:
            known = self.by_row[number].get(name)
            self.by_row[number][name] = outcome if known in (None, "passed") else known

    def table(self) -> str:
        """Return the table in Markdown."""
        lines = ["| # | fault | injected by | required outcome | shown by | result |", "|---|---|---|---|---|---|"]
        for number, entry in ROWS.items():
            tests = self.by_row.get(number, {})
            names = "<br>".join(f"`{name}`" for name in sorted(tests)) or "–"
            outcomes = set(tests.values())
            result = "not shown" if not tests else "failed" if "failed" in outcomes else "skipped" if outcomes == {"skipped"} else "passed"
            lines.append(f"| {number} | {entry.fault} | {entry.injection} | {entry.outcome} | {names} | {result} |")
        return "\n".join(lines)


def write(page: Path, results: Results) -> None:
    """Put the table between the page's marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{results.table()}\n\n{END}{after}", encoding="utf-8")


def declared(root: Path) -> dict[int, set[str]]:
    """Return the names of the tests that carry each row, as the files say."""
    found: dict[int, set[str]] = defaultdict(set)
    for path in sorted(root.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for number in _rows_of(node):
                    found[number].add(node.name)
    return found


def _rows_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[int]:
    numbers: list[int] = []
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "row":
            numbers += [
                argument.value for argument in decorator.args if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
            ]
    return numbers
