"""Attacks on memory: the candles that several share, the interpreter's own, and the results."""

from typing import Final

from tests.sandbox.attacks.row import Attack

MEMORY: Final = (
    Attack(
        number=49,
        title="crash: write to address 8",
        code="ctypes.memset(8, 0, 1)",
        outcome=r"^killed: .*SIGSEGV",
        by="it ends its own process",
    ),
    Attack(
        number=60,
        title="write the shared candles (memmove)",
        code="""
def at_indicators(strategy, candles):
    ctypes.memmove(address_of(candles.close), struct.pack("d", 666.0), 8)
    raise Leak("forged a price")
""",
        asks=("load", "run"),
        outcome=r"^killed: .*SIGSEGV",
        by="seal, and a mapping that is read-only",
    ),
    Attack(
        number=61,
        title="make the shared candles writable (mprotect), then write",
        code="""
def at_indicators(strategy, candles):
    place = address_of(candles.close)
    call("mprotect", place & ~4095, 4096, 3)
    ctypes.memmove(place, struct.pack("d", 666.0), 8)
    raise Leak("forged a price")
""",
        asks=("load", "run"),
        outcome=r"^raised: PermissionError: \[Errno 13\]",
        by="seal",
    ),
    Attack(
        number=63,
        title="numpy: flags.writeable = True on the candles",
        code="""
def at_indicators(strategy, candles):
    candles.close.flags.writeable = True
    candles.close[0] = 666.0
    raise Leak("forged a price")
""",
        asks=("load", "run"),
        outcome=r"^raised: ValueError",
        by="memory that was given read-only",
    ),
    Attack(
        number=65,
        title="as_strided beyond the end, through the worker's own memory",
        code="""
view = numpy.lib.stride_tricks.as_strided(numpy.zeros(1, "u1"), shape=(2**32,), strides=(1,))
for start in range(0, 2**32, 2**20):
    look(view[start : start + 2**20].tobytes())
""",
        outcome=r"^killed: .*SIGSEGV",
        by="clean start: nothing of the server is in this memory",
    ),
    Attack(
        number=70,
        title="search everything that the interpreter holds",
        code="""
def reach(thing):
    if type(thing) in (str, bytes, bytearray):
        look(thing)

seen = set()
pile = gc.get_objects()
while pile:
    thing = pile.pop()
    if id(thing) in seen:
        continue
    seen.add(id(thing))
    reach(thing)
    if type(thing) in (dict, list, tuple, set):
        pile.extend(gc.get_referents(thing))
    elif len(seen) < 300000:
        pile.extend(it for it in gc.get_referents(thing) if type(it) in (str, bytes, bytearray, dict))
""",
        outcome=r"^answered",
        by="clean start",
    ),
    Attack(
        number=112,
        title="read all of the worker's own memory through /proc/self/mem",
        code="""
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
    for line in maps:
        first, last = (int(it, 16) for it in line.split()[0].split("-"))
        if " r" in line and last < 2**47:
            memory.seek(first)
            try:
                look(memory.read(last - first))
            except OSError:
                pass
""",
        outcome=r"^raised: PermissionError",
        by="clean start: where it can be read, nothing of others is in it",
    ),
    Attack(
        number=113,
        title="punch a hole into the shared candles (MADV_REMOVE)",
        code="""
def at_indicators(strategy, candles):
    call("madvise", address_of(candles.time) & ~4095, 4096, 9)
    raise Leak("punched a hole")
""",
        asks=("load", "run"),
        outcome=r"^raised: PermissionError: \[Errno 13\]",
        by="seal",
    ),
    Attack(
        number=114,
        title="map the shared candles a second time (mremap of length 0), then write",
        code="""
def at_indicators(strategy, candles):
    place = address_of(candles.time) & ~4095
    again = call("mremap", place, 0, 4096, 1)
    call("mprotect", again, 4096, 3)
    ctypes.memmove(again, struct.pack("d", 666.0), 8)
    raise Leak("forged a price")
""",
        asks=("load", "run"),
        outcome=r"^raised: PermissionError: \[Errno 13\]",
        by="seal",
    ),
    Attack(
        number=115,
        title="reserve more addresses than there are (mmap of 64 TB)",
        code="""
call("mmap", 0, 2**46, 0, 0x4022, -1, 0)
raise Leak("reserved")
""",
        outcome=r"^raised: OSError: \[Errno 12\]",
        only="✗✗✓✗✗",
    ),
    Attack(
        number=116,
        title="unmap the library that the interpreter runs in",
        code="""
place = ctypes.cast(libc.syscall, ctypes.c_void_p).value & ~4095
call("munmap", place, 4096)
""",
        outcome=r"^(killed|raised|answered)",
        by="it ends its own process",
    ),
    Attack(
        number=117,
        title="overwrite the type of the guest's object in memory",
        code="""
for thing in gc.get_objects():
    if type(thing).__name__ == "Guest":
        ctypes.memset(id(thing) + 8, 0x41, 8)
""",
        asks=("load", "decide"),
        outcome=r"^(killed|raised)",
        by="it ends its own process",
    ),
)
