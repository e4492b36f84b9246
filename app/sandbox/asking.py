"""What a worker is asked, and what may be taken for its answer: both are looked at on the server's side of the wall."""

from typing import Final

import msgspec

from app.errors import SourceTooLong
from app.sandbox.messages import (
    LONGEST_SOURCE,
    Answered,
    Asked,
    Check,
    Checked,
    Decide,
    Decision,
    Described,
    Failed,
    Load,
    Ran,
    Reply,
    Request,
    Rewrite,
    Rewritten,
    Run,
    Sweep,
    Swept,
)
from app.sandbox.texts import cleaned
from app.sandbox.wire import ProtocolBroken

_encode = msgspec.msgpack.Encoder().encode
_ASKED: Final = msgspec.msgpack.Decoder(Asked)
_ANSWERED: Final = msgspec.msgpack.Decoder(Answered)
#: What answers each request, besides `Failed`.
_REPLIES: Final[dict[type[Request], type[Reply]]] = {
    Load: Described,
    Run: Ran,
    Sweep: Swept,
    Rewrite: Rewritten,
    Check: Checked,
    Decide: Decision,
}


def encoded(request: Request, request_id: int) -> bytes:
    """Return the body of a request that its worker will take: one that it refused would end it, and be taken for the strategy's fault.

    Raises:
        SourceTooLong: the source is longer than a strategy may be.
        ValueError: something else in the request is out of bounds.
    """
    if isinstance(request, Load) and len(request.source) > LONGEST_SOURCE:
        raise SourceTooLong(f"a source has {LONGEST_SOURCE} characters at most, was {len(request.source)}")
    body = _encode(Asked(request_id=request_id, request=request))
    _ASKED.decode(body)  # the bounds of a message are looked at when it is decoded, not when it is made
    return body


def reply_in(body: bytes, request: Request, request_id: int) -> Reply:
    """Return the reply to a request, with clean texts.

    Raises:
        ProtocolBroken: it answers something else. What else is wrong raises another error of `wire.BROKEN`.
    """
    answered = _ANSWERED.decode(body)
    if answered.request_id != request_id:
        raise ProtocolBroken("answered with a wrong request id")
    if not isinstance(answered.reply, (_REPLIES[type(request)], Failed)):
        raise ProtocolBroken(f"answered {type(request).__name__} with {type(answered.reply).__name__}")
    return cleaned(answered.reply)
