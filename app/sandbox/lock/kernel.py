"""The kernel's own calls that Python has no function for, through ctypes. Linux alone has them; nothing here is called elsewhere."""

import ctypes
import errno
import os
import platform
import struct
from typing import Final

from app.sandbox.lock.bpf import assembled, program
from app.sandbox.lock.tables import MACHINES, Machine

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38

_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_GET_ACTION_AVAIL: Final = 2
_KILL_PROCESS: Final = 0x80000000
_CAPABILITY_VERSION_3: Final = 0x20080522
_LAST_CAPABILITY: Final = 63

#: Rights of landlock by ABI: bits of file access, bits of TCP, scopes. Each ABI adds to the one before it.
_LANDLOCK: Final = {1: (13, 0, 0), 2: (14, 0, 0), 3: (15, 0, 0), 4: (15, 2, 0), 5: (16, 2, 0), 6: (16, 2, 2)}
_LANDLOCK_ATTRIBUTE_BYTES: Final = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16, 6: 24}

#: Options of malloc (malloc.h): bytes from which memory is given back, and from which an array gets pages of its own.
_KEPT: Final = ((-1, 256 << 20), (-3, 32 << 20))

_libc = ctypes.CDLL(None, use_errno=True)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def machine() -> Machine | None:
    """Return this machine's architecture; None where the lock has no table for it."""
    is_64_bit = struct.calcsize("P") == 8
    return MACHINES.get(platform.machine()) if is_64_bit else None


def prctl(option: int, value: int = 0) -> None:
    """Change a property of this process.

    Raises:
        OSError: the kernel refuses.
    """
    _checked(_libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)), "prctl")


def keep_freed_memory() -> None:
    """Have the C library keep what arrays leave behind for the next ones: fetching each page anew costs more than computing on it."""
    mallopt = getattr(_libc, "mallopt", None)  # not every C library has it
    if mallopt is not None:
        for option, value in _KEPT:
            mallopt(option, value)


def close_range(here: Machine | None, first: int) -> None:
    """Close every descriptor from `first` on."""
    if here is None:
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
        return
    try:
        _call(here, "close_range", ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), ctypes.c_uint(0))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))  # Linux before 5.9


def drop_bounding_set() -> None:
    """Give up every capability that an executed file could bring back. Needs CAP_SETPCAP."""
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # this kernel has no more of them
            raise


def drop_capabilities(here: Machine) -> None:
    """Give up every capability that this process has or could pass on."""
    header = struct.pack("<II", _CAPABILITY_VERSION_3, 0)
    _call(here, "capset", ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def landlock_abi(here: Machine) -> int:
    """Return which ABI of landlock the kernel has; 0 without landlock."""
    try:
        return _call(here, "landlock_create_ruleset", None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def deny_by_landlock(here: Machine) -> int:
    """Deny this process every file, TCP, abstract sockets and signals to others; return the ABI in whose words that was done.

    Needs no_new_privs. Some kernels announce more than they take, so a refused ruleset is tried again in the words of older ones.

    Raises:
        OSError: not even the oldest was taken.
    """
    abi = min(landlock_abi(here), max(_LANDLOCK))
    while True:
        files, tcp, scopes = _LANDLOCK[max(abi, 1)]
        words = struct.pack("<QQQ", (1 << files) - 1, (1 << tcp) - 1, (1 << scopes) - 1)
        size = _LANDLOCK_ATTRIBUTE_BYTES[max(abi, 1)]
        try:
            ruleset = _call(here, "landlock_create_ruleset", ctypes.c_char_p(words), ctypes.c_size_t(size), ctypes.c_uint(0))
            break
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.E2BIG) or abi <= 1:
                raise
            abi -= 1
    _call(here, "landlock_restrict_self", ctypes.c_int(ruleset), ctypes.c_uint(0))
    os.close(ruleset)
    return abi


def can_kill_by_seccomp(here: Machine) -> bool:
    """Whether the kernel has filters that kill the whole process."""
    action = ctypes.c_uint32(_KILL_PROCESS)
    try:
        _call(here, "seccomp", ctypes.c_uint(_SECCOMP_GET_ACTION_AVAIL), ctypes.c_uint(0), ctypes.byref(action))
    except OSError:
        return False
    return True


def filter_by_seccomp(here: Machine) -> None:
    """Install the filter of `app.sandbox.lock.bpf` on this process, for good. Needs no_new_privs.

    Raises:
        OSError: the kernel refuses.
    """
    steps = program(here, pid=os.getpid())
    text = ctypes.create_string_buffer(assembled(steps))
    given = _FilterProgram(len(steps), ctypes.cast(text, ctypes.c_void_p))
    _call(here, "seccomp", ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), ctypes.byref(given))


def _call(here: Machine, name: str, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(here.numbers[name]), *arguments), name)


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return int(result)
