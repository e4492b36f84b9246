"""Which account an order goes to, and whether it may trade at all."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.errors import BrokerNotFound, DenialReason, OrderDenied
from app.trading.desk import Desk

_BROKER: Final = """
SELECT id, exchange, is_active, paused_reason FROM brokers
 WHERE user_id = $1 AND removed_at IS NULL AND CASE WHEN $2::uuid IS NULL THEN is_default ELSE id = $2 END
"""
#: An id goes before a name: a name may look like one.
_NAMED: Final = """
SELECT id, exchange, is_active, paused_reason FROM brokers
 WHERE user_id = $1 AND removed_at IS NULL AND (id::text = lower($2) OR lower(name) = lower($2)) ORDER BY id::text = lower($2) DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A broker account as far as an order cares. `paused_reason` says why the exchange's refusal stopped it."""

    id: UUID
    exchange: str
    is_active: bool
    paused_reason: str | None


async def find_account(desk: Desk, user_id: UUID, broker_id: UUID | None) -> Account:
    """Return the user's account `broker_id`, or the default one.

    Raises:
        BrokerNotFound: no such account of this user.
        OrderDenied: the user has no account yet.
    """
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_BROKER, user_id, broker_id)
    if row is not None:
        return Account(**row)
    if broker_id is not None:
        raise BrokerNotFound
    raise OrderDenied(DenialReason.NO_BROKER, "there is no broker account yet; add one, then send the order again")


async def find_named_account(desk: Desk, user_id: UUID, text: str) -> Account | None:
    """Return the user's account of that id or name, whatever its case; None when there is none."""
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_NAMED, user_id, text.strip())
    return None if row is None else Account(**row)


def check_open(desk: Desk) -> None:
    """Refuse every order while this server takes none.

    Raises:
        OrderDenied: ENCRYPTION_KEY_MISSING.
    """
    if (reason := desk.closed()) is not None:
        raise OrderDenied(DenialReason.ENCRYPTION_KEY_MISSING, reason)


def check_account(account: Account) -> None:
    """Refuse an account that is switched off or paused.

    Raises:
        OrderDenied: BROKER_INACTIVE or BROKER_DISABLED.
    """
    if not account.is_active:
        raise OrderDenied(DenialReason.BROKER_INACTIVE, "this broker account is switched off")
    if account.paused_reason is not None:
        raise OrderDenied(DenialReason.BROKER_DISABLED, f"trading on this account is paused: {account.paused_reason}")
