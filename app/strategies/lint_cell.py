"""Locks itself in and becomes ruff: `python -I -S -B lint_cell.py RUFF ARGUMENTS…`. Nothing of the application is imported here.

Ruff reads a stranger's source. Should that ever make it do anything else, it finds no file but itself and the system's libraries, no TCP,
no process to signal, and little memory and time. Where the kernel has no landlock the limits alone hold.
"""

import ctypes
import os
import resource
import struct
import sys

#: The same numbers on every architecture that has these calls (Linux 5.13).
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH, _NO_NEW_PRIVS = 1, 1, 38
_EXECUTE, _READ_FILE, _READ_DIRECTORY = 1 << 0, 1 << 2, 1 << 3
#: Bits of file access, of TCP and of scopes, and bytes of the attribute, by ABI.
_WORDS = {1: (13, 0, 0, 8), 2: (14, 0, 0, 8), 3: (15, 0, 0, 8), 4: (15, 2, 0, 16), 5: (16, 2, 0, 16), 6: (16, 2, 2, 24)}
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_LIMITS = (
    (resource.RLIMIT_CPU, 4),
    (resource.RLIMIT_AS, 1 << 30),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 32),
)


def main(command: list[str]) -> None:
    """Lock this process in for good, and replace it by the command."""
    for which, most in _LIMITS:
        resource.setrlimit(which, (most, most))
    if sys.platform == "linux":
        _deny_all_but([command[0], *_LIBRARIES])
    os.execve(command[0], command, {"RAYON_NUM_THREADS": "1", "NO_COLOR": "1"})  # noqa: S606  # no shell; the path is ruff's own


def _deny_all_but(paths: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    abi = min(libc.syscall(ctypes.c_long(CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION)), max(_WORDS))
    ruleset = -1
    # Some kernels announce more than they take.
    while abi >= 1 and ruleset < 0:
        files, tcp, scopes, size = _WORDS[abi]
        words = struct.pack("<QQQ", (1 << files) - 1, (1 << tcp) - 1, (1 << scopes) - 1)
        ruleset = libc.syscall(ctypes.c_long(CREATE_RULESET), ctypes.c_char_p(words), ctypes.c_size_t(size), ctypes.c_uint(0))
        abi -= 1
    if ruleset < 0:
        return
    for path in paths:
        _allow_reading(libc, ruleset, path)
    libc.syscall(ctypes.c_long(RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint(0))
    os.close(ruleset)


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    if not os.path.exists(path):  # a module less to import
        return
    rights = _EXECUTE | _READ_FILE | (_READ_DIRECTORY if os.path.isdir(path) else 0)
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("<Qi", rights, descriptor)
    libc.syscall(ctypes.c_long(ADD_RULE), ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.c_char_p(rule), ctypes.c_uint(0))
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
