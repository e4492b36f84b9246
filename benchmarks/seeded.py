"""A user's trading of two years in the tables: orders of every fate, their events, fills, round trips, alerts and notes.

For benchmarks and tests that need a history of any length: a hundred thousand orders take some seconds, since the database makes them. What
it says of a trip is what the engine would have written of the same fills: fees in quote, in BNB at a price, and now and then in a coin that
nobody can value. The same number of orders is the same history, but for its ids' owner.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.core.db import Database

#: From the oldest order to the newest.
SPAN: Final = timedelta(days=730)
_SYMBOLS: Final = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BNB/USDT", "ETH/BTC", "DOGE/USDC", "ADA/USDT")
#: Two orders make a trip; the last of every ten comes to nothing. Ids are UUIDv7 of the row's own moment.
_MADE: Final = """
WITH made AS (
SELECT $1::uuid AS user_id, $2::uuid AS broker_id, i, (i - 1) / 2 AS trip, i % 2 = 1 AS is_entry, s.at,
       (lpad(to_hex((extract(epoch FROM s.at) * 1000)::bigint), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid AS id,
       (md5($1::uuid::text || 'trip' || (i - 1) / 2))::uuid AS position_id,
       (md5($1::uuid::text || 'delivery' || (i - 1) / 2))::uuid AS delivery_id,
       ($5::text[])[1 + (i - 1) / 2 % cardinality($5::text[])] AS symbol,
       CASE (i - 1) / 2 % 3 WHEN 0 THEN 'manual' WHEN 1 THEN 'webhook' ELSE 'bot' END AS source,
       CASE WHEN (i - 1) / 2 % 10 <> 9 THEN 'filled' ELSE (ARRAY['denied', 'rejected', 'canceled', 'expired', 'lost'])[1 + i / 20 % 5] END
         AS state,
       CASE i % 4 WHEN 0 THEN 'limit' WHEN 2 THEN 'stop_limit' ELSE 'market' END AS type,
       1 + (i - 1) / 2 % 17 * 0.01 AS quantity,
       100 + (i - 1) / 2 % 977 + CASE WHEN i % 2 = 1 THEN 0 ELSE ((i - 1) / 2 % 7 - 3) * 1.25 END AS price
  FROM generate_series(1, $3::int) i,
       LATERAL (SELECT $4::timestamptz - ($3 - i) * ($6::interval / $3) AS at) s, LATERAL (SELECT md5($1::uuid::text || i) AS h) t)
"""
_ORDERS: Final = f"""{_MADE}
INSERT INTO orders (id, user_id, broker_id, client_order_id, venue_order_id, symbol, side, type, state, quantity, filled_quantity,
  fills_quantity, average_price, price, time_in_force, post_only, source, role, key, leg, attempt, delivery_id, code, detail, sent_at,
  acknowledged_at, created_at, updated_at)
SELECT id, user_id, broker_id, 'q' || substr(md5(user_id::text || i), 1, 17),
       CASE WHEN state IN ('filled', 'canceled', 'expired') THEN 'v' || i END, symbol,
       CASE WHEN is_entry THEN 'buy' ELSE 'sell' END, type, state, quantity, f.filled, f.filled, CASE WHEN f.filled > 0 THEN price END,
       CASE WHEN type <> 'market' THEN price END, 'gtc', false, source, CASE WHEN is_entry THEN 'entry' ELSE 'exit' END, 'seed:' || i, 0, 0,
       CASE WHEN source = 'webhook' THEN delivery_id END,
       CASE state WHEN 'denied' THEN 'NOTIONAL_BELOW_MINIMUM' WHEN 'rejected' THEN 'INSUFFICIENT_FUNDS' END,
       CASE state WHEN 'denied' THEN symbol || ': 3.90 USDT is below the exchange minimum of 5.00 USDT'
         WHEN 'rejected' THEN 'Not enough USDT: needed 501.20, free 480.11' END,
       CASE WHEN state <> 'denied' THEN at + interval '3 ms' END, CASE WHEN state NOT IN ('denied', 'lost') THEN at + interval '48 ms' END,
       at, at + interval '60 ms'
  FROM made, LATERAL (SELECT CASE WHEN state = 'filled' THEN quantity ELSE 0 END AS filled) f ORDER BY i
"""
_EVENTS: Final = f"""{_MADE}
INSERT INTO order_events (order_id, user_id, at, kind, state, detail)
SELECT id, user_id, at + e.delay, e.kind, CASE e.kind WHEN 'Placed' THEN 'intent' WHEN 'Claimed' THEN 'submitting' ELSE state END, '{{}}'
  FROM made, (VALUES ('Placed', interval '0 ms'), ('Claimed', interval '2 ms'), ('Reported', interval '50 ms')) e (kind, delay)
 ORDER BY i, e.delay
"""
#: Every third order fills in two parts. Fees: a thousandth, in quote, BNB at 600, or KCS.
_FILLS: Final = f"""{_MADE}
INSERT INTO fills (broker_id, symbol, trade_id, order_id, user_id, side, price, quantity, fee, fee_asset, liquidity, executed_at, fee_value,
  position_id)
SELECT broker_id, symbol, (i * 10 + part)::text, id, user_id, CASE WHEN is_entry THEN 'buy' ELSE 'sell' END, price, quantity / parts,
       CASE kind WHEN 'quote' THEN worth WHEN 'BNB' THEN worth / 600 ELSE 0.01 END,
       CASE kind WHEN 'quote' THEN split_part(symbol, '/', 2) ELSE kind END, CASE WHEN type = 'market' THEN 'taker' ELSE 'maker' END,
       at + interval '45 ms' + part * interval '1 ms', CASE WHEN kind <> 'KCS' THEN worth END, position_id
  FROM made, LATERAL (SELECT CASE WHEN i % 3 = 0 THEN 2 ELSE 1 END AS parts,
                             CASE WHEN trip % 97 = 0 THEN 'KCS' WHEN trip % 7 = 0 THEN 'BNB' ELSE 'quote' END AS kind) k,
       generate_series(1, parts) part, LATERAL (SELECT quantity / parts * price * 0.001 AS worth) w
 WHERE state = 'filled' ORDER BY i
"""
_POSITIONS: Final = f"""{_MADE}
INSERT INTO positions (id, user_id, broker_id, symbol, base, quote, side, quantity, cost, realized_pnl, fees, unvalued_fees, source,
  status, opened_at, updated_at, closed_at, exit_role, delivery_id)
SELECT m.position_id, m.user_id, m.broker_id, m.symbol, split_part(m.symbol, '/', 1), split_part(m.symbol, '/', 2), 'long', 0, 0,
       s.money - s.worth, s.worth,
       CASE WHEN s.unvalued > 0 THEN jsonb_build_object('KCS', s.unvalued::text) ELSE '{{}}' END, min(m.source), 'closed',
       s.opened_at, s.closed_at, s.closed_at, 'exit', CASE WHEN min(m.source) = 'webhook' THEN m.delivery_id END
  FROM made m JOIN LATERAL (
    SELECT sum(CASE WHEN side = 'buy' THEN -1 ELSE 1 END * quantity * price) AS money, coalesce(sum(fee_value), 0) AS worth,
           sum(fee) FILTER (WHERE fee_value IS NULL) AS unvalued, min(executed_at) AS opened_at, max(executed_at) AS closed_at
      FROM fills WHERE position_id = m.position_id) s ON true
 WHERE m.state = 'filled'
 GROUP BY m.position_id, m.delivery_id, m.user_id, m.broker_id, m.symbol,
       s.money, s.worth, s.unvalued, s.opened_at, s.closed_at HAVING count(*) = 2
"""
#: An alert for each trip of a webhook's, and one in ten that came to nothing.
_ALERTS: Final = f"""{_MADE}
INSERT INTO webhook_deliveries (id, webhook_id, user_id, received_at, ip_address, raw, size, parsed, decision, code, reason, broker_id,
  done_at)
SELECT CASE WHEN refused THEN (md5(id::text))::uuid ELSE delivery_id END, NULL, user_id, at - interval '1 ms', '52.89.214.238',
       'buy ' || symbol, 20, jsonb_build_object('alerts', jsonb_build_array(jsonb_build_object('action', 'buy', 'symbol', symbol))),
       CASE WHEN refused THEN (ARRAY['stale', 'unreadable', 'duplicate', 'denied'])[1 + trip % 4] ELSE 'executed' END,
       CASE WHEN refused THEN 'STALE_SIGNAL' END,
       CASE WHEN refused THEN 'the alert is 95 s old, the limit is 60 s' END, broker_id, at
  FROM made, LATERAL (VALUES (source <> 'webhook')) r (refused)
 WHERE is_entry AND (NOT refused OR trip % 10 = 0)
"""
_NOTES: Final = """
INSERT INTO notes (subject, subject_id, user_id, text, tags, created_at, updated_at)
SELECT 'trade', id, $1, 'entered on the retest of ' || symbol, ARRAY['retest'], closed_at, closed_at
  FROM (SELECT id, symbol, closed_at, row_number() OVER (ORDER BY closed_at) AS number FROM positions WHERE user_id = $1) p
 WHERE number % 31 = 1
"""


async def seed(database: Database, user_id: UUID, broker_id: UUID, *, orders: int, until: datetime | None = None) -> None:
    """Give a user's account a history of so many orders, the newest of them at `until` (now when it is not given).

    A test or benchmark that measures must `settle` the tables afterwards. A user is seeded once: all ids come of the user's.
    """
    async with database.raw_transaction() as connection:
        if until is None:
            until = await connection.fetchval("SELECT clock_timestamp()")
        for statement in (_ORDERS, _FILLS, _POSITIONS, _ALERTS, _EVENTS):
            await connection.execute(statement, user_id, broker_id, orders, until, list(_SYMBOLS), SPAN)
        await connection.execute(_NOTES, user_id)


async def settle(owner: Any) -> None:
    """Let the database know its tables as it does some minutes after they were filled; `owner` is a connection that owns them."""
    for table in ("orders", "order_events", "fills", "positions", "webhook_deliveries", "notes"):
        await owner.execute(f"VACUUM ANALYZE {table}")
