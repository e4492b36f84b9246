"""Broker accounts: create, change, remove, test. Keys are sealed before they reach a row."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.brokers.connections import Connections
from app.brokers.keys import seal
from app.brokers.models import Broker
from app.brokers.schemas import BrokerIn, BrokerPatch, KeysIn
from app.core.crypto import Vault
from app.core.db import Database
from app.core.ids import new_id
from app.core.tenancy import owned
from app.domain.instruments import plain
from app.errors import BrokerNotFound, Conflict, ExchangeError, InvalidInput, NameTaken
from app.exchanges.catalogue import EXCHANGES, PAPER, venue_of
from app.exchanges.paper.records import Terms
from app.exchanges.paper.store import change_fees, open_account
from app.exchanges.port import Balance

log = structlog.get_logger(__name__)

_HINT: Final = 4
_TOLD: Final = 4
_CREDENTIALS: Final = {"api_key": "an API key", "api_secret": "the key's secret", "api_password": "the key's passphrase as well"}


async def create_broker(session: AsyncSession, vault: Vault, user_id: UUID, given: BrokerIn) -> Broker:
    """Store a new account; the first one of a user becomes the default.

    Raises:
        InvalidInput: an unknown exchange, missing credentials, a testnet that does not exist, play money for a real account.
        NameTaken: the user already has an account of that name.
    """
    exchange = venue_of(given.exchange)
    if exchange is None:
        raise InvalidInput(
            f"{given.exchange} is not an exchange Aristobot knows; choose one of {', '.join(sorted(EXCHANGES))} or another of the list",
            field="exchange",
        )
    for field, words in _CREDENTIALS.items():
        if field in exchange.required_credentials and getattr(given, field) is None:
            raise InvalidInput(f"{exchange.name} needs {words}", field=field)
    terms = _paper_terms(given)
    if given.is_testnet and not exchange.has_testnet:
        raise InvalidInput(exchange.why_no_sandbox or f"{exchange.name} has no test environment", field="is_testnet")
    others = (await session.scalars(owned(Broker, user_id).where(Broker.removed_at.is_(None)))).all()
    broker_id = new_id()
    is_default = given.is_default or not others
    if is_default:
        await _clear_default(session, user_id)
    broker = Broker(
        id=broker_id,
        user_id=user_id,
        exchange=given.exchange,
        name=given.name,
        description=given.description,
        subaccount_name=given.subaccount_name,
        is_testnet=given.is_testnet,
        is_default=is_default,
    )
    if given.api_key is not None and given.api_secret is not None and not broker.is_paper:
        _set_keys(vault, broker, given.api_key.get_secret_value(), given.api_secret.get_secret_value(), _revealed(given.api_password))
    session.add(broker)
    await _flush(session, given.name)
    if terms is not None:
        await open_account(session, user_id, broker_id, terms)
    await session.refresh(broker)
    await note(
        session, Action.BROKER_MADE, user_id=user_id, object=f"broker:{broker_id}", detail={"name": given.name, "exchange": given.exchange}
    )
    return broker


async def store_keys(session: AsyncSession, vault: Vault, user_id: UUID, given: KeysIn) -> Broker:
    """Give the default account new keys; who has no account yet gets one by it.

    Raises:
        Conflict: the default account is at another exchange.
        InvalidInput: as `create_broker`.
    """
    default = await session.scalar(owned(Broker, user_id).where(Broker.is_default))
    keys = given.model_dump(exclude={"exchange"})
    if default is None:
        name = EXCHANGES[given.exchange].name if given.exchange in EXCHANGES else given.exchange
        return await create_broker(session, vault, user_id, BrokerIn(exchange=given.exchange, name=name, is_default=True, **keys))
    if default.exchange != given.exchange:
        raise Conflict(f"your default account {default.name} is at {default.exchange}; add another account, or change the default first")
    return await change_broker(session, vault, user_id, default.id, BrokerPatch(**keys))


def _paper_terms(given: BrokerIn) -> Terms | None:
    """Return the terms of a paper account, None for every other."""
    named = {"balance_usdt": given.paper_balance_usdt, "maker_fee": given.paper_maker_fee, "taker_fee": given.paper_taker_fee}
    wished = {name: value for name, value in named.items() if value is not None}
    if given.exchange == PAPER:
        return Terms(**wished)
    if wished:
        raise InvalidInput("play money and its fees are for a paper account only", field=f"paper_{next(iter(wished))}")
    return None


async def change_broker(session: AsyncSession, vault: Vault, user_id: UUID, broker_id: UUID, changes: BrokerPatch) -> Broker:
    """Change an account; a new key lifts the pause that a refused key caused.

    Raises:
        BrokerNotFound: no such account of this user.
        InvalidInput: a new key without its secret, or the other way round; keys for a paper account, or fees for a real one.
        NameTaken: the name is in use.
    """
    broker = await get_broker(session, user_id, broker_id)
    for name in ("name", "description", "is_active"):
        if (value := getattr(changes, name)) is not None:
            setattr(broker, name, value)
    if (changes.api_key is None) is not (changes.api_secret is None):
        raise InvalidInput("give the key and its secret together", field="api_secret" if changes.api_secret is None else "api_key")
    await _change_fees(session, broker, changes)
    if changes.api_key is not None and changes.api_secret is not None:
        if broker.is_paper:
            raise InvalidInput("a paper account has no keys", field="api_key")
        _set_keys(vault, broker, changes.api_key.get_secret_value(), changes.api_secret.get_secret_value(), _revealed(changes.api_password))
    if changes.api_key is not None or changes.is_active:
        broker.paused_reason = None
    await _flush(session, broker.name)
    changed = ", ".join(sorted(changes.model_dump(exclude_none=True)))
    await note(
        session, Action.BROKER_CHANGED, user_id=user_id, object=f"broker:{broker_id}", detail={"name": broker.name, "changed": changed}
    )
    return broker


async def _change_fees(session: AsyncSession, broker: Broker, changes: BrokerPatch) -> None:
    fees = {"maker_fee": changes.paper_maker_fee, "taker_fee": changes.paper_taker_fee}
    if all(fee is None for fee in fees.values()):
        return
    if not broker.is_paper:
        raise InvalidInput("only a paper account's fees can be set; the exchange sets the others", field="paper_taker_fee")
    await change_fees(session, broker.user_id, broker.id, **fees)


def _revealed(value: object) -> str | None:
    return value.get_secret_value() if value is not None and hasattr(value, "get_secret_value") else None


def _set_keys(vault: Vault, broker: Broker, api_key: str, api_secret: str, api_password: str | None) -> None:
    broker.api_key = seal(vault, broker.id, "api_key", api_key.strip())
    broker.api_secret = seal(vault, broker.id, "api_secret", api_secret.strip())
    if api_password is not None:
        broker.api_password = seal(vault, broker.id, "api_password", api_password)
    broker.key_hint = api_key.strip()[-_HINT:] if len(api_key.strip()) > 3 * _HINT else ""


async def _flush(session: AsyncSession, name: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if "uq_brokers_user_id_name" in str(error.orig):
            raise NameTaken(f"you already have a broker account named {name}", field="name") from error
        if "uq_brokers_user_id_default" in str(error.orig):
            raise Conflict("another account was made the default at the same moment; try again") from error
        raise


async def _clear_default(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(update(Broker).where(Broker.user_id == user_id, Broker.is_default).values(is_default=False))


async def set_default(session: AsyncSession, user_id: UUID, broker_id: UUID) -> Broker:
    """Make this the account that is used where none is named.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    broker = await get_broker(session, user_id, broker_id)
    await _clear_default(session, user_id)
    broker.is_default = True
    await _flush(session, broker.name)
    return broker


async def exchanges_in_use(database: Database) -> set[str]:
    """Return the exchanges at which anybody has an account. For the platform's database: it looks at all users'."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT DISTINCT exchange FROM brokers WHERE removed_at IS NULL")
    return {row["exchange"] for row in rows}


async def list_brokers(session: AsyncSession, user_id: UUID) -> list[Broker]:
    """Return the user's accounts, the default first, then by name."""
    found = await session.scalars(owned(Broker, user_id).where(Broker.removed_at.is_(None)).order_by(Broker.is_default.desc(), Broker.name))
    return list(found)


async def get_broker(session: AsyncSession, user_id: UUID, broker_id: UUID) -> Broker:
    """Return one account.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    broker = await session.scalar(owned(Broker, user_id).where(Broker.id == broker_id, Broker.removed_at.is_(None)))
    if broker is None:
        raise BrokerNotFound
    return broker


async def remove_broker(session: AsyncSession, user_id: UUID, broker_id: UUID, *, now: datetime) -> None:
    """Forget the account's keys and hide it; its orders stay in the journal. Another account becomes the default.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    broker = await get_broker(session, user_id, broker_id)
    was_default = broker.is_default
    broker.removed_at = now
    broker.is_default = broker.is_active = False
    broker.api_key = broker.api_secret = broker.api_password = None
    broker.key_hint = ""
    await session.flush()
    if was_default:
        following = await session.scalar(
            select(Broker).where(Broker.user_id == user_id, Broker.removed_at.is_(None)).order_by(Broker.created_at).limit(1)
        )
        if following is not None:
            following.is_default = True
            await session.flush()
    await note(session, Action.BROKER_DELETED, user_id=user_id, object=f"broker:{broker_id}", detail={"name": broker.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTest:
    """What a connection test found."""

    success: bool
    latency_ms: int | None
    code: str | None
    message: str
    balances: tuple[Balance, ...] = ()


async def test_connection(database: Database, connections: Connections, user_id: UUID, broker_id: UUID, *, now: datetime) -> ConnectionTest:
    """Ask the exchange for the balance with the stored keys, outside any transaction, and note what came of it.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    async with database.transaction() as session:
        await get_broker(session, user_id, broker_id)
    started = time.perf_counter()
    try:
        client = await connections.client(broker_id)
        # Connecting for the first time loads the exchange's markets; the latency shown is that of a request.
        started = time.perf_counter()
        balances = await client.fetch_balances()
    except ExchangeError as error:
        result = ConnectionTest(success=False, latency_ms=None, code=error.code, message=error.message)
    else:
        latency = int((time.perf_counter() - started) * 1000)
        held = tuple(sorted(balances.values(), key=_by_asset))
        result = ConnectionTest(success=True, latency_ms=latency, code=None, message=_told(held), balances=held)
    async with database.transaction() as session:
        await session.execute(
            update(Broker)
            .where(Broker.id == broker_id)
            .values(
                last_connection_test=now,
                last_connection_success=result.success,
                last_connection_message=result.message,
                last_latency_ms=result.latency_ms,
            )
        )
    return result


def _told(balances: tuple[Balance, ...]) -> str:
    """The balance in a line without words, so that it needs no translation; it proves that the key is read."""
    shown = " · ".join(f"{plain(balance.total)} {balance.asset}" for balance in balances[:_TOLD])
    return shown + (" · …" if len(balances) > _TOLD else "")


def _by_asset(balance: Balance) -> str:
    return balance.asset


async def pause_broker(database: Database, broker_id: UUID, reason: str) -> None:
    """Stop trading on an account whose key the exchange refuses, until its owner gives a new one or resumes it."""
    log.warning("broker_paused", broker_id=str(broker_id), reason=reason)
    async with database.transaction() as session:
        await session.execute(update(Broker).where(Broker.id == broker_id).values(paused_reason=reason))
