"""Open event streams of users: each costs a connection, of which a process has a thousand or so."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol
from uuid import UUID

from fastapi import Request
from starlette.responses import StreamingResponse

from app.core.i18n import N_
from app.errors import RateLimited

#: Of one user. A page's stream is drawn anew with every event, too.
MOST_STREAMS: Final = 40
_TOO_MANY: Final = N_("You have very many pages open. Close some of them.")


class Stream(Protocol):
    """What is sent to one open page or program."""

    def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield finished messages until it is over."""


def streams_of(request: Request) -> Counter[UUID]:
    """Return how many streams each user has open at this process."""
    streams: Counter[UUID] = request.app.state.page_streams
    return streams


def check_room(request: Request, user_id: UUID) -> None:
    """Pass when the user may open one more.

    Raises:
        RateLimited: this user has as many open as one may.
    """
    if streams_of(request)[user_id] >= MOST_STREAMS:
        raise RateLimited(_TOO_MANY)


async def counted(streams: Counter[UUID], user_id: UUID, stream: Stream) -> AsyncGenerator[bytes, None]:
    """Yield a stream's messages, and count it as open meanwhile. Of very many asked for at one moment those that are too many end."""
    if streams[user_id] >= MOST_STREAMS:
        return
    streams[user_id] += 1
    try:
        async with aclosing(stream.messages()) as messages:
            async for message in messages:
                yield message
    finally:
        streams[user_id] -= 1
        if not streams[user_id]:
            del streams[user_id]


def streaming(request: Request, user_id: UUID, stream: Stream) -> StreamingResponse:
    """Return the answer that sends a stream's messages."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(counted(streams_of(request), user_id, stream), media_type="text/event-stream", headers=headers)
