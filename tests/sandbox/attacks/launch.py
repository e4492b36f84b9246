"""Runs the attacks in a process of their own, as root or as an ordinary user, and reads what they came to."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.sandbox.attacks.row import Attack
from tests.sandbox.attacks.rows import ATTACKS
from tests.sandbox.attacks.victims import VARIABLE, new_secret
from tests.sandbox.ordinary import ROOT, ordinary

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


def attacked(*configurations: str, is_ordinary: bool = False, rows: Sequence[int] = ()) -> Report:
    """Make the attacks with each of these configurations, one after another.

    Args:
        configurations: Names out of `tests.sandbox.attacks.run.CONFIGURATIONS`.
        rows: Numbers of the attacks; all of them when left out.
        is_ordinary: Whether the server, its zygote and the workers shall be an ordinary user's where this process is root's.

    Raises:
        RuntimeError: the run failed.
    """
    command = ("-m", "tests.sandbox.attacks.run", *configurations, *(("--rows", *map(str, rows)) if rows else ()))
    # A secret, and nothing else of the caller's environment: what is in there is no attacker's business.
    environment = {"PATH": os.environ["PATH"], VARIABLE: new_secret("server")}
    if is_ordinary:
        done = ordinary(*command, environment=environment, timeout_s=_LONGEST_S)
    else:
        whole = [sys.executable, *command]
        done = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_LONGEST_S)
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
