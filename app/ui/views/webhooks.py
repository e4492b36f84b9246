"""Webhooks and the log of every attempt."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.shell import Choice, Region, Shell

Decision = Literal["executed", "denied", "stale", "duplicate", "unreadable", "paused", "ping", "missed", "pending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One webhook attempt. `summary` is what was asked ("BUY BTC/USDT 0.01"); `latency_ms` from receipt to decision."""

    id: str
    received_at: datetime
    hook: str
    decision: Decision
    summary: str = ""
    reason: str = ""
    code: str = ""
    order_count: int = 0
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRow:
    """One webhook; `last_decision` and `last_at` are None before the first delivery."""

    id: str
    name: str
    broker: str
    created_at: datetime
    is_active: bool = True
    last_at: datetime | None = None
    last_decision: Decision | None = None
    delivery_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HookForm:
    """The create-webhook form, region of `fragments/webhooks/_hook_form.html`."""

    brokers: tuple[Choice, ...]
    name: str = ""
    broker_id: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCreated:
    """The address of a new webhook, shown once, region of `fragments/webhooks/_hook_created.html`."""

    name: str
    url: str
    curl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksView:
    """Page `pages/webhooks/webhooks.html`."""

    shell: Shell
    form: HookForm
    hooks: Region[HookRow] = field(default_factory=Region)
    deliveries: Region[DeliveryRow] = field(default_factory=Region)
