"""Attacks on the rarer doors of the kernel."""

from typing import Final

from tests.sandbox.attacks.row import Attack

CAUGHT: Final = r"^killed: .*SIGSYS"

KERNEL: Final = (
    Attack(
        number=38,
        title="io_uring_setup",
        code="raise Leak(f\"descriptor {call('io_uring_setup', 4, ctypes.create_string_buffer(120))}\")",
        outcome=CAUGHT,
        only="✗✗✓✗✓",
        note="where kernel.io_uring_disabled is 0",
    ),
    Attack(
        number=42,
        title="add_key",
        code="raise Leak(f\"key {call('add_key', b'user', b'name', b'payload', 7, -2)}\")",
        outcome=CAUGHT,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=43,
        title="shared memory of System V",
        code="""
number = call("shmget", 0, 4096, 0o1600)
call("shmctl", number, 0, None)
raise Leak(f"segment {number}")
""",
        outcome=CAUGHT,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=44,
        title="bpf: make a map",
        code="raise Leak(f\"descriptor {call('bpf', 0, (ctypes.c_uint32 * 18)(2, 4, 8, 1), 72)}\")",
        outcome=CAUGHT,
        only="✗✓✓✗✓",
        note="with arguments that the kernel takes, unlike in the first measuring; kernel.unprivileged_bpf_disabled keeps users out",
    ),
    Attack(
        number=45,
        title="userfaultfd",
        code="raise Leak(f\"descriptor {call('userfaultfd', 0)}\")",
        outcome=CAUGHT,
        only="✗✓✓✗✓",
        note="vm.unprivileged_userfaultfd keeps users out",
    ),
    Attack(
        number=46,
        title="perf_event_open of the kernel",
        code="""
attributes = ctypes.create_string_buffer(struct.pack("=IIQ", 1, 112, 0), 112)
raise Leak(f"descriptor {call('perf_event_open', attributes, 0, -1, -1, 0)}")
""",
        outcome=CAUGHT,
        only="✗✓✓✗✓",
        note="kernel.perf_event_paranoid keeps users out",
    ),
    Attack(
        number=66,
        title="machine code in memory, calling the kernel by int 0x80",
        code="""
# mov eax, 20 (getpid of 32 bits); int 0x80; ret
code = bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3])
place = call("mmap", 0, 4096, 7, 0x22, -1, 0)
ctypes.memmove(place, code, len(code))
raise Leak(f"machine code says that we are {ctypes.CFUNCTYPE(ctypes.c_int)(place)()}")
""",
        outcome=r"^raised: PermissionError",
        only="✗✗✗✗✓",
        machine="x86_64",
    ),
    Attack(
        number=67,
        title="a number of the x32 interface",
        code='raise Leak(f"we are {call(0x40000000 + 39)}")',
        outcome=CAUGHT,
        by="the kernel here has no x32; where it has, the filter kills",
        machine="x86_64",
    ),
    Attack(
        number=110,
        title="make memory writable first and executable later",
        code="""
code = bytes([0xB8, 7, 0, 0, 0, 0xC3])
place = call("mmap", 0, 4096, 3, 0x22, -1, 0)
ctypes.memmove(place, code, len(code))
call("mprotect", place, 4096, 5)
raise Leak(f"machine code says {ctypes.CFUNCTYPE(ctypes.c_int)(place)()}")
""",
        outcome=r"^raised: PermissionError",
        only="✗✗✗✗✓",
        machine="x86_64",
    ),
    Attack(
        number=111,
        title="asynchronous I/O, inotify, kcmp, mempolicy and other quiet doors",
        code="""
opened = []
for name, arguments in (
    ("io_setup", (4, (ctypes.c_uint64 * 1)())),
    ("inotify_init1", (0,)),
    ("kcmp", (os.getpid(), os.getpid(), 0, 0, 0)),
    ("set_mempolicy", (0, None, 0)),
):
    try:
        call(name, *arguments)
        opened.append(name)
    except OSError:
        pass
if opened:
    raise Leak(repr(opened))
""",
        outcome=r"^(answered|killed: .*SIGSYS)",
        only="✗✗✗✗✓",
    ),
    Attack(
        number=154,
        title="jump to an int 0x80 that stands in the C library by chance",
        code="""
place = struct.unpack("Q", ctypes.string_at(ctypes.addressof(libc.syscall), 8))[0]
if V["int_0x80"]:
    raise Leak(f"the kernel's other door says {ctypes.CFUNCTYPE(ctypes.c_int)(place + V['int_0x80'])()}")
ctypes.memset(8, 0, 1)
""",
        outcome=r"^killed: signal .*SIG(SYS|SEGV)",
        by="the filter kills calls of another architecture",
        machine="x86_64",
    ),
)
