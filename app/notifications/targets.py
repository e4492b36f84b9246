"""Where a user is reached: naming places, changing and removing them, and trying one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.core.clock import Clock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.i18n import N_, gettext, use_language
from app.core.ids import new_id
from app.core.tenancy import owned
from app.errors import InvalidInput, NameTaken, TargetLimit, TargetNotFound, TooManyAttempts
from app.notifications.deliveries import end_attempt, open_attempt
from app.notifications.kinds import NoticeKind, Severity
from app.notifications.messenger import Message, Messenger, Outcome
from app.notifications.models import NotificationTarget

MOST_TARGETS: Final = 20
TESTS_A_MINUTE: Final = 6
_TEST_TITLE: Final = N_("Aristobot can reach you here")
_TEST_TEXT: Final = N_("This is the test that you asked for. What happens to your orders and bots will be told here.")
_TOO_OFTEN: Final = N_("You have tried this often in the last minute. Wait a moment, then try again.")
_UNKNOWN_KIND: Final = N_("There is no such kind of notice.")
_TARGET: Final = "SELECT id, user_id, name, service, url FROM notification_targets WHERE id = $1 AND user_id = $2"
_TESTED: Final = """
SELECT count(*) FROM notification_attempts WHERE user_id = $1 AND is_test AND started_at > $2::timestamptz - interval '1 minute'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a target is to be. None leaves what is stored as it is; `takes_default` chooses the kinds that are on by default."""

    name: str | None = None
    url: str | None = field(default=None, repr=False)
    is_enabled: bool | None = None
    least_severity: Severity | None = None
    kinds: Sequence[NoticeKind] | None = None
    takes_default: bool = False


def place_of(user_id: UUID, target_id: UUID) -> str:
    """Return what a target's sealed address is bound to."""
    return f"user:{user_id}:notification_target:{target_id}:url"


class Targets:
    """The targets of users.

    Args:
        database: The platform's: a test's attempt is written down apart from the request's transaction.
        messenger: Reads addresses and sends.
        vault: Seals and opens addresses.
        clock: What time it is.
    """

    def __init__(self, database: Database, messenger: Messenger, vault: Vault, *, clock: Clock) -> None:
        self._database = database
        self._messenger = messenger
        self._vault = vault
        self._clock = clock

    async def create(self, session: AsyncSession, user_id: UUID, wish: Wish) -> NotificationTarget:
        """Name a place.

        Raises:
            TargetRefused: nothing can be sent to that address.
            TargetLimit: the user has as many as one may have.
            NameTaken: the name is in use.
            KeyMissing: nothing can be sealed here.
        """
        place = await self._messenger.read(wish.url or "")
        await _check_number(session, user_id)
        target_id = new_id()
        target = NotificationTarget(
            id=target_id,
            user_id=user_id,
            name=wish.name,
            service=place.service,
            url=self._vault.seal((wish.url or "").strip(), context=place_of(user_id, target_id)),
            hint=place.hint,
            is_enabled=wish.is_enabled is not False,
            least_severity=(wish.least_severity or Severity.INFO).value,
            kinds=None if wish.kinds is None else _known(wish.kinds),
        )
        session.add(target)
        await _flush(session, target.name)
        await _note(session, target, "made")
        return target

    async def change(self, session: AsyncSession, user_id: UUID, target_id: UUID, wish: Wish) -> NotificationTarget:
        """Change what is given.

        Raises:
            TargetNotFound: no such target of this user.
            TargetRefused, NameTaken, KeyMissing: as `create`.
        """
        place = None if wish.url is None else await self._messenger.read(wish.url)
        target = await get(session, user_id, target_id, is_locked=True)
        if wish.url is not None and place is not None:
            target.url = self._vault.seal(wish.url.strip(), context=place_of(user_id, target_id))
            target.service, target.hint, target.rest_until = place.service, place.hint, None
        if wish.name is not None:
            target.name = wish.name
        if wish.is_enabled is not None:
            target.is_enabled = wish.is_enabled
        if wish.least_severity is not None:
            target.least_severity = wish.least_severity.value
        if wish.takes_default or wish.kinds is not None:
            target.kinds = None if wish.takes_default else _known(wish.kinds or ())
        await _flush(session, target.name)
        await _note(session, target, "changed")
        return target

    async def test(self, user_id: UUID, target_id: UUID, *, language: str) -> Outcome:
        """Send a message there now and return what comes of it; it is in the log like any other. No transaction may be open.

        Raises:
            TargetNotFound: no such target of this user.
            TooManyAttempts: tried too often in a minute, or as many messages of this user are under way as may be.
            KeyMissing, KeyUnreadable: its address cannot be read here.
        """
        now = self._clock.now()
        async with self._database.raw_transaction() as connection:
            target = await connection.fetchrow(_TARGET, target_id, user_id)
            if target is None:
                raise TargetNotFound
            tested = await connection.fetchval(_TESTED, user_id, now)
            if tested >= TESTS_A_MINUTE or not self._messenger.is_free_for(user_id):
                raise TooManyAttempts(_TOO_OFTEN, retry_after_s=20.0)
            url = self._vault.open(target["url"].encode(), context=place_of(user_id, target_id))
            with use_language(language):
                message = Message(title=gettext(_TEST_TITLE), body=gettext(_TEST_TEXT), severity=Severity.INFO)
            attempt_id = new_id()
            await open_attempt(
                connection, attempt_id, target, severity=message.severity, title=message.title, covers=1, is_test=True, now=now
            )
        outcome = await self._messenger.send(url, message, user_id=user_id)
        async with self._database.connection() as connection:
            await end_attempt(connection, attempt_id, outcome, self._clock.now())
        return outcome


async def list_targets(session: AsyncSession, user_id: UUID) -> list[NotificationTarget]:
    """Return the user's targets by name."""
    return list(await session.scalars(owned(NotificationTarget, user_id).order_by(NotificationTarget.name)))


async def get(session: AsyncSession, user_id: UUID, target_id: UUID, *, is_locked: bool = False) -> NotificationTarget:
    """Return one target.

    Raises:
        TargetNotFound: no such target of this user.
    """
    query = owned(NotificationTarget, user_id).where(NotificationTarget.id == target_id)
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    target: NotificationTarget | None = await session.scalar(query)
    if target is None:
        raise TargetNotFound
    return target


async def remove(session: AsyncSession, user_id: UUID, target_id: UUID) -> None:
    """Forget a target with its address and what waits for it; the log keeps its name.

    Raises:
        TargetNotFound: no such target of this user.
    """
    target = await get(session, user_id, target_id, is_locked=True)
    await session.delete(target)
    await session.flush()
    await _note(session, target, "removed")


def _known(kinds: Sequence[NoticeKind]) -> list[str]:
    try:
        return [kind.value for kind in NoticeKind if kind in {NoticeKind(one) for one in kinds}]
    except ValueError:
        raise InvalidInput(_UNKNOWN_KIND, field="kinds") from None


async def _check_number(session: AsyncSession, user_id: UUID) -> None:
    # Of two that are made at once the second waits here, and then counts the first.
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"notification_targets:{user_id}"})
    query = text("SELECT count(*) FROM notification_targets WHERE user_id = :user_id")
    if (await session.scalar(query, {"user_id": user_id}) or 0) >= MOST_TARGETS:
        raise TargetLimit


async def _flush(session: AsyncSession, name: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if "uq_notification_targets_user_id_name" in str(error.orig):
            raise NameTaken(f"you already have a target named {name}", field="name") from error
        raise


async def _note(session: AsyncSession, target: NotificationTarget, what: str) -> None:
    detail: dict[str, Any] = {"target": target.name, "service": target.service, "what": what}
    await note(session, Action.NOTIFICATIONS_CHANGED, user_id=target.user_id, object=f"notification_target:{target.id}", detail=detail)
