"""Shapes of the webhook API."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.webhooks.models import Decision
from app.webhooks.queries import masked, masked_members

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


class WebhookIn(BaseModel):
    """A new webhook; without `broker_id` its alerts go to the default account."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    broker_id: UUID | None = None


class WebhookPatch(BaseModel):
    """Changes to a webhook."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    is_active: bool | None = None


class WebhookOut(BaseModel):
    """A webhook; its address is shown only when it is made or rotated."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    broker_id: UUID | None
    is_active: bool
    created_at: datetime
    rotated_at: datetime | None


class WebhookCreated(WebhookOut):
    """A webhook with its address, which cannot be read again."""

    url: str = Field(description="Where TradingView sends its alerts. Whoever has it can trade on the account.")


class WebhookPage(BaseModel):
    """All webhooks of a user."""

    items: list[WebhookOut]
    next: str | None = None


class Accepted(BaseModel):
    """The answer to an alert."""

    delivery_id: UUID
    decision: Decision


class DeliveryOut(BaseModel):
    """One attempt, whatever became of it."""

    id: UUID
    webhook_id: UUID | None
    webhook_name: str | None
    received_at: datetime
    ip_address: str | None
    content_type: str | None
    raw: str
    size: int
    parsed: dict[str, Any] | None
    decision: Decision
    code: str | None
    reason: str | None
    order_ids: list[UUID]
    latencies_ms: dict[str, float]
    done_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "DeliveryOut":
        """Return a delivery of a database row."""
        values = {name: row[name] for name in cls.model_fields}
        values["raw"] = masked(row["raw"])
        values["parsed"] = masked_members(row["parsed"])
        return cls(**values)


class DeliveryPage(BaseModel):
    """Attempts, newest first."""

    items: list[DeliveryOut]
    next: str | None
