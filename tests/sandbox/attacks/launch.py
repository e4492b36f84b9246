"""Runs the attacks in a process of their own, as root or as an ordinary user, and reads what they came to."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.sandbox.attacks.row import Attack
from tests.sandbox.attacks.rows import ATTACKS
from tests.sandbox.attacks.victims import VARIABLE, new_secret

_ROOT: Final = Path(__file__).resolve().parents[3]
#: The user `nobody` of every distribution.
_NOBODY: Final = 65534
_LONGEST_S: Final = 170.0


@dataclass(slots=True)
class Report:
    """What came of the attacks, by configuration of layers."""

    observed: dict[str, dict[int, str]] = field(default_factory=dict)
    after: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, configuration: str, attack: Attack) -> str:
        """Return what was seen of an attack; fails when the run did not get as far."""
        seen = self.observed.get(configuration, {})
        assert attack.number in seen, f"the run ended before attack {attack.number} with {configuration}"
        return seen[attack.number]

    def worked(self, configuration: str, attack: Attack) -> bool:
        """Return whether the attack got what it wanted."""
        return has_worked(attack, self.of(configuration, attack))


def has_worked(attack: Attack, observed: str) -> bool:
    """Return whether what was seen of an attack is its success."""
    return re.search(attack.worked, observed) is not None


def runnable() -> Iterator[Attack]:
    """Yield the attacks that are written for this processor."""
    return (attack for attack in ATTACKS.values() if attack.machine in ("", platform.machine()))


@cache
def interpreter_for_all() -> str:
    """Return a Python of our version that an ordinary user may start; empty when there is none.

    Root's own often lies in root's home. Any other of the same version takes our libraries.
    """
    if os.getuid():
        return sys.executable
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")):
        with suppress(OSError):
            if candidate and not _run(candidate, "-c", "import tests.sandbox.attacks.run", is_ordinary=True).returncode:
                return candidate
    return ""


def attacked(*configurations: str, is_ordinary: bool = False, rows: Sequence[int] = ()) -> Report:
    """Make the attacks with each of these configurations, one after another.

    Args:
        configurations: Names out of `tests.sandbox.attacks.run.CONFIGURATIONS`.
        rows: Numbers of the attacks; all of them when left out.
        is_ordinary: Whether the server, its zygote and the workers shall be an ordinary user's where this process is root's.

    Raises:
        RuntimeError: the run failed.
    """
    interpreter = interpreter_for_all() if is_ordinary else sys.executable
    chosen = ("--rows", *map(str, rows)) if rows else ()
    done = _run(interpreter, "-m", "tests.sandbox.attacks.run", *configurations, *chosen, is_ordinary=is_ordinary)
    if done.returncode:
        raise RuntimeError(f"the attacks ended with {done.returncode}: {done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    report = Report()
    for text in done.stdout.splitlines():
        line = json.loads(text)
        if "after" in line:
            report.after[line["configuration"]] = line["after"]
        else:
            report.observed.setdefault(line["configuration"], {})[line["number"]] = line["observed"]
    return report


def _run(*command: str, is_ordinary: bool) -> "subprocess.CompletedProcess[str]":
    """Run a command with a secret in its environment, and nothing else of ours: there might be secrets that are no attacker's business."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    libraries = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    user: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if is_ordinary and not os.getuid() else {}
    return subprocess.run(
        command,
        cwd=_ROOT,
        env=environment | {VARIABLE: new_secret("server"), "PYTHONPATH": libraries, "HOME": "/"},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        **user,
    )
