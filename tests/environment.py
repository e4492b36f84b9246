"""What the processes of a run have of its environment."""

import os
import sys
from pathlib import Path
from typing import Final

from app.backtests.compiled import CACHE_VARIABLE, kernel_folder

_OFF: Final = "PYTHONDONTWRITEBYTECODE"
_FOLDER: Final = "PYTHONPYCACHEPREFIX"
_KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_START")
#: Beside nobody's source files: what is kept from one run to the next.
OURS: Final = Path(__file__).resolve().parents[1] / ".pytest_cache"
#: Whoever switched it off wants none of it beside the source files.
_BYTECODE: Final = OURS / "bytecode"


def keep_kernels() -> None:
    """Have this process and all that it starts share the compiled loop of backtests: compiling it takes some ten seconds."""
    os.environ.setdefault(CACHE_VARIABLE, str(kernel_folder(OURS)))


def keep_bytecode() -> None:
    """Have this process and all that it starts keep what they compile, where the environment says to keep nothing.

    A run starts dozens of interpreters that import the same modules, and each takes twice as long to compile them as to run them.
    """
    if not sys.dont_write_bytecode:
        return
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(_BYTECODE)
    os.environ.pop(_OFF, None)
    os.environ[_FOLDER] = sys.pycache_prefix


def kept_environment() -> dict[str, str]:
    """What a program of ours may have of our environment: nothing that could name a database or a secret."""
    return {name: os.environ[name] for name in (*_KEPT, _FOLDER, CACHE_VARIABLE) if name in os.environ}
