"""Runs this project's interpreter as a user who is nobody in particular, where this process is root's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_NOBODY: Final = "65534"
#: A view of the file system in which the interpreter's folder can be entered, for this one command: root's home usually cannot.
_OPENED: Final = """
set -e
mount --bind "$BASE" /mnt
mount -t tmpfs -o mode=0755 none "$CLOSED"
mkdir -p "$BASE"
mount --bind /mnt "$BASE"
exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
"""


def ordinary(
    *arguments: str, has_network: bool = True, timeout_s: float = 60, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with these arguments as an ordinary user: nobody where we are root, otherwise who we are.

    Args:
        arguments: Of the interpreter.
        has_network: False takes it away, as a container without one does; only root can.
        timeout_s: How long it may take.
        environment: Variables that it has besides PATH.
    """
    command, variables = _command([sys.executable, *arguments])
    return subprocess.run(
        command if has_network else ["unshare", "--net", *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **(environment or {}), **variables},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def why_not() -> str:
    """Return why that cannot be done here; empty when it can."""
    try:
        done = ordinary("-c", "import os, app; print(os.getuid())")
    except OSError as error:
        return f"no command to change the user: {error}"
    if done.returncode:
        return f"another user cannot run this interpreter: {done.stderr[-300:]}"
    return "" if done.stdout.strip() not in ("", "0") else "the user did not change"


def _command(command: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    if os.getuid():
        return list(command), {}
    setpriv = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--"]
    base = Path(sys.base_prefix).resolve()
    closed = [folder for folder in (base, *base.parents) if not folder.stat().st_mode & 0o001]
    if not closed or shutil.which("unshare") is None:
        return [*setpriv, *command], {}
    variables = {"BASE": str(base), "CLOSED": str(closed[-1])}
    return ["unshare", "--mount", "sh", "-c", _OPENED, "sh", *command], variables
