"""The invariants that the audit asks the database about, each one statement that returns the accounts for which it does not hold.

Every statement takes the present moment as $1 and returns `broker_id, user_id, subject, detail`; `detail` is a sentence for the trader.
Nothing is judged that may still be on its way: young rows are left for the next run.
"""

from dataclasses import dataclass
from typing import Final

_UNSETTLED: Final = "('intent', 'submitting', 'unknown', 'open', 'partial')"
_USABLE: Final = "b.removed_at IS NULL AND b.is_active AND b.paused_reason IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One invariant: a stable code, and the statement that finds what breaks it."""

    code: str
    sql: str


#: An order's fills add up to what was counted and, once it had time to settle, to what the venue reported.
FILLS: Final = Rule(
    code="AUDIT_FILLS",
    sql=f"""
SELECT o.broker_id, o.user_id, o.id::text AS subject,
       format('the fills of an order in %s add up to %s, the order says %s',
              o.symbol, trim_scale(f.quantity), trim_scale(o.filled_quantity))
         AS detail
  FROM orders o CROSS JOIN LATERAL (SELECT coalesce(sum(quantity), 0) AS quantity FROM fills WHERE order_id = o.id) f
 WHERE o.updated_at > $1::timestamptz - interval '30 days'
   AND (f.quantity <> o.fills_quantity
        OR (f.quantity <> o.filled_quantity AND o.state NOT IN {_UNSETTLED} AND o.updated_at < $1::timestamptz - interval '15 minutes'))
""",  # noqa: S608  # constants
)
#: No order at the venue has gone unasked for a quarter of an hour.
UNASKED: Final = Rule(
    code="AUDIT_UNASKED",
    sql=f"""
SELECT o.broker_id, o.user_id, o.id::text AS subject,
       format('an order in %s has not been compared with the exchange since %s', o.symbol,
              to_char(coalesce(o.reconciled_at, o.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) AS detail
  FROM orders o JOIN brokers b ON b.id = o.broker_id
 WHERE o.state IN ('unknown', 'open', 'partial') AND {_USABLE}
   AND coalesce(o.reconciled_at, o.created_at) < $1::timestamptz - interval '15 minutes'
""",  # noqa: S608  # constants
)
#: No order stands between claim and answer for longer than a request can take.
STUCK: Final = Rule(
    code="AUDIT_STUCK",
    sql="""
SELECT broker_id, user_id, id::text AS subject, format('an order in %s was being sent for more than 25 s', symbol) AS detail
  FROM orders WHERE state = 'submitting' AND sent_at < $1::timestamptz - interval '25 seconds'
""",
)
#: A symbol's positions are what its fills bought and sold, less fees in base. An account that was begun anew has no such sum.
POSITIONS: Final = Rule(
    code="AUDIT_POSITION",
    sql="""
SELECT p.broker_id, p.user_id, p.symbol AS subject,
       format('the position in %s is %s, its fills say %s', p.symbol, trim_scale(p.quantity), trim_scale(f.quantity)) AS detail
  FROM (SELECT broker_id, user_id, symbol, sum(quantity) AS quantity, max(updated_at) AS updated_at FROM positions
         GROUP BY broker_id, user_id, symbol) p
  JOIN (SELECT broker_id, symbol, sum(CASE WHEN side = 'buy' THEN quantity ELSE -quantity END
                                      - CASE WHEN fee_asset = split_part(symbol, '/', 1) THEN fee ELSE 0 END) AS quantity
          FROM fills GROUP BY broker_id, symbol) f ON f.broker_id = p.broker_id AND f.symbol = p.symbol
  JOIN brokers b ON b.id = p.broker_id AND b.exchange <> 'paper'
 WHERE abs(p.quantity - f.quantity) > 1e-12
""",
)
#: What is reserved is reserved for something that can still fill.
RESERVATIONS: Final = Rule(
    code="AUDIT_RESERVATION",
    sql=f"""
SELECT broker_id, user_id, id::text AS subject,
       format('a finished order in %s still keeps back %s %s', symbol, trim_scale(reserved), reserved_asset) AS detail
  FROM orders WHERE reserved <> 0 AND state NOT IN {_UNSETTLED}
""",  # noqa: S608  # constants
)
#: Every position that wants a stop has one that is live, at the venue or here.
UNPROTECTED: Final = Rule(
    code="AUDIT_UNPROTECTED",
    sql=f"""
SELECT p.broker_id, p.user_id, p.symbol AS subject, format('the position in %s has had no stop for more than 30 s', p.symbol) AS detail
  FROM protections p JOIN brokers b ON b.id = p.broker_id
 WHERE p.status = 'active' AND p.unprotected_since < $1::timestamptz - interval '30 seconds' AND {_USABLE}
""",  # noqa: S608  # constants
)
#: One order of the venue is one order here.
TWINS: Final = Rule(
    code="AUDIT_TWINS",
    sql="""
SELECT broker_id, user_id, min(id::text) AS subject, format('two orders in %s claim to be the same one at the exchange', symbol) AS detail
  FROM orders WHERE venue_order_id IS NOT NULL GROUP BY broker_id, user_id, symbol, venue_order_id HAVING count(*) > 1
UNION ALL
SELECT broker_id, user_id, min(id::text), format('two orders carry the id %s', client_order_id)
  FROM orders GROUP BY broker_id, user_id, client_order_id HAVING count(*) > 1
""",
)
#: Every account is compared with its venue in full, so that no order of ours there is unknown here.
UNCOMPARED: Final = Rule(
    code="AUDIT_UNCOMPARED",
    sql=f"""
SELECT b.id AS broker_id, b.user_id, b.id::text AS subject,
       format('the account has not been compared with its exchange since %s',
              coalesce(to_char(c.checked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'it was made')) AS detail
  FROM brokers b JOIN account_checks c ON c.broker_id = b.id
 WHERE {_USABLE} AND c.failed_since < $1::timestamptz - interval '15 minutes'
""",  # noqa: S608  # constants
)
#: What people are to be told is told.
UNTOLD: Final = Rule(
    code="AUDIT_UNTOLD",
    sql="""
SELECT broker_id, user_id, id::text AS subject, 'a notice has waited for more than five minutes' AS detail
  FROM outbox WHERE done_at IS NULL AND created_at < $1::timestamptz - interval '5 minutes'
""",
)
#: Nobody has written under a lease that was not given yet.
EPOCHS: Final = Rule(
    code="AUDIT_EPOCH",
    sql="""
SELECT o.broker_id, o.user_id, o.id::text AS subject,
       format('an order in %s was written by epoch %s, and the role is at %s', o.symbol, o.epoch, l.epoch) AS detail
  FROM orders o JOIN leases l ON l.role = 'engine' WHERE o.epoch > l.epoch
""",
)
#: What a position holds is in the account: else its stop could not sell it. Only balances that are younger than the position are believed.
UNSELLABLE: Final = Rule(
    code="AUDIT_UNSELLABLE",
    sql=f"""
SELECT p.broker_id, p.user_id, p.symbol AS subject,
       format('the position holds %s %s, the account only %s', trim_scale(p.quantity), p.base, trim_scale(coalesce(l.total, 0))) AS detail
  FROM positions p JOIN brokers b ON b.id = p.broker_id
  LEFT JOIN LATERAL (SELECT free + locked AS total FROM balances WHERE broker_id = p.broker_id AND asset = p.base) l ON true
  LEFT JOIN instruments i ON i.exchange = b.exchange AND i.symbol = p.symbol AND i.type = 'spot'
 WHERE p.status <> 'closed' AND p.quantity > coalesce(l.total, 0) + coalesce(i.step_size, 0) AND {_USABLE}
   AND b.last_balance_update > p.updated_at + interval '5 seconds'
   AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.broker_id = p.broker_id AND o.symbol = p.symbol
                      AND o.fills_quantity <> o.filled_quantity)
""",  # noqa: S608  # constants
)

RULES: Final = (FILLS, UNASKED, STUCK, POSITIONS, RESERVATIONS, UNPROTECTED, TWINS, UNCOMPARED, UNTOLD, EPOCHS, UNSELLABLE)

#: The ledger: what the exchange says an account holds, against what it began with and every trade since. The difference came or went
#: without a trade: a deposit, a withdrawal, a conversion. It is kept and shown.
LEDGER_BEGIN: Final = """
INSERT INTO ledger_baselines (broker_id, asset, user_id, amount, at)
SELECT broker_id, asset, user_id, free + locked, updated_at FROM balances
ON CONFLICT (broker_id, asset) DO NOTHING
"""
LEDGER_COMPARE: Final = """
WITH trades AS (
  SELECT broker_id, symbol, side, price, quantity, fee, fee_asset, executed_at FROM fills
  UNION ALL
  SELECT broker_id, symbol, side, price, quantity, fee, fee_asset, executed_at FROM external_trades),
moves AS (
  SELECT broker_id, split_part(symbol, '/', 1) AS asset, CASE WHEN side = 'buy' THEN quantity ELSE -quantity END AS amount, executed_at
    FROM trades
  UNION ALL
  SELECT broker_id, split_part(symbol, '/', 2), CASE WHEN side = 'buy' THEN -1 ELSE 1 END * quantity * price, executed_at
    FROM trades
  UNION ALL
  SELECT broker_id, fee_asset, -fee, executed_at FROM trades),
sums AS (
  SELECT g.broker_id, g.asset, coalesce(sum(m.amount), 0) AS traded
    FROM ledger_baselines g JOIN balances l ON l.broker_id = g.broker_id AND l.asset = g.asset
    LEFT JOIN moves m ON m.broker_id = g.broker_id AND m.asset = g.asset AND m.executed_at > g.at AND m.executed_at <= l.updated_at
   GROUP BY g.broker_id, g.asset)
UPDATE ledger_baselines g SET unexplained = l.free + l.locked - g.amount - s.traded
  FROM sums s, balances l
 WHERE s.broker_id = g.broker_id AND s.asset = g.asset AND l.broker_id = g.broker_id AND l.asset = g.asset
   AND g.unexplained IS DISTINCT FROM l.free + l.locked - g.amount - s.traded
"""
