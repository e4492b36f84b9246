"""Where the machine has no process left for another worker, that worker is refused, and those of others live on."""

import asyncio
import errno
import os
import socket

import pytest

from app.sandbox import orders, zygote
from app.sandbox.cell import Cell
from app.sandbox.keeper import Keeper, ZygoteGone
from app.sandbox.messages import Described
from app.sandbox.orders import Order, Refused
from tests.sandbox.conftest import reply_of, strategy, until

pytestmark = pytest.mark.asyncio


def no_fork() -> int:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


async def test_a_zygote_that_cannot_fork_says_so_and_goes_on(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = await keeper.facts()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(os, "fork", no_fork)
    with ours, theirs:
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(ours, [orders.encode(Order(number=7))], [ours.fileno()])
        assert zygote._obey(theirs, None, facts)
        news = orders.NEWS.decode(ours.recv(65_536))
        assert len(os.listdir("/proc/self/fd")) == before
    assert isinstance(news, Refused)
    assert (news.number, "no process is left" in news.detail) == (7, True)


async def test_a_worker_that_was_refused_is_told_and_the_others_live_on(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    living: Cell = await keeper.spawn(Order())
    made = keeper._zygote
    assert made is not None
    told = orders.encode(Refused(number=made._number + 1, detail="no process is left"))
    monkeypatch.setattr(socket, "send_fds", lambda *_: 1)  # the order reaches nobody, and the answer comes from here
    spawning = asyncio.get_running_loop().create_task(keeper.spawn(Order()))
    await until(lambda: made._hatching is not None)
    monkeypatch.setattr(socket, "recv_fds", lambda *_: (told, [], 0, None))
    made._on_news()
    monkeypatch.undo()
    with pytest.raises(ZygoteGone, match="no process is left"):
        await spawning
    assert keeper._zygote is made
    assert isinstance(await reply_of(living, strategy()), Described)
    await keeper.spawn(Order())
