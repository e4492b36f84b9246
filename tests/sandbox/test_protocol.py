"""Workers that break the protocol: each is found out, killed, and called by the right name."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
import pytest
import pytest_asyncio

from app.sandbox.cell import Cause, Cell, CellEnded, End
from app.sandbox.keeper import Keeper
from app.sandbox.link import LONGEST_TO_SERVER, Link, Pulse
from app.sandbox.messages import Described, Failed
from app.sandbox.orders import Order
from app.sandbox.wire import ProtocolBroken, framed
from tests.sandbox.conftest import ID, asked, probed, reply_of

pytestmark = pytest.mark.asyncio

_TALK = """
import os, struct, time, msgspec
from app.sandbox.messages import Answered, Failed, Ran
def say(body): os.write(3, struct.pack('>I', len(body)) + body)
def answer(id, reply=Failed(kind='x', message='y')): return msgspec.msgpack.encode(Answered(request_id=id, reply=reply))
"""


async def end_of(keeper: Keeper, source: str, *, wall_s: float = 5.0) -> End:
    seen = await probed(keeper, _TALK + source, wall_s=wall_s)
    assert isinstance(seen, End), seen
    return seen


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        ("say(answer(1))", "a wrong request id"),
        (f"one = struct.pack('>I', len(answer({ID}))) + answer({ID})\nos.write(3, one + one)", "more than one answer"),
        (f"os.write(3, struct.pack('>I', 20) + answer({ID})[:20] + b'x')", ""),
        ("os.write(3, b'\\xff' * 64)", "a message of 4294967295 bytes"),
        ("os.write(3, struct.pack('>I', 65_537))", "a message of 65537 bytes"),
        ("say(b'')", ""),
        ("say(b'\\x80\\x04\\x95cos\\nsystem\\n')", ""),
        ("say(b'\\xc1')", ""),
        ("say(msgspec.json.encode({'request_id': 4711, 'reply': {}}))", ""),
        (f"say(msgspec.msgpack.encode({{'request_id': {ID}, 'reply': {{'type': 'nonsense'}}}}))", ""),
        (f"say(msgspec.msgpack.encode({{'request_id': {ID}, 'reply': {{'type': 'ran', 'rows': -1}}}}))", ""),
        (f"say(msgspec.msgpack.encode({{'request_id': {ID}, 'reply': {{'type': 'ran', 'rows': True}}}}))", ""),
        (f"say(msgspec.msgpack.encode({{'request_id': {ID}, 'reply': {{'type': 'ran', 'rows': 2**63}}}}))", ""),
        (f"say(msgspec.msgpack.encode({{'request_id': {ID}, 'reply': {{'type': 'ran', 'rows': 1, 'more': 1}}}}))", ""),
        (
            f"say(msgspec.msgpack.encode({{'request_id': {ID}, 'reply': {{'type': 'decision', 'action': 'long', 'size': float('nan')}}}}))",
            "",
        ),
        (f"say(msgspec.msgpack.encode({{'request_id': {ID}, 'reply': {{'type': 'decision', 'action': 'all in'}}}}))", ""),
        ("say(b'\\x82\\xaarequest_id\\xcd\\x12\\x67\\xa5reply' + b'\\x91' * 50_000)", ""),
    ],
)
async def test_an_answer_that_is_none_kills_the_worker(keeper: Keeper, source: str, detail: str) -> None:
    end = await end_of(keeper, source + "\ntime.sleep(9)")
    assert end.cause is Cause.PROTOCOL
    assert detail in end.detail


async def test_a_word_that_nobody_asked_for_kills_the_worker(keeper: Keeper) -> None:
    """It leaves something behind that speaks after the answer: the interpreter's own exit is no way out, a timer is."""
    source = _TALK + "import signal\nresult = 'well'\nreal = os.write\n"
    source += "def twice(fd, data):\n    done = real(fd, data)\n    real(fd, b'once more')\n    return done\nos.write = twice"
    cell = await keeper.spawn(Order(is_probe=True))
    with suppress(CellEnded):  # the second word may come before the first has been handed on
        await reply_of(cell, source)
    assert (await asyncio.wait_for(cell.until_ended(), 5)).cause is Cause.PROTOCOL


@pytest.mark.parametrize("source", ["os.write(3, b'\\x00\\x00')", "os.write(3, struct.pack('>I', 100) + b'half')"])
async def test_half_an_answer_is_waited_for_no_longer_than_a_whole_one(keeper: Keeper, source: str) -> None:
    began = time.monotonic()
    end = await end_of(keeper, source + "\ntime.sleep(9)", wall_s=0.3)
    assert end.cause is Cause.WALL
    assert time.monotonic() - began < 2


async def test_byte_after_byte_gains_no_time(keeper: Keeper) -> None:
    slow = "for _ in range(200):\n    os.write(3, b'\\x00')\n    time.sleep(0.05)"
    began = time.monotonic()
    end = await end_of(keeper, slow, wall_s=0.4)
    assert end.cause in (Cause.WALL, Cause.PROTOCOL)
    assert time.monotonic() - began < 2


@pytest_asyncio.fixture
async def deaf() -> AsyncIterator[tuple[Cell, socket.socket]]:
    """A cell whose other end never reads. It is this process's: what a worker's kernel buffer takes must not matter."""
    ours, theirs = socket.socketpair()
    child = await asyncio.create_subprocess_exec("sleep", "60")
    pidfd = os.pidfd_open(child.pid)
    cell = Cell(Order(), ours, child.pid, pidfd, on_end=lambda _: None)
    theirs.send(framed(b"ready"))
    await cell.until_locked(wall_s=1)
    yield cell, theirs
    await child.wait()
    cell.bury(-9, 0.0)
    theirs.close()


async def test_a_worker_that_never_reads_holds_nobody_up(deaf: tuple[Cell, socket.socket]) -> None:
    cell, _ = deaf
    asking = asyncio.get_running_loop().create_task(cell.ask(b"x" * 590_000, ID, wall_s=0.3, cpu_s=1))
    await asyncio.sleep(0)
    assert not asking.done(), "the buffer took it all, so this shows nothing"
    began = time.monotonic()
    while cell._cause is None:
        await asyncio.sleep(0.02)
        assert time.monotonic() - began < 2
    assert cell._cause is Cause.WALL
    cell.bury(-9, 0.0)
    with pytest.raises(CellEnded):
        await asking


async def test_one_request_at_a_time(keeper: Keeper) -> None:
    cell = await keeper.spawn(Order(is_probe=True))
    first = asyncio.get_running_loop().create_task(reply_of(cell, "import time; time.sleep(0.2)"))
    await asyncio.sleep(0.05)
    with pytest.raises(RuntimeError):
        await cell.ask(asked("pass"), ID, wall_s=1, cpu_s=1)
    assert isinstance(await first, Described)
    cell.kill(Cause.RELEASED)
    await cell.until_ended()
    with pytest.raises(CellEnded):
        await cell.ask(asked("pass"), ID, wall_s=1, cpu_s=1)


async def test_an_answer_that_is_too_long_is_a_failure_and_no_violation(keeper: Keeper) -> None:
    """A strategy may be talkative without meaning harm."""
    cell = await keeper.spawn(Order(is_probe=True))
    source = "import app.sandbox.worker as w\nw.LONGEST_UP = 100\nresult = 'x' * 1000"
    reply = await reply_of(cell, source)
    assert isinstance(reply, Failed)
    assert reply.kind == "ReplyTooLong"
    assert cell.end is None
    cell.kill(Cause.RELEASED)


async def test_who_stops_waiting_ends_the_worker(keeper: Keeper) -> None:
    """Its answer would otherwise be taken for that of the next request."""
    cell = await keeper.spawn(Order(is_probe=True))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reply_of(cell, "import time; time.sleep(5)")
    assert (await cell.until_ended()).cause is Cause.RELEASED


async def test_a_descriptor_that_a_worker_sends_along_never_arrives() -> None:
    ours, theirs = socket.socketpair()
    bodies: list[bytes] = []
    link = Link(ours, longest=LONGEST_TO_SERVER, takes_descriptors=False, on_body=bodies.append, on_end=lambda _: None)
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(theirs, [framed(msgspec.msgpack.encode(Pulse(workers=1)))], [theirs.fileno()])
    await asyncio.sleep(0.05)
    assert len(bodies) == 1
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ProtocolBroken):
        link.take_descriptors(1)
    link.close()
    theirs.close()


async def test_sandboxd_that_breaks_the_protocol_is_let_go() -> None:
    ours, theirs = socket.socketpair()
    ends: list[str] = []

    def refuse(_: bytes) -> None:
        raise msgspec.DecodeError("no")

    Link(ours, longest=100, takes_descriptors=False, on_body=refuse, on_end=ends.append)
    theirs.send(framed(b"x"))
    await asyncio.sleep(0.05)
    assert ends == ["broke the protocol: no"]
    theirs.close()
