"""Calls to where a user says: against real servers on this machine, a resolver that changes its mind, and answers made to do harm."""

import asyncio
import datetime
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.core import outgoing
from app.core.addresses import Address, parse_allowed
from app.core.outgoing import Failure, Outgoing
from app.errors import AddressRefused, UpstreamFailed

pytestmark = pytest.mark.asyncio

SECRET = "a-body-that-nobody-may-see"


class Resolver:
    """Says of every name what it was told to, a different thing each time if so told, and counts."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[Address]:
        del port
        self.asked.append(host)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        return [ip_address(text) for text in answer]


class Heard:
    """A transport that goes nowhere and remembers where to it was told to go."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._take)

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b'{"models": []}'))


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@asynccontextmanager
async def server(answer: bytes | Answering, *, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on this machine that answers everybody with these bytes. Yields its port and what it heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)  # type: ignore[misc]  # a coroutine function
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with running:
        yield running.sockets[0].getsockname()[1], heard


def reply(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def allowing(port: int, host: str = "127.0.0.1", **options: object) -> Outgoing:
    return Outgoing(allowed=parse_allowed((f"{host}:{port}",)), **options)  # type: ignore[arg-type]  # as the class has them


async def failure_of(calls: Outgoing, url: str) -> Failure:
    with pytest.raises(UpstreamFailed) as caught:
        await calls.get_json(url)
    assert SECRET not in repr(caught.value) + caught.value.message
    failure = caught.value.context["failure"]
    assert isinstance(failure, Failure)
    return failure


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:11434",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "gopher://example.com",
        "http://",
        "http://:80",
        "http://user:password@example.com",
        "http://user@example.com",
        "http://example.com#@127.0.0.1",
        "http://example.com?x=1",
        "http://example.com\\@127.0.0.1",
        "http://exa mple.com",
        "http://example.com/\r\nHost: x",
        "http://example.com/\x00",
        "http://example.com:99999",
        "http://example.com:0",
        "http://[::1",
        "http://" + "a" * 600,
    ],
)
async def test_what_is_no_plain_address_is_refused_before_anything_is_looked_up(url: str) -> None:
    resolver, transport = Resolver(("93.184.216.34",)), Heard()
    with pytest.raises(AddressRefused):
        await Outgoing(resolve=resolver, transport=transport).get_json(url)
    assert (resolver.asked, transport.requests) == ([], [])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "017700000001",
        "0",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    transport = Heard()
    # The real resolver: it knows the odd spellings.
    with pytest.raises((AddressRefused, UpstreamFailed)):
        await Outgoing(transport=transport).get_json(f"http://{host}:11434/api/tags")
    assert transport.requests == []


async def test_one_bad_address_among_good_ones_is_enough_to_refuse() -> None:
    transport = Heard()
    for answer in (("93.184.216.34", "127.0.0.1"), ("2606:4700::1111", "fe80::1"), ("10.0.0.1", "93.184.216.34")):
        with pytest.raises(AddressRefused):
            await Outgoing(resolve=Resolver(answer), transport=transport).get_json("http://models.example/api/tags")
    assert transport.requests == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"])
async def test_metadata_is_refused_where_the_administrator_allowed_its_name(address: str) -> None:
    transport = Heard()
    calls = Outgoing(allowed=parse_allowed(("metadata.internal:80",)), resolve=Resolver((address,)), transport=transport)
    with pytest.raises(AddressRefused, match="secrets"):
        await calls.get_json("http://metadata.internal/latest")
    with pytest.raises(AddressRefused, match="secrets"):
        await calls.get_json("http://metadata.internal/latest", is_ours=True)
    assert transport.requests == []


async def test_only_the_allowed_port_of_an_allowed_host_is_called_and_never_the_databases() -> None:
    transport = Heard()
    allowed = parse_allowed(("localhost", "nas.local:5432"))
    calls = Outgoing(allowed=allowed, forbidden_ports={5432}, resolve=Resolver(("127.0.0.1",)), transport=transport)
    assert await calls.get_json("http://LocalHost:11434/api/tags") == {"models": []}
    for url in ("http://localhost/", "http://localhost:8000/", "https://localhost/", "http://nas.local:5432/", "http://other.local:11434/"):
        with pytest.raises(AddressRefused):
            await calls.get_json(url)
    assert len(transport.requests) == 1


async def test_a_name_that_changes_its_address_after_the_check_is_called_where_it_was_checked() -> None:
    resolver, transport = Resolver(("93.184.216.34",), ("127.0.0.1",)), Heard()
    calls = Outgoing(resolve=resolver, transport=transport)
    await calls.get_json("http://rebinding.example:8080/api/tags")
    (request,) = transport.requests
    assert (request.url.host, request.url.port, request.headers["host"]) == ("93.184.216.34", 8080, "rebinding.example:8080")
    assert resolver.asked == ["rebinding.example"], "looked up once"
    with pytest.raises(AddressRefused):
        await calls.get_json("http://rebinding.example:8080/api/tags")


async def test_the_name_stays_in_the_host_header_and_another_address_is_tried_when_the_first_is_silent() -> None:
    async with server(reply(b'{"ok": true}')) as (port, heard):
        calls = allowing(port, "models.test", resolve=Resolver(("::1", "127.0.0.1")))
        assert await calls.get_json(f"http://models.test:{port}/api/tags", headers={"Authorization": "Bearer k"}) == {"ok": True}
    (request,) = heard
    assert request.startswith(b"GET /api/tags HTTP/1.1\r\n")
    assert f"Host: models.test:{port}\r\n".encode() in request
    assert b"Authorization: Bearer k\r\n" in request
    assert b"Accept-Encoding: identity\r\n" in request


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for that name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251  # a certificate is good today
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(pem)
    return serving, ssl.create_default_context(cafile=str(pem))


async def test_a_certificate_must_be_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    serving, trusting = certificate("models.test", tmp_path)
    asked: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with server(reply(b"[]"), context=serving) as (port, _):
        good, bad = (allowing(port, host, resolve=Resolver(("127.0.0.1",)), context=trusting) for host in ("models.test", "other.test"))
        assert await good.get_json(f"https://models.test:{port}/") == []
        assert await failure_of(bad, f"https://other.test:{port}/") is Failure.UNTRUSTED
    assert asked == ["models.test", "other.test"]


async def test_a_redirect_is_not_followed() -> None:
    async with server(reply(b'{"secret": 1}')) as (inner, heard_inside):
        redirect = reply(SECRET.encode(), status="302 Found", headers=f"Location: http://127.0.0.1:{inner}/\r\n")
        async with server(redirect) as (port, _):
            calls = Outgoing(allowed=parse_allowed((f"127.0.0.1:{port}", f"127.0.0.1:{inner}")))
            assert await failure_of(calls, f"http://127.0.0.1:{port}/") is Failure.REDIRECTED
    assert heard_inside == []


async def test_a_server_that_answers_drop_by_drop_is_left_in_time() -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(200):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    started = time.monotonic()
    async with server(drip) as (port, _):
        assert await failure_of(allowing(port, total_s=0.3), f"http://127.0.0.1:{port}/") is Failure.TOO_SLOW
    assert time.monotonic() - started < 2


async def test_a_slow_resolver_counts_too() -> None:
    async def asleep(host: str, port: int) -> list[Address]:
        del host, port
        await asyncio.sleep(5)
        return []

    assert await failure_of(Outgoing(resolve=asleep, total_s=0.2), "http://slow.example/") is Failure.TOO_SLOW


async def test_a_huge_answer_is_left_at_two_megabytes() -> None:
    sent = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1000):
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with server(flood) as (port, _):
        assert await failure_of(allowing(port), f"http://127.0.0.1:{port}/") is Failure.TOO_LARGE
    assert sent < 20_000_000, "the rest was not taken"


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_not_unpacked() -> None:
    packed = reply(gzip.compress(b" " * 50_000_000), headers="Content-Encoding: gzip\r\n")
    async with server(packed) as (port, _):
        assert await failure_of(allowing(port), f"http://127.0.0.1:{port}/") is Failure.UNREADABLE


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (reply(SECRET.encode()), Failure.UNREADABLE),
        (reply(b"{" + SECRET.encode()), Failure.UNREADABLE),
        (reply(SECRET.encode(), status="500 Broken"), Failure.ERROR),
        (reply(SECRET.encode(), status="204 None"), Failure.ERROR),
        (reply(SECRET.encode(), status="404 Not Found"), Failure.UNREADABLE),
        (reply(SECRET.encode(), status="401 No"), Failure.REFUSED),
        (reply(SECRET.encode(), status="403 No"), Failure.REFUSED),
        (reply(SECRET.encode(), status="429 Slow down"), Failure.LIMITED),
        (b"SSH-2.0-OpenSSH_9.6 " + SECRET.encode() + b"\r\n", Failure.UNREADABLE),
        (b"", Failure.UNREADABLE),
    ],
)
async def test_nothing_of_an_answer_that_cannot_be_used_is_told(answer: bytes, failure: Failure) -> None:
    async with server(answer) as (port, _):
        assert await failure_of(allowing(port), f"http://127.0.0.1:{port}/") is failure


async def test_names_and_ports_where_nobody_is_are_told_in_words() -> None:
    async def nobody(host: str, port: int) -> list[Address]:
        raise OSError(host, port)

    assert await failure_of(Outgoing(resolve=nobody), "http://nobody.example/") is Failure.UNKNOWN_NAME
    async with server(b"") as (port, _):
        pass
    assert await failure_of(allowing(port), f"http://127.0.0.1:{port}/") is Failure.UNREACHABLE
    assert all(outgoing.failed(failure).message for failure in Failure)


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(reply(b"[]")) as (proxy, heard), server(reply(b"[1]")) as (port, _):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        assert await allowing(port).get_json(f"http://127.0.0.1:{port}/") == [1]
    assert heard == []
