"""One attempt in full."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.domain.enums import Side
from app.ui.views.dashboard import OrderRow
from app.ui.views.shell import Environment, Shell
from app.ui.views.webhooks import DeliveryRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A name and what stands for it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing a message asks for: what, and its particulars in words."""

    action: str
    symbol: str = ""
    facts: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FillLine:
    """One execution."""

    at: datetime
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOrder:
    """An order that the attempt made, with its executions, and when the exchange was told and answered."""

    order: OrderRow
    code: str = ""
    sent_at: datetime | None = None
    acknowledged_at: datetime | None = None
    fills: tuple[FillLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """What became of a position that the attempt opened, changed or closed; `realised` and `fees` in quote, over its whole life."""

    symbol: str
    part: Literal["opened", "changed", "closed"]
    realised: Decimal
    fees: Decimal
    quote: str
    opened_at: datetime
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From the request's arrival to a step, in milliseconds; `share` is its part of the longest, of a hundred."""

    label: str
    ms: Decimal
    share: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRow:
    """An attempt that repeats this one, or that this one repeats."""

    id: str
    received_at: datetime
    decision: str
    broker: str = ""
    is_this: bool = False
    is_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDetail:
    """One attempt; region of `fragments/webhooks/_delivery.html`.

    `env` is None when nothing was traded. `cannot_replay` is a sentence that says why it cannot be repeated, "" when it can.
    """

    row: DeliveryRow
    raw: str
    size: int
    content_type: str = ""
    dialect: str = ""
    alert_at: datetime | None = None
    done_at: datetime | None = None
    broker: str = ""
    env: Environment | None = None
    wishes: tuple[Wish, ...] = ()
    members: tuple[Said, ...] = ()
    orders: tuple[DeliveryOrder, ...] = ()
    results: tuple[DeliveryResult, ...] = ()
    latencies: tuple[Latency, ...] = ()
    chain: tuple[ChainRow, ...] = ()
    paper: str = ""
    cannot_replay: str = ""
    replay_error: str = ""
    is_stranger: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """Page `pages/webhooks/delivery.html`."""

    shell: Shell
    delivery: DeliveryDetail
    title: str = field(default="")
