"""Broker accounts."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.shell import Choice, Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """Answer of a connection test, region of `fragments/brokers/_broker_test_result.html`. `detail` is translated."""

    #: The name begins like a test's; pytest must not collect it.
    __test__ = False

    broker_id: str
    state: Literal["none", "ok", "failed"] = "none"
    detail: str = ""
    latency_ms: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRow:
    """One broker account as its card shows it. `key_hint` is the API key's end, never more."""

    id: str
    name: str
    exchange: str
    exchange_name: str
    test: TestResult
    description: str = ""
    key_hint: str = ""
    is_default: bool = False
    is_testnet: bool = False
    is_simulated: bool = False
    is_paper: bool = False
    is_active: bool = True
    disabled_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFacts:
    """What the chosen exchange offers, region of `fragments/brokers/_broker_exchange.html`. The sentence is translated."""

    sandbox: Literal["", "testnet", "demo"] = ""
    why_no_sandbox: str = ""
    is_tested: bool = True
    is_testnet: bool = False


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
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokersView:
    """Page `pages/brokers/brokers.html`."""

    shell: Shell
    form: BrokerForm
    brokers: Region[BrokerRow] = field(default_factory=Region)
