"""The risk gate: whether an order may be stored and what it keeps back of the balance, decided in the transaction that stores its intent.

Two statements: the first takes the account's row of `account_activity`, so that two orders never spend the same money, and counts; and the
user's limits over all accounts, so that no two accounts use up one of them at once. The second reads everything the rules (`domain.limits`,
`domain.risk`) ask about. The balance is what the exchange last told, less what orders may have taken since, plus what fills have brought
in. `trading.fast_entry` reads the same (`LOOK`) and is judged by the same rules.
"""

from dataclasses import dataclass
from datetime import UTC
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import PLANNED_ONCE
from app.domain.enums import OrderType, Role, Side, Source, TradingState
from app.domain.instruments import Instrument
from app.domain.limits import DEFAULTS, Ask, Money, RiskLimits, Standing, check_balance, check_limits
from app.domain.risk import refusal
from app.domain.sizing import MARKET_MARGIN, SizedOrder
from app.errors import DenialReason, OrderDenied
from app.trading.account import Account
from app.trading.desk import Desk
from app.trading.limits import NAMES, in_usdt, usdt_per
from app.trading.states import restraining
from app.trading.whose import same

#: A reservation is rounded up: what is kept back must cover the order.
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_NOBODY: Final = UUID(int=0)
_TOGETHER: Final = "on all your accounts together"
_LIVE: Final = "('intent', 'submitting', 'unknown', 'open', 'partial')"
#: A user's limits over all accounts are a row only where they are set: then it is the turn in which the orders of all their accounts are
#: admitted, taken after the account's, and written as it was, for `trading.fast_entry` knows it by its version. The last column keeps the
#: planner from planning what follows in this transaction anew each time, which costs more than it can save.
_ENTER: Final = f"""
WITH together AS (UPDATE risk_limits SET updated_at = updated_at WHERE scope_id = $2)
INSERT INTO account_activity AS a (broker_id, user_id, minute, minute_orders, day, day_orders)
VALUES ($1, $2, date_trunc('minute', $3::timestamptz), 1, ($3::timestamptz AT TIME ZONE 'UTC')::date, 1)
ON CONFLICT (broker_id) DO UPDATE
   SET minute_orders = CASE WHEN a.minute >= excluded.minute THEN a.minute_orders + 1 ELSE 1 END,
       minute = greatest(a.minute, excluded.minute),
       day_orders = CASE WHEN a.day >= excluded.day THEN a.day_orders + 1 ELSE 1 END, day = greatest(a.day, excluded.day)
RETURNING minute, minute_orders, day, day_orders, {PLANNED_ONCE}
"""  # noqa: S608  # a constant
#: Live orders and what they keep back. A leg that waits here has locked nothing yet; of a pair the stop alone counts; and the legs of a
#: position's protection step aside for whatever else sells it, but not those of another bot's. The moment of the balance is asked for by
#: itself where it is to bound an index; joined, it would not. No index takes IS NOT DISTINCT FROM: of the fills only those since then are
#: to be looked at, not all of the account's.
_ORDERS: Final = f"""
o AS (SELECT $6::uuid AS id, $1::uuid AS user_id, $2::uuid AS broker_id, $12::uuid AS bot_id, $3::text AS symbol, $4::text AS side,
             $7::text AS role, $11::text AS source, $5::numeric AS quantity),
told AS (SELECT coalesce(l.updated_at, b.last_balance_update) AS at, coalesce(l.free, 0) AS free
           FROM brokers b LEFT JOIN balances l ON l.broker_id = b.id AND l.asset = $8 WHERE b.id = $2),
unsettled AS MATERIALIZED (
  SELECT u.symbol, u.side, u.type, u.role, u.quantity, u.filled_quantity, u.fills_quantity, u.reserved, u.reserved_asset, u.group_id, u.leg,
         {same("u.bot_id", "$12::uuid")} AS is_own,
         u.state = 'intent' AND u.execution = 'supervised' AND u.triggered_at IS NULL AS is_held,
         u.role IN ('stop', 'target') AS is_leg,
         u.state IN {_LIVE} AS is_live,
         u.acknowledged_at IS NULL OR u.acknowledged_at > (SELECT at FROM told) AS is_news
    FROM orders u WHERE u.user_id = $1 AND u.broker_id = $2 AND u.id <> $6
     AND (u.state IN {_LIVE} OR u.fills_quantity <> u.filled_quantity)),
keeping AS (
  SELECT u.quantity, u.filled_quantity, u.reserved, u.is_news, $7 <> 'entry' AND u.is_leg AND u.is_own AND u.symbol = $3 AS steps_aside
    FROM unsettled u
   WHERE u.is_live AND u.reserved_asset = $8 AND NOT (u.is_held AND u.is_leg) AND NOT (u.role = 'target' AND EXISTS (
         SELECT 1 FROM unsettled s
          WHERE s.group_id = u.group_id AND s.role = 'stop' AND s.leg = u.leg - 1 AND s.is_live AND NOT s.is_held))),
ended AS MATERIALIZED (
  SELECT e.symbol, e.side, e.state, e.quantity, e.filled_quantity, e.average_price, e.price, e.group_id, e.reserved_asset,
         e.acknowledged_at > (SELECT at FROM told) AS is_news
    FROM orders e
   WHERE e.broker_id = $2 AND e.updated_at > (SELECT at FROM told) AND e.state IN ('filled', 'canceled', 'expired')
     AND e.id <> $6)"""  # noqa: S608  # constants
_MONEY: Final = """
money AS (
  SELECT coalesce(sum(reserved) FILTER (WHERE is_news AND NOT steps_aside), 0) AS kept,
         coalesce(sum(quantity - filled_quantity) FILTER (WHERE NOT is_news AND steps_aside), 0) AS stepping_aside,
         coalesce(sum(reserved) FILTER (WHERE NOT steps_aside), 0) AS reserved, count(*) FILTER (WHERE NOT steps_aside) AS reserved_by
    FROM keeping),
past AS (
  SELECT coalesce(sum(CASE WHEN side = 'sell' THEN filled_quantity ELSE filled_quantity * average_price END)
                  FILTER (WHERE is_news), 0) AS spent,
         coalesce(sum(CASE WHEN side = 'sell' THEN quantity - filled_quantity ELSE (quantity - filled_quantity) * price END)
                  FILTER (WHERE NOT is_news AND state <> 'filled' AND group_id IS NULL), 0) AS released
    FROM ended WHERE reserved_asset = $8),
gained AS (
  SELECT coalesce(sum(CASE WHEN f.side = 'buy' THEN f.quantity ELSE f.quantity * f.price END
                      - CASE WHEN f.fee_asset = $8 THEN f.fee ELSE 0 END), 0) AS amount
    FROM fills f
   WHERE f.user_id = $1 AND f.broker_id IS NOT DISTINCT FROM $2 AND f.executed_at > (SELECT at FROM told) - interval '1 second'
     AND split_part(f.symbol, '/', CASE WHEN f.side = 'buy' THEN 1 ELSE 2 END) = $8)"""
_COUNTS: Final = """
counts AS (
  SELECT count(*) FILTER (WHERE is_live AND NOT is_held AND type <> 'market') AS open_orders,
         count(*) FILTER (WHERE is_live AND NOT is_held AND type <> 'market' AND symbol = $3) AS open_in_symbol,
         coalesce(sum(CASE WHEN is_live THEN quantity ELSE filled_quantity END - fills_quantity)
                  FILTER (WHERE symbol = $3 AND side = $4 AND NOT is_leg AND is_own), 0) AS closing,
         coalesce(sum(quantity - fills_quantity) FILTER (WHERE symbol = $3 AND side = 'buy' AND is_live AND NOT is_leg), 0) AS opening
    FROM unsettled)"""


def _limit_columns(alias: str) -> str:
    return ", ".join(f"{alias}.{name} AS {alias}_{name}" for name in NAMES)


_FOUND: Final = f"""
SELECT told.at AS told_at, told.free - money.kept + money.stepping_aside - past.spent + past.released + gained.amount AS free,
       money.reserved, money.reserved_by, counts.*,
       EXISTS (SELECT 1 FROM unsettled n WHERE n.symbol = $3 AND n.is_news AND n.is_live AND NOT n.is_held)
         OR EXISTS (SELECT 1 FROM ended n WHERE n.symbol = $3) OR gained.amount <> 0 AS has_news,
       p.own AS position, p.others,
       CASE WHEN b.max_daily_loss IS NOT NULL THEN (
         SELECT jsonb_object_agg(d.quote, d.realized::text) FROM daily_results d WHERE d.broker_id = $2 AND d.day = $9) END AS b_results,
       CASE WHEN u.max_daily_loss IS NOT NULL THEN (
         SELECT jsonb_object_agg(d.quote, d.realized::text)
           FROM (SELECT quote, sum(realized) AS realized FROM daily_results WHERE user_id = $1 AND day = $9 GROUP BY quote) d
       ) END AS u_results,
       CASE WHEN u.max_open_orders IS NOT NULL THEN (
         SELECT count(*) FROM orders a WHERE a.user_id = $1 AND a.state IN {_LIVE} AND a.type <> 'market'
            AND NOT (a.state = 'intent' AND a.execution = 'supervised' AND a.triggered_at IS NULL)) END AS u_open_orders,
       CASE WHEN u.scope_id IS NOT NULL THEN (
         SELECT coalesce(sum(minute_orders), 0) FROM account_activity WHERE user_id = $1 AND minute = $10) END AS u_minute_orders,
       CASE WHEN u.scope_id IS NOT NULL THEN (
         SELECT coalesce(sum(day_orders), 0) FROM account_activity WHERE user_id = $1 AND day = $9) END AS u_day_orders,
       u.scope_id IS NOT NULL AS has_user_limits, u.xmin AS user_revision, {_limit_columns("u")}, {_limit_columns("b")},
       r.state AS restraint, r.reason AS restraint_reason, r.is_mode"""  # noqa: S608  # constants
_FROM: Final = f"""
  FROM told, money, past, gained, counts, o
 CROSS JOIN LATERAL (
   SELECT coalesce(sum(quantity) FILTER (WHERE {same("bot_id", "o.bot_id")}), 0) AS own,
          coalesce(sum(quantity) FILTER (WHERE quantity > 0 AND NOT {same("bot_id", "o.bot_id")}), 0) AS others
     FROM positions WHERE broker_id = $2 AND symbol = $3 AND status <> 'closed') p
  LEFT JOIN LATERAL ({restraining("o")}) r ON true
  LEFT JOIN risk_limits u ON u.scope_id = $1 LEFT JOIN risk_limits b ON b.scope_id = $2"""  # noqa: S608  # constants
_WITH: Final = f"WITH {_ORDERS}, {_MONEY}, {_COUNTS}"
_READ: Final = f"{_WITH}{_FOUND}{_FROM}"
_ACTIVITY: Final = """
SELECT CASE WHEN minute = $2 THEN minute_orders ELSE 0 END AS minute_orders, CASE WHEN day = $3 THEN day_orders ELSE 0 END AS day_orders
  FROM account_activity WHERE broker_id = $1
"""
#: The same without the lock: the account itself, and which version of the account's row of `account_activity` all of it goes with. No row
#: when the account has never had an order.
LOOK: Final = f"""
{_WITH}{_FOUND}, a.xmin AS revision, account.is_active AND account.paused_reason IS NULL AND account.removed_at IS NULL AS is_open,
       account.is_default,
       CASE WHEN a.minute = $10 THEN a.minute_orders ELSE 0 END AS minute_orders,
       CASE WHEN a.day = $9 THEN a.day_orders ELSE 0 END AS day_orders{_FROM}
  JOIN account_activity a ON a.broker_id = $2 JOIN brokers account ON account.id = $2 AND account.user_id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What may leave the balance while the order can fill: `amount` units of `asset`; 0 when nobody knows the price."""

    asset: str
    amount: Decimal


def reservation_of(order: SizedOrder, instrument: Instrument, *, reference_price: Decimal | None) -> Reservation:
    """Return what an order needs: base units for a sell; for a buy the quote it spends, at its limit, its trigger or the market's price.

    A market buy by base keeps a margin, because the price moves before it fills.
    """
    if order.side is Side.SELL:
        return Reservation(asset=instrument.base, amount=order.quantity)
    if order.notional is not None:
        return Reservation(asset=instrument.quote, amount=order.notional)
    price = order.price or order.trigger_price or reference_price
    if price is None:
        return Reservation(asset=instrument.quote, amount=Decimal(0))
    margin = 1 if order.type.once_triggered is OrderType.LIMIT else 1 + MARKET_MARGIN
    return Reservation(asset=instrument.quote, amount=_UP.multiply(_UP.multiply(order.quantity, price), margin))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many orders the account has stored in this minute and on this day, the one that asks included.

    `unseen` is how many of them the counts of all the user's accounts together do not have.
    """

    minute: int
    day: int
    unseen: int = 0


async def admit(
    desk: Desk,
    connection: Any,
    account: Account,
    order: SizedOrder,
    instrument: Instrument,
    *,
    user_id: UUID,
    role: Role,
    source: Source,
    bot_id: UUID | None,
    reference_price: Decimal | None,
    replaces_id: UUID | None = None,
) -> Reservation:
    """Let the order pass, and say what is to be reserved for it. Until the transaction ends, no other order of the account is admitted.

    Args:
        desk: What trading works with.
        connection: Inside the transaction that stores the order.
        account: Where it goes.
        order: The order, sized and fitted.
        instrument: Its instrument.
        user_id: Whose it is.
        role: What it is for. The limits hold for entries; the trading states and the balance for all.
        source: Who wishes for it, which the account's trading mode may leave out.
        bot_id: Whose position it is about; None for the hand's. Money and limits are the account's, whoever spends it.
        reference_price: What the market would pay or take now, in quote per base; None when nobody knows.
        replaces_id: The order whose place it takes, whose reservation is free then.

    Raises:
        OrderDenied: a trading state, the balance or a limit forbids it. BALANCE_UNKNOWN and INSUFFICIENT_BALANCE speak of the balance as it
            was last told: read it again (`trading.balances`) and ask once more.
    """
    reservation = reservation_of(order, instrument, reference_price=reference_price)
    entered = await connection.fetchrow(_ENTER, account.id, user_id, desk.clock.now())
    asked = about(user_id, account, order, reservation, role=role, replaces_id=replaces_id)
    found = await connection.fetchrow(_READ, *asked, entered["day"], entered["minute"], source.value, bot_id)
    counted = Counted(minute=entered["minute_orders"], day=entered["day_orders"])
    judge(desk, found, account, order, instrument, reservation, counted, role=role, reference_price=reference_price)
    return reservation


async def foresee(
    desk: Desk,
    account: Account,
    order: SizedOrder,
    instrument: Instrument,
    *,
    user_id: UUID,
    role: Role,
    source: Source,
    reference_price: Decimal | None,
) -> None:
    """Let an order pass that is only thought of: nothing is counted or reserved. What `admit` says later may differ.

    Raises:
        OrderDenied: as `admit`.
    """
    reservation = reservation_of(order, instrument, reference_price=reference_price)
    found, counted = await _look(desk, account, order, reservation, user_id=user_id, role=role, source=source)
    judge(desk, found, account, order, instrument, reservation, counted, role=role, reference_price=reference_price)


async def free_for(desk: Desk, account: Account, order: SizedOrder, instrument: Instrument, *, user_id: UUID, role: Role) -> Decimal | None:
    """Return what an order like this one could spend now, in units of the asset it spends; None when no balance was ever told."""
    reservation = reservation_of(order, instrument, reference_price=None)
    found, _ = await _look(desk, account, order, reservation, user_id=user_id, role=role, source=Source.MANUAL)
    free: Decimal = found["free"]
    return None if found["told_at"] is None else max(free, Decimal(0))


async def _look(
    desk: Desk, account: Account, order: SizedOrder, reservation: Reservation, *, user_id: UUID, role: Role, source: Source
) -> tuple[Any, Counted]:
    """Read what `admit` would, taking no turn: also of an account that never had an order."""
    now = desk.clock.now()
    day, minute = now.astimezone(UTC).date(), now.replace(second=0, microsecond=0)
    async with desk.database.connection() as connection:
        found = await connection.fetchrow(_READ, *about(user_id, account, order, reservation, role=role), day, minute, source.value, None)
        before = await connection.fetchrow(_ACTIVITY, account.id, minute, day)
    orders = (0, 0) if before is None else (before["minute_orders"], before["day_orders"])
    return found, Counted(minute=orders[0] + 1, day=orders[1] + 1, unseen=1)


def about(
    user_id: UUID, account: Account, order: SizedOrder, reservation: Reservation, *, role: Role, replaces_id: UUID | None = None
) -> tuple[object, ...]:
    """Return what is asked about: the first eight parameters of the statement that reads."""
    replaced = replaces_id or _NOBODY
    return user_id, account.id, order.symbol, order.side.value, order.quantity, replaced, role.value, reservation.asset


def judge(
    desk: Desk,
    found: Any,
    account: Account,
    order: SizedOrder,
    instrument: Instrument,
    reservation: Reservation,
    counted: Counted,
    *,
    role: Role,
    reference_price: Decimal | None,
) -> None:
    """Let an order pass by what was `found` in the tables.

    Raises:
        OrderDenied: as `admit`.
    """
    if found["restraint"] is not None:
        raise OrderDenied(*refusal(TradingState(found["restraint"]), found["restraint_reason"], is_mode=found["is_mode"]))
    exchange = account.exchange
    ask = _ask(desk, exchange, order, instrument, role=role, market_price=reference_price)
    own = _standing(desk, found, "b", exchange, minute=counted.minute, day=counted.day)
    check_limits(ask, own, _limits(found, "b").over(DEFAULTS))
    if found["has_user_limits"]:
        minute, day = found["u_minute_orders"] + counted.unseen, found["u_day_orders"] + counted.unseen
        check_limits(ask, _standing(desk, found, "u", exchange, minute=minute, day=day), _limits(found, "u"), whose=_TOGETHER)
    _check_money(found, reservation, role)


def _ask(desk: Desk, exchange: str, order: SizedOrder, instrument: Instrument, *, role: Role, market_price: Decimal | None) -> Ask:
    return Ask(
        symbol=order.symbol,
        base=instrument.base,
        quote=instrument.quote,
        side=order.side,
        type=order.type,
        role=role,
        quantity=order.quantity,
        price=order.price,
        trigger_price=order.trigger_price,
        notional=order.notional,
        market_price=market_price,
        last_close=desk.quotes.last_close(exchange, order.symbol),
        usdt=usdt_per(instrument.quote, desk.quotes, exchange),
    )


def _check_money(found: Any, needed: Reservation, role: Role) -> None:
    if found["told_at"] is None:
        if role is not Role.ENTRY:
            return  # the exchange has the last word, and a way out must not wait for it
        raise OrderDenied(
            DenialReason.BALANCE_UNKNOWN,
            f"the balance of this account is not known yet, so nobody can say whether it has enough {needed.asset}",
        )
    money = Money(
        asset=needed.asset,
        free=found["free"],
        reserved=found["reserved"],
        reserved_by=found["reserved_by"],
        is_certain=not found["has_news"],
    )
    check_balance(needed.amount, money, role=role)


def _limits(found: Any, alias: str) -> RiskLimits:
    return RiskLimits(**{name: found[f"{alias}_{name}"] for name in NAMES})


def _standing(desk: Desk, found: Any, alias: str, exchange: str, *, minute: int, day: int) -> Standing:
    results = {quote: Decimal(text) for quote, text in (found[f"{alias}_results"] or {}).items()}
    open_orders = found["u_open_orders"] if alias == "u" else found["open_orders"]
    return Standing(
        open_orders=open_orders or 0,
        open_in_symbol=found["open_in_symbol"],
        orders_this_minute=minute,
        orders_today=day,
        lost_today=in_usdt(results, desk.quotes, exchange),
        position=found["position"],
        others=found["others"],
        closing=found["closing"],
        opening=found["opening"],
    )
