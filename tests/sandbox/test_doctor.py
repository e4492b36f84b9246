"""The doctor: what it finds here, what it would find elsewhere, and what follows from it."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from msgspec.structs import replace

from app.errors import ConfigError, JailClosed
from app.sandbox import supervisor
from app.sandbox.cell import Cell
from app.sandbox.connection import examine
from app.sandbox.doctor import Doctor, judged
from app.sandbox.doctor_attacks import ATTACKS
from app.sandbox.jail import Jail, Purpose
from app.sandbox.keeper import Keeper
from app.sandbox.link import Finding, Level, Report
from app.sandbox.messages import Described, Load
from app.sandbox.orders import Facts, Layers, Order
from app.sandbox.terms import JailConfig
from tests.sandbox.conftest import running_jail, strategy, until
from tests.sandbox.ordinary import ordinary, why_not

pytestmark = pytest.mark.asyncio

FACTS = Facts(
    pid=1,
    machine="x86_64",
    kernel="6.1",
    landlock_abi=3,
    has_seccomp=True,
    has_own_uids=True,
    is_networkless=True,
    is_single_threaded=True,
    environment=["LC_ALL"],
)
_EXAMINE = """
import asyncio, os
from app.sandbox.connection import examine
found = asyncio.run(examine(None))
print(os.getuid(), found.level, *(finding.code for finding in found.findings if not finding.is_good))
"""
GOOD = [Finding(code="filter", is_good=True)]


class Weaker(Keeper):
    """Makes workers without some layers, as a kernel that lacks them would."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self._layers = layers

    async def spawn(self, order: Order, descriptors: Sequence[int] = ()) -> Cell:
        return await super().spawn(replace(order, layers=self._layers), descriptors)


async def report_with(layers: Layers) -> Report:
    keeper = Weaker(layers)
    try:
        return await Doctor(keeper).report()
    finally:
        await keeper.close()


def bad(report: Report) -> set[str]:
    return {finding.code for finding in report.findings if not finding.is_good}


async def test_here_every_attack_is_stopped(keeper: Keeper) -> None:
    report = await Doctor(keeper).report()
    assert report.level in (Level.A, Level.B)
    assert bad(report) <= {"landlock", "own_users", "no_network"}
    assert {f"attack_{attack.code}" for attack in ATTACKS} <= {finding.code for finding in report.findings}


async def test_without_the_filter_attacks_get_through_and_the_level_says_so() -> None:
    report = await report_with(Layers(seccomp=False, landlock=False))
    assert report.level is Level.D
    assert {"filter", "attack_read_a_file", "attack_reach_a_unix_socket", "attack_run_machine_code"} <= bad(report)
    assert "attack_never_end" not in bad(report)


async def test_without_limits_memory_is_taken_and_the_level_says_so() -> None:
    report = await report_with(Layers(rlimits=False))
    assert (report.level, bad(report) - {"no_network", "own_users", "landlock"}) == (Level.D, {"attack_take_all_memory"})


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, Level.A),
        ({"is_networkless": False}, Level.A),
        ({"has_own_uids": False}, Level.A),
        ({"has_own_uids": False, "is_networkless": False}, Level.B),
        ({"landlock_abi": 0}, Level.B),
        ({"has_seccomp": False}, Level.D),
        ({"machine": ""}, Level.D),
        ({"is_single_threaded": False}, Level.D),
        ({"environment": ["FERNET_KEY", "LC_ALL"]}, Level.D),
    ],
)
async def test_the_level_follows_from_what_the_kernel_has(changes: dict[str, object], level: Level) -> None:
    assert judged(replace(FACTS, **changes), GOOD, []).level is level


async def test_one_attack_with_an_unknown_end_is_one_too_many() -> None:
    odd = Finding(code="attack_fork", is_good=False, detail="not stopped: NameError")
    assert judged(FACTS, GOOD, [odd]).level is Level.D


async def test_a_machine_without_a_zygote_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sandbox.keeper.import_path", lambda: ["/nowhere"])
    keeper = Keeper()
    report = await Doctor(keeper).report()
    assert (report.level, bad(report)) == (Level.D, {"zygote"})
    assert "ended with 1" in report.findings[0].detail


@pytest_asyncio.fixture
async def unlocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """The socket of a sandboxd on a machine without filters."""
    monkeypatch.setattr(supervisor, "Keeper", lambda: Weaker(Layers(seccomp=False, landlock=False)))
    path = tmp_path / "sandboxd"
    serving = asyncio.get_running_loop().create_task(supervisor.serve_path(path))
    await until(path.exists)
    yield path
    serving.cancel()
    await asyncio.wait([serving])


async def run_a_strategy(jail: Jail) -> object:
    async with jail.worker(user_id=uuid4(), purpose=Purpose.LIVE) as worker:
        return await worker.ask(Load(source=strategy()))


async def test_below_level_b_nothing_is_run(unlocked: Path) -> None:
    async with running_jail(JailConfig(socket_path=unlocked)) as jail:
        with pytest.raises(JailClosed):
            await run_a_strategy(jail)
        assert (jail.level, jail.is_open, jail.is_forced) == (Level.D, False, False)


async def test_unless_the_administrator_trusts_everybody(unlocked: Path) -> None:
    async with running_jail(JailConfig(socket_path=unlocked, trusts_strategies=True)) as jail:
        assert isinstance(await run_a_strategy(jail), Described)
        assert (jail.level, jail.is_open, jail.is_forced) == (Level.D, True, True)


async def test_sandboxd_itself_refuses_as_well(unlocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that forgot to look at the level must not run anything either."""
    monkeypatch.setattr(Jail, "runs_untrusted", True)
    async with running_jail(JailConfig(socket_path=unlocked)) as jail:
        with pytest.raises(JailClosed):
            await run_a_strategy(jail)


async def test_nobody_to_ask_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be reached"):
        await examine(tmp_path / "nobody")


def seen_by_an_ordinary_user(*, has_network: bool) -> tuple[str, set[str]]:
    """Return the level and what is missing."""
    if why := why_not():
        pytest.skip(why)
    done = ordinary("-c", _EXAMINE, has_network=has_network)
    assert done.returncode == 0, done.stderr
    uid, level, *missing = done.stdout.split()
    assert uid != "0"
    return level, set(missing)


async def test_an_ordinary_user_is_protected_as_well() -> None:
    level, missing = seen_by_an_ordinary_user(has_network=True)
    assert level in ("A", "B")
    assert "own_users" in missing
    assert missing <= {"own_users", "no_network", "landlock"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take the network away")
async def test_an_ordinary_user_without_network_is_as_well_off_as_the_container_of_its_own(keeper: Keeper) -> None:
    level, missing = seen_by_an_ordinary_user(has_network=False)
    assert missing <= {"own_users", "landlock"}
    assert level == ("A" if "landlock" not in missing else "B")
