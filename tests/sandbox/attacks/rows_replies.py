"""Attacks on the protocol: what is written to the server in place of an answer."""

from typing import Final

from tests.sandbox.attacks.row import Attack

#: The server saw that what came is no reply to what it asked, and ended the worker.
REFUSED: Final = r"^killed: protocol"
TYPES: Final = "typed, bounded messages"
CLEAN: Final = "control characters do not reach a reader"
HAS_CONTROLS: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_SOON: Final = 0.4
FRAMES: Final = "one message at a time, of bounded length"


def _forged(number: int, title: str, reply: str, *, by: str = TYPES, outcome: str = REFUSED) -> Attack:
    """A reply that the guest would never send, written past it."""
    code = f"""
def at_candle(strategy):
    answer({reply})
    time.sleep(0.05)
"""
    return Attack(number=number, title=title, code=code, asks=("load", "decide"), outcome=outcome, by=by)


def _raw(number: int, title: str, line: str, *, by: str = FRAMES, outcome: str = REFUSED, wall_s: float = 5.0) -> Attack:
    """Bytes in place of a reply."""
    return Attack(number=number, title=title, code=f"{line}\ntime.sleep(0.05)\n", outcome=outcome, by=by, wall_s=wall_s)


_DECISION: Final = '{"type": "decision", "action": "long", '

REPLIES: Final = (
    _raw(
        22,
        "a reply of 100 MB",
        """
os.write(3, struct.pack(HEADER, 104857647))
for _ in range(100):
    os.write(3, b"x" * 2**20)
""",
        outcome=r"^killed",
    ),
    _forged(50, "return NaN", _DECISION + '"size": float("nan")}'),
    _forged(51, "return infinity", _DECISION + '"stop": float("inf")}'),
    _raw(
        52,
        "a giant number (5,000 digits, as JSON)",
        'send(b\'{"request_id": 1, "reply": {"type": "ran", "rows": \' + b"9" * 5000 + b\'}}\')',
        by=TYPES,
    ),
    Attack(
        number=53,
        title="return an object in place of a decision",
        code="""
def at_candle(strategy):
    return object()

def position_size(self):
    return object()
Strategy.position_size = position_size
""",
        asks=("load", "decide"),
        outcome=r"^(raised|answered)",
        by="only what the types hold is ever encoded",
    ),
    _raw(
        54,
        "a reply that is nested 60,000 deep",
        'send(struct.pack(">B", 0x82) + b"\\xaarequest_id\\x01\\xa5reply" + b"\\x91" * 60000 + b"\\xc0")',
        by=TYPES,
    ),
    _raw(55, "raw garbage on the socket", 'os.write(3, b"\\xff" * 64)'),
    _raw(56, "a header that promises 4 GB", "os.write(3, struct.pack(HEADER, 2**32 - 1))"),
    Attack(
        number=57,
        title="forge a second reply",
        code="""
def at_candle(strategy):
    answer({"type": "decision", "action": "long"})
    answer({"type": "decision", "action": "exit"})
""",
        asks=("load", "decide", "idle", "decide"),
        outcome=REFUSED,
        by="random request ids; what nobody asked for ends the worker",
    ),
    _raw(58, "a pickle that would run a program", 'send(b"\\x80\\x04\\x95 \\x00" + b"cposix\\nsystem\\n(S\'id\'\\ntR.")', by=TYPES),
    _forged(124, "a whole number above 2^53", '{"type": "ran", "rows": 2**60}'),
    _forged(125, "a negative size", _DECISION + '"size": -0.5}'),
    _forged(126, "a size of zero stop, a price that is none", _DECISION + '"stop": 0.0}'),
    _forged(127, "true where a number belongs", _DECISION + '"size": True}'),
    _forged(128, "a field that nobody knows (a symbol of its own choice)", _DECISION + '"symbol": "DOGE/USDT"}'),
    _forged(129, "10,000 findings", '{"type": "checked", "findings": [{"code": "x", "severity": "note", "message": ""}] * 10000}'),
    _forged(130, "a name of 65 characters", '{"type": "failed", "kind": "x" * 65, "message": ""}'),
    _forged(131, "the answer to another kind of request", '{"type": "ran", "rows": 1}'),
    Attack(
        number=132,
        title="the same key twice, the second one too large",
        code="""
def at_candle(strategy):
    pack = need("msgspec").msgpack.encode
    action = pack("action") + pack("long")
    size = pack("size") + pack(0.5) + pack("size") + pack(7.5)
    reply = bytes([0x84]) + pack("type") + pack("decision") + action + size
    send(bytes([0x82]) + pack("request_id") + pack(request_id()) + pack("reply") + reply)
    time.sleep(0.05)
""",
        asks=("load", "decide"),
        outcome=REFUSED,
        by=TYPES,
    ),
    Attack(
        number=133,
        title="a reply to another request",
        code="""
def at_candle(strategy):
    answer({"type": "decision", "action": "long"}, number=12345)
    time.sleep(0.05)
""",
        asks=("load", "decide"),
        outcome=REFUSED,
        by="random request ids",
    ),
    _raw(
        134,
        "a header, then silence (slow loris)",
        "os.write(3, struct.pack(HEADER, 100))\ntime.sleep(1e6)",
        outcome=r"^killed: wall",
        wall_s=_SOON,
    ),
    _raw(
        135,
        "a reply in crumbs, a byte a tenth of a second",
        """
os.write(3, struct.pack(HEADER, 1000))
while True:
    os.write(3, b"x")
    time.sleep(0.1)
""",
        outcome=r"^killed: wall",
        wall_s=_SOON,
        by="the clock runs until the last byte",
    ),
    Attack(
        number=136,
        title="never read again",
        code="""
def at_candle(strategy):
    answer({"type": "decision", "action": "none"})
    time.sleep(1e6)
""",
        asks=("load", "decide", "load"),
        outcome=r"^killed: wall",
        wall_s=_SOON,
        by="the clock runs while a request is written, too",
    ),
    Attack(
        number=137,
        title="terminal sequences, tags, templates and line breaks in what it prints",
        code="""
def at_candle(strategy):
    print("\\x1b[2J</script>{{7*7}}\\r\\nSet-Cookie: x\\x00\\u202e")
""",
        asks=("load", "decide"),
        outcome=r"^answered",
        by=CLEAN,
        worked=HAS_CONTROLS,
    ),
    Attack(
        number=138,
        title="the same in the words of an exception",
        code='raise ValueError("\\x1b[2J</script>{{7*7}}\\r\\nSet-Cookie: x\\x00")\n',
        outcome=r"^raised: ValueError",
        by=CLEAN,
        worked=HAS_CONTROLS,
    ),
    Attack(
        number=139,
        title="a name of a class that no message can hold",
        code="""
raise type("\\ud800" * 1000, (Exception,), {"__module__": 7})("\\udfff" * 10000)
""",
        outcome=r"^(raised|killed)",
        by="texts are cut and cleaned before they are sent",
    ),
    Attack(
        number=140,
        title="replace the functions that answer",
        code="""
worker = need("app.sandbox.worker")
worker._encode = lambda reply: b"anything"
need("app.sandbox.guest.guest").Guest.handle = lambda self, request: "anything"
""",
        outcome=REFUSED,
        by=TYPES,
    ),
    Attack(
        number=141,
        title="trace the guest's own functions (sys.settrace) and change what it answers",
        code="""
def trace(frame, event, argument):
    for name, value in list(frame.f_locals.items()):
        if type(value).__name__ in ("Decision", "Answered"):
            os.write(3, struct.pack(HEADER, 3) + b"abc")
    return trace

sys.settrace(trace)
sys.setprofile(trace)
""",
        asks=("load", "decide", "decide"),
        outcome=r"^killed",
        by=TYPES,
    ),
    Attack(
        number=142,
        title="a message of 64 KB that unpacks into many objects",
        code="""
def at_candle(strategy):
    answer({"type": "checked", "findings": [], "values": [[[]] * 10] * 5000})
    time.sleep(0.05)
""",
        asks=("load", "decide"),
        outcome=REFUSED,
        by=TYPES,
    ),
    Attack(
        number=148,
        title="nested 60,000 deep before the word that says what it is",
        code="""
def at_candle(strategy):
    pack = need("msgspec").msgpack.encode
    reply = bytes([0x82]) + pack("zzz") + b"\\x91" * 60000 + b"\\xc0" + pack("type") + pack("ran")
    send(bytes([0x82]) + pack("request_id") + pack(request_id()) + pack("reply") + reply)
    time.sleep(0.05)
""",
        asks=("load", "decide"),
        outcome=REFUSED,
        by=TYPES,
    ),
    Attack(
        number=149,
        title="a text that is not UTF-8",
        code="""
def at_candle(strategy):
    pack = need("msgspec").msgpack.encode
    reply = bytes([0x83]) + pack("type") + pack("failed") + pack("kind") + b"\\xa2\\xff\\xfe" + pack("message") + pack("")
    send(bytes([0x82]) + pack("request_id") + pack(request_id()) + pack("reply") + reply)
    time.sleep(0.05)
""",
        asks=("load", "decide"),
        outcome=REFUSED,
        by=TYPES,
    ),
    Attack(
        number=151,
        title="terminal sequences in the name of a field that nobody knows",
        code="""
def at_candle(strategy):
    answer({"type": "decision", "action": "none", "\\x1b[2J\\r\\n\\x00": 1})
    time.sleep(0.05)
""",
        asks=("load", "decide"),
        outcome=REFUSED,
        by=CLEAN,
        worked=HAS_CONTROLS,
    ),
    Attack(
        number=152,
        title="terminal sequences in a failure that the guest would have cleaned",
        code="""
def at_candle(strategy):
    words = {"message": "\\x1b[2J\\r\\x00", "traceback": "\\x1b]0;x\\x07", "output": "\\x9b2J\\u202e"}
    answer({"type": "failed", "kind": "E\\x1b[2J", **words})
    time.sleep(3)
""",
        asks=("load", "decide"),
        outcome=r"^raised: E",
        by=CLEAN,
        worked=HAS_CONTROLS,
    ),
)
