"""Where the compiled loop of backtests is kept, so that only the first start of a version has to compile it.

numba keeps machine code by the kind of processor; the folder is one of each version of our sources and of what compiles them, as numba
looks at a function's own file only and not at those of the functions that it calls. What lies there is run: it belongs in the data folder,
which nobody else may write.
"""

import fcntl
import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Final

_KERNEL: Final = "app.backtests.kernel"
#: Modules whose text is in the compiled code.
_SOURCES: Final = (
    _KERNEL,
    "app.backtests.kernel_account",
    "app.backtests.kernel_state",
    "app.domain.account",
    "app.domain.arrays",
    "app.domain.grid",
    "app.domain.outcome",
    "app.domain.simulated",
)
_COMPILERS: Final = ("numba", "llvmlite", "numpy")
#: Where numba looks for compiled code, and leaves it.
CACHE_VARIABLE: Final = "NUMBA_CACHE_DIR"


def kernel_folder(data_dir: Path) -> Path:
    """Return the folder of the compiled code of this version."""
    told = hashlib.sha256(f"{sys.version_info[:2]} {[version(name) for name in _COMPILERS]}".encode())
    for name in _SOURCES:
        found = importlib.util.find_spec(name)
        told.update(Path(found.origin).read_bytes() if found is not None and found.origin is not None else b"")
    return data_dir / "kernels" / told.hexdigest()[:16]


def keep_kernels_in(data_dir: Path) -> None:
    """Have this process look for compiled code in the data folder, and leave it there; call before the first backtest.

    Without it the code lies with Python's own beside the sources, or in the user's cache where nobody may write there.
    """
    os.environ[CACHE_VARIABLE] = str(kernel_folder(data_dir).absolute())
    if (numba := sys.modules.get("numba")) is not None:
        numba.config.CACHE_DIR = os.environ[CACHE_VARIABLE]  # it has read the variable when it was imported


def compile_kernels(data_dir: Path) -> None:
    """Compile what is not compiled yet, which takes some ten seconds once a version; to be run in a process of the pool.

    Folders of other versions are removed: whoever still runs one has it in memory.
    """
    keep_kernels_in(data_dir)
    folder = kernel_folder(data_dir)
    kernel()
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def kernel() -> ModuleType:
    """Return the compiled loop. The first call of a process imports numba, and compiles where that was not done before."""
    if (known := sys.modules.get(_KERNEL)) is not None:
        return known
    if CACHE_VARIABLE not in os.environ:
        keep_kernels_in(Path(__file__).parent / "__pycache__")
    with _alone_in(Path(os.environ[CACHE_VARIABLE])):
        return importlib.import_module(_KERNEL)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Compile in one process of those that begin at the same time; the others wait for what it leaves."""
    lock = None
    with suppress(OSError):  # a folder that cannot be written, or locked: numba looks for another one
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.rglob("*.nbi")):
            lock = (folder / "lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
