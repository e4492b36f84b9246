"""What an AI provider's answer comes in, whichever library reads it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, Protocol

import httpx

#: Tokens that an answer may have; OpenRouter asks for the credit of all of them beforehand.
MOST_TOKENS: Final = 8_192


@dataclass(frozen=True, slots=True)
class Thinking:
    """The model is reasoning; what, nobody is shown."""


@dataclass(frozen=True, slots=True)
class Words:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the answer took. `cost` is in OpenRouter's credits, which are US dollars; None where the provider names none."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """Why the model ended: `stop`, `length`, `content_filter`, or the provider's own word."""

    reason: str


Piece = Thinking | Words | Usage | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of what a model is given."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a model is asked.

    Attributes:
        base_url: The root of the provider's OpenAI-compatible interface.
        transport: Carries the request within the bounds of `core.outgoing`; whoever asks closes it.
        api_key: None where the provider has no keys.
        silence_s: Seconds that it may say nothing, before its first word and between two.
    """

    base_url: str
    transport: httpx.AsyncBaseTransport
    model: str
    api_key: str | None = field(default=None, repr=False)
    silence_s: float = 120.0


class Ask(Protocol):
    """Asks a model."""

    def __call__(self, place: Place, messages: Sequence[Said]) -> AsyncGenerator[Piece, None]:
        """Yield the answer's pieces; closing the generator ends the request. Raises `AssistantFailed` and what the guard refuses."""
