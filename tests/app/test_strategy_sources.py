"""Differences between sources, files of strategies, made-up candles, and ruff's findings in plain words: nothing here needs a database."""

import ast
import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.sentences import filled
from app.domain.candles import Timeframe
from app.errors import StrategyFileUnreadable
from app.marketdata.store import check_series
from app.strategies import lint_cell
from app.strategies.builtins import builtins
from app.strategies.candles import generated
from app.strategies.files import file_name, read_file, written_file
from app.strategies.lint import Linter
from app.strategies.lint_words import RULES
from app.strategies.sources import difference
from app.strategies.templates import SHIPPED

LINES = st.lists(st.sampled_from(["", "a", "b", "c = 1", "    d"]), max_size=14)


@given(LINES, LINES)
def test_a_difference_leads_from_one_source_to_the_other(old: list[str], new: list[str]) -> None:
    found = difference("\n".join(old), "\n".join(new))
    lines, taken = "\n".join(old).split("\n"), 0
    rebuilt: list[str] = []
    for hunk in found.hunks:
        start = min(line.old for line in hunk if line.old is not None) - 1 if any(line.old for line in hunk) else taken
        rebuilt += lines[taken:start]
        rebuilt += [line.text for line in hunk if line.kind != "removed"]
        taken = start + sum(line.kind != "added" for line in hunk)
    assert rebuilt + lines[taken:] == "\n".join(new).split("\n")
    assert (found.added, found.removed) == tuple(
        sum(line.kind == kind for hunk in found.hunks for line in hunk) for kind in ("added", "removed")
    )
    assert (found.hunks == ()) == (old == new or "\n".join(old) == "\n".join(new))


@given(LINES, LINES)
def test_a_difference_is_the_shortest_one(old: list[str], new: list[str]) -> None:
    one, other = "\n".join(old).split("\n"), "\n".join(new).split("\n")
    common = np.zeros((len(one) + 1, len(other) + 1), int)
    for row, left in enumerate(one):
        for column, right in enumerate(other):
            longer = common[row, column] + 1 if left == right else max(common[row, column + 1], common[row + 1, column])
            common[row + 1, column + 1] = longer
    found = difference("\n".join(old), "\n".join(new))
    assert found.removed == len(one) - common[-1, -1]
    assert found.added == len(other) - common[-1, -1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a\n" * 65_000, "b\n" * 65_000),
        ("\n".join(str(number % 7) for number in range(60_000)), "\n".join(str(number % 11) for number in range(60_000))),
        ("x\n" * 60_000, "y\n" + "x\n" * 30_000 + "z\n" + "x\n" * 30_000 + "w"),
    ],
)
def test_two_sources_of_any_kind_are_compared_within_seconds(old: str, new: str) -> None:
    began = time.perf_counter()
    found = difference(old, new)
    assert time.perf_counter() - began < 10
    assert found.added
    assert found.removed


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EMA cross", "ema-cross-v3.py"),
        ("../../etc/passwd", "etc-passwd-v3.py"),
        ("Überkauft & zurück", "uberkauft-zuruck-v3.py"),
        ("策略", "strategy-v3.py"),
        ("CON", "strategy-con-v3.py"),
        ('a"; filename="evil.exe', "a-filename-evil-exe-v3.py"),
        ("x" * 60, "x" * 60 + "-v3.py"),
    ],
)
def test_a_file_has_a_name_that_every_system_takes(name: str, expected: str) -> None:
    assert file_name(name, 3) == expected


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).map(lambda name: " ".join(name.split())).filter(bool),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]) | st.just("\n"), max_size=200),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=200).filter(lambda text: bool(text.strip())),
)
def test_a_file_holds_what_was_put_into_it_and_its_head_is_a_comment(name: str, description: str, source: str) -> None:
    text = written_file(name=name, description=description, source=source)
    head = text[: len(text) - len(source)]
    assert ast.parse(head).body == []
    read = read_file(text.encode(), called="any.py")
    assert read.source == source
    if name.isprintable():
        assert read.name == name
    if all(line.isprintable() for line in description.split("\n")):
        assert read.description == description


def test_a_file_that_is_no_text_says_so() -> None:
    with pytest.raises(StrategyFileUnreadable, match="UTF-8"):
        read_file(b"\xff\xfe", called="x.py")


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.H1, Timeframe.D1])
def test_made_up_candles_are_candles_and_always_the_same(timeframe: Timeframe) -> None:
    end_ms = 1_795_680_000_000 // timeframe.milliseconds * timeframe.milliseconds
    candles = generated(3_000, timeframe, end_ms=end_ms, seed=5)
    check_series(candles, timeframe)
    assert int(candles["open_time"][-1]) + timeframe.milliseconds == end_ms
    assert np.all(candles["high"] >= np.maximum(candles["open"], candles["close"]))
    assert np.all(candles["low"] <= np.minimum(candles["open"], candles["close"]))
    assert np.all(candles["low"] > 0)
    assert np.array_equal(candles, generated(3_000, timeframe, end_ms=end_ms, seed=5))
    assert not np.array_equal(candles["close"], generated(3_000, timeframe, end_ms=end_ms, seed=6)["close"])


def look(source: str) -> list[Any]:
    return asyncio.run(Linter().look(source))


@pytest.mark.parametrize(
    ("source", "code", "place", "words"),
    [
        ("x = y\n", "F821", (1, 5), "The name y is not defined: it is misspelt, or never assigned or imported."),
        ("import os\n", "F401", (1, 8), "os is imported and never used."),
        ("def f():\n    x = 1\n", "F841", (2, 5), "The variable x is assigned and never read."),
        ("def f(x):\n    x == 1\n", "B015", (2, 5), "This comparison does nothing: was a value to be assigned, or returned?"),
        ("import numpy as np\nx = np.float(1)\n", "NPY001", (2, 5), "numpy has no np.float any more: use Python's own type."),
        ("def f(x=[]):\n    return x\n", "B006", (1, 9), ""),
        ("from datetime import datetime\nx = datetime.now()\n", "DTZ005", (2, 5), ""),
        ("return 1\n", "F706", (1, 1), "return stands outside a function."),
    ],
)
def test_ruff_says_in_plain_words_what_is_wrong_where(source: str, code: str, place: tuple[int, int], words: str) -> None:
    found = look(source)
    assert [(one.code, (one.line, one.column)) for one in found] == [(code, place)]
    assert words in found[0].text
    assert "%(" not in found[0].text


def test_what_the_older_template_is_given_counts_as_defined() -> None:
    assert look("class Mine(Strategy):\n    pass\n") == []


@pytest.mark.parametrize(
    "source", ["(" * 100_000, "-" * 131_000 + "1", "f(x)\n" * 26_000, "[" * 60_000 + "]" * 60_000, "x = 1\n" * 20_000, "\0", "\ud800"]
)
def test_lint_of_a_hostile_source_comes_to_an_end(source: str) -> None:
    began = time.perf_counter()
    look(source)
    assert time.perf_counter() - began < 15


def in_the_cell(*command: str) -> subprocess.CompletedProcess[str]:
    cell = [sys.executable, "-I", "-S", "-B", lint_cell.__file__]
    return subprocess.run([*cell, *command], capture_output=True, text=True, check=False, env={"SECRET": "leaked"})


@pytest.mark.skipif(sys.platform != "linux", reason="landlock is Linux's")
def test_what_runs_lint_finds_no_file_no_environment_and_no_room_to_write(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("leaked")
    for path in (tmp_path / "secret", Path("/etc/passwd"), Path("/proc/self/environ")):
        read = in_the_cell("/usr/bin/cat", str(path))
        assert (read.returncode, read.stdout) == (1, ""), path
        assert "Permission denied" in read.stderr
    assert in_the_cell("/usr/bin/touch", str(tmp_path / "new")).returncode == 1
    assert not (tmp_path / "new").exists()
    assert "leaked" not in in_the_cell("/usr/bin/env").stdout


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="a program that can connect, whose libraries the cell lets it read")
def test_what_runs_lint_reaches_no_server() -> None:
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))"
    assert "PermissionError" in in_the_cell("/usr/bin/python3", "-I", "-S", "-c", connect).stderr


def test_lint_reads_no_configuration_and_no_environment(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ruff.toml").write_text('lint.ignore = ["F821"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUFF_CONFIG", str(tmp_path / "ruff.toml"))
    assert [one.code for one in look("x = y\n")] == ["F821"]


def test_every_rule_is_one_that_ruff_has() -> None:
    # An unknown selector makes ruff fail, and a renamed one would be told under another code.
    assert look("x = 1\n") == []
    assert all(re.fullmatch(r"[A-Z]+\d+", code) for code in RULES)


def test_values_are_put_into_a_sentence_and_nothing_else_is() -> None:
    assert filled("100 %% of %(name)s, %(other)s, %s and %d", {"name": "%(name)s"}) == "100 % of %(name)s, %(other)s, %s and %d"


def test_the_catalogue_has_the_words_of_the_strategies_that_come_along() -> None:
    assert {one.name: (one.title, one.summary) for one in builtins()} == SHIPPED
