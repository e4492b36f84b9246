"""Webhooks of a user: create, change, rotate the secret, remove."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Unpack
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.security import fingerprint, new_secret
from app.core.tenancy import owned
from app.errors import BodyTooLarge, BrokerNotFound, Conflict, NameTaken, WebhookNotFound
from app.webhooks.models import Decision, Webhook, WebhookDelivery
from app.webhooks.reading import masked_text
from app.webhooks.receive import LARGEST_BODY, as_text
from app.webhooks.settings import HookChanges, HookSettings, as_stored, widens

#: Webhooks that a user may have at a time.
MOST_WEBHOOKS: Final = 200


class TooManyWebhooks(Conflict):
    """The user has as many webhooks as one may have."""

    default_code = "WEBHOOK_LIMIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A webhook and the secret of its address, which is shown this once."""

    webhook: Webhook
    secret: str


async def create_webhook(session: AsyncSession, user_id: UUID, *, name: str, now: datetime, **given: Unpack[HookSettings]) -> Created:
    """Open a door for alerts; without `broker_id` they go to the user's default account.

    Raises:
        BrokerNotFound: no such account of this user.
        InvalidInput: a setting cannot be used.
        NameTaken: the user already has a webhook of that name.
        TooManyWebhooks: the user has as many as one may have.
    """
    stored = as_stored(given)
    await _check_number(session, user_id)
    await _check_broker(session, user_id, stored.get("broker_id"))
    secret = new_secret()
    webhook = Webhook(id=new_id(), user_id=user_id, name=name, secret_hash=fingerprint(secret), is_active=True, created_at=now, **stored)
    webhook.expected_from = None if webhook.interval is None else now
    session.add(webhook)
    await _flush(session, name)
    await _note(session, Action.WEBHOOK_MADE, webhook, after=_plain(stored))
    return Created(webhook=webhook, secret=secret)


async def _note(session: AsyncSession, action: Action, webhook: Webhook, **facts: dict[str, Any]) -> None:
    detail = {"name": webhook.name, **facts}
    await note(session, action, user_id=webhook.user_id, object=f"webhook:{webhook.id}", detail=detail)


def _plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns as the audit log takes them."""
    return {name: str(value) if isinstance(value, UUID) else value for name, value in columns.items()}


async def _check_number(session: AsyncSession, user_id: UUID) -> None:
    # Of two that are made at once the second waits here, and then counts the first.
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"webhooks:{user_id}"})
    query = text("SELECT count(*) FROM webhooks WHERE user_id = :user_id AND removed_at IS NULL")
    count = await session.scalar(query, {"user_id": user_id})
    if count >= MOST_WEBHOOKS:
        raise TooManyWebhooks(N_(f"you have {count} webhooks, as many as one user may have: remove one that is not used"))


async def _check_broker(session: AsyncSession, user_id: UUID, broker_id: UUID | None) -> None:
    if broker_id is None:
        return
    query = text("SELECT 1 FROM brokers WHERE id = :id AND user_id = :user_id AND removed_at IS NULL")
    if await session.scalar(query, {"id": broker_id, "user_id": user_id}) is None:
        raise BrokerNotFound


async def _flush(session: AsyncSession, name: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if "uq_webhooks_user_id_name" in str(error.orig):
            raise NameTaken(f"you already have a webhook named {name}", field="name") from error
        raise


async def list_webhooks(session: AsyncSession, user_id: UUID) -> list[Webhook]:
    """Return the user's webhooks by name."""
    found = await session.scalars(owned(Webhook, user_id).where(Webhook.removed_at.is_(None)).order_by(Webhook.name))
    return list(found)


async def get_webhook(session: AsyncSession, user_id: UUID, webhook_id: UUID, *, is_locked: bool = False) -> Webhook:
    """Return one webhook; `is_locked`: as it is now, and nobody else changes it until the transaction ends.

    Raises:
        WebhookNotFound: no such webhook of this user.
    """
    query = owned(Webhook, user_id).where(Webhook.id == webhook_id, Webhook.removed_at.is_(None))
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    webhook: Webhook | None = await session.scalar(query)
    if webhook is None:
        raise WebhookNotFound
    return webhook


async def change_webhook(session: AsyncSession, user_id: UUID, webhook_id: UUID, *, now: datetime, **given: Unpack[HookChanges]) -> Webhook:
    """Rename, pause or resume a webhook, or give it other settings. An alert is expected anew from `now` when that begins.

    Raises:
        WebhookNotFound: no such webhook of this user.
        BrokerNotFound: no such account of this user.
        InvalidInput: a setting cannot be used.
        NameTaken: the name is in use.
    """
    # Locked: of two changes at once the second is written down with what the first one left.
    webhook = await get_webhook(session, user_id, webhook_id, is_locked=True)
    stored = as_stored(given)
    if stored.get("broker_id") != webhook.broker_id:
        await _check_broker(session, user_id, stored.get("broker_id"))
    stored |= {name: value for name, value in given.items() if name in ("name", "is_active") and value is not None}
    before = {column: getattr(webhook, column) for column, value in stored.items() if getattr(webhook, column) != value}
    for column in before:
        setattr(webhook, column, stored[column])
    if before.keys() & {"interval", "is_active"}:
        webhook.expected_from = None if webhook.interval is None else now
    await _flush(session, webhook.name)
    if before:
        after = {column: stored[column] for column in before}
        await _note(session, Action.WEBHOOK_CHANGED, webhook, before=_plain(before), after=_plain(after))
    return webhook


async def is_widened(session: AsyncSession, user_id: UUID, webhook_id: UUID, given: HookChanges) -> bool:
    """Tell whether these changes let alerts do more than they may now: who does that must not be a stranger at an open page.

    Raises:
        WebhookNotFound: no such webhook of this user.
        InvalidInput: a setting cannot be used.
    """
    webhook = await get_webhook(session, user_id, webhook_id)
    return widens(webhook, as_stored(given))


async def put_test(session: AsyncSession, user_id: UUID, webhook_id: UUID, message: str, *, now: datetime) -> UUID:
    """Put a message into the webhook's inbox as a test, and return the delivery's id; the inbox finds it there.

    Raises:
        WebhookNotFound: no such webhook of this user.
        BodyTooLarge: it is larger than an alert may be.
    """
    webhook = await get_webhook(session, user_id, webhook_id)
    body = message.encode(errors="replace")
    if len(body) > LARGEST_BODY:
        raise BodyTooLarge(f"the message may have at most {LARGEST_BODY} bytes, was {len(body)}")
    delivery = WebhookDelivery(
        id=new_id(), webhook_id=webhook.id, user_id=user_id, received_at=now, raw=masked_text(as_text(body)), size=len(body), is_test=True,
        decision=Decision.PENDING.value,
    )  # fmt: skip
    session.add(delivery)
    await session.flush()
    return delivery.id


async def rotate_secret(session: AsyncSession, user_id: UUID, webhook_id: UUID, *, now: datetime) -> Created:
    """Give the webhook a new address; the old one stops working with the commit.

    Raises:
        WebhookNotFound: no such webhook of this user.
    """
    webhook = await get_webhook(session, user_id, webhook_id, is_locked=True)
    secret = new_secret()
    webhook.secret_hash = fingerprint(secret)
    webhook.rotated_at = now
    await session.flush()
    await _note(session, Action.WEBHOOK_ROTATED, webhook)
    return Created(webhook=webhook, secret=secret)


async def remove_webhook(session: AsyncSession, user_id: UUID, webhook_id: UUID, *, now: datetime) -> None:
    """Close the door; its log stays.

    Raises:
        WebhookNotFound: no such webhook of this user.
    """
    webhook = await get_webhook(session, user_id, webhook_id, is_locked=True)
    webhook.removed_at = now
    webhook.is_active = False
    await session.flush()
    await _note(session, Action.WEBHOOK_REMOVED, webhook)
