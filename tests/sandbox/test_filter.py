"""The seccomp filter, run by an interpreter of our own for both processors: what each call may, whatever machine this is."""

import errno
from pathlib import Path

import pytest

from app.sandbox.lock import bpf, policy
from app.sandbox.lock.bpf import ALLOW, KILL_PROCESS, Step, refuse
from app.sandbox.lock.tables import MACHINES, Machine

GOLDEN = Path(__file__).parent / "golden"
PID = 1_234
_EXEC, _READ, _WRITE = 4, 1, 2
_SHARED, _PRIVATE, _ANONYMOUS = 1, 2, 0x20
_THREAD = 0x10000

machines = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


def outcome(machine: Machine, number: int, arguments: tuple[int, ...] = (), *, arch: int | None = None) -> int:
    """Run the filter as the kernel does and return its action."""
    steps = bpf.program(machine, pid=PID)
    words = {bpf.NUMBER_AT: number, bpf.ARCH_AT: machine.audit_arch if arch is None else arch}
    for place, value in enumerate((*arguments, *(0,) * (6 - len(arguments)))):
        words[bpf.ARGUMENTS_AT + 8 * place] = value & 0xFFFFFFFF
        words[bpf.ARGUMENTS_AT + 8 * place + 4] = value >> 32
    held, at = 0, 0
    while True:
        step = steps[at]
        at += 1
        match step.code:
            case bpf.LOAD:
                held = words[step.value]
            case bpf.RETURN:
                return step.value
            case bpf.JUMP_IF_EQUAL:
                at += step.if_true if held == step.value else step.if_false
            case bpf.JUMP_IF_AT_LEAST:
                at += step.if_true if held >= step.value else step.if_false
            case bpf.JUMP_IF_ANY_BIT:
                at += step.if_true if held & step.value else step.if_false


def of(machine: Machine, name: str, *arguments: int) -> int:
    return outcome(machine, machine.numbers[name], arguments)


@machines
def test_the_program_is_the_one_that_was_reviewed(machine: Machine) -> None:
    found = "\n".join(bpf.described(bpf.program(machine, pid=PID))) + "\n"
    assert found == (GOLDEN / f"filter-{machine.name}.txt").read_text(), "review the change, then write the golden file anew"


@machines
def test_every_named_call_gets_what_the_policy_says(machine: Machine) -> None:
    refused = {name: refuse(number) for number, names in policy.REFUSED for name in names}
    expected = dict.fromkeys(policy.ALLOWED, ALLOW) | refused | dict.fromkeys(policy.DEADLY, KILL_PROCESS)
    for name, action in expected.items():
        if name in machine.numbers:
            assert of(machine, name) == action, name


@machines
def test_every_other_number_is_a_call_that_does_not_exist(machine: Machine) -> None:
    known = {machine.numbers[name] for name in policy.named() if name in machine.numbers}
    for number in set(range(700)) - known:
        assert outcome(machine, number) == refuse(errno.ENOSYS), number


@machines
def test_only_the_socket_can_be_read_and_written(machine: Machine) -> None:
    for name in ("read", "write"):
        assert of(machine, name, 3) == ALLOW
        # The kernel looks at the lower half of a descriptor alone, and so must the filter.
        assert of(machine, name, 3 | 7 << 32) == ALLOW
        for fd in (0, 1, 2, 4, 255, 2**32 - 1):
            assert of(machine, name, fd) == refuse(errno.EBADF)


@machines
def test_memory_is_anonymous_and_never_code(machine: Machine) -> None:
    assert of(machine, "mmap", 0, 4096, _READ | _WRITE, _PRIVATE | _ANONYMOUS) == ALLOW
    for protection, flags in ((_READ, _SHARED), (_READ, _PRIVATE), (_EXEC, _PRIVATE | _ANONYMOUS), (7, _PRIVATE | _ANONYMOUS)):
        assert of(machine, "mmap", 0, 4096, protection, flags) == refuse(errno.EPERM)
    assert of(machine, "mprotect", 0, 4096, _READ | _WRITE) == ALLOW
    assert of(machine, "mprotect", 0, 4096, _READ | _EXEC) == refuse(errno.EPERM)


@machines
def test_a_worker_may_signal_itself_and_nobody_else(machine: Machine) -> None:
    assert of(machine, "tgkill", PID, PID, 6) == ALLOW
    assert of(machine, "tgkill", 1, 1, 9) == KILL_PROCESS


@machines
def test_threads_are_refused_politely_and_processes_are_not(machine: Machine) -> None:
    assert of(machine, "clone", _THREAD) == refuse(errno.EAGAIN)
    assert of(machine, "clone", 17) == KILL_PROCESS
    assert of(machine, "clone3") == refuse(errno.ENOSYS)


@machines
def test_another_architecture_dies_even_with_an_innocent_number(machine: Machine) -> None:
    others = {0x40000003, *(other.audit_arch for other in MACHINES.values())} - {machine.audit_arch}
    for arch in others:
        assert outcome(machine, machine.numbers["getpid"], arch=arch) == KILL_PROCESS


def test_the_second_table_of_numbers_of_x86_is_closed() -> None:
    x86 = MACHINES["x86_64"]
    assert outcome(x86, 0x40000000 | x86.numbers["read"], (3,)) == KILL_PROCESS
    assert outcome(x86, 0xFFFFFFFF) == KILL_PROCESS


@machines
def test_no_call_stands_in_two_groups(machine: Machine) -> None:
    groups = [*policy.ON_THE_SOCKET, *policy.ALLOWED, *policy.DEADLY, *policy.BY_ARGUMENT]
    groups += [name for _, names in policy.REFUSED for name in names]
    assert len(groups) == len(set(groups))
    assert set(policy.ALLOWED) - {"time"} <= machine.numbers.keys()


@machines
def test_jumps_stay_inside_the_program(machine: Machine) -> None:
    steps = bpf.program(machine, pid=PID)
    assert len(steps) <= 4_096
    for place, step in enumerate(steps):
        assert place + 1 + max(step.if_true, step.if_false) < len(steps) or step.code == bpf.RETURN
    assert len(bpf.assembled(steps)) == 8 * len(steps)
    assert bpf.assembled([Step(bpf.RETURN, 0, 0, ALLOW)]) == bytes.fromhex("060000000000ff7f")
