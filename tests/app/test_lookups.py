"""Names that users give are looked up apart from our own, a few at a time."""

import asyncio
import socket
import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from app.core.ids import new_id
from app.core.lookups import Lookups, TooManyLookups
from app.core.outgoing import Failure, Outgoing
from app.core.tenancy import working_for
from app.errors import TooManyAttempts, UpstreamFailed

pytestmark = pytest.mark.asyncio


@pytest.fixture
def never() -> Iterator[Event]:
    """Names under `.example` have a server that does not answer before this is set."""
    answered = Event()
    real = socket.getaddrinfo

    def slow(host: Any, *others: Any, **more: Any) -> Any:
        if str(host).endswith(".example"):
            answered.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "no server answers")
        return real(host, *others, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", slow)
        yield answered
        answered.set()


async def outcome(calls: Outgoing, url: str) -> object:
    try:
        return await calls.get_json(url)
    except UpstreamFailed as error:
        return error.context["failure"]
    except TooManyAttempts:
        return "too many"


async def test_names_that_nobody_answers_keep_the_loop_from_no_look_up_of_its_own(never: Event) -> None:
    calls = Outgoing(total_s=0.3)
    async with asyncio.TaskGroup() as tasks:
        with working_for(new_id()):
            found = [tasks.create_task(outcome(calls, f"http://slow{number}.example/")) for number in range(40)]
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await asyncio.get_running_loop().getaddrinfo("localhost", 443)
        assert time.monotonic() - started < 0.2
    results = [task.result() for task in found]
    assert (results.count(Failure.TOO_SLOW), results.count("too many")) == (2, 38)
    never.set()


async def test_one_user_has_two_until_they_are_done_and_others_have_theirs(never: Event) -> None:
    calls = Outgoing(total_s=0.1)
    with working_for(new_id()):
        for number in range(2):
            assert await outcome(calls, f"http://slow{number}.example/") is Failure.TOO_SLOW
        assert await outcome(calls, "http://slow3.example/") == "too many", "its threads are still at it"
        with working_for(new_id()):
            assert await outcome(calls, "http://slow4.example/") is Failure.TOO_SLOW
        never.set()
        await asyncio.sleep(0.1)
        assert await outcome(calls, "http://slow5.example/") is Failure.UNKNOWN_NAME


async def test_all_together_have_eight(never: Event) -> None:
    find = Lookups()

    async def fails(number: int) -> bool:
        with pytest.raises(OSError, match="no server answers"):
            await find(f"slow{number}.example", 80)
        return True

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(fails(number)) for number in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyLookups):
            await find("localhost", 80)
        never.set()
    assert all(task.result() for task in waiting)
    assert str((await find("localhost", 80))[0]) in ("127.0.0.1", "::1")


async def test_one_user_whose_servers_never_answer_leaves_places_to_the_others() -> None:
    heard = asyncio.Queue[bytes]()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read()  # until whoever asked has gone
        writer.close()
        await writer.wait_closed()
        heard.put_nowait(asked)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    calls = Outgoing(allowed=frozenset({("127.0.0.1", port)}), total_s=0.3)
    async with server:
        with working_for(new_id()):
            results = await asyncio.gather(*(outcome(calls, f"http://127.0.0.1:{port}/") for _ in range(20)))
        async with asyncio.timeout(5):
            assert all([await heard.get() for _ in range(2)])
    assert (results.count(Failure.TOO_SLOW), results.count("too many")) == (2, 18)
