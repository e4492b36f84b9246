"""Shapes of the broker API. Keys go in and never come out."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Key = Annotated[SecretStr, Field(min_length=1, max_length=4000)]


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
    subaccount_name: str | None = Field(None, max_length=100)
    is_testnet: bool = False
    is_default: bool = False
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


class BrokerPatch(BaseModel):
    """Changes to a broker account; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    description: str | None = Field(None, max_length=500)
    api_key: Key | None = None
    api_secret: Key | None = None
    api_password: Key | None = None
    is_active: bool | None = None
    paper_maker_fee: PaperFee | None = None
    paper_taker_fee: PaperFee | None = None


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
    paused_reason: str | None
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


class ConnectionTestOut(BaseModel):
    """What a connection test found."""

    success: bool
    latency_ms: int | None
    code: str | None
    message: str
    balances: list[BalanceOut] = []


class ExchangeOut(BaseModel):
    """An exchange of the catalogue.

    An untested one takes market and limit orders only. `sandbox` is the kind of test account it offers, and `why_no_sandbox` a sentence
    where it offers none.
    """

    id: str
    name: str
    is_tested: bool
    needs_keys: bool
    needs_password: bool
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
