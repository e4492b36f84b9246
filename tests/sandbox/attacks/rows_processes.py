"""Attacks on other processes, and attempts to become more than one."""

from typing import Final

from tests.sandbox.attacks.row import Attack

CAUGHT: Final = r"^killed: .*SIGSYS"
REFUSED: Final = r"^raised: PermissionError"

PROCESSES: Final = (
    Attack(
        number=14,
        title="fork, thirty times",
        code="""
children = []
for _ in range(30):
    child = os.fork()
    if child == 0:
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
raise Leak(f"{len(children)} processes")
""",
        outcome=CAUGHT,
        only="✗✗✓✗✓",
    ),
    Attack(
        number=15,
        title="twenty threads",
        code="""
import_thread = _frozen["_builtin_from_name"]("_thread")
for _ in range(20):
    import_thread.start_new_thread(time.sleep, (0.2,))
raise Leak("twenty threads run")
""",
        outcome=r"^raised: RuntimeError",
        only="✗✗✓✗✓",
    ),
    Attack(
        number=24,
        title="signal the server: kill(server, 0)",
        code="""
os.kill(V["server_pid"], 0)
raise Leak("the signal was sent")
""",
        outcome=CAUGHT,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=25,
        title="signal another tenant's worker",
        code="""
os.kill(V["tenant_pid"], 0)
raise Leak("the signal was sent")
""",
        outcome=CAUGHT,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=26,
        title="ptrace the server",
        code="""
call("ptrace", 0x4206, V["server_pid"], 0, 0)
raise Leak("attached")
""",
        outcome=CAUGHT,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=27,
        title="process_vm_readv of the server's secret",
        code="""
room = ctypes.create_string_buffer(V["secret_length"])
here = (ctypes.c_uint64 * 2)(ctypes.addressof(room), len(room))
there = (ctypes.c_uint64 * 2)(V["secret_address"], len(room))
call("process_vm_readv", V["server_pid"], here, 1, there, 1, 0)
look(room.raw)
""",
        outcome=CAUGHT,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=28,
        title="/proc/<server>/mem",
        code="""
with open(f"/proc/{V['server_pid']}/mem", "rb", buffering=0) as memory:
    memory.seek(V["secret_address"])
    look(memory.read(V["secret_length"]))
""",
        outcome=REFUSED,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=29,
        title="/proc/<another tenant's worker>/mem",
        code="""
open(f"/proc/{V['tenant_pid']}/mem", "rb", buffering=0)
raise Leak("opened")
""",
        outcome=REFUSED,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=33,
        title="os.system",
        code="""
if os.system("true") == 0:
    raise Leak("a shell ran")
raise ChildProcessError("no shell")
""",
        outcome=CAUGHT,
        only="✗✗✓✓✓",
    ),
    Attack(
        number=34,
        title="execve of a program in place of the worker",
        code='os.execv("/bin/sh", ["sh", "-c", "exit 42"])',
        outcome=CAUGHT,
        only="✗✗✗✓✓",
        worked=r"^killed: .*\b42\b",
    ),
    Attack(
        number=35,
        title="execveat of a program in a memfd",
        code="""
# The smallest program there is: it exits with 42.
program = bytes([0x7F]) + b"ELF" + bytes([2, 1, 1]) + bytes(9) + struct.pack(
    "=HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
program += struct.pack("=IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 132, 132, 4096)
program += bytes([0xB8, 60, 0, 0, 0, 0xBF, 42, 0, 0, 0, 0x0F, 0x05])
file = call("memfd_create", b"program", 0)
os.write(file, program)
call("execveat", file, b"", (ctypes.c_char_p * 1)(None), (ctypes.c_char_p * 1)(None), 0x1000)
""",
        outcome=CAUGHT,
        only="✗✗✓✗✓",
        worked=r"^killed: .*\b42\b",
        machine="x86_64",
        note="a real program, unlike in the first measuring; landlock does not see files without a path, the limit on their length does",
    ),
    Attack(
        number=39,
        title="unshare a user namespace",
        code="""
call("unshare", 0x10000000)
raise Leak("root in a namespace of its own")
""",
        outcome=CAUGHT,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=40,
        title="setuid(0)",
        code="""
call("setuid", 0)
raise Leak("root")
""",
        outcome=CAUGHT,
        only="✗✓✓✗✓",
    ),
    Attack(
        number=41,
        title="raise the limit on memory",
        code="""
call("prlimit64", 0, 9, (ctypes.c_uint64 * 2)(2**46, 2**46), None)
raise Leak("raised")
""",
        outcome=REFUSED,
        only="✗✗✓✗✓",
        note="without limits one may set any",
    ),
    Attack(
        number=64,
        title="walk the subclasses of object to a program",
        code="""
(found,) = (it for it in object.__subclasses__() if it.__name__ == "_wrap_close")
if found.__init__.__globals__["system"]("true") == 0:
    raise Leak("a program ran")
raise ChildProcessError("no program")
""",
        outcome=CAUGHT,
        only="✗✗✓✓✓",
    ),
    Attack(
        number=104,
        title="take a descriptor of the server by pidfd_getfd",
        code="""
file = call("pidfd_open", V["server_pid"], 0)
raise Leak(f"descriptor {call('pidfd_getfd', file, 0, 0)} of the server")
""",
        outcome=CAUGHT,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=105,
        title="clone3, which no filter of arguments can look into",
        code="""
flags = (ctypes.c_uint64 * 8)()
flags[4] = 17
child = call("clone3", flags, 64)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
raise Leak("a process")
""",
        outcome=r"^(raised: OSError: \[Errno 38\]|killed: .*SIGSYS)",
        only="✗✗✓✗✓",
    ),
    Attack(
        number=106,
        title="timers that raise signals",
        code="""
_frozen["_builtin_from_name"]("_signal").signal(14, lambda *_: None)
call("setitimer", 0, (ctypes.c_int64 * 4)(0, 1000, 0, 1000), None)
raise Leak("a timer runs")
""",
        outcome=r"^raised: (OSError|PermissionError)",
        only="✗✗✗✗✓",
    ),
    Attack(
        number=107,
        title="queue a signal with data for the server",
        code="""
call("rt_sigqueueinfo", V["server_pid"], 0, ctypes.create_string_buffer(struct.pack("=iii", 0, 0, -1) + bytes(116), 128))
raise Leak("the signal was sent")
""",
        outcome=CAUGHT,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=108,
        title="become a real-time process",
        code="""
call("sched_setscheduler", 0, 1, (ctypes.c_int * 1)(50))
raise Leak("real-time")
""",
        outcome=r"^raised: (OSError|PermissionError)",
        only="✗✓✓✗✓",
    ),
    Attack(
        number=109,
        title="put another filter over the filter, to lie to itself",
        code="""
call("prctl", 22, 2, ctypes.create_string_buffer(16))
raise Leak("a filter")
""",
        outcome=r"^(raised: (OSError|PermissionError)|killed)",
        by="a filter can only be narrowed, and the call that would do it is refused",
    ),
)
