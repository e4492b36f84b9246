"""Real receivers on this machine: an HTTP server that answers as it is told, or not at all, and a mail server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any

import orjson


@dataclass(slots=True)
class Heard:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return orjson.loads(self.body)


@dataclass(slots=True)
class HttpReceiver:
    """What came, and what is answered next: (status, headers, body) in turn, the last one for ever. None hangs."""

    port: int = 0
    heard: list[Heard] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes] | None] = field(default_factory=lambda: [(200, {}, b"{}")])
    came: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        """Answer so from now on."""
        self.answers = [(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it."""
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.heard.append(Heard(method, path, headers, body))
            self.came.set()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                await reader.read()  # until whoever asked hangs up
                return
            status, more, said = answer
            lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(said)}", "Connection: close"]
            writer.write("\r\n".join([*lines, *(f"{name}: {value}" for name, value in more.items()), "", ""]).encode() + said)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def http_receiver(host: str = "127.0.0.1") -> AsyncIterator[HttpReceiver]:
    """Listen on a free port."""
    receiver = HttpReceiver()
    server = await asyncio.start_server(receiver.serve, host, 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


@dataclass(slots=True)
class MailReceiver:
    """Mails that came; `refusal` is said to whoever wants to send one."""

    port: int = 0
    mails: list[tuple[str, list[str], Message]] = field(default_factory=list)
    refusal: str = ""
    greeted_as: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak as a mail server does, without encryption."""

        async def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        sender, to = "", list[str]()
        await say("220 here")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            word = line.split(" ")[0].split(":")[0].upper()
            if word in ("EHLO", "HELO"):
                self.greeted_as = line.partition(" ")[2]
                await say("250 here")
            elif word == "MAIL":
                sender, to = line.partition("<")[2].partition(">")[0], []
                await say(self.refusal or "250 ok")
            elif word == "RCPT":
                to.append(line.partition("<")[2].partition(">")[0])
                await say("250 ok")
            elif word == "DATA":
                await say("354 go on")
                text = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append((sender, to, message_from_bytes(text[:-5])))
                await say("250 taken as 1234")
            else:
                await say("221 bye" if word == "QUIT" else "250 ok")
                if word == "QUIT":
                    break
        writer.close()


@asynccontextmanager
async def mail_receiver() -> AsyncIterator[MailReceiver]:
    """Listen on a free port."""
    receiver = MailReceiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver
