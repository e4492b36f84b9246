"""The documentation's fault matrix, held against the tests that show it."""

import re
from pathlib import Path

from tests.fault_matrix import BEGIN, END, Results, declared
from tests.fault_rows import ROWS

ROOT = Path(__file__).resolve().parent


def test_every_row_of_the_fault_matrix_is_shown_by_a_test() -> None:
    missing = ROWS.keys() - declared(ROOT).keys()
    assert not missing, f"no test carries the rows {sorted(missing)}"


def test_the_page_tells_which_tests_show_a_row_and_that_they_passed() -> None:
    page = (ROOT.parent / "docs/reliability.md").read_text(encoding="utf-8")
    table = page.partition(BEGIN)[2].partition(END)[0]
    told = {int(number): (set(re.findall("`([^`]+)`", tests)), result) for number, tests, result in _cells(table)}
    assert told.keys() == ROWS.keys()
    for number, names in declared(ROOT).items():
        assert told[number] == (names, "passed"), f"row {number}: write the page again"


def _cells(table: str) -> list[tuple[str, str, str]]:
    lines = [line.split(" | ") for line in table.splitlines() if re.match(r"\| \d", line)]
    return [(cells[0].removeprefix("| "), cells[4], cells[5].removesuffix(" |")) for cells in lines]


def test_a_row_with_one_failed_case_has_failed() -> None:
    results = Results()
    results.add((1, 2), "test_a", "passed")
    results.add((1,), "test_a", "failed")
    results.add((1,), "test_a", "passed")
    lines = results.table().splitlines()
    assert lines[2].endswith("| `test_a` | failed |")
    assert lines[3].endswith("| `test_a` | passed |")
    assert lines[4].endswith("| – | not shown |")
