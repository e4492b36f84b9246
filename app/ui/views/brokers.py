"""Broker accounts."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.shell import Choice, Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class TestStep:
    """One step of a connection test, in words."""

    __test__ = False

    name: Literal["reachable", "clock", "key", "rights", "balance"]
    label: str
    state: Literal["ok", "warning", "failed", "skipped"]
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNotice:
    """What is to be said of a key's rights."""

    tone: Literal["warn", "info"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """Answer of a connection test, region of `fragments/brokers/_broker_test_result.html`. `detail` is translated.

    `steps` is empty for a test that was made some time ago; one that `is_needless` is not asked for.
    """

    #: The name begins like a test's; pytest must not collect it.
    __test__ = False

    broker_id: str
    state: Literal["none", "ok", "failed"] = "none"
    detail: str = ""
    latency_ms: int | None = None
    at: datetime | None = None
    steps: tuple[TestStep, ...] = ()
    notices: tuple[KeyNotice, ...] = ()
    is_needless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTry:
    """What trying keys that are not stored found, region of `fragments/brokers/_broker_try.html`; `place` is its form.

    With `asks_anyway` the form was to be saved and the keys do not work: it offers to save them all the same. `problem` is said instead
    of steps where there is nothing to try.
    """

    place: Literal["broker", "edit"] = "broker"
    steps: tuple[TestStep, ...] = ()
    is_success: bool = False
    latency_ms: int | None = None
    problem: str = ""
    asks_anyway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChoice:
    """A source of orders that an account's trading mode may take."""

    value: str
    label: str
    is_on: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRow:
    """One broker account as its card shows it. `key_hint` is the API key's end, never more.

    `status` is its dot, `status_word` what that means, and `status_reason` why; with `is_key_refused` it can be resumed. `mode` names whose
    orders it takes.
    """

    id: str
    name: str
    exchange: str
    exchange_name: str
    test: TestResult
    status: Literal["ok", "paused", "off", "error", "untested"] = "untested"
    status_word: str = ""
    status_reason: str = ""
    is_key_refused: bool = False
    mode: str = ""
    description: str = ""
    key_hint: str = ""
    subaccount: str = ""
    is_default: bool = False
    is_testnet: bool = False
    is_simulated: bool = False
    is_paper: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFacts:
    """What the chosen exchange offers and wants, region of `fragments/brokers/_broker_exchange.html`. The sentence is translated.

    `needs` are the fields that ccxt requires beside the key and its secret. With `takes_subaccount` each request names the sub-account;
    elsewhere its name is a note.
    """

    sandbox: Literal["", "testnet", "demo"] = ""
    why_no_sandbox: str = ""
    is_tested: bool = True
    is_testnet: bool = False
    needs: tuple[Literal["api_password", "api_uid"], ...] = ()
    takes_subaccount: bool = False
    subaccount: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerForm:
    """The add-broker form, region of `fragments/brokers/_broker_form.html`. Secrets typed are never sent back.

    `errors` maps a field's name to a sentence; "" is the form itself.
    """

    exchanges: tuple[Choice, ...]
    untested: tuple[Choice, ...] = ()
    exchange: str = ""
    facts: ExchangeFacts = ExchangeFacts()
    name: str = ""
    description: str = ""
    paper_balance: str = ""
    modes: tuple[ModeChoice, ...] = ()
    attempt: KeyTry = KeyTry()
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerEdit:
    """The form for changes, region of `fragments/brokers/_broker_edit.html`. An empty key field keeps what is stored."""

    id: str
    title: str
    name: str
    exchange_name: str
    facts: ExchangeFacts
    description: str = ""
    key_hint: str = ""
    is_paper: bool = False
    is_active: bool = True
    modes: tuple[ModeChoice, ...] = ()
    attempt: KeyTry = KeyTry(place="edit")
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityRow:
    """One ability: who does it, the exchange, this server in its stead, or nobody."""

    label: str
    state: Literal["exchange", "here", "none"]
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerCapabilities:
    """What the account's exchange does, region of `fragments/brokers/_broker_capabilities.html`."""

    name: str
    exchange_name: str
    is_tested: bool
    order_types: tuple[CapabilityRow, ...]
    others: tuple[CapabilityRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerDelete:
    """The question before an account is deleted, region of `fragments/brokers/_broker_delete.html`, with what is open of it."""

    id: str
    name: str
    exchange_name: str
    is_paper: bool = False
    orders: int = 0
    positions: int = 0
    guards: int = 0
    webhooks: int = 0
    next_default: str = ""
    error: str = ""

    @property
    def is_anything_open(self) -> bool:
        """Whether deleting ends something."""
        return self.orders > 0 or self.positions > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokersView:
    """Page `pages/brokers/brokers.html`."""

    shell: Shell
    form: BrokerForm
    brokers: Region[BrokerRow] = field(default_factory=Region)
