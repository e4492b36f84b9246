"""The attacks with which the doctor tries the lock each time sandboxd starts: one for each way out that matters most.

Each source sets `result` to "breach" when it got what it wanted. What stops it is named, so that an attack which fails by a mistake of
its own counts as unknown and not as stopped.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack.

    Attributes:
        code: Its stable name.
        source: What the worker runs.
        stopped_by: Names of signals, of exceptions or of causes with which it may end; `nothing` when it may end well, without a breach.
    """

    code: str
    source: str
    stopped_by: frozenset[str]


def _attack(code: str, source: str, *stopped_by: str) -> Attack:
    return Attack(code=code, source=source, stopped_by=frozenset(stopped_by))


#: Calls into the C library by hand: what a strategy can do that goes around Python.
_RAW: Final = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
_REFUSED: Final = "\nif got < 0: raise OSError(ctypes.get_errno(), 'refused')\nresult = 'breach'"

_READ_ALL: Final = """
import os
for fd in (0, 1, 2, *range(4, 64)):
    try:
        os.read(fd, 1)
        result = 'breach'
    except OSError as error:
        assert error.errno == 9, error
"""

ATTACKS: Final = (
    _attack("read_a_file", "open('/etc/passwd').read()\nresult = 'breach'", "PermissionError"),
    _attack("list_a_directory", "import os\nos.listdir('/')\nresult = 'breach'", "PermissionError"),
    _attack("write_a_file", "open('/tmp/aristobot-doctor', 'w').write('x')\nresult = 'breach'", "PermissionError"),
    _attack("read_a_file_in_c", _RAW + "got = libc.open(b'/etc/hostname', 0)" + _REFUSED, "PermissionError"),
    _attack("reach_the_network", "import socket\nsocket.socket().connect(('127.0.0.1', 5432))\nresult = 'breach'", "SIGSYS"),
    _attack("reach_a_unix_socket", "import socket\nsocket.socket(socket.AF_UNIX)\nresult = 'breach'", "SIGSYS"),
    _attack("fork", "import os\nif not os.fork(): os._exit(0)\nresult = 'breach'", "SIGSYS"),
    _attack("run_a_program", _RAW + "got = libc.execv(b'/bin/true', None)" + _REFUSED, "SIGSYS"),
    _attack("start_a_thread", "import threading\nthreading.Thread(target=int).start()\nresult = 'breach'", "RuntimeError"),
    _attack("signal_a_process", "import os\nos.kill(1, 0)\nresult = 'breach'", "SIGSYS"),
    _attack("trace_a_process", _RAW + "got = libc.ptrace(16, 1, 0, 0)" + _REFUSED, "SIGSYS"),
    _attack(
        "run_machine_code",
        _RAW + "libc.mmap.restype = ctypes.c_long\ngot = libc.mmap(None, 4096, 7, 0x22, -1, 0)" + _REFUSED,
        "PermissionError",
    ),
    _attack("use_another_descriptor", _READ_ALL, "nothing"),
    _attack("take_all_memory", "held = []\nwhile len(held) < 400: held.append(bytearray(10 << 20))\nresult = 'breach'", "MemoryError"),
    _attack("never_end", "while True: pass", "wall"),
    _attack("forge_an_answer", "import os\nos.write(3, b'\\xff' * 64)\nwhile True: pass", "protocol"),
)  # fmt: skip
