"""Where the compiled loop of backtests is kept, so that only the first start of a version has to compile it.

A file holds machine code for one kind of processor, in a folder of one version of our sources and of what compiles them. What lies there is
run: it belongs in the data folder, which nobody else may write. numba compiles, in a process of its own; llvmlite, which is a tenth of it,
loads.
"""

import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Final

#: Modules whose text is in the compiled code.
_SOURCES: Final = (
    "app.backtests.kernel",
    "app.backtests.kernel_account",
    "app.backtests.kernel_guards",
    "app.backtests.kernel_records",
    "app.backtests.kernel_state",
    "app.domain.account",
    "app.domain.arrays",
    "app.domain.grid",
    "app.domain.guarded_account",
    "app.domain.outcome",
    "app.domain.safeguards",
    "app.domain.simulated",
)
_COMPILERS: Final = ("numba", "llvmlite", "numpy")
#: Names the folder that processes share.
CACHE_VARIABLE: Final = "ARISTOBOT_KERNELS"
#: What object code of numba's refers to and never calls: counting of who holds an array, which is none of ours, and exceptions.
_NEVER_CALLED: Final = (
    "NRT_Allocate", "NRT_Free", "NRT_MemInfo_call_dtor", "numba_do_raise", "numba_gil_ensure", "numba_gil_release",
    "numba_runtime_build_excinfo_struct", "numba_unpickle",
)  # fmt: skip
_COMPILES_S: Final = 300.0
#: Addresses of `kernel.walk_from_outside`: seven columns of floats, four of shorter candles, those of the decisions, four of whole numbers,
#: the flags, five kinds of records, the lengths.
Walk = Callable[..., int]


def kernel_folder(data_dir: Path) -> Path:
    """Return the folder of the compiled code of this version."""
    told = hashlib.sha256(f"{sys.version_info[:2]} {[version(name) for name in _COMPILERS]}".encode())
    for name in _SOURCES:
        found = importlib.util.find_spec(name)
        told.update(Path(found.origin).read_bytes() if found is not None and found.origin is not None else b"")
    return data_dir / "kernels" / told.hexdigest()[:16]


def keep_kernels_in(data_dir: Path) -> None:
    """Have this process look for compiled code in the data folder, and leave it there; call before the first backtest.

    Without it the code lies with Python's own beside the sources.
    """
    os.environ[CACHE_VARIABLE] = str(kernel_folder(data_dir).absolute())


def compile_kernels(data_dir: Path) -> None:
    """Compile what is not compiled yet, which takes some ten seconds once a version, and load it; to be run in a process of the pool.

    Folders of other versions are removed: whoever still runs one has it in memory.
    """
    keep_kernels_in(data_dir)
    folder = kernel_folder(data_dir)
    kernel()
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


@cache
def kernel() -> Walk:
    """Return the compiled loop; it is compiled first where that was not done before.

    Raises:
        RuntimeError: it cannot be compiled here.
    """
    if CACHE_VARIABLE not in os.environ:
        keep_kernels_in(Path(__file__).parent / "__pycache__")
    llvm = importlib.import_module("llvmlite.binding")
    processor = f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    symbol, code = _code(Path(os.environ[CACHE_VARIABLE]) / f"walk-{hashlib.sha256(processor.encode()).hexdigest()[:16]}.o")
    return _loaded(llvm, symbol, code)


def _code(file: Path) -> tuple[str, bytes]:
    """Return symbol and object code out of a file that is made if need be."""
    if (known := _read(file)) is not None:
        return known
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.with_suffix(".lock")):
            return _read(file) or _built(file)
    except OSError:  # nobody may write there
        with TemporaryDirectory() as folder:
            return _built(Path(folder) / file.name)


def _read(file: Path) -> tuple[str, bytes] | None:
    """Return what is in a file; None where it is not there or not whole."""
    try:
        told, _, code = file.read_bytes().partition(b"\n")
        said = json.loads(told)
    except (OSError, ValueError):
        return None
    return (str(said["symbol"]), code) if said["sha256"] == hashlib.sha256(code).hexdigest() else None


def _built(file: Path) -> tuple[str, bytes]:
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "app.backtests.kernel_build", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_COMPILES_S, check=False)  # noqa: S603 -- ourselves
    built = _read(file)
    if done.returncode != 0 or built is None:
        raise RuntimeError(f"the loop of backtests cannot be compiled here: {done.stderr[-2_000:]}")
    return built


def _loaded(llvm: ModuleType, symbol: str, code: bytes) -> Walk:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name in _NEVER_CALLED:
        llvm.add_symbol(name, ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value)
    machine = llvm.Target.from_default_triple().create_target_machine(opt=3, codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 14)(engine.get_function_address(symbol))


#: Code is gone with the engine that holds it.
_ENGINES: Final[list[Any]] = []


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Compile in one process of those that begin at the same time; the others wait for what it leaves."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
