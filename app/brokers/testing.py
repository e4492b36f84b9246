"""Connection tests: with stored keys, or with keys that are not stored yet, step by step, and outside any transaction."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import update

from app.brokers.connections import Connections
from app.brokers.keys import credentials_from, stored_keys
from app.brokers.models import Broker
from app.brokers.schemas import BrokerTryIn
from app.brokers.service import check_credentials, get_broker, known_venue, revealed
from app.core.crypto import Vault
from app.core.db import Database
from app.domain.instruments import plain
from app.errors import ExchangeError, InvalidInput
from app.exchanges.catalogue import PAPER
from app.exchanges.key_rights import KeyRights
from app.exchanges.port import Balance, ExchangeClient

_TOLD: Final = 4
#: Binance takes a request that is a second ahead of its clock, and no more. We correct for the difference, so it is only a hint.
_CLOCK_OFF_MS: Final = 1_000


class StepName(StrEnum):
    """What is looked at, in this order; a step that fails leaves those after it out."""

    REACHABLE = "reachable"
    CLOCK = "clock"
    KEY = "key"
    RIGHTS = "rights"
    BALANCE = "balance"


class StepState(StrEnum):
    """How a step ended. A warning does not keep the account from trading."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; `code` is that of the error it failed with, and `amount` its figure: symbols, or milliseconds that our clock is ahead."""

    name: StepName
    state: StepState
    message: str = ""
    code: str | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTest:
    """What a connection test found; `rights` is None where the exchange does not tell."""

    success: bool
    latency_ms: int | None
    code: str | None
    message: str
    balances: tuple[Balance, ...] = ()
    steps: tuple[Step, ...] = ()
    rights: KeyRights | None = None


async def test_connection(database: Database, connections: Connections, user_id: UUID, broker_id: UUID, *, now: datetime) -> ConnectionTest:
    """Ask the exchange for the balance with the stored keys, and note what came of it.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    async with database.transaction() as session:
        broker = await get_broker(session, user_id, broker_id)

    def offset_ms() -> int | None:
        return connections.clock_offset_ms(broker.exchange, is_testnet=broker.is_testnet)

    try:
        client = await connections.client(broker_id)
    except ExchangeError as error:
        result = _failed(error, StepName.REACHABLE, [])
    else:
        result = await examine(client, offset_ms=offset_ms)
    await note_test(database, broker_id, result, now=now)
    return result


async def try_keys(database: Database, vault: Vault, connections: Connections, user_id: UUID, given: BrokerTryIn) -> ConnectionTest:
    """Find out whether keys work that are not stored. What is left out is what the account `broker_id` has, if that is named.

    Raises:
        BrokerNotFound: no such account of this user.
        InvalidInput: there is no such exchange, credentials are missing, or a testnet that does not exist.
    """
    stored: dict[str, str] = {}
    exchange, is_testnet, subaccount = given.exchange, given.is_testnet, given.subaccount_name
    typed = revealed(given)
    if given.broker_id is not None:
        async with database.transaction() as session:
            broker = await get_broker(session, user_id, given.broker_id)
        exchange, is_testnet = broker.exchange, broker.is_testnet
        subaccount = broker.subaccount_name if subaccount is None else subaccount
        # A passphrase belongs to its key, so a new key comes without the old one's.
        stored = stored_keys(vault, broker) if not typed else {}
    venue = known_venue(exchange or "")
    if venue.id == PAPER:
        raise InvalidInput("a paper account has no keys to try", field="exchange")
    keys = {**stored, **typed}
    check_credentials(venue, keys, is_testnet=is_testnet)
    try:
        async with connections.visit(venue.id, credentials_from(keys, subaccount=subaccount or None), is_testnet=is_testnet) as client:
            return await examine(client, offset_ms=lambda: connections.clock_offset_ms(venue.id, is_testnet=is_testnet))
    except ExchangeError as error:
        return _failed(error, StepName.REACHABLE, [])


async def examine(client: ExchangeClient, *, offset_ms: Callable[[], int | None]) -> ConnectionTest:
    """Go through the steps.

    Args:
        client: The account's client.
        offset_ms: Tells how far our clock is ahead of the exchange's, milliseconds, once that was compared.
    """
    steps: list[Step] = []
    is_paper = client.exchange == PAPER
    if not is_paper:
        try:
            listed = await client.instruments()
        except ExchangeError as error:
            return _failed(error, StepName.REACHABLE, steps)
        steps.append(Step(name=StepName.REACHABLE, state=StepState.OK, amount=len(listed), message=f"{len(listed)} symbols"))
    # Connecting for the first time loads the exchange's markets; the latency shown is that of a request.
    started = time.perf_counter()
    try:
        balances = await client.fetch_balances()
    except ExchangeError as error:
        return _failed(error, StepName.KEY, [*steps, *([] if is_paper else [_clock(offset_ms())])])
    latency_ms = int((time.perf_counter() - started) * 1000)
    rights: KeyRights | None = None
    if not is_paper:
        rights = await _rights(client)
        steps += [_clock(offset_ms()), Step(name=StepName.KEY, state=StepState.OK, message="the key is accepted"), _about(rights)]
    held = tuple(sorted(balances.values(), key=lambda balance: balance.asset))
    told = _told(held)
    steps.append(Step(name=StepName.BALANCE, state=StepState.OK, message=told or "the account is empty"))
    return ConnectionTest(success=True, latency_ms=latency_ms, code=None, message=told, balances=held, steps=tuple(steps), rights=rights)


def _failed(error: ExchangeError, at: StepName, before: list[Step]) -> ConnectionTest:
    names = list(StepName)
    steps = [*before, Step(name=at, state=StepState.FAILED, message=error.message, code=error.code)]
    steps += [Step(name=name, state=StepState.SKIPPED) for name in names[names.index(at) + 1 :]]
    return ConnectionTest(success=False, latency_ms=None, code=error.code, message=error.message, steps=tuple(steps))


def _clock(ahead_ms: int | None) -> Step:
    if ahead_ms is None:
        return Step(name=StepName.CLOCK, state=StepState.SKIPPED, message="the exchange does not tell its time")
    state = StepState.OK if abs(ahead_ms) <= _CLOCK_OFF_MS else StepState.WARNING
    return Step(name=StepName.CLOCK, state=state, amount=ahead_ms, message=f"this server's clock differs by {ahead_ms:+d} ms")


async def _rights(client: ExchangeClient) -> KeyRights | None:
    """What the exchange says; that it does not say, on a test network or to a sub-account's key, is no failure."""
    try:
        return await client.fetch_key_rights()
    except ExchangeError:
        return None


def _about(rights: KeyRights | None) -> Step:
    if rights is None or rights == KeyRights():
        return Step(name=StepName.RIGHTS, state=StepState.SKIPPED, message="the exchange does not say what the key may do")
    words = []
    if rights.can_withdraw:
        words.append("the key may withdraw: use one that may not")
    if rights.can_trade is False:
        words.append("the key may not trade")
    if rights.is_ip_bound is False:
        words.append("the key works from any address: bind it to this server's")
    is_good = rights.can_withdraw is not True and rights.can_trade is not False
    return Step(name=StepName.RIGHTS, state=StepState.OK if is_good else StepState.WARNING, message="; ".join(words))


def _told(balances: tuple[Balance, ...]) -> str:
    """The balance in a line without words, so that it needs no translation; it proves that the key is read."""
    shown = " · ".join(f"{plain(balance.total)} {balance.asset}" for balance in balances[:_TOLD])
    return shown + (" · …" if len(balances) > _TOLD else "")


async def note_test(database: Database, broker_id: UUID, found: ConnectionTest, *, now: datetime) -> None:
    """Write down what a test of an account's keys found. What the exchange said of their rights before stays when it is not reached."""
    values: dict[str, object] = {
        "last_connection_test": now,
        "last_connection_success": found.success,
        "last_connection_message": found.message,
        "last_latency_ms": found.latency_ms,
    }
    if found.success:
        values["key_rights"] = None if found.rights is None else asdict(found.rights)
    async with database.transaction() as session:
        await session.execute(update(Broker).where(Broker.id == broker_id).values(**values))
