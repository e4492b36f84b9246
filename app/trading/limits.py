"""A user's risk limits: for each account, and for all accounts together. What is not set is the default (`domain.limits.DEFAULTS`)."""

from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.accounts.audit_log import Action, note
from app.domain.limits import DOLLARS, RiskLimits
from app.errors import BrokerNotFound
from app.trading.desk import Desk, Quotes

NAMES: Final = tuple(field.name for field in fields(RiskLimits))
_COLUMNS: Final = ", ".join(NAMES)
_PUT: Final = f"""
INSERT INTO risk_limits (scope_id, user_id, broker_id, updated_at, {_COLUMNS})
VALUES ($1, $2, $3, $4, {", ".join(f"${5 + place}" for place in range(len(NAMES)))})
ON CONFLICT (scope_id) DO UPDATE SET updated_at = excluded.updated_at, {", ".join(f"{name} = excluded.{name}" for name in NAMES)}
"""  # noqa: S608  # constants
_MINE: Final = f"SELECT broker_id, {_COLUMNS} FROM risk_limits WHERE user_id = $1"  # noqa: S608  # constants
_ACCOUNTS: Final = "SELECT id, name FROM brokers WHERE user_id = $1 AND removed_at IS NULL ORDER BY is_default DESC, name"
_RESULTS: Final = """
SELECT quote, sum(realized) AS realized FROM daily_results
 WHERE user_id = $1 AND day = $2 AND ($3::uuid IS NULL OR broker_id = $3) GROUP BY quote
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLimits:
    """What a user has set for one account; `broker_id` None means all accounts together."""

    broker_id: UUID | None
    name: str
    own: RiskLimits


async def read_limits(desk: Desk, user_id: UUID) -> list[AccountLimits]:
    """Return what the user has set, for all accounts together first, then for each account."""
    async with desk.database.connection() as connection:
        rows = {row["broker_id"]: row for row in await connection.fetch(_MINE, user_id)}
        accounts = await connection.fetch(_ACCOUNTS, user_id)
    found = [AccountLimits(broker_id=None, name="", own=_of(rows.get(None)))]
    return found + [AccountLimits(broker_id=row["id"], name=row["name"], own=_of(rows.get(row["id"]))) for row in accounts]


def _of(row: Any) -> RiskLimits:
    return RiskLimits() if row is None else RiskLimits(**{name: row[name] for name in NAMES})


async def put_limits(desk: Desk, user_id: UUID, limits: RiskLimits, *, broker_id: UUID | None) -> None:
    """Set all limits of one account, or (None) of all accounts together. None inside means the default again.

    Raises:
        BrokerNotFound: no such account of this user.
    """
    async with desk.database.raw_transaction() as connection:
        if broker_id is not None and not await connection.fetchval(
            "SELECT 1 FROM brokers WHERE id = $1 AND user_id = $2 AND removed_at IS NULL", broker_id, user_id
        ):
            raise BrokerNotFound
        values = [getattr(limits, name) for name in NAMES]
        await connection.execute(_PUT, broker_id or user_id, user_id, broker_id, desk.clock.now(), *values)
        changed = {name: str(value) for name, value in zip(NAMES, values, strict=True) if value is not None}
        await note(
            connection, Action.LIMITS_CHANGED, user_id=user_id, object=f"broker:{broker_id}" if broker_id else "user", detail=changed
        )


async def lost_today(desk: Desk, user_id: UUID, *, day: date, broker_id: UUID | None, exchange: str) -> Decimal | None:
    """Return what the account, or (None) all accounts, realised as a loss on that UTC day, in USDT; None when it cannot be valued."""
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_RESULTS, user_id, day, broker_id)
    return in_usdt({row["quote"]: row["realized"] for row in rows}, desk.quotes, exchange)


def in_usdt(results: dict[str, Decimal], quotes: Quotes, exchange: str) -> Decimal | None:
    """Return the loss (positive) that results in several quote currencies make together, in USDT; None when one has no price."""
    total = Decimal(0)
    for quote, realized in results.items():
        price = usdt_per(quote, quotes, exchange)
        if price is None and realized != 0:
            return None
        total -= realized * (price or Decimal(0))
    return total


def usdt_per(quote: str, quotes: Quotes, exchange: str) -> Decimal | None:
    """Return what one unit of a quote currency is worth in USDT; None when nobody says."""
    return Decimal(1) if quote in DOLLARS else quotes.reference_price(exchange, f"{quote}/USDT", is_buy=False)
