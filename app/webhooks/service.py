"""Webhooks of a user: create, change, rotate the secret, remove."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.ids import new_id
from app.core.security import fingerprint, new_secret
from app.core.tenancy import owned
from app.domain.candles import Timeframe
from app.errors import BrokerNotFound, NameTaken, WebhookNotFound
from app.webhooks.models import Webhook
from app.webhooks.rules import HookRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A webhook and the secret of its address, which is shown this once."""

    webhook: Webhook
    secret: str


class Unset(Enum):
    """What is not given: None says something of its own."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


async def create_webhook(
    session: AsyncSession,
    user_id: UUID,
    *,
    name: str,
    broker_id: UUID | None,
    now: datetime,
    rules: HookRules | None = None,
    allowed_ips: list[str] | None = None,
    max_age_s: int = 60,
    per_minute: int = 120,
    interval: Timeframe | None = None,
) -> Created:
    """Open a door for alerts; without `broker_id` they go to the user's default account. The rest is as the columns of the table say.

    Raises:
        BrokerNotFound: no such account of this user.
        NameTaken: the user already has a webhook of that name.
    """
    await _check_broker(session, user_id, broker_id)
    secret = new_secret()
    webhook = Webhook(
        id=new_id(),
        user_id=user_id,
        broker_id=broker_id,
        name=name,
        secret_hash=fingerprint(secret),
        is_active=True,
        created_at=now,
        rules={} if rules is None else rules.model_dump(mode="json", exclude_defaults=True),
        allowed_ips=allowed_ips or None,
        max_age_s=max_age_s,
        per_minute=per_minute,
        interval=None if interval is None else interval.value,
        expected_from=None if interval is None else now,
    )
    session.add(webhook)
    await _flush(session, name)
    return Created(webhook=webhook, secret=secret)


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


async def get_webhook(session: AsyncSession, user_id: UUID, webhook_id: UUID) -> Webhook:
    """Return one webhook.

    Raises:
        WebhookNotFound: no such webhook of this user.
    """
    webhook = await session.scalar(owned(Webhook, user_id).where(Webhook.id == webhook_id, Webhook.removed_at.is_(None)))
    if webhook is None:
        raise WebhookNotFound
    return webhook


async def change_webhook(
    session: AsyncSession,
    user_id: UUID,
    webhook_id: UUID,
    *,
    name: str | None = None,
    is_active: bool | None = None,
    now: datetime | None = None,
    broker_id: UUID | Unset | None = UNSET,
    rules: HookRules | Unset = UNSET,
    allowed_ips: list[str] | Unset | None = UNSET,
    max_age_s: int | None = None,
    per_minute: int | None = None,
    interval: Timeframe | Unset | None = UNSET,
) -> Webhook:
    """Change what is given of a webhook. A new interval is expected from `now` on, and so is the old one after a pause.

    Raises:
        WebhookNotFound: no such webhook of this user.
        BrokerNotFound: no such account of this user.
        NameTaken: the name is in use.
    """
    webhook = await get_webhook(session, user_id, webhook_id)
    if not isinstance(broker_id, Unset):
        await _check_broker(session, user_id, broker_id)
        webhook.broker_id = broker_id
    if not isinstance(rules, Unset):
        webhook.rules = rules.model_dump(mode="json", exclude_defaults=True)
    if not isinstance(allowed_ips, Unset):
        webhook.allowed_ips = allowed_ips or None
    if not isinstance(interval, Unset) and webhook.interval != interval:
        webhook.interval = None if interval is None else interval.value
        webhook.expected_from = None if interval is None else now
    if is_active and not webhook.is_active and webhook.interval is not None:
        webhook.expected_from = now
    given = {"name": name, "is_active": is_active, "max_age_s": max_age_s, "per_minute": per_minute}
    for column, value in given.items():
        if value is not None:
            setattr(webhook, column, value)
    await _flush(session, webhook.name)
    return webhook


async def rotate_secret(session: AsyncSession, user_id: UUID, webhook_id: UUID, *, now: datetime) -> Created:
    """Give the webhook a new address; the old one stops working with the commit.

    Raises:
        WebhookNotFound: no such webhook of this user.
    """
    webhook = await get_webhook(session, user_id, webhook_id)
    secret = new_secret()
    webhook.secret_hash = fingerprint(secret)
    webhook.rotated_at = now
    await session.flush()
    return Created(webhook=webhook, secret=secret)


async def remove_webhook(session: AsyncSession, user_id: UUID, webhook_id: UUID, *, now: datetime) -> None:
    """Close the door; its log stays.

    Raises:
        WebhookNotFound: no such webhook of this user.
    """
    webhook = await get_webhook(session, user_id, webhook_id)
    webhook.removed_at = now
    webhook.is_active = False
    await session.flush()
