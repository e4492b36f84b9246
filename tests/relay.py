"""A connection half open: a relay between two parties that accepts everything and, when told to, lets nothing through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(eq=False)
class _Way:
    """One connection, and what it swallows."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    swallows: frozenset[str] = frozenset()


@dataclass
class Relay:
    """Passes bytes between whoever connects to `port` and a server, except what it is told to swallow; it closes nothing for it."""

    port: int = 0
    connections: int = 0
    _target: tuple[str, int] = ("", 0)
    _ways: set[_Way] = field(default_factory=set)

    def swallow(self, *what: str) -> None:
        """From now on let these, of "requests" and "answers", not through on the connections there are; those to come are whole."""
        for way in self._ways:
            way.swallows = frozenset(what)

    def url(self, scheme: str = "http") -> str:
        """Base address of the other side, by way of this one."""
        return f"{scheme}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        way = _Way((writer, there_writer))
        self._ways.add(way)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, there_writer, way, "requests"))
                group.create_task(self._pass(there_reader, writer, way, "answers"))
        finally:
            for end in way.writers:
                end.close()
            self._ways.discard(way)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way, what: str) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if what not in way.swallows:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def close(self) -> None:
        """End all connections."""
        for way in self._ways:
            for end in way.writers:
                end.close()


@asynccontextmanager
async def relay_to(url: str) -> AsyncIterator[Relay]:
    """A relay to the server at `url`."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    relay = Relay(_target=(address.hostname, address.port))
    server = await asyncio.start_server(relay._serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.close()
        await server.wait_closed()
