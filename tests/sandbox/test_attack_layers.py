"""What each layer of the lock is good for: with it alone, and with every other one, the attacks end as the table says.

So no layer can rot behind another one that stops the same attacks.
"""

import os
from pathlib import Path

import pytest

from tests.sandbox.attacks.launch import Report, attacked, runnable
from tests.sandbox.attacks.row import COLUMNS, Attack
from tests.sandbox.attacks.rows import ATTACKS
from tests.sandbox.ordinary import why_not


def _why_not_here() -> str:
    """Return why single layers cannot be told apart here; empty when they can."""
    if os.getuid():
        return "an ordinary user's workers have no user of their own"
    if "Seccomp:\t0" not in Path("/proc/self/status").read_text():
        return "a filter of the container's own would be measured, too"
    return ""


pytestmark = pytest.mark.skipif(bool(_why_not_here()), reason=_why_not_here())

_LAYERS = tuple(column for column in COLUMNS if column != "none")
_each_attack = pytest.mark.parametrize("attack", [pytest.param(it, id=f"{it.number:03}") for it in runnable() if it.needs_layers])


@pytest.fixture(scope="module")
def alone() -> Report:
    return attacked(*COLUMNS)


@pytest.fixture(scope="module")
def without() -> Report:
    return attacked(*(f"without {layer}" for layer in _LAYERS))


@pytest.mark.parametrize("column", COLUMNS)
@_each_attack
def test_with_one_layer_alone_the_attack_works_where_the_table_says_so(attack: Attack, column: str, alone: Report) -> None:
    assert alone.worked(column, attack) == attack.works_with(column), alone.of(column, attack)


@pytest.mark.parametrize("attack", [pytest.param(it, id=f"{it.number:03}") for it in runnable() if not it.needs_layers])
def test_what_needs_no_layer_is_stopped_without_one(attack: Attack, alone: Report) -> None:
    assert not alone.worked("none", attack), alone.of("none", attack)


@pytest.mark.parametrize("layer", _LAYERS)
@_each_attack
def test_without_one_layer_the_attack_works_where_no_other_layer_stops_it(attack: Attack, layer: str, without: Report) -> None:
    seen = without.of(f"without {layer}", attack)
    assert without.worked(f"without {layer}", attack) == attack.works_without(layer), seen


@pytest.mark.parametrize("layer", _LAYERS)
def test_each_layer_stops_something_by_itself(layer: str) -> None:
    assert any(attack.works_with("none") and not attack.works_with(layer) for attack in runnable())


@pytest.mark.parametrize("layer", ["limits", "seccomp"])
def test_some_attacks_are_stopped_by_nothing_else(layer: str) -> None:
    assert any(attack.works_without(layer) for attack in runnable())


def test_a_worker_that_kept_open_what_its_zygote_has_would_be_noticed() -> None:
    assert attacked("nothing", rows=[59]).worked("nothing", ATTACKS[59])


def test_workers_of_one_user_are_kept_apart_by_not_being_dumpable() -> None:
    if problem := why_not():
        pytest.skip(problem)
    report = attacked("none", "dumpable", rows=[29], is_ordinary=True)
    assert report.worked("none", ATTACKS[29])
    assert not report.worked("dumpable", ATTACKS[29])
