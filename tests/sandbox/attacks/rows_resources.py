"""Attacks that use up what all share: time, memory, patience."""

from typing import Final

from tests.sandbox.attacks.row import Attack

TOO_LONG: Final = r"^killed: (wall|cpu)"
CLOCK: Final = "watchdog: the time that a request may take"
_SOON: Final = 0.4

RESOURCES: Final = (
    Attack(
        number=16,
        title="memory in one piece (1.5 GB)",
        code="""
taken = numpy.zeros(1536 * 2**20, "u1")
raise Leak(f"took {len(taken)} bytes")
""",
        outcome=r"^raised: MemoryError",
        only="✗✗✓✗✗",
        note="untouched memory is given at once, so that no clock can be in the way as it was in the first measuring",
    ),
    Attack(
        number=17,
        title="memory in small pieces",
        code="""
taken = []
while len(taken) < 400:
    taken.append(numpy.full(2**17, 1.0))
raise Leak(f"took {len(taken)} MB")
""",
        outcome=r"^raised: .*MemoryError",
        only="✗✗✓✗✗",
    ),
    Attack(number=18, title="infinite loop", code="while True:\n    pass\n", outcome=TOO_LONG, by=CLOCK, wall_s=_SOON),
    Attack(
        number=19,
        title="loop in C that holds the interpreter's lock",
        code='need("collections").deque(itertools.repeat(0), maxlen=0)\n',
        outcome=TOO_LONG,
        by=CLOCK,
        wall_s=_SOON,
    ),
    Attack(
        number=20,
        title="regular expression without end",
        code='re.match(r"(a+)+$", "a" * 60 + "b")\n',
        outcome=TOO_LONG,
        by=CLOCK,
        wall_s=_SOON,
    ),
    Attack(number=21, title="sleep for ever", code="time.sleep(1e6)\n", outcome=TOO_LONG, by=CLOCK, wall_s=_SOON),
    Attack(
        number=23,
        title="print 100 MB",
        code="""
def at_candle(strategy):
    for _ in range(100):
        print("x" * 10**6)
""",
        asks=("load", "decide"),
        outcome=r"^(answered|raised: MemoryError)",
        by="what is printed is cut",
    ),
    Attack(
        number=47,
        title="ignore all signals, then loop",
        code="""
signal = _frozen["_builtin_from_name"]("_signal").signal
for number in range(1, 65):
    try:
        signal(number, lambda *_: None)
    except (OSError, ValueError):
        pass
while True:
    pass
""",
        outcome=TOO_LONG,
        by=CLOCK,
        wall_s=_SOON,
    ),
    Attack(
        number=48,
        title="recursion without end",
        code="""
sys.setrecursionlimit(2**31 - 1)

class Nested:
    def __repr__(self):
        return repr(self)

repr(Nested())
""",
        outcome=r"^(killed|raised: (RecursionError|MemoryError))",
        by="the stack ends, or the clock",
        wall_s=_SOON,
    ),
    Attack(
        number=69,
        title="answer, then keep computing",
        code="""
def at_candle(strategy):
    answer({"type": "decision", "action": "none"})
    while True:
        pass
""",
        asks=("load", "decide", "idle", "decide"),
        outcome=r"^killed: idle_cpu",
        by="accounting: processor time that is used between requests ends a worker",
    ),
    Attack(
        number=118,
        title="a huge number in one operation",
        code="sum(divmod(10**5000000, 7))\n",
        outcome=r"^(killed: (wall|cpu)|raised: MemoryError)",
        by=CLOCK,
        wall_s=_SOON,
    ),
    Attack(
        number=119,
        title="an exception that never ends when it is put in words",
        code="""
class Endless(Exception):
    def __str__(self):
        while True:
            pass

raise Endless
""",
        outcome=TOO_LONG,
        by=CLOCK,
        wall_s=_SOON,
    ),
    Attack(
        number=120,
        title="an exception with a hundred thousand causes",
        code="""
error = ValueError()
for _ in range(100000):
    new = ValueError()
    new.__cause__ = error
    error = new
raise error
""",
        outcome=r"^(raised|killed)",
        by="a traceback is cut, and the clock",
        wall_s=_SOON,
    ),
    Attack(
        number=121,
        title="end without an answer",
        code="os._exit(0)\n",
        outcome=r"^killed",
        by="the end of a worker is seen",
    ),
    Attack(
        number=122,
        title="exceptions that no code of a user should raise (SystemExit)",
        code="raise SystemExit(0)\n",
        outcome=r"^(raised: SystemExit|killed)",
        by="all exceptions are caught",
    ),
    Attack(
        number=123,
        title="stop itself by a signal to its own thread",
        code='call("tgkill", os.getpid(), need("_thread").get_native_id(), 19)\n',
        outcome=r"^(killed|raised: (PermissionError|OSError))",
        by=CLOCK,
        wall_s=_SOON,
    ),
    Attack(
        number=150,
        title="end by a real-time signal, which has no name",
        code='call("tgkill", os.getpid(), need("_thread").get_native_id(), 40)\ntime.sleep(1e6)\n',
        outcome=r"^killed: signal",
        by="the end of a worker is seen",
    ),
)
