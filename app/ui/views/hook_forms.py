"""Forms of webhooks: a new one, its settings, a message to try, and the page that holds them all."""

from dataclasses import dataclass, field
from typing import Literal

from app.ui.views.deliveries import Wish
from app.ui.views.shell import Choice, Region, Shell
from app.ui.views.webhooks import DeliveryLog, HookPosition, HookRow, LogForm


@dataclass(frozen=True, slots=True, kw_only=True)
class DayChoice:
    """A weekday that can be switched on."""

    value: str
    label: str
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFields:
    """A webhook's settings as they are typed. Percentages are of a hundred, `hours_*` are UTC."""

    name: str = ""
    account: str = ""
    interval: str = ""
    max_age_s: str = "60"
    per_minute: str = "120"
    allowed_ips: str = ""
    symbol: str = ""
    size_kind: str = ""
    size_value: str = ""
    always_default_size: bool = False
    stop_percent: str = ""
    target_percent: str = ""
    trailing_percent: str = ""
    symbols: str = ""
    sides: str = ""
    max_notional: str = ""
    hours_on: bool = False
    hours_start: str = "00:00"
    hours_end: str = "23:59"
    days: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6")
    other_accounts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HookForm:
    """Settings of a new webhook (`id` is "") or of one there is; region of `_hook_form.html` and `_hook_settings.html`.

    `place` begins the ids of its fields, so that both forms can be on one page.
    """

    brokers: tuple[Choice, ...] = ()
    intervals: tuple[Choice, ...] = ()
    sizes: tuple[Choice, ...] = ()
    days: tuple[DayChoice, ...] = ()
    fields: HookFields = field(default_factory=HookFields)
    id: str = ""
    title: str = ""
    place: str = "hook"
    tradingview: str = ""
    warning: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookQuestion:
    """The question before a webhook gets another address or is removed; region of `_hook_question.html`."""

    action: Literal["rotate", "remove"]
    id: str
    name: str
    attempts: int = 0
    orders: int = 0
    positions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a message would do; region of `_tried.html`. `place` makes its id.

    Without a decision nothing was tried yet; while it is pending, the page asks again. One that `is_refused` did not come to be tried.
    """

    place: str = "test"
    decision: str = ""
    reason: str = ""
    code: str = ""
    delivery_id: str = ""
    wishes: tuple[Wish, ...] = ()
    is_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HookTest:
    """The dialog in which a message is tried out; region of `_hook_test.html`."""

    id: str
    name: str
    message: str
    tried: Tried = field(default_factory=Tried)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksView:
    """Page `pages/webhooks/webhooks.html`."""

    shell: Shell
    form: HookForm
    hooks: Region[HookRow] = field(default_factory=Region)
    positions: Region[HookPosition] = field(default_factory=Region)
    filter: LogForm = field(default_factory=LogForm)
    deliveries: DeliveryLog = field(default_factory=DeliveryLog)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderFields:
    """What a message is made of, as it was chosen and typed."""

    hook: str = ""
    kind: Literal["strategy", "indicator"] = "strategy"
    action: str = "strategy"
    symbol: str = ""
    type: str = "market"
    price: str = ""
    size_kind: str = "strategy"
    size_value: str = ""
    stop_kind: str = ""
    stop_value: str = ""
    target_kind: str = ""
    target_value: str = ""
    target2_value: str = ""
    target_part: str = ""
    trailing: str = ""
    pine: Literal["5", "6"] = "6"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltMessage:
    """The finished message and what goes with it; region of `_built.html`.

    `strategy` and `indicator` are Pine scripts. `sample` is the message with values in place of TradingView's placeholders.
    """

    message: str = ""
    sample: str = ""
    script: str = ""
    url: str = ""
    hook: str = ""
    hook_name: str = ""
    is_strategy: bool = True
    errors: dict[str, str] = field(default_factory=dict)
    tried: Tried = field(default_factory=lambda: Tried(place="built"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderForm:
    """The builder's choices; region of `_builder_form.html`."""

    hooks: tuple[Choice, ...] = ()
    kinds: tuple[Choice, ...] = ()
    actions: tuple[Choice, ...] = ()
    types: tuple[Choice, ...] = ()
    sizes: tuple[Choice, ...] = ()
    levels: tuple[Choice, ...] = ()
    versions: tuple[Choice, ...] = ()
    fields: BuilderFields = field(default_factory=BuilderFields)
    errors: dict[str, str] = field(default_factory=dict)
    built: BuiltMessage = field(default_factory=BuiltMessage)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderView:
    """Page `pages/webhooks/builder.html`."""

    shell: Shell
    form: BuilderForm
    tried: Tried = field(default_factory=lambda: Tried(place="pasted"))
