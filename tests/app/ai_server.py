"""An AI provider on this machine: Ollama's and OpenRouter's lists of models, and conversations as both stream them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

MODELS = ("llama3.2:latest", "qwen3:32b")
KEY = "sk-or-v1-a-key-of-a-test-9f3c"
DONE = b"data: [DONE]\n\n"


def chunk(content: str | None = None, *, finish: str | None = None, usage: dict[str, Any] | None = None, **delta: Any) -> bytes:
    """One event of a conversation, as both providers send it."""
    said: dict[str, Any] = {"role": "assistant", **delta} if content is None else {"role": "assistant", "content": content, **delta}
    choices = [] if usage is not None and content is None and finish is None else [{"index": 0, "delta": said, "finish_reason": finish}]
    document: dict[str, Any] = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    if usage is not None:
        document["usage"] = usage
    return b"data: " + orjson.dumps(document) + b"\n\n"


def usage(prompt: int = 1200, completion: int = 34, cost: float | None = None) -> dict[str, Any]:
    """What an answer took; OpenRouter says what it cost, too."""
    counted: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return counted if cost is None else {**counted, "cost": cost, "cost_details": {"upstream_inference_cost": None}}


def failure(code: int, message: str) -> bytes:
    """An error inside a stream, as OpenRouter sends it."""
    told = {"id": "gen-1", "object": "chat.completion.chunk", "choices": [], "error": {"code": code, "message": message}}
    return b"data: " + orjson.dumps(told) + b"\n\n"


@dataclass(kw_only=True)
class Talk:
    """How the next question is answered: a status with a document, or events with pauses between them.

    `events` are bytes to send, seconds to wait, or an `asyncio.Event` to wait for.
    """

    status: str = "200 OK"
    document: object = None
    headers: str = ""
    events: Sequence[bytes | float | asyncio.Event] = ()


@dataclass
class AiServer:
    """A running provider. `heard` is the head of each request, `asked` the body of each question, `left` how many hung up on an answer."""

    port: int = 0
    models: tuple[str, ...] = MODELS
    heard: list[str] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    talks: list[Talk] = field(default_factory=list)
    left: int = 0
    has_left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, *words: str, finish: str = "stop", took: dict[str, Any] | None = None) -> None:
        """Have the next question answered with these words."""
        self.talks.append(Talk(events=[*(chunk(word) for word in words), chunk("", finish=finish), chunk(usage=took or usage()), DONE]))

    def answer(self, head: str) -> tuple[str, object]:
        path = head.split(" ", 2)[1]
        if path == "/api/tags":
            return "200 OK", {"models": [{"name": name, "size": 1} for name in self.models]}
        if path == "/v1/models":
            return "200 OK", {"data": [{"id": f"vendor/{name}"} for name in self.models]}
        if path == "/v1/key":
            return ("200 OK", {"data": {}}) if f"authorization: bearer {KEY}" in head.lower() else ("401 Unauthorized", {})
        return "404 Not Found", {}


async def _talk(provider: AiServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: Talk) -> None:
    if talk.document is not None or not talk.events:
        body = talk.document if isinstance(talk.document, bytes) else orjson.dumps(talk.document)
        writer.write(f"HTTP/1.1 {talk.status}\r\nContent-Length: {len(body)}\r\n{talk.headers}Connection: close\r\n\r\n".encode() + body)
        return
    writer.write(f"HTTP/1.1 {talk.status}\r\nContent-Type: text/event-stream\r\n{talk.headers}Connection: close\r\n\r\n".encode())
    # Whoever hangs up is at the end of what it sends.
    gone = asyncio.ensure_future(reader.read(1))  # noqa: TID251  # the server's own
    try:
        for event in talk.events:
            if isinstance(event, bytes):
                writer.write(event)
                await writer.drain()
            else:
                wait = asyncio.ensure_future(event.wait() if isinstance(event, asyncio.Event) else asyncio.sleep(event))  # noqa: TID251
                await asyncio.wait({wait, gone}, return_when=asyncio.FIRST_COMPLETED)
                wait.cancel()
            if gone.done():
                provider.left += 1
                provider.has_left.set()
                return
    finally:
        gone.cancel()


@asynccontextmanager
async def ai_server() -> AsyncIterator[AiServer]:
    """Run one for as long as the context lasts."""
    provider = AiServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        provider.heard.append(head)
        length = next((int(line.partition(":")[2]) for line in head.splitlines() if line.lower().startswith("content-length:")), 0)
        with suppress(ConnectionError):
            if head.split(" ", 2)[1] == "/v1/chat/completions" and head.startswith("POST"):
                provider.asked.append(await reader.readexactly(length))
                await _talk(provider, reader, writer, provider.talks.pop(0))
            else:
                status, document = provider.answer(head)
                body = orjson.dumps(document)
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        provider.port = running.sockets[0].getsockname()[1]
        yield provider
