"""What an HTTP client is given to speak through where a library of somebody else makes the requests: the guard of `core.outgoing`.

The library believes that it speaks to a name. Its request goes to an address of that name that was checked, with no header but those that
are allowed here, and what comes back is no redirect, is not packed, and ends.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Final

import httpx

from app.core.outgoing import TOTAL_S, Failure, Outgoing, failed, no_connection
from app.errors import UpstreamFailed

#: What the other end must know to answer at all. A library tells more than that of the machine that it runs on.
_NEEDED: Final = frozenset({"accept", "content-type", "content-length"})


class GuardedTransport(httpx.AsyncBaseTransport):
    """Carries the requests of one client.

    Args:
        outgoing: Decides what may be called.
        is_ours: The administrator wrote the address, so it may be inside our network.
        allowed_headers: Names, in lower case, of what is sent besides what must be.
        largest_bytes: An answer that is longer breaks off.
        agent: What this program calls itself.
    """

    def __init__(
        self, outgoing: Outgoing, *, is_ours: bool, largest_bytes: int, allowed_headers: Collection[str] = (), agent: str = "Aristobot"
    ) -> None:
        self._outgoing = outgoing
        self._is_ours = is_ours
        self._largest_bytes = largest_bytes
        self._allowed = _NEEDED | frozenset(allowed_headers)
        self._agent = agent
        self._carrier = outgoing.carrier()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to the first address of its host that takes a connection.

        Raises:
            AddressRefused: it may not be called; nothing was sent.
            UpstreamFailed: it cannot be reached, sends us elsewhere, or answers in a form that was not asked for.
            httpx.TransportError: the connection broke, or a timeout of the client's is over.
        """
        url = self._outgoing.read(str(request.url), is_ours=self._is_ours)
        try:
            # The client's own timeouts begin with the connection.
            async with asyncio.timeout(TOTAL_S):
                addresses = await self._outgoing.addresses(url, is_ours=self._is_ours)
        except TimeoutError:
            raise failed(Failure.TOO_SLOW) from None
        headers = {name: value for name, value in request.headers.items() if name.lower() in self._allowed}
        headers |= {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": self._agent}
        extensions = {**request.extensions, "sni_hostname": url.raw_host.decode("ascii")}
        for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            at_address = url.copy_with(host=str(address))
            sent = httpx.Request(request.method, at_address, headers=headers, stream=request.stream, extensions=extensions)
            try:
                return await self._bounded(await self._carrier.handle_async_request(sent))
            except httpx.ConnectError as error:
                if not left:
                    # Without its cause: that holds the request, and the request the key.
                    raise no_connection(error) from None
        raise failed(Failure.UNKNOWN_NAME)

    async def _bounded(self, answer: httpx.Response) -> httpx.Response:
        refusal: UpstreamFailed | None = None
        if 300 <= answer.status_code < 400:
            refusal = failed(Failure.REDIRECTED)
        elif answer.headers.get("content-encoding", "identity") != "identity":
            # It was not asked for, and a small answer may unpack to a huge one.
            refusal = failed(Failure.UNREADABLE)
        if refusal is not None:
            await answer.aclose()
            raise refusal
        stream = answer.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise failed(Failure.UNREADABLE)
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=_Bounded(stream, self._largest_bytes), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._carrier.aclose()


class _Bounded(httpx.AsyncByteStream):
    """An answer's bytes, up to a number."""

    def __init__(self, stream: httpx.AsyncByteStream, largest: int) -> None:
        self._stream = stream
        self._left = largest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise failed(Failure.TOO_LARGE)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
