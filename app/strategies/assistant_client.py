"""Asks a model through the `openai` client. Imported with the first question only: the library takes most of a second to load.

No error of the library leaves this module: each holds the request, and the request the key.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn, cast

import httpx
import openai
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from app.core.outgoing import Failure
from app.errors import (
    AiForbidden,
    AiKeyRefused,
    AiModelMissing,
    AiOutOfCredit,
    AiRateLimited,
    AiTooLong,
    AiTooSlow,
    AiUnreachable,
    AiUnreadable,
    AssistantFailed,
    UpstreamFailed,
)
from app.strategies.assistant_pieces import MOST_TOKENS, Finished, Piece, Place, Said, Thinking, Usage, Words

_CONNECT_S: Final = 10.0
_LONGEST_REASON: Final = 40
_MOST_TOKENS_COUNTED: Final = 1_000_000_000
_DEAREST: Final = Decimal(1_000_000)
#: The last digit that is kept of a cost.
_LEAST: Final = Decimal("1e-18")
#: JSON can name what no text may hold: neither the database nor the browser can be given it.
_NO_SIGNS: Final = re.compile("[\x00\ud800-\udfff]")
_LONGEST_WAIT_S: Final = 3_600.0
#: The client wants one; without a key of ours the transport sends none.
_NO_KEY: Final = "none"
#: Models' reasoning, as OpenRouter, Ollama and others name it.
_REASONING: Final = ("reasoning", "reasoning_content", "thinking")
#: Of the words with which providers say that a prompt is too long there is no list: these are OpenAI's code and what the sentences have.
_TOO_LONG: Final = ("context_length", "context length", "context window", "maximum context", "too many tokens", "prompt is too long")
#: Ollama: `model "x" not found`; OpenRouter: `x is not a valid model ID`, `No endpoints found for x`.
_NO_MODEL: Final = ("no endpoints found", "not a valid model", "model_not_found", 'model "', "model '", "model does not exist")
_REHEARSAL: Final = (
    b'data: {"id": "", "object": "chat.completion.chunk", "created": 0, "model": "", "choices": [{"index": 0, "delta": {"content": "x"}, '
    b'"finish_reason": "stop"}], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}\n\ndata: [DONE]\n\n'
)


async def ask(place: Place, messages: Sequence[Said]) -> AsyncGenerator[Piece, None]:
    """Yield the answer's pieces as they arrive (`assistant_pieces.Ask`).

    Raises:
        AssistantFailed: the provider gives no answer, and which of its classes says why.
        AddressRefused: its address may not be called.
    """
    timeout = httpx.Timeout(place.silence_s, connect=_CONNECT_S, write=_CONNECT_S, pool=_CONNECT_S)
    carrier = httpx.AsyncClient(transport=place.transport, trust_env=False, follow_redirects=False, timeout=timeout)
    async with carrier:
        # The client takes an httpx of either generation, and says so of the newer one only.
        client = openai.AsyncOpenAI(
            api_key=place.api_key or _NO_KEY,
            base_url=place.base_url,
            max_retries=0,
            timeout=place.silence_s,
            http_client=cast("Any", carrier),
        )
        try:
            async with aclosing(_chunks(client, place.model, messages)) as chunks:
                async for chunk in chunks:
                    for piece in _pieces(chunk):
                        yield piece
        except UpstreamFailed as error:
            raise _as_ours(error) from None
        except openai.OpenAIError as error:
            _tell(error)
        except (httpx.HTTPError, httpx.StreamError):
            raise AiUnreachable from None
        except (ValueError, AttributeError, TypeError, RecursionError):
            # Not JSON, or not of the shape that the protocol has, or nested without end.
            raise AiUnreadable from None


def prepare() -> None:
    """Have one conversation with nobody. For a thread: what the library makes with its first one takes a quarter of a second."""
    asyncio.run(_rehearse())


async def _rehearse() -> None:
    nobody = httpx.MockTransport(lambda _: httpx.Response(200, content=_REHEARSAL))
    async for _ in ask(Place(base_url="http://localhost/v1", transport=nobody, model="nobody"), [Said(role="user", text="")]):
        pass


async def _chunks(client: openai.AsyncOpenAI, model: str, messages: Sequence[Said]) -> AsyncGenerator[ChatCompletionChunk, None]:
    told = [cast("ChatCompletionMessageParam", {"role": message.role, "content": message.text}) for message in messages]
    stream = await client.chat.completions.create(
        model=model, messages=told, stream=True, stream_options={"include_usage": True}, max_tokens=MOST_TOKENS
    )
    async with stream:
        async for chunk in stream:
            yield chunk


def _pieces(chunk: ChatCompletionChunk) -> list[Piece]:
    found: list[Piece] = []
    for choice in (chunk.choices or [])[:1]:
        extra = choice.delta.model_extra or {}
        if choice.delta.content:
            found.append(Words(_text(choice.delta.content)))
        elif any(extra.get(name) for name in _REASONING):
            found.append(Thinking())
        if choice.finish_reason:
            found.append(Finished(_text(choice.finish_reason)[:_LONGEST_REASON]))
    if chunk.usage is not None:
        cost = (chunk.usage.model_extra or {}).get("cost")
        found.append(
            Usage(
                prompt_tokens=_count(chunk.usage.prompt_tokens), completion_tokens=_count(chunk.usage.completion_tokens), cost=_cost(cost)
            )
        )
    return found


def _text(value: object) -> str:
    return _NO_SIGNS.sub("\ufffd", str(value))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS_COUNTED else None


def _cost(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    # Of an exponent that somebody chose a text of a million digits would be made.
    return cost.quantize(_LEAST) if cost.is_finite() and 0 <= cost < _DEAREST else None


def _as_ours(error: UpstreamFailed) -> UpstreamFailed:
    """What the transport says, under the codes of the assistant; its sentences are more exact where no connection was made."""
    match error.context.get("failure"):
        case Failure.UNKNOWN_NAME | Failure.UNREACHABLE | Failure.UNTRUSTED | Failure.REDIRECTED | Failure.TOO_SLOW:
            return AiUnreachable(error.message)
        case _:
            return AiUnreadable()


def _tell(error: openai.OpenAIError) -> NoReturn:
    """Say in our words what went wrong. Nothing of the provider's own words is passed on: they may hold what it was sent."""
    if isinstance(error, openai.APITimeoutError):
        raise (AiUnreachable if isinstance(error.__cause__, httpx.ConnectTimeout) else AiTooSlow) from None
    if isinstance(error, openai.APIConnectionError):
        raise AiUnreachable from None
    if not isinstance(error, openai.APIError):
        raise AiUnreadable from None
    headers: Mapping[str, str] = error.response.headers if isinstance(error, openai.APIStatusError) else {}
    raise _told(_status(error), error, headers) from None


def _status(error: openai.APIError) -> int:
    """The status of the answer, or of an error inside a stream: OpenRouter gives it the same numbers."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code
    return int(error.code) if error.code is not None and error.code.isdecimal() and len(error.code) == 3 else 0


def _told(status: int, error: openai.APIError, headers: Mapping[str, str]) -> UpstreamFailed:
    plain: dict[int, type[AssistantFailed]] = {401: AiKeyRefused, 402: AiOutOfCredit, 403: AiForbidden, 413: AiTooLong}
    if status in plain:
        return plain[status]()
    if status in (429, 503, 529):
        return AiRateLimited(retry_after_s=_wait_s(headers))
    if status in (408, 504):
        return AiTooSlow()
    words = f"{error.code or ''} {error.message}".lower()
    if any(sign in words for sign in _TOO_LONG):
        return AiTooLong()
    if status in (0, 400, 404) and any(sign in words for sign in _NO_MODEL):
        return AiModelMissing()
    # Something answers there, but not with what this protocol has at that path.
    return AiUnreadable() if status == 404 else AssistantFailed()


def _wait_s(headers: Mapping[str, str]) -> float:
    given = headers.get("retry-after", "")
    return min(max(float(given), 1.0), _LONGEST_WAIT_S) if given.isdecimal() and len(given) < 10 else 30.0
