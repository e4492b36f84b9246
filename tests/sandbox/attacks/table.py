"""The attack table: what was tried, what stops it, and what came of it. One table for tests and documentation.

`uv run pytest tests/sandbox/test_attacks.py --attack-table=docs/sandbox-attacks.md` makes all attacks and writes the table into that page,
between its two marks.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.sandbox.attacks.row import COLUMNS, Attack
from tests.sandbox.attacks.rows import ATTACKS

BEGIN: Final = "<!-- attack table: written by `uv run pytest tests/sandbox/test_attacks.py --attack-table=docs/sandbox-attacks.md` -->"
END: Final = "<!-- end of the attack table -->"
#: Whose server was attacked.
AS_ROOT: Final = "root"
AS_ORDINARY_USER: Final = "ordinary user"
_HEADS: Final = ("#", "attack", *(f"only {column}" if column != "none" else "no layer" for column in COLUMNS), "stopped by")


@dataclass(slots=True)
class Results:
    """What was seen of each attack in this run."""

    seen: dict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, number: int, user: str, observed: str) -> None:
        """Note what came of an attack on the server of this user."""
        self.seen[number][user] = observed

    def table(self) -> str:
        """Return the table in Markdown."""
        heads = (*_HEADS, f"seen as {AS_ROOT}", f"seen as {AS_ORDINARY_USER}")
        lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for number, attack in ATTACKS.items():
            seen = [self.seen[number].get(user, "not seen") for user in (AS_ROOT, AS_ORDINARY_USER)]
            lines.append(f"| {' | '.join((*told(attack), *seen))} |")
        return "\n".join(lines)


def told(attack: Attack) -> tuple[str, ...]:
    """Return the cells of an attack that do not depend on a run."""
    layers = [column for column in COLUMNS if not attack.works_with(column)]
    stopped_by = attack.by or ", ".join(layers)
    note = f" ({attack.note})" if attack.note else ""
    return (str(attack.number), attack.title.replace("|", "\\|"), *attack.only, stopped_by + note)


def shortened(observed: str) -> str:
    """Return the part of what was seen that is the same in every run, without process ids, paths and times."""
    kind, _, rest = observed.partition(": ")
    if kind.startswith("answered"):
        return "answered"
    if kind == "killed":
        cause, _, words = rest.partition(" ")
        signal = re.search(r"SIG[A-Z]+", words)
        return " ".join(("killed:", cause, *((signal.group(),) if signal else ())))
    name, _, words = rest.partition(": ")
    number = re.match(r"\[Errno \d+\]", words)
    return ": ".join((kind, name, *((number.group(),) if number else ())))


def write(page: Path, results: Results) -> None:
    """Put the table between the page's marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{results.table()}\n\n{END}{after}", encoding="utf-8")


def cells(page: Path) -> dict[int, list[str]]:
    """Return the rows of the table in a page, by number."""
    table = page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| \n")) for line in table.splitlines() if re.match(r"\| \d", line)]
    return {int(row[0]): row for row in rows}
