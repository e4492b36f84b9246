"""What a user chose: how pages look, and which AI provider answers. Knows no HTTP.

Which provider is on is one column, so that one at most is. OpenRouter's key is sealed, bound to its user, and only ever opened to be sent
to OpenRouter.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.ai import AiAccess, AiProviders
from app.accounts.audit_log import Action, note
from app.accounts.models import AiProvider, User
from app.accounts.schemas import AiIn, PreferencesIn
from app.accounts.service import get_user
from app.core.crypto import Vault
from app.core.db import Database
from app.core.i18n import N_
from app.errors import InvalidInput

#: A key that is short would be told by its end.
_HINT: Final = 4
_PLAIN: Final = ("theme", "language", "display_timezone", "currency", "confirm_orders", "has_shortcuts")
_KEY_FIRST: Final = N_("OpenRouter needs a key. Enter yours.")
_NOT_PRINTABLE: Final = N_("A sign in it cannot be read.")


async def change(session: AsyncSession, vault: Vault, providers: AiProviders, user_id: UUID, changes: PreferencesIn) -> User:
    """Change the fields that are given, all but the default account, which is `brokers.service`'s.

    Raises:
        InvalidInput: OpenRouter without a key, a model's name or a key that nobody could read.
        AddressRefused: an address of Ollama that is none, or is never called.
    """
    user = await get_user(session, user_id)
    for name in _PLAIN:
        if (value := getattr(changes, name)) is not None:
            setattr(user, name, value)
    before = _ai_of(user)
    if changes.forget_ai_key:
        _forget_key(user)
    _change_ai(vault, providers, user, changes)
    await session.flush()
    if _ai_of(user) != before:
        detail = {"provider": user.ai_provider, "model": user.ai_model or "", "has_key": user.has_ai_key}
        await note(session, Action.AI_CHANGED, user_id=user_id, object=f"user:{user_id}", detail=detail)
    return user


def _ai_of(user: User) -> tuple[object, ...]:
    return user.ai_provider, user.ai_api_key, user.ai_endpoint_url, user.ai_model


def _forget_key(user: User) -> None:
    user.ai_api_key, user.ai_key_hint = None, ""
    if user.ai_provider == AiProvider.OPENROUTER:
        user.ai_provider, user.ai_model = AiProvider.NONE.value, None


def _change_ai(vault: Vault, providers: AiProviders, user: User, changes: AiIn) -> None:
    if changes.ai_api_key is not None:
        key = _readable(changes.ai_api_key.get_secret_value().strip(), field="ai_api_key")
        user.ai_api_key = vault.seal(key, context=_context(user.id))
        user.ai_key_hint = key[-_HINT:] if len(key) > 3 * _HINT else ""
    if changes.ai_endpoint_url is not None:
        user.ai_endpoint_url = providers.endpoint(changes.ai_endpoint_url)
    if changes.ai_provider is not None and changes.ai_provider != user.ai_provider:
        # A model is one provider's own.
        user.ai_provider, user.ai_model = changes.ai_provider, None
    if changes.ai_model is not None:
        user.ai_model = _readable(changes.ai_model.strip(), field="ai_model") or None
    if user.ai_provider == AiProvider.OPENROUTER and user.ai_api_key is None:
        raise InvalidInput(_KEY_FIRST, field="ai_api_key")


def _readable(text: str, *, field: str) -> str:
    # A key goes into a header, where nothing else may stand.
    if not text.isprintable() or (field == "ai_api_key" and not (text and text.isascii())):
        raise InvalidInput(_NOT_PRINTABLE, field=field)
    return text


def _context(user_id: UUID) -> str:
    return f"user:{user_id}:ai_api_key"


async def access_of(session: AsyncSession, vault: Vault, user_id: UUID, given: AiIn) -> AiAccess:
    """Return how a provider is reached: as given, and as stored where nothing is.

    Raises:
        InvalidInput: a key that nobody could read.
        ConfigError: no configured key opens the stored one.
    """
    user = await get_user(session, user_id)
    provider = AiProvider(given.ai_provider or user.ai_provider)
    key: str | None = None
    if provider is AiProvider.OPENROUTER and given.ai_api_key is not None:
        key = _readable(given.ai_api_key.get_secret_value().strip(), field="ai_api_key")
    elif provider is AiProvider.OPENROUTER and user.ai_api_key is not None:
        key = vault.open(user.ai_api_key, context=_context(user_id))
    stored_model = user.ai_model if provider == user.ai_provider else None
    return AiAccess(
        provider=provider,
        endpoint_url=(user.ai_endpoint_url if given.ai_endpoint_url is None else given.ai_endpoint_url).strip().rstrip("/"),
        api_key=key,
        model=stored_model if given.ai_model is None else given.ai_model.strip() or None,
    )


async def looks_of(database: Database, user_id: UUID) -> dict[str, Any] | None:
    """Return a user's theme, language, display_timezone and currency; None when they are gone. For open pages, which ask often."""
    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT theme, language, display_timezone, currency FROM users WHERE id = $1", user_id)
    return None if row is None else dict(row)
