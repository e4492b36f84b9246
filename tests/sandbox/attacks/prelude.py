"""What every attack begins with: the way from an ordinary strategy to everything that the interpreter holds.

A list of forbidden imports is no wall: each line here is allowed Python. So the attacks meet the kernel and the protocol, not the good
manners of the language.
"""

import platform
from typing import Final

#: Numbers of the system calls that attacks make by number, for the two processors that strategies may run on.
_NUMBERS: Final = {
    "x86_64": {
        "openat": 257,
        "openat2": 437,
        "socket": 41,
        "connect": 42,
        "bind": 49,
        "sendto": 44,
        "sendmsg": 46,
        "ptrace": 101,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "execveat": 322,
        "memfd_create": 319,
        "io_uring_setup": 425,
        "unshare": 272,
        "add_key": 248,
        "shmget": 29,
        "shmctl": 31,
        "bpf": 321,
        "userfaultfd": 323,
        "perf_event_open": 298,
        "prlimit64": 302,
        "munmap": 11,
        "mprotect": 10,
        "madvise": 28,
        "mremap": 25,
        "mmap": 9,
        "setitimer": 38,
        "timer_create": 222,
        "fcntl": 72,
        "pidfd_open": 434,
        "pidfd_getfd": 438,
        "tgkill": 234,
        "clone": 56,
        "clone3": 435,
        "prctl": 157,
        "setuid": 105,
        "sched_setscheduler": 144,
        "name_to_handle_at": 303,
        "kcmp": 312,
        "set_mempolicy": 238,
        "seccomp": 317,
        "mount": 165,
        "io_setup": 206,
        "inotify_init1": 294,
        "rt_sigqueueinfo": 129,
    },
    "aarch64": {
        "openat": 56,
        "openat2": 437,
        "socket": 198,
        "connect": 203,
        "bind": 200,
        "sendto": 206,
        "sendmsg": 211,
        "ptrace": 117,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "execveat": 281,
        "memfd_create": 279,
        "io_uring_setup": 425,
        "unshare": 97,
        "add_key": 217,
        "shmget": 194,
        "shmctl": 195,
        "bpf": 280,
        "userfaultfd": 282,
        "perf_event_open": 241,
        "prlimit64": 261,
        "munmap": 215,
        "mprotect": 226,
        "madvise": 233,
        "mremap": 216,
        "mmap": 222,
        "setitimer": 103,
        "timer_create": 107,
        "fcntl": 25,
        "pidfd_open": 434,
        "pidfd_getfd": 438,
        "tgkill": 131,
        "clone": 220,
        "clone3": 435,
        "prctl": 167,
        "setuid": 146,
        "sched_setscheduler": 119,
        "name_to_handle_at": 264,
        "kcmp": 272,
        "set_mempolicy": 237,
        "seccomp": 277,
        "mount": 40,
        "io_setup": 0,
        "inotify_init1": 26,
        "rt_sigqueueinfo": 138,
    },
}

_PRELUDE: Final = '''
import numpy
from aristobot import Strategy

_frozen = type(numpy.__spec__).__init__.__globals__
sys = _frozen["sys"]
gc = _frozen["_builtin_from_name"]("gc")


class Leak(Exception):
    """The attack worked."""


def need(name):
    """The module, whoever took it out of sight."""
    if sys.modules.get(name) is not None:
        return sys.modules[name]
    for thing in gc.get_objects():
        if type(thing) is type(sys) and thing.__name__ == name:
            return thing
    return _frozen["_gcd_import"](name)


os, re, struct, ctypes = need("os"), need("re"), need("struct"), need("ctypes")
time = _frozen["_builtin_from_name"]("time")
itertools = _frozen["_builtin_from_name"]("itertools")
open = need("io").open
# The lock's own way to the C library, opened before anybody could have been told not to.
libc = need("app.sandbox.lock.kernel")._libc
libc.syscall.restype = ctypes.c_long


def call(name, *arguments):
    """A system call past everything that Python has to say about it."""
    number = NUMBERS[name] if type(name) is str else name
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(it) if type(it) is int else it for it in arguments])
    if result != -1:
        return result
    try:
        why = ctypes.get_errno()
    except PermissionError:
        why = 1  # the language's manners keep us from knowing, not from calling
    raise OSError(why, f"{name}")


SECRET = re.compile(rb"(?:server|tenant)-secret-[0-9a-f]{32}")


def look(data):
    """Leak a secret of somebody else that stands in the data."""
    found = SECRET.search(data.encode("utf-8", "replace") if type(data) is str else bytes(data))
    if found:
        raise Leak(found.group().decode())


def request_id():
    """The id of the request that is being answered, out of the frames of those who called us, or out of memory."""
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ == "Asked":
                return value.request_id
        frame = frame.f_back
    for value in gc.get_objects():
        if type(value).__name__ == "Asked":
            return value.request_id
    raise LookupError("no request is in sight")


def send(payload, length=None):
    """Write a message to the server, as long as it is or as long as it claims to be."""
    left = memoryview(struct.pack(HEADER, len(payload) if length is None else length) + payload)
    while left:
        left = left[os.write(3, left):]


def answer(reply, number=None):
    """Send a reply in place of the one that is due."""
    send(need("msgspec").msgpack.encode({"request_id": request_id() if number is None else number, "reply": reply}))


def address_of(array):
    """Where the numbers of an array lie."""
    return array.__array_interface__["data"][0]


def at_indicators(strategy, candles):
    pass


def at_candle(strategy):
    return False

'''

_CLASS: Final = """

class Attack(Strategy):
    timeframe = "1h"
    warm_up = 0

    def indicators(self, candles):
        at_indicators(self, candles)

    def should_long(self):
        return bool(at_candle(self))

    def should_exit(self):
        return False
"""


def source(code: str, facts: dict[str, object], *, header: str) -> str:
    """Return the strategy that makes this attack.

    Args:
        code: Of the row.
        facts: What the attacker is told of the victims, as `V`; plain values only.
        header: How the length of a message is packed.
    """
    given = f"NUMBERS = {_NUMBERS[platform.machine()]!r}\nV = {facts!r}\nHEADER = {header!r}\n"
    return given + _PRELUDE + code + _CLASS
