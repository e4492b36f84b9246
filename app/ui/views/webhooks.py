"""Webhooks, the log of every attempt, and one attempt in full."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.ui.views.guarding import GuardRow
from app.ui.views.shell import Choice, Environment, Region

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
    ip_address: str = ""
    is_test: bool = False
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogForm:
    """What the log is filtered by, as it was typed; region of `fragments/webhooks/_log_filter.html`."""

    hooks: tuple[Choice, ...] = ()
    decisions: tuple[Choice, ...] = ()
    hook: str = ""
    decision: str = ""
    text: str = ""
    symbol: str = ""
    since: str = ""
    until: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLog(Region[DeliveryRow]):
    """A page of the log. `here` is where this page is fetched anew, `next` and `first` other pages; "" where there is none.

    `export` gives all that the filter lets through as a file. One that is held does not move by itself. `searched`: so many attempts were
    looked through for this page, and there may be older ones that fit; 0 where it is a whole page, or the last one.
    """

    here: str = "/webhooks/log"
    next: str = ""
    first: str = ""
    export: str = "/api/webhooks/deliveries/export"
    turn: str = ""
    is_held: bool = False
    is_filtered: bool = False
    searched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCount:
    """How many attempts of the last day were decided so."""

    decision: Decision
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRow:
    """One webhook; `last_decision` and `last_at` are None before the first alert, `env` when its account is gone.

    `late_since` is the close with which an alert should have come. `senders` is how many addresses may send, None for all.
    """

    id: str
    name: str
    broker: str
    created_at: datetime
    env: Environment | None = None
    is_active: bool = True
    last_at: datetime | None = None
    last_decision: Decision | None = None
    counts: tuple[HookCount, ...] = ()
    interval: str = ""
    late_since: datetime | None = None
    per_minute: int = 120
    max_age_s: int = 60
    senders: int | None = None
    is_from_tradingview: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCreated:
    """The address of a webhook, shown once, region of `fragments/webhooks/_hook_created.html`."""

    id: str
    name: str
    url: str
    curl: str
    is_rotated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPosition:
    """An open position that an alert opened; quantities in base units, prices quote per base."""

    id: str
    symbol: str
    hook: str
    quantity: Decimal
    average_price: Decimal
    quote: str
    opened_at: datetime
    delivery_id: str = ""
    broker: str = ""
    side: Literal["long", "short"] = "long"
    mark_price: Decimal | None = None
    guard: GuardRow | None = None
    unrealised: Decimal | None = None
    unrealised_pct: Decimal | None = None
    tick: Decimal | None = None
    step: Decimal | None = None
