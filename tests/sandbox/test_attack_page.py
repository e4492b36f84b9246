"""The documentation's attack table, held against the rows."""

import re
from pathlib import Path

from tests.sandbox.attacks.launch import runnable
from tests.sandbox.attacks.rows import ATTACKS
from tests.sandbox.attacks.table import AS_ORDINARY_USER, AS_ROOT, Results, cells, told, write

PAGE = Path(__file__).resolve().parents[2] / "docs/sandbox-attacks.md"


def test_the_page_tells_every_attack_what_stops_it_and_how_it_ended() -> None:
    on_page = cells(PAGE)
    assert on_page.keys() == ATTACKS.keys()
    for attack in runnable():
        *known, as_root, as_ordinary_user = on_page[attack.number]
        assert tuple(known) == told(attack), f"attack {attack.number}: write the page again"
        for seen in (as_root, as_ordinary_user):
            assert re.search(attack.outcome, seen), f"attack {attack.number}: the page says {seen}"


def test_the_seventy_rows_of_the_design_are_all_there() -> None:
    assert set(range(1, 71)) <= ATTACKS.keys()


def test_what_was_not_seen_is_written_as_not_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    results = Results()
    results.add(1, AS_ROOT, "answered")
    write(page, results)
    assert cells(page)[1][-2:] == ["answered", "not seen"]
    assert cells(page)[2][-2:] == ["not seen", "not seen"]
    results.add(1, AS_ORDINARY_USER, "SUCCEEDED")
    write(page, results)
    assert cells(page)[1][-1] == "SUCCEEDED"
