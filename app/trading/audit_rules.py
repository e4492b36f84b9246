"""The invariants that the audit asks the database about, each one statement that returns the accounts for which it does not hold.

Every statement may use $1, the present moment, and $2, from when on changes are looked at (the beginning of time in a full run). It returns
`broker_id, user_id, subject, detail`; `detail` is a sentence for the trader. Nothing is judged that may still be on its way: young rows are
left for the next run, and an account whose gate is closed says by that what is wrong with it.
"""

from dataclasses import dataclass
from typing import Final

from app.trading.whose import same

_UNSETTLED: Final = "('intent', 'submitting', 'unknown', 'open', 'partial')"
_USABLE: Final = "b.removed_at IS NULL AND b.is_active AND b.paused_reason IS NULL"
_OPEN_GATE: Final = "NOT EXISTS (SELECT 1 FROM trading_states s WHERE s.key = b.id::text AND s.code = 'RECONCILING')"


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
 WHERE o.updated_at > greatest($2::timestamptz - interval '15 minutes', $1::timestamptz - interval '30 days')
   AND (f.quantity <> o.fills_quantity
        OR (f.quantity <> o.filled_quantity AND o.state NOT IN {_UNSETTLED} AND o.updated_at < $1::timestamptz - interval '15 minutes'))
""",  # noqa: S608  # constants
)
#: No order at the venue has gone unasked for a quarter of an hour, and none waits for its sender so long.
UNASKED: Final = Rule(
    code="AUDIT_UNASKED",
    sql=f"""
SELECT o.broker_id, o.user_id, o.id::text AS subject,
       format('an order in %s has not been compared with the exchange since %s', o.symbol,
              to_char(coalesce(o.reconciled_at, o.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) AS detail
  FROM orders o JOIN brokers b ON b.id = o.broker_id
 WHERE (o.state IN ('unknown', 'open', 'partial')
        OR (o.state = 'intent' AND (o.execution = 'native' OR o.triggered_at IS NOT NULL) AND o.replaces_id IS NULL))
   AND {_USABLE} AND {_OPEN_GATE}
   AND greatest(o.reconciled_at, o.created_at, o.triggered_at) < $1::timestamptz - interval '15 minutes'
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
#: A symbol's positions are what its fills bought and sold, less fees in base; what a closed one left as dust stays on its row.
POSITIONS: Final = Rule(
    code="AUDIT_POSITION",
    sql="""
SELECT p.broker_id, p.user_id, p.symbol AS subject,
       format('the position in %s is %s, its fills say %s', p.symbol, trim_scale(p.quantity), trim_scale(coalesce(f.quantity, 0)))
         AS detail
  FROM (SELECT broker_id, user_id, symbol, sum(quantity) AS quantity, max(updated_at) AS updated_at FROM positions
         GROUP BY broker_id, user_id, symbol) p
  CROSS JOIN LATERAL (
    SELECT sum(CASE WHEN side = 'buy' THEN quantity ELSE -quantity END
               - CASE WHEN fee_asset = split_part(symbol, '/', 1) THEN fee ELSE 0 END) AS quantity
      FROM fills WHERE broker_id = p.broker_id AND symbol = p.symbol) f
 WHERE p.updated_at > $2 AND p.quantity <> coalesce(f.quantity, 0)
UNION ALL
SELECT DISTINCT f.broker_id, f.user_id, f.symbol, format('there are fills in %s and no position', f.symbol)
  FROM fills f
 WHERE $2::timestamptz < '1000-01-01' AND NOT EXISTS (SELECT 1 FROM positions WHERE broker_id = f.broker_id AND symbol = f.symbol)
""",
)
#: Each position of a bot is what its own fills bought and sold, and what a bot ordered went into its own positions.
BOTS: Final = Rule(
    code="AUDIT_BOT_POSITION",
    sql="""
SELECT p.broker_id, p.user_id, p.id::text AS subject,
       format('a bot''s position in %s is %s, its fills say %s', p.symbol, trim_scale(p.quantity), trim_scale(coalesce(f.quantity, 0)))
         AS detail
  FROM positions p
  CROSS JOIN LATERAL (
    SELECT sum(CASE WHEN side = 'buy' THEN quantity ELSE -quantity END
               - CASE WHEN fee_asset = split_part(symbol, '/', 1) THEN fee ELSE 0 END) AS quantity
      FROM fills WHERE position_id = p.id) f
 WHERE p.bot_id IS NOT NULL AND p.updated_at > $2 AND p.quantity <> coalesce(f.quantity, 0)
UNION ALL
SELECT o.broker_id, o.user_id, o.id::text, format('what an order in %s filled went into another one''s position', o.symbol)
  FROM positions p JOIN fills f ON f.position_id = p.id JOIN orders o ON o.id = f.order_id
 WHERE p.updated_at > $2 AND o.bot_id IS DISTINCT FROM p.bot_id
""",
)
#: What is reserved is reserved for something that can still fill, and covers what it may take.
RESERVATIONS: Final = Rule(
    code="AUDIT_RESERVATION",
    sql=f"""
SELECT broker_id, user_id, id::text AS subject,
       format('a finished order in %s still keeps back %s %s', symbol, trim_scale(reserved), reserved_asset) AS detail
  FROM orders WHERE reserved <> 0 AND state NOT IN {_UNSETTLED} AND updated_at > $2
UNION ALL
SELECT broker_id, user_id, id::text,
       format('an open order in %s keeps back %s %s and may take %s', symbol, trim_scale(reserved), reserved_asset, trim_scale(needed))
  FROM (SELECT o.*, CASE WHEN side = 'sell' THEN quantity - filled_quantity
                         WHEN notional IS NOT NULL THEN notional - filled_quantity * coalesce(average_price, 0)
                         ELSE (quantity - filled_quantity) * coalesce(price, trigger_price, 0) END AS needed
          FROM orders o WHERE state IN {_UNSETTLED}) live
 WHERE reserved < needed
""",  # noqa: S608  # constants
)
#: Every position that wants a stop has one that is live, at the venue or here, unless the trader's own order to close it waits there; and
#: no stop outlives its position.
UNPROTECTED: Final = Rule(
    code="AUDIT_UNPROTECTED",
    sql=f"""
SELECT p.broker_id, p.user_id, p.symbol AS subject, format('the position in %s has had no stop for more than 30 s', p.symbol) AS detail
  FROM protections p JOIN brokers b ON b.id = p.broker_id
  JOIN positions s ON s.id = p.position_id AND s.status <> 'closed'
  LEFT JOIN instruments i ON i.exchange = b.exchange AND i.symbol = p.symbol AND i.type = 'spot'
 WHERE p.status = 'active' AND {_USABLE}
   AND NOT EXISTS (SELECT 1 FROM orders c WHERE c.broker_id = p.broker_id AND c.symbol = p.symbol AND c.side = 'sell'
                      AND {same("c.bot_id", "p.bot_id")} AND c.role IN ('exit', 'flatten') AND c.state IN ('open', 'partial'))
   AND (p.unprotected_since < $1::timestamptz - interval '30 seconds'
        OR (p.unprotected_since IS NULL AND (p.plan ->> 'stop_price' IS NOT NULL OR p.plan ->> 'trailing_delta' IS NOT NULL)
            AND greatest(p.updated_at, s.updated_at) < $1::timestamptz - interval '30 seconds'
            AND s.quantity >= coalesce(i.min_quantity, 0) AND s.quantity * s.average_price >= coalesce(i.min_notional, 0)
            AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.group_id = p.id AND o.role = 'stop' AND o.state IN {_UNSETTLED})))
UNION ALL
SELECT o.broker_id, o.user_id, o.symbol, format('an order that guarded a position in %s has outlived it', o.symbol)
  FROM orders o JOIN protections p ON p.id = o.group_id JOIN brokers b ON b.id = o.broker_id
 WHERE o.state IN ('open', 'partial') AND o.role IN ('stop', 'target') AND {_USABLE} AND {_OPEN_GATE}
   AND greatest(o.updated_at, p.updated_at) < $1::timestamptz - interval '1 minute'
   AND NOT EXISTS (SELECT 1 FROM positions s
                    WHERE s.broker_id = o.broker_id AND s.symbol = o.symbol AND {same("s.bot_id", "o.bot_id")}
                      AND (s.status <> 'closed' OR s.updated_at > $1::timestamptz - interval '1 minute'))
""",  # noqa: S608  # constants
)
#: One order of the venue is one order here.
TWINS: Final = Rule(
    code="AUDIT_TWINS",
    sql="""
SELECT broker_id, user_id, min(id::text) AS subject, format('two orders in %s claim to be the same one at the exchange', symbol) AS detail
  FROM orders WHERE venue_order_id IS NOT NULL AND updated_at > $2
 GROUP BY broker_id, user_id, symbol, venue_order_id HAVING count(*) > 1
UNION ALL
SELECT broker_id, user_id, min(id::text), format('two orders carry the id %s', client_order_id)
  FROM orders WHERE updated_at > $2 GROUP BY broker_id, user_id, client_order_id HAVING count(*) > 1
""",
)
#: Every account that may trade is compared with its venue in full; and what the venue has under an id of ours is here.
UNCOMPARED: Final = Rule(
    code="AUDIT_UNCOMPARED",
    sql=f"""
SELECT b.id AS broker_id, b.user_id, b.id::text AS subject,
       format('the account has not been compared with its exchange since %s',
              coalesce(to_char(c.checked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'it was made')) AS detail
  FROM brokers b LEFT JOIN account_checks c ON c.broker_id = b.id
 WHERE {_USABLE} AND {_OPEN_GATE}
   AND (c.failed_since < $1::timestamptz - interval '15 minutes'
        OR greatest(c.checked_at, b.created_at) < $1::timestamptz - interval '24 hours')
""",  # noqa: S608  # constants
)
ORPHANS: Final = Rule(
    code="AUDIT_ORPHAN",
    sql="""
SELECT e.broker_id, e.user_id, e.venue_order_id AS subject,
       format('the exchange has an order of ours in %s that this server does not know (%s)', e.symbol, e.client_order_id) AS detail
  FROM external_orders e
 WHERE e.client_order_id ~ '^q[0-9a-hjkmnp-tv-z]{17}$' AND e.last_seen_at > $1::timestamptz - interval '24 hours'
   AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.client_order_id = e.client_order_id)
""",
)
#: What people are to be told is told.
UNTOLD: Final = Rule(
    code="AUDIT_UNTOLD",
    sql="""
SELECT broker_id, user_id, id::text AS subject, 'a notice has waited for more than five minutes' AS detail
  FROM outbox WHERE done_at IS NULL AND created_at < $1::timestamptz - interval '5 minutes'
""",
)
#: Nobody has written under a lease that was not given yet, nor under one that had been taken away. Whoever writes under a lease keeps it
#: from moving until the commit, so events carry their epochs in order; a day's are looked at.
EPOCHS: Final = Rule(
    code="AUDIT_EPOCH",
    sql="""
SELECT o.broker_id, o.user_id, o.id::text AS subject,
       format('an order in %s was written by epoch %s, and the role is at %s', o.symbol, o.epoch, l.epoch) AS detail
  FROM orders o JOIN leases l ON l.role = 'engine' WHERE o.epoch > l.epoch AND o.updated_at > $2
UNION ALL
SELECT o.broker_id, o.user_id, o.id::text,
       format('an order in %s was written by epoch %s after epoch %s had begun', o.symbol, e.epoch, e.before)
  FROM (SELECT order_id, epoch, max(epoch) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM order_events WHERE epoch IS NOT NULL AND id > (SELECT coalesce(max(id), 0) - 100000 FROM order_events)) e
  JOIN orders o ON o.id = e.order_id WHERE e.epoch < e.before
""",
)
#: What positions hold, the bots' and the hand's together, is in the account: else a stop could not sell it. Only balances that are younger
#: than the positions are believed.
UNSELLABLE: Final = Rule(
    code="AUDIT_UNSELLABLE",
    sql=f"""
SELECT p.broker_id, p.user_id, array_to_string(p.symbols, ' ') AS subject,
       format('%s %s %s, the account only %s', CASE WHEN p.count = 1 THEN 'the position holds' ELSE 'the positions hold' END,
              trim_scale(p.quantity), p.base, trim_scale(coalesce(l.total, 0))) AS detail
  FROM (SELECT h.broker_id, h.user_id, h.base, sum(h.quantity) AS quantity, count(*) AS count, max(h.updated_at) AS updated_at,
               array_agg(DISTINCT h.symbol ORDER BY h.symbol) AS symbols
          FROM positions h WHERE h.status <> 'closed' AND h.quantity > 0 GROUP BY h.broker_id, h.user_id, h.base) p
  JOIN brokers b ON b.id = p.broker_id
  LEFT JOIN LATERAL (SELECT free + locked AS total FROM balances WHERE broker_id = p.broker_id AND asset = p.base) l ON true
  LEFT JOIN LATERAL (
    SELECT max(step_size) AS step_size FROM instruments
     WHERE exchange = b.exchange AND symbol = ANY(p.symbols) AND type = 'spot') i ON true
 WHERE p.quantity > coalesce(l.total, 0) + coalesce(i.step_size, 0) AND {_USABLE}
   AND b.last_balance_update > p.updated_at + interval '5 seconds'
   AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.broker_id = p.broker_id AND o.symbol = ANY(p.symbols)
                      AND o.fills_quantity <> o.filled_quantity)
""",  # noqa: S608  # constants
)

RULES: Final = (FILLS, UNASKED, STUCK, POSITIONS, BOTS, RESERVATIONS, UNPROTECTED, TWINS, UNCOMPARED, ORPHANS, UNTOLD, EPOCHS, UNSELLABLE)
