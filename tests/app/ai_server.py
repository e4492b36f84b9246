"""An AI provider on this machine, as much of one as is asked: Ollama's and OpenRouter's lists of models."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

MODELS = ("llama3.2:latest", "qwen3:32b")
KEY = "sk-or-v1-a-key-of-a-test-9f3c"


@dataclass
class AiServer:
    """A running provider. `heard` is the head of each request."""

    port: int = 0
    models: tuple[str, ...] = MODELS
    heard: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, head: str) -> tuple[str, object]:
        path = head.split(" ", 2)[1]
        if path == "/api/tags":
            return "200 OK", {"models": [{"name": name, "size": 1} for name in self.models]}
        if path == "/v1/models":
            return "200 OK", {"data": [{"id": f"vendor/{name}"} for name in self.models]}
        if path == "/v1/key":
            return ("200 OK", {"data": {}}) if f"authorization: bearer {KEY}" in head.lower() else ("401 Unauthorized", {})
        return "404 Not Found", {}


@asynccontextmanager
async def ai_server() -> AsyncIterator[AiServer]:
    """Run one for as long as the context lasts."""
    provider = AiServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        provider.heard.append(head)
        status, document = provider.answer(head)
        body = orjson.dumps(document)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        provider.port = running.sockets[0].getsockname()[1]
        yield provider
