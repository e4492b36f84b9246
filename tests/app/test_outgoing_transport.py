"""What a library's HTTP client may do through the guard: where its requests go, what stands in them, and what may come back."""

import asyncio
from pathlib import Path

import httpx
import pytest

from app.core.outgoing import Failure, Outgoing
from app.core.outgoing_transport import GuardedTransport
from app.errors import AddressRefused, UpstreamFailed
from tests.app.test_outgoing import SECRET, Resolver, allowing, certificate, reply, server

pytestmark = pytest.mark.asyncio

LARGEST = 1000


def client_of(calls: Outgoing, *, is_ours: bool = False, headers: tuple[str, ...] = ("authorization",)) -> httpx.AsyncClient:
    transport = GuardedTransport(calls, is_ours=is_ours, largest_bytes=LARGEST, allowed_headers=headers)
    return httpx.AsyncClient(transport=transport, trust_env=False, timeout=5)


async def failure_of(client: httpx.AsyncClient, url: str) -> Failure:
    async with client:
        with pytest.raises(UpstreamFailed) as caught:
            await client.post(url, json={"a": 1}, headers={"Authorization": f"Bearer {SECRET}"})
    assert SECRET not in repr(caught.value) + caught.value.message
    failure = caught.value.context["failure"]
    assert isinstance(failure, Failure)
    return failure


async def test_a_request_goes_to_the_checked_address_under_its_name_with_allowed_headers_only() -> None:
    async with server(reply(b"{}")) as (port, heard):
        resolver = Resolver(("127.0.0.1",), ("169.254.169.254",))
        async with client_of(allowing(port, "ollama.test", resolve=resolver)) as client:
            headers = {"Authorization": "Bearer x", "X-Stainless-OS": "Linux", "Cookie": "a=b", "OpenAI-Organization": "org"}
            assert (await client.post(f"http://ollama.test:{port}/v1/chat", json={"a": 1}, headers=headers)).json() == {}
    names = {line.partition(b":")[0].lower() for line in heard[0].split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept", b"accept-encoding", b"authorization", b"content-length", b"content-type", b"user-agent"}
    assert f"host: ollama.test:{port}".encode() in heard[0].lower()
    assert resolver.asked == ["ollama.test"], "looked up once"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fe80::1", "::ffff:10.0.0.7"])
async def test_an_address_inside_the_network_is_not_called(address: str) -> None:
    async with client_of(Outgoing(resolve=Resolver((address,)))) as client:
        with pytest.raises(AddressRefused):
            await client.post("https://models.example/v1/chat", json={})


async def test_one_bad_address_among_good_ones_is_enough() -> None:
    async with client_of(Outgoing(resolve=Resolver(("93.184.216.34", "10.0.0.7")))) as client:
        with pytest.raises(AddressRefused):
            await client.post("https://models.example/v1/chat", json={})


async def test_the_databases_port_is_not_called() -> None:
    async with client_of(Outgoing(forbidden_ports=(5432,))) as client:
        with pytest.raises(AddressRefused):
            await client.post("http://models.example:5432/v1", json={})


async def test_the_next_address_is_tried_where_one_takes_no_connection_and_gets_the_whole_body() -> None:
    bodies: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(7))
        writer.write(reply(b"{}"))

    async with server(answer) as (port, _):
        resolver = Resolver(("127.0.0.77", "127.0.0.1"))
        async with client_of(allowing(port, "ollama.test", resolve=resolver)) as client:
            assert (await client.post(f"http://ollama.test:{port}/v1", content=b'{"a":1}')).status_code == 200
    assert bodies == [b'{"a":1}']


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (reply(b"", status="302 Found", headers="Location: http://10.0.0.1/\r\n"), Failure.REDIRECTED),
        (reply(b"", status="307 Temporary Redirect", headers="Location: http://127.0.0.1:1/\r\n"), Failure.REDIRECTED),
        (reply(b"x", headers="Content-Encoding: gzip\r\n"), Failure.UNREADABLE),
        (reply(b"x" * (LARGEST + 1)), Failure.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 100_000, Failure.TOO_LARGE),
    ],
    ids=["302", "307", "packed", "too large", "endless"],
)
async def test_what_was_not_asked_for_is_not_taken(answer: bytes, failure: Failure) -> None:
    async with server(answer) as (port, _):
        assert await failure_of(client_of(allowing(port)), f"http://127.0.0.1:{port}/v1") is failure


async def test_a_certificate_must_be_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    serving, trusting = certificate("ollama.test", tmp_path)
    async with server(reply(b"{}"), context=serving) as (port, _):
        resolver = Resolver(("127.0.0.1",))
        async with client_of(allowing(port, "ollama.test", resolve=resolver, context=trusting)) as client:
            assert (await client.post(f"https://ollama.test:{port}/v1", json={})).status_code == 200
        other = client_of(allowing(port, "other.test", resolve=resolver, context=trusting))
        assert await failure_of(other, f"https://other.test:{port}/v1") is Failure.UNTRUSTED


async def test_an_error_answer_is_bounded_too() -> None:
    async with server(reply(SECRET.encode() * 100, status="500 Internal Server Error")) as (port, _):
        assert await failure_of(client_of(allowing(port)), f"http://127.0.0.1:{port}/v1") is Failure.TOO_LARGE


async def test_nobody_there_and_no_such_name_are_told_apart() -> None:
    assert await failure_of(client_of(allowing(1)), "http://127.0.0.1:1/v1") is Failure.UNREACHABLE
    assert await failure_of(client_of(Outgoing(resolve=Resolver(()))), "https://no-such.example/v1") is Failure.UNKNOWN_NAME
