"""What a worker is asked, and what may be taken for its answer: both are looked at on the server's side of the wall."""

import asyncio
import secrets
from typing import Final, Protocol
from uuid import UUID

import msgspec

from app.errors import AppError, SourceTooLong, StrategyKilled
from app.sandbox.cell import Cause
from app.sandbox.frames import Decisions
from app.sandbox.memory import copied_results, rows_decided
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
from app.sandbox.quotas import Purpose
from app.sandbox.terms import JailConfig
from app.sandbox.texts import cleaned
from app.sandbox.wire import BROKEN, ProtocolBroken

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


class Jailer(Protocol):
    """Who gives out workers: the jail."""

    config: JailConfig

    async def exchange(self, worker: "Worker", body: bytes, request_id: int, wall_s: float) -> bytes:
        """Send a worker's request and return the body of its answer."""

    def condemn(self, worker: "Worker", cause: Cause, detail: str) -> StrategyKilled:
        """End a worker for what it did, and return the error that says so."""


class Worker:
    """One strategy of one user in a locked process. Ask one thing at a time."""

    def __init__(self, jail: Jailer, number: int, *, user_id: UUID, purpose: Purpose, strategy: str) -> None:
        self.number, self.user_id, self.purpose, self.strategy = number, user_id, purpose, strategy
        self.results: tuple[int, int] | None = None
        self.waiting: asyncio.Future[bytes] | None = None
        #: Why nothing can be asked any more: a strategy's fault, or that sandboxd is gone.
        self.over: AppError | None = None
        self._jail = jail

    async def ask(self, request: Request, *, wall_s: float | None = None) -> Reply:
        """Return the reply; what the user's code raised comes back as `Failed`.

        Args:
            request: What to do.
            wall_s: Seconds after which the worker is killed; what its purpose allows when left out.

        Raises:
            SourceTooLong: the source is longer than a strategy may be.
            ValueError: something else in the request is out of bounds, which is the caller's mistake.
            StrategyKilled: it was killed, now or before; `context["reason"]` says why.
            JailClosed: sandboxd ended meanwhile. That is no fault of the strategy: ask a new worker.
        """
        seconds = wall_s if wall_s is not None else self._jail.config.wall_s(request)
        request_id = secrets.randbits(62) + 1
        answer = await self._jail.exchange(self, encoded(request, request_id), request_id, seconds)
        try:
            return reply_in(answer, request, request_id)
        except BROKEN as error:
            # Most of it sandboxd has looked at already; not on the day on which a strategy has taken sandboxd over.
            raise self._jail.condemn(self, Cause.PROTOCOL, str(error)[:300]) from error

    def progress(self) -> int:
        """Return how many candles the worker says it has decided at; may be asked while a `Run` is under way."""
        return rows_decided(*self._room())

    def decisions(self, rows: int | None = None) -> Decisions:
        """Return a copy of what the strategy decided, checked value by value.

        Args:
            rows: At the first so many candles; at all when left out. May be asked while a `Run` is under way.

        Raises:
            StrategyKilled: the memory holds what no decision can be.
        """
        try:
            return copied_results(*self._room(), self._within(rows))
        except StrategyKilled as error:
            raise self._jail.condemn(self, Cause.PROTOCOL, error.message) from error

    async def decided(self, rows: int | None = None) -> Decisions:
        """Return the same as `decisions` without keeping the loop from its work, which a million candles would."""
        try:
            return await asyncio.to_thread(copied_results, *self._room(), self._within(rows))
        except StrategyKilled as error:
            raise self._jail.condemn(self, Cause.PROTOCOL, error.message) from error

    def _room(self) -> tuple[int, int]:
        if self.results is None:
            raise ValueError("the worker was made without results")
        return self.results

    def _within(self, rows: int | None) -> int:
        room = self._room()[1]
        return room if rows is None else min(max(rows, 0), room)

    def settle(self, over: AppError) -> None:
        """Note that nothing can be asked any more; the first reason stays."""
        self.over = self.over or over
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(self.over)
