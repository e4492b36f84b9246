"""Where compiled code is kept, and that nobody needs numba who serves requests or runs what is compiled."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.backtests.compiled import CACHE_VARIABLE, kernel, kernel_folder

_RUN = """
import sys
from pathlib import Path
import numpy as np
from app.backtests import compiled
built = compiled._built
calls = []
compiled._built = lambda file: calls.append(file) or built(file)
compiled.compile_kernels(Path(sys.argv[1]))
from app.backtests.engine import run
from app.domain.arrays import Candles, no_decisions
from app.domain.simulation import SimulationCosts
candles = Candles(np.arange(3), *(np.full(3, 100.0) for _ in range(5)))
decisions = no_decisions(3)
decisions.flags[0] = 1
assert len(run(candles, decisions, SimulationCosts()).fills) == 1
print(len(calls), "numba" in sys.modules)
"""


def run(source: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != CACHE_VARIABLE}
    done = subprocess.run([sys.executable, "-c", source, *arguments], check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


def test_no_part_of_the_server_imports_numba_or_optuna() -> None:
    all_of_it = "import sys, app.main, app.cli, app.bootstrap, app.backtests.engine"
    told = run(f"{all_of_it}; print({{'numba', 'llvmlite', 'optuna'}} & set(sys.modules))")
    assert told == "set()"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A data folder with what is compiled already."""
    kernel()
    shutil.copytree(os.environ[CACHE_VARIABLE], kernel_folder(tmp_path))
    return tmp_path


def test_what_was_compiled_is_run_without_numba_and_other_versions_are_removed(ours: Path) -> None:
    other = ours / "kernels" / "0123456789abcdef"
    other.mkdir()
    (other / "walk.o").write_bytes(b"old")

    assert run(_RUN, str(ours)) == "0 False"
    assert list((ours / "kernels").iterdir()) == [kernel_folder(ours)]


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("damage", [lambda code: code[:-1], lambda code: code[:40], lambda code: code[:-9] + b"x" + code[-8:]])
def test_a_file_that_is_not_whole_is_compiled_anew(ours: Path, damage: Callable[[bytes], bytes]) -> None:
    (file,) = kernel_folder(ours).glob("*.o")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))

    assert run(_RUN, str(ours)) == "1 False"
    assert len(file.read_bytes()) == len(whole)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_an_empty_folder_is_compiled_into_by_one_process_of_several(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        told = sorted(threads.map(lambda _: run(_RUN, str(tmp_path)), range(3)))
    assert told == ["0 False", "0 False", "1 False"]


def test_where_nobody_may_write_the_loop_is_compiled_and_run_all_the_same(ours: Path) -> None:
    """What is compiled is found or made; either way it is whole when it is loaded."""
    source = _RUN.replace("built = compiled._built", "built = lambda file: compiled._read(next(Path(sys.argv[2]).glob('*.o')))")
    unwritable = ours / "file"
    unwritable.write_text("where a folder should be")

    told = run(source.replace("compile_kernels(", "keep_kernels_in("), str(unwritable), str(kernel_folder(ours)))
    assert told == "1 False"


def test_every_module_whose_code_is_compiled_decides_the_folder() -> None:
    """A function of another file that changes must not be found in an older form."""
    told = run(
        "import inspect, json, sys; from app.backtests import kernel, compiled\n"
        "used, left = set(), [kernel.walk.py_func, kernel.walk_from_outside]\n"
        "while left:\n"
        "    function = left.pop()\n"
        "    used.add(function.__module__)\n"
        "    for name in function.__code__.co_names:\n"
        "        other = function.__globals__.get(name)\n"
        "        used |= {other.__module__} if inspect.isclass(other) else set()\n"
        "        left += [other.py_func] if hasattr(other, 'py_func') else []\n"
        "print(json.dumps([sorted(used), compiled._SOURCES]))"
    )
    used, sources = json.loads(told)
    assert set(used) <= set(sources)
    assert len(used) == 4
