"""An answer of the assistant as server-sent events: `begun`, then `thinking`, `words` and `proposal` as they come, at last `ended`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import orjson

from app.core.i18n import use_language
from app.core.sentences import said
from app.errors import AiRateLimited
from app.strategies.assistant import Answer, Ended, Event, Proposed
from app.strategies.assistant_models import Outcome
from app.strategies.assistant_pieces import Thinking, Words
from app.strategies.assistant_schemas import money

_WAIT_S: Final = 0.5
_PING_S: Final = 5.0
#: How long a stopping server waits for an answer to be stored.
_LAST_S: Final = 2.0


class AnswerStream:
    """What is sent to whoever asked. When they go, the answer ends, and with it the provider's work on it.

    Args:
        answer: As `Assistant.ask` gave it.
        stopping: Set when this server is about to stop.
        language: Of the sentence that says why there is no answer.
    """

    def __init__(self, answer: Answer, stopping: asyncio.Event, *, language: str) -> None:
        self._answer = answer
        self._stopping = stopping
        self._language = language

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield finished messages until the answer has ended."""
        answer, begun = self._answer, self._answer.begun
        ping_at = time.monotonic() + _PING_S
        stop_at: float | None = None
        try:
            yield _event(
                "begun",
                {
                    "message_id": str(begun.answer_id),
                    "question_id": str(begun.question_id),
                    "provider": answer.provider,
                    "model": answer.model,
                },
            )
            while stop_at is None or time.monotonic() < stop_at:
                for event in await answer.next(wait_s=_WAIT_S):
                    yield self._told(event)
                    if isinstance(event, Ended):
                        return
                if self._stopping.is_set() and stop_at is None:
                    answer.stop(Outcome.INTERRUPTED)
                    stop_at = time.monotonic() + _LAST_S
                if time.monotonic() >= ping_at:
                    # Without it nobody would notice that the browser went, while a model thinks.
                    yield b": still here\n\n"
                    ping_at = time.monotonic() + _PING_S
        finally:
            answer.stop()

    def _told(self, event: Event) -> bytes:
        match event:
            case Words():
                return _event("words", {"text": event.text})
            case Thinking():
                return _event("thinking", {})
            case Proposed():
                return _event("proposal", {"message_id": str(self._answer.begun.answer_id), "source": event.source})
            case Ended():
                return _event("ended", self._ending(event))

    def _ending(self, event: Ended) -> dict[str, Any]:
        ending, error = event.ending, event.error
        with use_language(self._language):
            message = None if error is None else said(error.message)
        return {
            "outcome": ending.outcome.value,
            "finish_reason": ending.finish_reason,
            "code": ending.error_code,
            "message": message,
            "retry_after_s": error.retry_after_s if isinstance(error, AiRateLimited) else None,
            "prompt_tokens": ending.usage.prompt_tokens,
            "completion_tokens": ending.usage.completion_tokens,
            "cost": money(ending.usage.cost),
        }


def _event(name: str, value: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(value))
