"""Shapes of the broker API. Keys go in and never come out."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Key = Annotated[SecretStr, Field(min_length=1, max_length=4000)]
#: Whose orders an account takes; nobody's is off.
Modes = Annotated[list[Literal["manual", "webhook", "bot"]], Field(max_length=3), AfterValidator(lambda modes: sorted(set(modes)))]


#: Play money a paper account starts with, and a fee as a fraction of what a fill brings in.
PlayMoney = Annotated[Decimal, Field(gt=0, le=1_000_000_000, max_digits=18, decimal_places=8)]
PaperFee = Annotated[Decimal, Field(ge=0, le=Decimal("0.1"), decimal_places=8)]


class BrokerIn(BaseModel):
    """A new broker account. A paper account needs no keys; the `paper_` fields are for it alone."""

    model_config = ConfigDict(extra="forbid")

    exchange: str = Field(max_length=40)
    name: Name
    description: str = Field("", max_length=500)
    api_key: Key | None = None
    api_secret: Key | None = None
    api_password: Key | None = None
    api_uid: Key | None = None
    subaccount_name: str | None = Field(None, max_length=100)
    is_testnet: bool = False
    is_default: bool = False
    trading_modes: Modes | None = None
    paper_balance_usdt: PlayMoney | None = None
    paper_maker_fee: PaperFee | None = None
    paper_taker_fee: PaperFee | None = None


class KeysIn(BaseModel):
    """Keys of an exchange for the default account."""

    model_config = ConfigDict(extra="forbid")

    exchange: str = Field(max_length=40)
    api_key: Key
    api_secret: Key
    api_password: Key | None = None
    api_uid: Key | None = None


class BrokerPatch(BaseModel):
    """Changes to a broker account; what is left out stays as it is, the keys too.

    New keys take the place of all of the old ones: a passphrase belongs to its key. An empty `subaccount_name` takes the name away, and an
    empty list of `trading_modes` switches trading off: nothing is opened, but what is open can still be canceled, guarded and closed.
    """

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    description: str | None = Field(None, max_length=500)
    api_key: Key | None = None
    api_secret: Key | None = None
    api_password: Key | None = None
    api_uid: Key | None = None
    subaccount_name: str | None = Field(None, max_length=100)
    is_active: bool | None = None
    trading_modes: Modes | None = None
    paper_maker_fee: PaperFee | None = None
    paper_taker_fee: PaperFee | None = None


class BrokerTryIn(BaseModel):
    """Keys to try before they are stored. With `broker_id` what is left out is what that account has."""

    model_config = ConfigDict(extra="forbid")

    broker_id: UUID | None = None
    exchange: str | None = Field(None, max_length=40)
    api_key: Key | None = None
    api_secret: Key | None = None
    api_password: Key | None = None
    api_uid: Key | None = None
    subaccount_name: str | None = Field(None, max_length=100)
    is_testnet: bool = False


class KeyRightsOut(BaseModel):
    """What the exchange says that the key may do; null where it does not say."""

    can_trade: bool | None
    can_withdraw: bool | None
    is_ip_bound: bool | None


class BrokerOut(BaseModel):
    """A broker account as the API shows it: of its keys, only the last four characters of one."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    exchange: str
    name: str
    description: str
    key_hint: str
    subaccount_name: str | None
    is_default: bool
    is_testnet: bool
    is_paper: bool
    is_active: bool
    trading_modes: list[str]
    paused_reason: str | None
    key_rights: KeyRightsOut | None
    last_connection_test: datetime | None
    last_connection_success: bool | None
    last_connection_message: str | None
    last_latency_ms: int | None
    last_balance_update: datetime | None
    created_at: datetime


class BrokerPage(BaseModel):
    """All broker accounts of a user."""

    items: list[BrokerOut]
    next: str | None = None


class BalanceOut(BaseModel):
    """One asset, in units of the asset."""

    asset: str
    free: str
    locked: str


class TestStepOut(BaseModel):
    """One step of a connection test; `code` is that of the error it failed with."""

    name: Literal["reachable", "clock", "key", "rights", "balance"]
    state: Literal["ok", "warning", "failed", "skipped"]
    message: str
    code: str | None = None


class ConnectionTestOut(BaseModel):
    """What a connection test found."""

    success: bool
    latency_ms: int | None
    code: str | None
    message: str
    balances: list[BalanceOut] = []
    steps: list[TestStepOut] = []
    key_rights: KeyRightsOut | None = None


class ExchangeOut(BaseModel):
    """An exchange of the catalogue.

    An untested one takes market and limit orders only. With `takes_subaccount` each request names a part of the account; elsewhere a
    sub-account has keys of its own, and its name is a note. `sandbox` is the kind of test account it offers, and `why_no_sandbox` a
    sentence where it offers none.
    """

    id: str
    name: str
    is_tested: bool
    needs_keys: bool
    needs_password: bool
    needs_uid: bool
    takes_subaccount: bool
    has_testnet: bool
    sandbox: Literal["testnet", "demo"] | None
    why_no_sandbox: str | None


class ExchangeDetailOut(ExchangeOut):
    """What an account at an exchange needs, and which orders the exchange itself watches; the others are watched here (`supervised`)."""

    credentials: list[str]
    native_order_types: list[str]
    supervised_order_types: list[str]
    time_in_force: list[str]
    has_post_only: bool
    market_buy_by: list[Literal["base", "quote"]]
    has_order_pairs: bool
    has_replace: bool


class ExchangePage(BaseModel):
    """The exchanges one can choose."""

    items: list[ExchangeOut]
    next: str | None = None
