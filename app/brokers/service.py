"""Broker accounts: create, change, remove, test. Keys are sealed before they reach a row."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from pydantic import BaseModel
from sqlalchemy import func, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.brokers.keys import FIELDS, forget_keys, set_keys
from app.brokers.models import Broker
from app.brokers.schemas import BrokerIn, BrokerPatch, KeysIn
from app.core.crypto import Vault
from app.core.db import Database
from app.core.ids import new_id
from app.core.tenancy import owned
from app.errors import BrokerNotFound, Conflict, InvalidInput, NameTaken
from app.exchanges.catalogue import EXCHANGES, PAPER, Venue, venue_of
from app.exchanges.paper.records import Terms
from app.exchanges.paper.store import change_fees, open_account

log = structlog.get_logger(__name__)

_CREDENTIALS: Final = {
    "api_key": "an API key",
    "api_secret": "the key's secret",
    "api_password": "the key's passphrase as well",
    "api_uid": "your user id there as well",
}


async def create_broker(session: AsyncSession, vault: Vault, user_id: UUID, given: BrokerIn) -> Broker:
    """Store a new account; the first one of a user becomes the default.

    Raises:
        InvalidInput: an unknown exchange, missing credentials, a testnet that does not exist, play money for a real account.
        NameTaken: the user already has an account of that name.
    """
    venue = known_venue(given.exchange)
    keys = revealed(given)
    check_credentials(venue, keys, is_testnet=given.is_testnet)
    terms = _paper_terms(given)
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
        subaccount_name=given.subaccount_name or None,
        is_testnet=given.is_testnet,
        is_default=is_default,
    )
    if given.trading_modes is not None:
        broker.trading_modes = list(given.trading_modes)
    if not broker.is_paper:
        set_keys(vault, broker, keys)
    session.add(broker)
    await _flush(session, given.name)
    if terms is not None:
        await open_account(session, user_id, broker_id, terms)
    await session.refresh(broker)
    await note(
        session, Action.BROKER_MADE, user_id=user_id, object=f"broker:{broker_id}", detail={"name": given.name, "exchange": given.exchange}
    )
    return broker


def known_venue(exchange: str) -> Venue:
    """Return the venue of that id.

    Raises:
        InvalidInput: there is none.
    """
    venue = venue_of(exchange)
    if venue is None:
        names = ", ".join(sorted(EXCHANGES))
        raise InvalidInput(
            f"{exchange[:40]} is not an exchange Aristobot knows; choose one of {names} or another of the list", field="exchange"
        )
    return venue


def check_credentials(venue: Venue, keys: Mapping[str, str], *, is_testnet: bool) -> None:
    """Refuse keys that lack what the venue requires, and a test account where there is none.

    Raises:
        InvalidInput: with the field.
    """
    for field, words in _CREDENTIALS.items():
        if field in venue.required_credentials and field not in keys:
            raise InvalidInput(f"{venue.name} needs {words}", field=field)
    if is_testnet and not venue.has_testnet:
        raise InvalidInput(venue.why_no_sandbox or f"{venue.name} has no test environment", field="is_testnet")


def revealed(given: BaseModel) -> dict[str, str]:
    """Return the keys that a request brings, in the clear, by field; blank ones are left out."""
    found = {field: getattr(given, field).get_secret_value().strip() for field in FIELDS if getattr(given, field, None) is not None}
    return {field: value for field, value in found.items() if value}


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
        InvalidInput: new keys that are not all that the exchange requires; keys for a paper account, or fees for a real one.
        NameTaken: the name is in use.
    """
    broker = await _locked(session, user_id, broker_id)
    for name in ("name", "description", "is_active", "trading_modes"):
        if (value := getattr(changes, name)) is not None:
            setattr(broker, name, value)
    if changes.subaccount_name is not None:
        broker.subaccount_name = changes.subaccount_name.strip() or None
    await _change_fees(session, broker, changes)
    keys = revealed(changes)
    if keys:
        if broker.is_paper:
            raise InvalidInput("a paper account has no keys", field=next(iter(keys)))
        _check_together(broker, keys)
        set_keys(vault, broker, keys)
    if keys or changes.is_active:
        broker.paused_reason = None
    await _flush(session, broker.name)
    changed = ", ".join(sorted(changes.model_dump(exclude_none=True)))
    await note(
        session, Action.BROKER_CHANGED, user_id=user_id, object=f"broker:{broker_id}", detail={"name": broker.name, "changed": changed}
    )
    return broker


def _check_together(broker: Broker, keys: Mapping[str, str]) -> None:
    """New keys come whole: a secret or a passphrase without its key would be mixed with those of another."""
    for one, other in (("api_key", "api_secret"), ("api_secret", "api_key")):
        if one in keys and other not in keys:
            raise InvalidInput("give the key and its secret together", field=other)
    check_credentials(known_venue(broker.exchange), keys, is_testnet=False)


async def _change_fees(session: AsyncSession, broker: Broker, changes: BrokerPatch) -> None:
    fees = {"maker_fee": changes.paper_maker_fee, "taker_fee": changes.paper_taker_fee}
    if all(fee is None for fee in fees.values()):
        return
    if not broker.is_paper:
        raise InvalidInput("only a paper account's fees can be set; the exchange sets the others", field="paper_taker_fee")
    await change_fees(session, broker.user_id, broker.id, **fees)


async def _flush(session: AsyncSession, name: str) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if "uq_brokers_user_id_name" in str(error.orig):
            raise NameTaken(f"you already have a broker account named {name}", field="name") from error
        if "uq_brokers_user_id_default" in str(error.orig):
            raise Conflict("another account was made the default at the same moment; try again") from error
        raise


async def check_name(session: AsyncSession, user_id: UUID, name: str) -> None:
    """Refuse a name that is in use, before anybody waits for an exchange.

    Raises:
        NameTaken: the user already has an account of that name.
    """
    same = owned(Broker, user_id).where(Broker.removed_at.is_(None), func.lower(Broker.name) == name.lower())
    if await session.scalar(same) is not None:
        raise NameTaken(f"you already have a broker account named {name}", field="name")


async def _clear_default(session: AsyncSession, user_id: UUID) -> None:
    await session.execute(update(Broker).where(Broker.user_id == user_id, Broker.is_default).values(is_default=False))


async def set_default(session: AsyncSession, user_id: UUID, broker_id: UUID) -> Broker:
    """Make this the account that is used where none is named.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    # Before the account itself, as a removal of the default one does.
    await _clear_default(session, user_id)
    broker = await _locked(session, user_id, broker_id)
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


async def note_symbol(session: AsyncSession, user_id: UUID, broker_id: UUID, symbol: str) -> None:
    """Remember which symbol the user looked at last with this account."""
    which = (Broker.user_id == user_id, Broker.id == broker_id, Broker.last_symbol.is_distinct_from(symbol))
    await session.execute(update(Broker).where(*which).values(last_symbol=symbol))


async def _locked(session: AsyncSession, user_id: UUID, broker_id: UUID) -> Broker:
    """Return one account to be changed, as it is once those who change or remove it now have committed. Raises as `get_broker`."""
    query = owned(Broker, user_id).where(Broker.id == broker_id, Broker.removed_at.is_(None))
    locked = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    broker = await session.scalar(locked)
    if broker is None:
        raise BrokerNotFound
    return broker


async def remove_broker(session: AsyncSession, user_id: UUID, broker_id: UUID, *, now: datetime) -> None:
    """Forget the account's keys and hide it; its orders stay in the journal. Another account becomes the default.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    broker = await _locked(session, user_id, broker_id)
    was_default = broker.is_default
    broker.removed_at = now
    broker.is_default = broker.is_active = False
    forget_keys(broker)
    await session.flush()
    if was_default and (following := await next_default(session, user_id, broker_id)) is not None:
        following.is_default = True
        await session.flush()
    await note(session, Action.BROKER_DELETED, user_id=user_id, object=f"broker:{broker_id}", detail={"name": broker.name})


async def next_default(session: AsyncSession, user_id: UUID, broker_id: UUID) -> Broker | None:
    """Return the account that becomes the default when this one is removed; None when it is the last."""
    others = owned(Broker, user_id).where(Broker.removed_at.is_(None), Broker.id != broker_id)
    following: Broker | None = await session.scalar(others.order_by(Broker.created_at).limit(1))
    return following


async def pause_broker(database: Database, broker_id: UUID, reason: str) -> None:
    """Stop trading on an account whose key the exchange refuses, until its owner gives a new one or resumes it."""
    log.warning("broker_paused", broker_id=str(broker_id), reason=reason)
    async with database.transaction() as session:
        await session.execute(update(Broker).where(Broker.id == broker_id).values(paused_reason=reason))
