"""The documentation's fault matrix, held against the tests that show it."""

from tests.fault_matrix import Results


def test_a_row_with_one_failed_case_has_failed() -> None:
    results = Results()
    results.add((1, 2), "test_a", "passed")
    results.add((1,), "test_a", "failed")
    results.add((1,), "test_a", "passed")
    lines = results.table().splitlines()
    assert lines[2].endswith("| `test_a` | failed |")
    assert lines[3].endswith("| `test_a` | passed |")
    assert lines[4].endswith("| – | not shown |")
