"""How the hand stands in one symbol of an account, as whoever plans an order by it must know; and what the account is worth."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from app.domain.protection import ProtectionPlan, load_plan
from app.trading.desk import Desk
from app.trading.protections import HELD, LIVE

#: A worth that was read longer ago than that says little of the account now. The portfolio reads it every minute.
_WORTH_MAX_AGE: Final = timedelta(minutes=10)
#: What a person lets rest beside the market is not on its way into the position: only alerts' own orders and market orders are.
_STATE: Final = f"""
SELECT p.id, coalesce(p.quantity, 0) AS quantity, p.average_price, g.plan, u.buying, u.selling
  FROM (SELECT 1) one
  LEFT JOIN positions p
    ON p.user_id = $1 AND p.broker_id = $2 AND p.symbol = $3 AND p.status <> 'closed' AND p.bot_id IS NULL
  LEFT JOIN protections g ON g.broker_id = $2 AND g.symbol = $3 AND g.status = 'active' AND g.position_id = p.id
 CROSS JOIN LATERAL (
   SELECT coalesce(sum(each.amount) FILTER (WHERE each.side = 'buy'), 0) AS buying,
          coalesce(sum(each.amount) FILTER (WHERE each.side = 'sell'), 0) AS selling
     FROM (SELECT o.side, CASE WHEN o.state IN {LIVE} THEN o.quantity ELSE o.filled_quantity END - o.fills_quantity AS amount
             FROM orders o
            WHERE o.user_id = $1 AND o.broker_id = $2 AND o.symbol = $3 AND o.bot_id IS NULL
              AND o.role NOT IN ('stop', 'target') AND NOT {HELD}
              AND (o.source = 'webhook' OR o.type = 'market') AND (o.state IN {LIVE} OR o.fills_quantity <> o.filled_quantity)) each) u
"""  # noqa: S608  # constants
_WORTH: Final = "SELECT at, equity_usdt FROM equity_snapshots WHERE broker_id = $1 AND user_id = $2 ORDER BY at DESC LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolState:
    """A position and what is about to change it. Quantities in base units.

    `quantity` is signed, 0 while flat; `average_price` is quote per base. `plan` is how the position is guarded now, None when it is not.
    `buying` and `selling` are what orders under way may still add and take, or have filled without its being counted yet.
    """

    position_id: UUID | None
    quantity: Decimal
    average_price: Decimal | None
    plan: ProtectionPlan | None
    buying: Decimal
    selling: Decimal


async def read_symbol_state(desk: Desk, user_id: UUID, broker_id: UUID, symbol: str) -> SymbolState:
    """Return how one of the user's accounts stands in `symbol` (unified), as of one moment, but for what bots hold there."""
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_STATE, user_id, broker_id, symbol)
    return SymbolState(
        position_id=row["id"],
        quantity=row["quantity"],
        average_price=row["average_price"],
        plan=None if row["plan"] is None else load_plan(row["plan"]),
        buying=max(row["buying"], Decimal(0)),
        selling=max(row["selling"], Decimal(0)),
    )


async def read_worth(desk: Desk, user_id: UUID, broker_id: UUID, *, now: datetime) -> Decimal | None:
    """Return what the account was worth in USDT when its balances were last read; None when that is too long ago, or never was.

    Assets without a price count as nothing, so it is rather too little than too much.
    """
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_WORTH, broker_id, user_id)
    if row is None or now - row["at"] > _WORTH_MAX_AGE:
        return None
    worth: Decimal = row["equity_usdt"]
    return worth
