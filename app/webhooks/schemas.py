"""Shapes of the webhook API."""

from datetime import datetime
from typing import Annotated, Any, Final, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.webhooks.models import Decision
from app.webhooks.reading import masked_text, masked_value
from app.webhooks.rules import HookRules
from app.webhooks.settings import HookChanges, HookSettings

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]


_MAY_BE_NONE: Final = frozenset({"broker_id", "allowed_ips", "interval"})
_SENDERS: Final = "Addresses and networks that may send; `tradingview` stands for TradingView's. Null: anybody who has the address."
_INTERVAL: Final = "Length of a candle, such as 5m: an alert is then expected as each one closes, and its absence is logged."
AllowedIps = Annotated[list[Annotated[str, Field(max_length=60)]] | None, Field(description=_SENDERS, max_length=100)]
MaxAge = Annotated[int | None, Field(description="How old an alert may be to be traded, in seconds; 60 if not given.")]
PerMinute = Annotated[int | None, Field(description="Alerts of a minute that are traded, a quarter of them at once; 120 if not given.")]
Interval = Annotated[str | None, Field(description=_INTERVAL, max_length=20)]


def _given(body: BaseModel) -> dict[str, Any]:
    """Return what a body names. A null counts only where there may be none."""
    named = {name: getattr(body, name) for name in body.model_fields_set}
    return {name: value for name, value in named.items() if value is not None or name in _MAY_BE_NONE}


class WebhookIn(BaseModel):
    """A new webhook; without `broker_id` its alerts go to the default account."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    broker_id: UUID | None = None
    rules: HookRules | None = None
    allowed_ips: AllowedIps = None
    max_age_s: MaxAge = None
    per_minute: PerMinute = None
    interval: Interval = None

    def settings(self) -> HookSettings:
        """Return the settings that are given."""
        return cast(HookSettings, {name: value for name, value in _given(self).items() if name != "name"})


class WebhookPatch(BaseModel):
    """Changes to a webhook. `rules` are replaced as a whole."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    is_active: bool | None = None
    broker_id: UUID | None = None
    rules: HookRules | None = None
    allowed_ips: AllowedIps = None
    max_age_s: MaxAge = None
    per_minute: PerMinute = None
    interval: Interval = None

    def changes(self) -> HookChanges:
        """Return the changes that are given."""
        return cast(HookChanges, _given(self))


class TestIn(BaseModel):
    """A message to try; without one a ping."""

    __test__ = False  # of no concern to pytest

    model_config = ConfigDict(extra="forbid")

    message: Annotated[str, Field(max_length=70_000)] = '{"action": "ping"}'


class WebhookOut(BaseModel):
    """A webhook; its address is shown only when it is made or rotated."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    broker_id: UUID | None
    is_active: bool
    rules: HookRules
    allowed_ips: list[str] | None
    max_age_s: int
    per_minute: int
    interval: str | None
    expected_from: datetime | None
    created_at: datetime
    rotated_at: datetime | None
    warning: str | None = Field(None, description="What of these settings has no effect on this server, and why.")


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
    is_test: bool
    replay_of: UUID | None
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
        values["raw"] = masked_text(row["raw"])
        values["parsed"] = None if row["parsed"] is None else masked_value("", row["parsed"])
        return cls(**values)


class DeliveryPage(BaseModel):
    """Attempts, newest first."""

    items: list[DeliveryOut]
    next: str | None
