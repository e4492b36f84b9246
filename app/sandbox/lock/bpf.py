"""The seccomp filter: a program of classic BPF that the kernel runs at each system call of a worker."""

import errno
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from app.sandbox.lock.policy import ALLOWED, DEADLY, ON_THE_SOCKET, REFUSED
from app.sandbox.lock.tables import Machine

ALLOW: Final = 0x7FFF0000
KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000

#: Opcodes: load a word of `seccomp_data`, compare it with a constant, return.
LOAD: Final = 0x20
JUMP_IF_EQUAL: Final = 0x15
JUMP_IF_AT_LEAST: Final = 0x35
JUMP_IF_ANY_BIT: Final = 0x45
RETURN: Final = 0x06

# Offsets in `struct seccomp_data`. Arguments have 64 bits; both machines are little-endian, so the lower half comes first. What is looked
# at here (descriptors, flags, process ids) are ints to the kernel, which drops the upper half: it must not matter to the filter either.
NUMBER_AT: Final = 0
ARCH_AT: Final = 4
ARGUMENTS_AT: Final = 16

_PROT_EXEC: Final = 0x4
_MAP_ANONYMOUS: Final = 0x20
_CLONE_THREAD: Final = 0x10000


class Step(NamedTuple):
    """One instruction. Jumps count the instructions to skip."""

    code: int
    if_true: int
    if_false: int
    value: int


def refuse(number: int) -> int:
    """Return the action that makes a call fail with this errno."""
    return _ERRNO | number


def program(machine: Machine, *, pid: int, socket_fd: int = 3) -> list[Step]:
    """Return the filter of one worker.

    Args:
        machine: Whose numbers it compares.
        pid: The worker's own, the only one that it may send a signal to (`abort` does).
        socket_fd: The only descriptor that it may read and write.
    """
    steps = [
        Step(LOAD, 0, 0, ARCH_AT),
        Step(JUMP_IF_EQUAL, 1, 0, machine.audit_arch),
        _returning(KILL_PROCESS),
        Step(LOAD, 0, 0, NUMBER_AT),
    ]
    if machine.first_foreign is not None:
        steps += [Step(JUMP_IF_AT_LEAST, 0, 1, machine.first_foreign), _returning(KILL_PROCESS)]
    for name in ON_THE_SOCKET:
        steps += _when(machine, name, _if_equal(0, socket_fd, ALLOW, refuse(errno.EBADF)))
    steps += _when(machine, "mmap", [*_unless_bit(2, _PROT_EXEC), *_if_bit(3, _MAP_ANONYMOUS, ALLOW, refuse(errno.EPERM))])
    steps += _when(machine, "mprotect", [*_unless_bit(2, _PROT_EXEC), _returning(ALLOW)])
    for name in ALLOWED:
        steps += _when(machine, name, [_returning(ALLOW)])
    steps += _when(machine, "tgkill", _if_equal(0, pid, ALLOW, KILL_PROCESS))
    steps += _when(machine, "clone", _if_bit(0, _CLONE_THREAD, refuse(errno.EAGAIN), KILL_PROCESS))
    for number, names in REFUSED:
        for name in names:
            steps += _when(machine, name, [_returning(refuse(number))])
    for name in DEADLY:
        steps += _when(machine, name, [_returning(KILL_PROCESS)])
    return [*steps, _returning(refuse(errno.ENOSYS))]


def assembled(steps: Sequence[Step]) -> bytes:
    """Return the program as the kernel takes it: `struct sock_filter` after `struct sock_filter`."""
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def described(steps: Sequence[Step]) -> Iterator[str]:
    """Yield a line for each instruction, for a golden file and for reading."""
    names = {LOAD: "load", JUMP_IF_EQUAL: "equal", JUMP_IF_AT_LEAST: "at_least", JUMP_IF_ANY_BIT: "any_bit", RETURN: "return"}
    for place, step in enumerate(steps):
        yield f"{place:3} {names[step.code]:8} {step.if_true} {step.if_false} {step.value:#x}"


def _returning(action: int) -> Step:
    return Step(RETURN, 0, 0, action)


def _when(machine: Machine, name: str, body: list[Step]) -> list[Step]:
    """Run `body`, which always returns, for this call and skip it for others; nothing where the machine has no such call."""
    number = machine.numbers.get(name)
    return [] if number is None else [Step(JUMP_IF_EQUAL, 0, len(body), number), *body]


def _argument(place: int) -> Step:
    return Step(LOAD, 0, 0, ARGUMENTS_AT + 8 * place)


def _if_equal(place: int, value: int, then: int, otherwise: int) -> list[Step]:
    return [_argument(place), Step(JUMP_IF_EQUAL, 0, 1, value), _returning(then), _returning(otherwise)]


def _if_bit(place: int, bit: int, then: int, otherwise: int) -> list[Step]:
    return [_argument(place), Step(JUMP_IF_ANY_BIT, 0, 1, bit), _returning(then), _returning(otherwise)]


def _unless_bit(place: int, bit: int) -> list[Step]:
    """Refuse when the bit is set, go on otherwise."""
    return [_argument(place), Step(JUMP_IF_ANY_BIT, 0, 1, bit), _returning(refuse(errno.EPERM))]
