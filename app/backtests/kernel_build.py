"""Compiles the loop of backtests in a process of its own, `python -m app.backtests.kernel_build FILE`, and leaves the code in a file.

numba is needed for that alone: who runs the code later takes it from the file, which saves a second and a hundred megabytes.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from app.backtests.kernel import object_code


def main() -> None:
    """Write the file whole or not at all: a line of JSON that tells what it is, then the object code."""
    target = Path(sys.argv[1])
    symbol, code = object_code()
    told = json.dumps({"symbol": symbol, "sha256": hashlib.sha256(code).hexdigest()})
    unfinished = target.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(told.encode() + b"\n" + code)
    unfinished.replace(target)


if __name__ == "__main__":
    main()
