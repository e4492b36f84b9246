"""What one caller or one user does wrong, and what a slow machine does, is no reason for anybody else's workers to end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from app.errors import JailClosed
from app.sandbox.cell import Cause, Cell, CellEnded
from app.sandbox.jail import Jail
from app.sandbox.keeper import Keeper
from app.sandbox.link import Level, Pulse, Report, ToServer
from app.sandbox.messages import MOST_FRAMES, Answered, Described, Informative, Load
from app.sandbox.orders import Order, encode
from app.sandbox.quotas import Purpose
from app.sandbox.terms import JailConfig
from app.sandbox.wire import BROKEN, framed
from tests.sandbox.conftest import Notes, candles, frame, running_jail, strategy

pytestmark = pytest.mark.asyncio
LIVE = Purpose.LIVE


async def test_a_worker_with_more_markets_than_one_may_have_is_refused_before_sandboxd_hears_of_it(jail: Jail) -> None:
    async with jail.worker(user_id=uuid4(), purpose=LIVE) as others:
        with pytest.raises(ValueError, match="frames"):
            async with jail.worker(user_id=uuid4(), purpose=LIVE, frames=[(frame(), candles())] * (MOST_FRAMES + 1)):
                pass
        assert isinstance(await others.ask(Load(source=strategy())), Described)


async def test_a_strategy_cannot_ask_for_more_markets_than_a_worker_may_have() -> None:
    described = Described(
        class_name="Greedy", docstring="", timeframe="1h", warm_up=0, style="signals", can_short=False, parameters=[],
        informative=[Informative(timeframe="4h")] * MOST_FRAMES,
    )  # fmt: skip
    with pytest.raises(BROKEN):
        msgspec.msgpack.decode(encode(Answered(request_id=1, reply=described)), type=Answered)


async def test_a_question_that_was_called_off_ends_its_own_worker_and_nobody_elses(jail: Jail, notes: Notes) -> None:
    before = len(notes)
    async with jail.worker(user_id=uuid4(), purpose=LIVE) as others, jail.worker(user_id=uuid4(), purpose=LIVE) as worker:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await worker.ask(Load(source="while True: pass"), wall_s=5)
        with pytest.raises(JailClosed):
            await worker.ask(Load(source=strategy()))
        assert isinstance(await others.ask(Load(source=strategy())), Described)
    assert len(notes) == before, "nobody did anything wrong"


async def test_a_lock_that_takes_too_long_to_close_is_not_the_strategys_fault(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = Cell.until_locked

    async def impatient(self: Cell, *, wall_s: float) -> None:
        await patient(self, wall_s=wall_s / 1e6)

    monkeypatch.setattr(Cell, "until_locked", impatient)
    # On a quick machine it is ready before the first look at the clock.
    monkeypatch.setattr(Cell, "_on_readable", lambda _: None)
    with pytest.raises(CellEnded) as ended:
        await keeper.spawn(Order())
    assert ended.value.end.cause is Cause.NOT_LOCKED


@contextlib.asynccontextmanager
async def slow_sandboxd(path: Path, *, examined_after_s: float) -> AsyncIterator[None]:
    """One that says nothing until it has examined the machine, then that it lives; it makes no workers."""

    def said(message: ToServer) -> bytes:
        return framed(msgspec.msgpack.encode(message))

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await asyncio.sleep(examined_after_s)
            writer.write(said(Report(level=Level.A, findings=[])))
            while not writer.is_closing():
                writer.write(said(Pulse(workers=0)))
                await writer.drain()
                await asyncio.sleep(0.05)

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield


async def test_a_slow_machine_is_waited_for_until_it_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sandbox.jail._SILENT_S", 0.5)
    async with slow_sandboxd(tmp_path / "s", examined_after_s=2.5), running_jail(JailConfig(socket_path=tmp_path / "s")) as jail:
        async with asyncio.timeout(20):
            await jail.ready()
        assert (jail.is_open, jail.restarts) == (True, 0)


async def test_a_worker_that_is_not_made_in_time_is_not_the_strategys_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: Notes = []
    monkeypatch.setattr("app.sandbox.jail._SPAWN_S", 0.1)
    monkeypatch.setattr("app.sandbox.jail._GRACE_S", 0.1)
    async with (
        slow_sandboxd(tmp_path / "s", examined_after_s=0),
        running_jail(JailConfig(socket_path=tmp_path / "s"), notes=notes) as jail,
    ):
        user = uuid4()
        for _ in range(4):
            with pytest.raises(JailClosed, match="nothing is wrong with the strategy"):
                async with jail.worker(user_id=user, purpose=LIVE, strategy="one"):
                    pass
        assert (notes, jail.quotas.paused_for_s(user, LIVE, "one")) == ([], 0.0)
