"""Runs the attacks in a process of their own, as root or as an ordinary user, and reads what they came to."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
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


def run_as_ordinary_user_problem() -> str:
    """Return why attacks cannot be run as an ordinary user here; empty when they can."""
    if os.getuid():
        return ""
    tried = subprocess.run(
        [sys.executable, "-c", "import tests.sandbox.attacks.run"], cwd=_ROOT, capture_output=True, text=True, **_nobody()
    )
    return f"another user cannot start this interpreter: {tried.stderr[-300:]}" if tried.returncode else ""


def attacked(*configurations: str, is_ordinary: bool = False) -> Report:
    """Make the attacks with each of these configurations, one after another.

    Args:
        configurations: Names out of `tests.sandbox.attacks.run.CONFIGURATIONS`.
        is_ordinary: Whether the server, its zygote and the workers shall be an ordinary user's where this process is root's.

    Raises:
        RuntimeError: the run failed.
    """
    # Nothing of the caller's environment: it might hold secrets that are none of the attackers' business.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.attacks.run", *configurations],
        cwd=_ROOT,
        env=environment | {VARIABLE: new_secret("server")},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        **(_nobody() if is_ordinary and not os.getuid() else {}),
    )
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


def _nobody() -> dict[str, Any]:
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
