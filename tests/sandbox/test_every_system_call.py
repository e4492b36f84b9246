"""Every system call there is, made for real by a locked worker: those of the table, and every number that no table names."""

import pytest

from app.sandbox.cell import Cause, End
from app.sandbox.keeper import Keeper
from app.sandbox.lock import kernel
from app.sandbox.lock.policy import ALLOWED, BY_ARGUMENT, DEADLY, ON_THE_SOCKET
from tests.sandbox.conftest import probed

pytestmark = pytest.mark.asyncio

_HERE = kernel.machine()
assert _HERE is not None, "strategies do not run on this machine at all"
_NUMBERS = _HERE.numbers
#: uretprobe and uprobe of x86: kernels from 6.14 on let them pass every filter, and send a SIGILL to whoever is no probe.
_PAST_EVERY_FILTER = {335, 336} if _HERE.name == "x86_64" else set()
_MAKE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
nothing = [ctypes.c_long(0)] * 6
"""


async def test_every_number_that_is_neither_allowed_nor_deadly_is_refused_and_does_nothing(keeper: Keeper) -> None:
    spoken_for = {_NUMBERS[name] for name in (*ALLOWED, *BY_ARGUMENT, *DEADLY, *ON_THE_SOCKET) if name in _NUMBERS}
    others = [number for number in range(1_100) if number not in spoken_for | _PAST_EVERY_FILTER]
    source = f"""{_MAKE}
wrong = []
for number in {others!r}:
    got = libc.syscall(ctypes.c_long(number), *nothing)
    # EPERM, EBADF, EAGAIN, EACCES, ENOSYS
    if got != -1 or ctypes.get_errno() not in (1, 9, 11, 13, 38):
        wrong.append((number, got, ctypes.get_errno()))
result = f"{{len({others!r})}} refused, but for {{wrong}}"
"""
    assert await probed(keeper, source) == f"{len(others)} refused, but for []"


@pytest.mark.parametrize("name", [name for name in DEADLY if name in _NUMBERS])
async def test_a_deadly_call_is_the_end_of_its_worker(keeper: Keeper, name: str) -> None:
    end = await probed(keeper, f"{_MAKE}libc.syscall(ctypes.c_long({_NUMBERS[name]}), *nothing)\nresult = 'it lives'")
    assert isinstance(end, End), end
    assert (end.cause, end.detail) == (Cause.SIGNAL, "killed by SIGSYS")
