"""Every attack of the table, on a server of root and on one of an ordinary user, and how everybody is after it."""

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.attacks.launch import Report, attacked, has_worked, runnable
from tests.sandbox.attacks.row import Attack
from tests.sandbox.attacks.table import AS_ORDINARY_USER, AS_ROOT, shortened
from tests.sandbox.ordinary import why_not

Record = Callable[[str, object], None]

_each_attack = pytest.mark.parametrize("attack", [pytest.param(attack, id=f"{attack.number:03}") for attack in runnable()])
_either = pytest.mark.parametrize("user", [AS_ROOT, AS_ORDINARY_USER])


class Runs:
    """One run a user, made when its first test asks."""

    def __init__(self) -> None:
        self._reports: dict[str, Report | Exception] = {}

    def by(self, user: str) -> Report:
        """Return the run of this user; skips the test where there can be none."""
        if user == AS_ROOT and os.getuid():
            pytest.skip("only root can show what root's server is like")
        if user == AS_ORDINARY_USER and user not in self._reports and (problem := why_not()):
            pytest.skip(problem)
        if user not in self._reports:
            # The friendly words of the language are off in `full`: the kernel and the protocol alone. With them on, once, is enough.
            configurations = ("full",) if user == AS_ROOT else ("full", "product")
            try:
                self._reports[user] = attacked(*configurations, is_ordinary=user == AS_ORDINARY_USER)
            except Exception as error:  # noqa: BLE001 -- said once for each test, not run again for each
                self._reports[user] = error
        report = self._reports[user]
        if isinstance(report, Exception):
            raise report
        return report


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs()


@_either
@_each_attack
def test_the_attack_is_stopped_and_ends_as_the_table_says(attack: Attack, user: str, runs: Runs, record_property: Record) -> None:
    seen = runs.by(user).of("full", attack)
    record_property("attack", [attack.number, user, "SUCCEEDED" if has_worked(attack, seen) else shortened(seen)])
    assert not has_worked(attack, seen), seen
    assert re.search(attack.outcome, seen), seen
    assert re.search(attack.outcome, shortened(seen)), f"the page could not tell {seen} from other outcomes"


@_each_attack
def test_the_attack_is_stopped_in_the_jail_as_the_product_has_it(attack: Attack, runs: Runs) -> None:
    assert not runs.by(AS_ORDINARY_USER).worked("product", attack)


@_either
def test_after_all_attacks_nobody_else_has_noticed(user: str, runs: Runs) -> None:
    after = runs.by(user).after["full"]
    assert after["candles_unchanged"]
    assert after["tenant_lives"]
    assert after["tenant_answers_the_same"]
    assert after["server_is_unharmed"]
    assert after["zygote_lives"]
    assert after["visitors"] == 0, "somebody reached a socket of the server"


@_either
def test_after_all_attacks_nothing_is_left_of_the_attackers(user: str, runs: Runs) -> None:
    after = runs.by(user).after["full"]
    assert after["zygote_children"] == 1, "the other tenant's worker alone"
    assert after["zygote_descriptors_grew"] == 0
    assert after["own_descriptors_grew"] == 0


def _seen_by_root(runs: Runs) -> dict[str, Any]:
    """What root's server saw of the locked processes; skips where root may not look, as in a container."""
    after = runs.by(AS_ROOT).after["full"]
    if after["secrets_in_zygote"] < 0:
        pytest.skip("this root lacks CAP_SYS_PTRACE")
    return after


def test_the_zygotes_memory_holds_no_secret_of_the_server_or_of_a_tenant(runs: Runs) -> None:
    after = _seen_by_root(runs)
    assert after["secrets_here"] > 0, "the search would not have found any"
    assert after["secrets_in_zygote"] == 0


def test_a_server_of_an_ordinary_user_cannot_even_look_into_its_own_zygote(runs: Runs) -> None:
    assert runs.by(AS_ORDINARY_USER).after["full"]["secrets_in_zygote"] == -1


def test_a_worker_has_four_descriptors_and_nothing_else_open(runs: Runs) -> None:
    assert _seen_by_root(runs)["lock"]["descriptors"] == [0, 1, 2, 3]


def test_a_worker_has_no_memory_that_can_be_written_and_run(runs: Runs) -> None:
    assert _seen_by_root(runs)["lock"]["writable_code"] == 0


@_either
def test_a_worker_has_no_capabilities_a_filter_and_can_gain_nothing(user: str, runs: Runs) -> None:
    lock = runs.by(user).after["full"]["lock"]
    assert lock["NoNewPrivs"] == "1"
    assert lock["Seccomp"] == "2"
    assert {int(lock[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    if user == AS_ROOT:
        assert int(lock["CapBnd"], 16) == 0
        assert lock["Groups"] == ""


def test_roots_server_gives_each_worker_a_user_of_its_own(runs: Runs) -> None:
    uids = set(runs.by(AS_ROOT).after["full"]["lock"]["Uid"].split())
    assert len(uids) == 1
    assert int(uids.pop()) >= 2_200_000_000


def test_an_ordinary_users_workers_are_that_user_and_are_stopped_all_the_same(runs: Runs) -> None:
    after = runs.by(AS_ORDINARY_USER).after["full"]
    assert after["uid"] != 0
    assert set(after["lock"]["Uid"].split()) == {str(after["uid"])}
