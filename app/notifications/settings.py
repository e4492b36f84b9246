"""How a user wants to be told: time zone, what the bell shows, quiet hours, and the address of their dead-man's switch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Final
from uuid import UUID
from zoneinfo import available_timezones

from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.core.crypto import Vault
from app.core.i18n import N_
from app.core.outgoing import Outgoing
from app.core.tenancy import owned
from app.errors import InvalidInput
from app.notifications.kinds import NoticeKind, Severity
from app.notifications.models import NotificationSettings

_NO_ZONE: Final = N_("There is no such time zone. It is called as in Europe/Paris, or UTC.")
_ONE_END: Final = N_("Quiet hours need both ends, or neither.")


def place_of(user_id: UUID) -> str:
    """Return what the sealed address of a user's dead-man's switch is bound to."""
    return f"user:{user_id}:deadman_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class BellWish:
    """Time zone, quiet hours (local times; both None: there are none) and the kinds of the bell (None: those on by default)."""

    timezone: str
    quiet_from: time | None
    quiet_until: time | None
    quiet_severity: Severity
    bell_kinds: Sequence[NoticeKind] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadmanWish:
    """A dead-man's switch. `url`: None leaves the stored one, an empty one takes it away."""

    url: str | None = field(default=None, repr=False)
    minutes: int = 5
    tells_failure: bool = False


async def settings_of(session: AsyncSession, user_id: UUID, *, is_locked: bool = False) -> NotificationSettings:
    """Return the user's settings; those of whoever has none yet are as they begin, and not stored."""
    query = owned(NotificationSettings, user_id)
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    found: NotificationSettings | None = await session.scalar(query)
    return found or NotificationSettings(
        user_id=user_id,
        timezone="UTC",
        bell_kinds=None,
        quiet_from=None,
        quiet_until=None,
        quiet_severity=Severity.ERROR.value,
        deadman_url=None,
        deadman_hint="",
        deadman_minutes=5,
        deadman_tells_failure=False,
        deadman_ok=None,
        deadman_answer="",
    )


async def change_settings(session: AsyncSession, user_id: UUID, wish: BellWish) -> NotificationSettings:
    """Store time zone, quiet hours and the bell's kinds.

    Raises:
        InvalidInput: there is no such zone, or quiet hours have one end.
    """
    if wish.timezone not in available_timezones():
        raise InvalidInput(_NO_ZONE, field="timezone")
    if (wish.quiet_from is None) != (wish.quiet_until is None):
        raise InvalidInput(_ONE_END, field="quiet_until" if wish.quiet_until is None else "quiet_from")
    stored = await settings_of(session, user_id, is_locked=True)
    stored.timezone = wish.timezone
    stored.quiet_from, stored.quiet_until = wish.quiet_from, wish.quiet_until
    stored.quiet_severity = wish.quiet_severity.value
    chosen = None if wish.bell_kinds is None else set(wish.bell_kinds)
    stored.bell_kinds = None if chosen is None else [kind.value for kind in NoticeKind if kind in chosen]
    session.add(stored)
    await session.flush()
    return stored


async def change_deadman(
    session: AsyncSession, user_id: UUID, wish: DeadmanWish, *, vault: Vault, outgoing: Outgoing
) -> NotificationSettings:
    """Store the address that is called while all is well, or take it away.

    Raises:
        AddressRefused: it is none, or one that is never called; what it resolves to is checked with each call.
        KeyMissing: nothing can be sealed here.
    """
    stored = await settings_of(session, user_id, is_locked=True)
    if wish.url is not None:
        url = wish.url.strip()
        if url:
            outgoing.check(url)
        stored.deadman_url = vault.seal(url, context=place_of(user_id)) if url else None
        stored.deadman_hint = url[-4:]
        stored.deadman_ok, stored.deadman_answer, stored.deadman_at = None, "", None
    stored.deadman_minutes, stored.deadman_tells_failure, stored.deadman_next_at = wish.minutes, wish.tells_failure, None
    session.add(stored)
    await session.flush()
    detail = {"what": "deadman", "on": stored.deadman_url is not None}
    await note(session, Action.NOTIFICATIONS_CHANGED, user_id=user_id, object="deadman", detail=detail)
    return stored
