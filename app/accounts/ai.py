"""The AI providers that a user may switch on: which models each has, and whether it answers at all."""

from dataclasses import dataclass, field
from typing import Any, Final

from app.accounts.models import AiProvider
from app.core.i18n import N_
from app.core.outgoing import Failure, Outgoing, failed
from app.core.outgoing_transport import GuardedTransport
from app.errors import AppError, InvalidInput, UpstreamFailed

_MOST_MODELS: Final = 2000
_LONGEST_NAME: Final = 200
_OFF: Final = N_("No provider is switched on.")
_NO_KEY: Final = N_("OpenRouter needs a key.")
_WRONG_KEY: Final = N_("OpenRouter does not take that key.")
_WORKS: Final = N_("It answers, and it has that model.")
_CHOOSE: Final = N_("It answers. Choose a model.")
_EMPTY: Final = N_("It answers, but it has no model yet. Fetch one there first (ollama pull).")
_NO_SUCH_MODEL: Final = N_("It answers, but it has no model of that name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AiAccess:
    """How a provider is reached. The key is OpenRouter's and goes nowhere else; the address is Ollama's."""

    provider: AiProvider
    endpoint_url: str = ""
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AiCheck:
    """What came of asking. `message` is a sentence of the catalogue."""

    success: bool
    message: str
    code: str | None = None
    models: tuple[str, ...] = ()


class AiProviders:
    """Asks providers.

    Args:
        outgoing: Makes the calls, within bounds.
        openrouter_url: Where OpenRouter is; the administrator's word.
    """

    def __init__(self, outgoing: Outgoing, *, openrouter_url: str) -> None:
        self._outgoing = outgoing
        self._openrouter_url = openrouter_url.rstrip("/")

    def endpoint(self, url: str) -> str:
        """Return a user's address of an Ollama as it is stored.

        Raises:
            AddressRefused: it is none, or one that is never called.
        """
        trimmed = url.strip().rstrip("/")
        self._outgoing.check(trimmed)
        return trimmed

    async def models(self, access: AiAccess) -> tuple[str, ...]:
        """Return the names of the models that the provider has. Takes up to ten seconds a call: no transaction may be open.

        Raises:
            InvalidInput: no provider is on, or its key is missing; AddressRefused: its address is not called.
            UpstreamFailed: it gives no answer that can be used.
        """
        match access.provider:
            case AiProvider.OPENROUTER:
                return await self._of_openrouter(access.api_key)
            case AiProvider.OLLAMA:
                answer = await self._outgoing.get_json(f"{access.endpoint_url}/api/tags")
                return _names(answer, "models", "name")
            case _:
                raise InvalidInput(_OFF, field="ai_provider")

    def chat_url(self, access: AiAccess) -> str:
        """Return the root of the interface through which its models are talked to; Ollama has OpenAI's beside its own."""
        return self._openrouter_url if access.provider is AiProvider.OPENROUTER else f"{access.endpoint_url}/v1"

    def chat_transport(self, access: AiAccess, *, largest_bytes: int) -> GuardedTransport:
        """Return what carries a conversation there, within the same bounds as every other call; whoever takes it closes it."""
        is_ours = access.provider is AiProvider.OPENROUTER
        # The key is OpenRouter's; whatever a client sends an Ollama in its place stays here.
        headers = ("authorization",) if is_ours else ()
        return GuardedTransport(self._outgoing, is_ours=is_ours, largest_bytes=largest_bytes, allowed_headers=headers)

    async def _of_openrouter(self, api_key: str | None) -> tuple[str, ...]:
        if not api_key:
            raise InvalidInput(_NO_KEY, field="ai_api_key")
        headers = {"Authorization": f"Bearer {api_key}"}
        try:
            # The list of models is public: it says nothing of the key.
            await self._outgoing.get_json(f"{self._openrouter_url}/key", headers=headers, is_ours=True)
        except UpstreamFailed as error:
            if error.context.get("failure") is Failure.REFUSED:
                raise UpstreamFailed(_WRONG_KEY, field="ai_api_key", failure=Failure.REFUSED) from None
            raise
        answer = await self._outgoing.get_json(f"{self._openrouter_url}/models", headers=headers, is_ours=True)
        return _names(answer, "data", "id")

    async def check(self, access: AiAccess) -> AiCheck:
        """Ask the provider and say in words what came of it."""
        try:
            models = await self.models(access)
        except AppError as error:
            return AiCheck(success=False, message=error.message, code=error.code)
        if not models:
            return AiCheck(success=False, message=_EMPTY, code="MODEL_MISSING")
        if access.model and access.model not in models:
            return AiCheck(success=False, message=_NO_SUCH_MODEL, code="MODEL_MISSING", models=models)
        return AiCheck(success=True, message=_WORKS if access.model else _CHOOSE, models=models)


def _names(answer: Any, collection: str, name: str) -> tuple[str, ...]:
    """Pick the names out of an answer; whatever else stands in it is nobody's business."""
    rows = answer.get(collection) if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise failed(Failure.UNREADABLE)
    found = (row.get(name) for row in rows if isinstance(row, dict))
    good = {text for text in found if isinstance(text, str) and 0 < len(text) <= _LONGEST_NAME and text.isprintable()}
    return tuple(sorted(good)[:_MOST_MODELS])
