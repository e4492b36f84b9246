"""Where compiled code is kept, and that nobody needs it who serves requests."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.backtests.compiled import compile_kernels, kernel, kernel_folder

_RUN = """
import json, os, sys, time
from pathlib import Path
from app.backtests.compiled import compile_kernels
import numba.core.caching
loaded = []
load = numba.core.caching.IndexDataCacheFile.load
def counting(self, key):
    found = load(self, key)
    loaded.append(found is not None)
    return found
numba.core.caching.IndexDataCacheFile.load = counting
compile_kernels(Path(sys.argv[1]))
from app.backtests import kernel
print(json.dumps([len(loaded), sum(loaded)]))
"""


def run(source: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return subprocess.run([sys.executable, "-c", source, *arguments], check=True, capture_output=True, text=True, env=environment).stdout


def test_no_part_of_the_server_imports_numba() -> None:
    told = run("import sys, app.main, app.cli, app.bootstrap, app.backtests.engine, app.backtests.compiled; print('numba' in sys.modules)")
    assert told.strip() == "False"


def test_what_was_compiled_is_found_by_later_processes_and_other_versions_are_removed(tmp_path: Path) -> None:
    kernel()
    ours = kernel_folder(tmp_path)
    shutil.copytree(os.environ["NUMBA_CACHE_DIR"], ours)
    other = tmp_path / "kernels" / "0123456789abcdef"
    other.mkdir()
    (other / "kernel.nbi").write_bytes(b"old")

    assert json.loads(run(_RUN, str(tmp_path))) == [1, 1]
    assert list((tmp_path / "kernels").iterdir()) == [ours]


@pytest.mark.full
@pytest.mark.timeout(300)
def test_an_empty_folder_is_compiled_into_by_one_process_of_several(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        told = sorted(threads.map(lambda _: json.loads(run(_RUN, str(tmp_path))), range(3)))
    assert told == [[1, 0], [1, 1], [1, 1]]
    assert any(kernel_folder(tmp_path).rglob("*.nbc"))


def test_every_module_whose_code_is_compiled_decides_the_folder() -> None:
    """A function of another file that changes must not be found in an older form."""
    told = run(
        "import inspect, json, sys; from app.backtests import kernel, compiled\n"
        "used, left = set(), [kernel.walk.py_func]\n"
        "while left:\n"
        "    function = left.pop()\n"
        "    used.add(function.__module__)\n"
        "    for name in function.__code__.co_names:\n"
        "        other = function.__globals__.get(name)\n"
        "        used |= {other.__module__} if hasattr(other, 'py_func') or inspect.isclass(other) else set()\n"
        "        left += [other.py_func] if hasattr(other, 'py_func') else []\n"
        "print(json.dumps([sorted(used), compiled._SOURCES]))"
    )
    used, sources = json.loads(told)
    assert set(used) <= set(sources)
    assert len(used) == 3
    assert compile_kernels.__module__ not in used
