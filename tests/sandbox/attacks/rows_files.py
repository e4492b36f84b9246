"""Attacks on what is stored: the environment, files, the file system."""

from typing import Final

from tests.sandbox.attacks.row import Attack

REFUSED: Final = r"^raised: PermissionError"

FILES: Final = (
    Attack(
        number=1,
        title="os.environ",
        code="""
look(repr(dict(os.environ)))
place, index = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ"), 0
while place and place[index]:
    look(place[index])
    index += 1
""",
        outcome=r"^answered",
        by="clean start: the zygote has an environment of its own",
    ),
    Attack(
        number=2,
        title="/proc/self/environ",
        code='look(open("/proc/self/environ", "rb").read())',
        outcome=REFUSED,
        by="clean start",
    ),
    Attack(
        number=3,
        title="/proc/<server>/environ",
        code='look(open(f"/proc/{V[\'server_pid\']}/environ", "rb").read())',
        outcome=REFUSED,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=4,
        title="read .env (0600 of the server)",
        code='look(open(V["env_file"], "rb").read())',
        outcome=REFUSED,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=5,
        title="read a world-readable file of the server",
        code='look(open(V["app_file"], "rb").read())',
        outcome=REFUSED,
        only="✗✗✗✓✓",
    ),
    Attack(
        number=6,
        title="read /etc/passwd",
        code='raise Leak(open("/etc/passwd").readline())',
        outcome=REFUSED,
        only="✗✗✗✓✓",
    ),
    Attack(
        number=7,
        title="list / and stat what is there",
        code='raise Leak(repr([(name, os.stat(f"/{name}").st_mtime) for name in os.listdir("/")][:3]))',
        outcome=REFUSED,
        only="✗✗✗✓✓",
    ),
    Attack(
        number=8,
        title="os.stat as an oracle for which files exist",
        code="""
os.stat("/etc/passwd")
try:
    os.stat("/etc/passwd-that-nobody-has")
except FileNotFoundError:
    raise Leak("one exists, the other does not") from None
""",
        outcome=REFUSED,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=30,
        title="write beside the installed packages",
        code="""
path = V["closed_folder"] + "/sitecustomize.py"
os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
os.unlink(path)
raise Leak("wrote " + path)
""",
        outcome=REFUSED,
        only="✗✓✓✓✓",
    ),
    Attack(
        number=31,
        title="write into a folder that is open to all (/tmp)",
        code="""
path = V["open_folder"] + "/written"
try:
    with open(path, "wb") as file:
        file.write(b"x" * 100)
    raise Leak("wrote " + path)
finally:
    os.unlink(path)
""",
        outcome=REFUSED,
        only="✗✗✓✓✓",
        note="a user of its own does not keep anybody out of a folder that is open to all; the limit on the length of files does",
    ),
    Attack(
        number=32,
        title="symlink to a file of the server, then read it",
        code="""
link = V["open_folder"] + "/link"
try:
    os.symlink(V["app_file"], link)
    look(open(link, "rb").read())
finally:
    os.unlink(link)
""",
        outcome=REFUSED,
        only="✗✗✗✓✓",
    ),
    Attack(
        number=36,
        title="open by the raw system call",
        code="""
file = call("openat", -100, b"/etc/passwd", 0, 0)
raise Leak(os.read(file, 60).decode())
""",
        outcome=REFUSED,
        only="✗✗✗✓✓",
        note="with seccomp alone the answer is read through the soft refusal of open",
    ),
    Attack(
        number=37,
        title="openat2",
        code="""
how = (ctypes.c_uint64 * 3)(0, 0, 0)
file = call("openat2", -100, b"/etc/passwd", how, 24)
raise Leak(os.read(file, 60).decode())
""",
        outcome=r"^killed: .*SIGSYS",
        only="✗✗✗✓✓",
    ),
    Attack(
        number=59,
        title="every other descriptor (0 to 1023)",
        code="""
open_ones = []
for number in range(4, 1024):
    try:
        open_ones.append((number, oct(os.fstat(number).st_mode)))
    except OSError:
        pass
if open_ones:
    raise Leak(repr(open_ones))
""",
        outcome=r"^answered",
        by="clean start: everything but the one socket is closed before the lock",
        note="in the first measuring the descriptors were closed as one of the layers",
    ),
    Attack(
        number=62,
        title="write the shared candles through /proc/self/mem",
        code="""
def at_indicators(strategy, candles):
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(address_of(candles.close))
        memory.write(struct.pack("d", 666.0))
    if candles.close[0] == 666.0:
        raise Leak("forged a price")
""",
        asks=("load", "run"),
        outcome=REFUSED,
        by="seal: a shared mapping that may never be written is not written for a debugger either",
    ),
    Attack(
        number=68,
        title="fill the disk",
        code="""
path = V["open_folder"] + "/big"
try:
    with open(path, "wb") as file:
        for _ in range(8):
            file.write(b"x" * 2**20)
    raise Leak("wrote 8 MB")
finally:
    os.unlink(path)
""",
        outcome=REFUSED,
        only="✗✗✓✓✓",
        note="as row 31",
    ),
)
