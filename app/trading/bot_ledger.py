"""What bots hold and have won: each bot's own positions, as virtual ledgers beside the account's balance.

Nothing of it is stored twice: a bot's equity is its capital, what its positions realised after fees, and what the open one is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.domain.enums import OrderState, OrderType, Role, Side
from app.domain.protection import ProtectionPlan, Target, load_plan
from app.trading.protections import LIVE
from app.trading.whose import same

#: Of $2, those with something open; sums are of closed positions too. The two indices of positions of bots have one part each.
_LEDGERS: Final = f"""
SELECT b.bot_id, p.id AS position_id, p.broker_id, p.symbol, p.quantity, p.average_price, p.opened_at, g.plan,
       coalesce(c.realized_pnl, 0) + coalesce(p.realized_pnl, 0) AS realized_pnl, coalesce(c.fees, 0) + coalesce(p.fees, 0) AS fees,
       coalesce(e.entered, 0) AS entered, w.orders
  FROM unnest($2::uuid[]) AS b (bot_id)
  LEFT JOIN LATERAL (
    SELECT sum(realized_pnl) AS realized_pnl, sum(fees) AS fees FROM positions
     WHERE user_id = $1 AND bot_id = b.bot_id AND status = 'closed') c ON true
  LEFT JOIN LATERAL (SELECT * FROM positions WHERE user_id = $1 AND bot_id = b.bot_id AND status <> 'closed' LIMIT 1) p ON true
  LEFT JOIN LATERAL (
    SELECT plan FROM protections
     WHERE broker_id = p.broker_id AND symbol = p.symbol AND {same("bot_id", "b.bot_id")} AND status = 'active' AND position_id = p.id
     LIMIT 1) g ON true
  LEFT JOIN LATERAL (SELECT sum(quantity) AS entered FROM fills WHERE position_id = p.id AND side = 'buy') e ON true
  LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('id', o.id, 'key', o.key, 'side', o.side, 'type', o.type, 'role', o.role, 'state', o.state,
                     'quantity', o.quantity::text, 'filled', o.filled_quantity::text, 'price', o.price::text) ORDER BY o.created_at, o.id)
             AS orders
      FROM orders o
     WHERE o.user_id = $1 AND o.bot_id = b.bot_id AND (o.state IN {LIVE} OR o.fills_quantity <> o.filled_quantity)) w ON true
"""  # noqa: S608  # a constant
#: A position that was closed before has no later fill.
_FILLS_AFTER: Final = """
SELECT f.trade_id, f.order_id, o.key, o.role, f.side, f.price, f.quantity, f.fee, f.fee_asset, f.fee_value, f.executed_at, f.position_id
  FROM positions p JOIN fills f ON f.position_id = p.id JOIN orders o ON o.id = f.order_id
 WHERE p.user_id = $1 AND p.bot_id = $2 AND (p.status <> 'closed' OR p.closed_at >= $3) AND f.executed_at > $3
 ORDER BY f.executed_at, f.trade_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """One of a bot's orders that may still fill, or whose fills are not all counted; what guards its position too (`role`).

    Quantities are base units; `price` is that of a limit, in quote per base.
    """

    id: UUID
    key: str
    side: Side
    type: OrderType
    role: Role
    state: OrderState
    quantity: Decimal
    filled: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BotLedger:
    """How a bot stands. Quantities in base units, prices in quote per base, amounts in quote.

    `quantity` is signed and 0 while flat; then there is no position (None). `realized_pnl` is what all its positions have won so far, net
    of the `fees` that have a price, the open one's fees too. `entered` is what was bought into the open position, before fees in base: what
    the parts of its targets are of. `stop_price` and `targets` guard it now.
    """

    bot_id: UUID
    quantity: Decimal
    average_price: Decimal | None
    realized_pnl: Decimal
    fees: Decimal
    position_id: UUID | None
    broker_id: UUID | None
    symbol: str | None
    opened_at: datetime | None
    stop_price: Decimal | None
    targets: tuple[Target, ...]
    entered: Decimal
    open_orders: tuple[OpenOrder, ...]

    def equity(self, capital: Decimal, mark_price: Decimal | None) -> Decimal:
        """Return what the bot is worth: its capital, what it has won, and what its position would win at `mark_price` (None: nothing)."""
        open_pnl = Decimal(0)
        if self.average_price is not None and mark_price is not None:
            open_pnl = self.quantity * (mark_price - self.average_price)
        return capital + self.realized_pnl + open_pnl


@dataclass(frozen=True, slots=True, kw_only=True)
class BotFill:
    """One execution of a bot's order. `fee` is in units of `fee_asset`, `fee_value` what it was worth in quote, None where nobody knew."""

    trade_id: str
    order_id: UUID
    key: str
    role: Role
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    fee_value: Decimal | None
    executed_at: datetime
    position_id: UUID


async def read_ledger(connection: Any, user_id: UUID, bot_id: UUID) -> BotLedger:
    """Return how one bot of a user stands; one that never traded, or is not theirs, is flat with nothing won."""
    return (await read_ledgers(connection, user_id, [bot_id]))[bot_id]


async def read_ledgers(connection: Any, user_id: UUID, bot_ids: Sequence[UUID]) -> dict[UUID, BotLedger]:
    """Return how these bots of a user stand, all as of one moment, by id."""
    rows = await connection.fetch(_LEDGERS, user_id, list(bot_ids))
    return {row["bot_id"]: _ledger(row) for row in rows}


async def fills_after(connection: Any, user_id: UUID, bot_id: UUID, after: datetime) -> list[BotFill]:
    """Return what a bot's orders have filled since `after` (aware UTC, by the venue's clock), in order."""
    rows = await connection.fetch(_FILLS_AFTER, user_id, bot_id, after)
    return [BotFill(**{**dict(row), "role": Role(row["role"]), "side": Side(row["side"])}) for row in rows]


def _ledger(row: Any) -> BotLedger:
    plan = ProtectionPlan() if row["plan"] is None else load_plan(row["plan"])
    as_they_are = ("bot_id", "average_price", "realized_pnl", "fees", "position_id", "broker_id", "symbol", "opened_at", "entered")
    return BotLedger(
        **{name: row[name] for name in as_they_are},
        quantity=row["quantity"] or Decimal(0),
        stop_price=plan.stop_price,
        targets=plan.targets,
        open_orders=tuple(_order(document) for document in row["orders"] or ()),
    )


def _order(document: dict[str, Any]) -> OpenOrder:
    price = document["price"]
    return OpenOrder(
        id=UUID(document["id"]),
        key=document["key"],
        side=Side(document["side"]),
        type=OrderType(document["type"]),
        role=Role(document["role"]),
        state=OrderState(document["state"]),
        quantity=Decimal(document["quantity"]),
        filled=Decimal(document["filled"]),
        price=None if price is None else Decimal(price),
    )
