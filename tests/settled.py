"""Whether anything is still on its way between a server and its exchanges, asked of the server's tables."""

from typing import Final

#: One row. `busy`: orders without an answer, fills that are not counted, positions that are not wholly guarded as their plan says now, legs
#: of protections that are over.
#: `fills` and `paper`: executions that are counted, and those of them that a paper exchange made. `positions` and `resting` are open ones.
QUERY: Final = """
SELECT (SELECT count(*) FROM orders WHERE state IN ('submitting', 'unknown')
            OR (state = 'intent' AND (execution = 'native' OR triggered_at IS NOT NULL))
            OR (state NOT IN ('denied', 'lost', 'rejected') AND fills_quantity <> filled_quantity)
            OR (state IN ('open', 'partial') AND cancel_requested_at IS NOT NULL))
     + (SELECT count(*) FROM protections p WHERE status = 'active' AND (unprotected_since IS NOT NULL OR NOT EXISTS
            (SELECT 1 FROM orders o WHERE o.group_id = p.id AND o.state IN ('open', 'partial'))))
     + (SELECT count(*) FROM orders o JOIN protections p ON p.id = o.group_id
         WHERE p.status = 'done' AND o.state IN ('open', 'partial'))
     + (SELECT count(*) FROM orders o JOIN protections p ON p.id = o.group_id
         WHERE p.status = 'active' AND o.state IN ('open', 'partial')
           AND CASE o.role WHEN 'stop' THEN o.trigger_price <> (p.plan ->> 'stop_price')::numeric
                    ELSE NOT EXISTS (SELECT 1 FROM jsonb_array_elements(p.plan -> 'targets') t
                                      WHERE (t ->> 'price')::numeric IN (o.price, o.trigger_price)) END)
     + (SELECT count(*) FROM protections p JOIN positions s ON s.id = p.position_id
         WHERE p.status = 'active' AND s.status <> 'closed' AND p.plan ->> 'stop_price' IS NOT NULL
           AND s.quantity * 0.98 > (SELECT coalesce(sum(o.quantity - o.filled_quantity), 0) FROM orders o
                                     WHERE o.group_id = p.id AND o.role = 'stop' AND o.state IN ('open', 'partial'))) AS busy,
       (SELECT count(*) FROM fills) AS fills, (SELECT count(*) FROM paper_fills) AS paper,
       (SELECT count(*) FROM positions WHERE status <> 'closed') AS positions,
       (SELECT count(*) FROM orders WHERE state IN ('open', 'partial')) AS resting
"""
#: Bots that were not asked about the candle that opened at `$1`, and signals of which not all has been done. A server that was killed may
#: have written the signal and not yet the bot's own row.
BOTS: Final = """
SELECT (SELECT count(*) FROM bots b WHERE state IN ('running', 'suspended') AND (last_candle_at IS NULL OR last_candle_at < $1)
           AND NOT EXISTS (SELECT 1 FROM bot_signals s WHERE s.bot_id = b.id AND s.open_time = $1)) AS waiting,
       (SELECT count(*) FROM bot_signals WHERE state IN ('decided', 'submitted')) AS acting
"""
#: What is not settled, a line each.
WHAT: Final = """
SELECT 'order ' || concat_ws(' ', id, symbol, role, type, side, state, quantity, filled_quantity, trigger_price, price, code, detail)
  FROM orders WHERE state IN ('submitting', 'unknown', 'intent') OR (state IN ('open', 'partial') AND cancel_requested_at IS NOT NULL)
UNION ALL
SELECT 'protection ' || concat_ws(' ', p.id, p.symbol, p.mode, p.plan, p.unprotected_since, p.code, 'of', s.quantity, s.status)
  FROM protections p LEFT JOIN positions s ON s.id = p.position_id WHERE p.status = 'active'
UNION ALL
SELECT 'leg ' || concat_ws(' ', o.group_id, p.status, o.role, o.state, o.quantity, o.filled_quantity, o.trigger_price, o.price, o.detail)
  FROM orders o JOIN protections p ON p.id = o.group_id
 WHERE o.state IN ('open', 'partial') OR (p.status = 'active' AND o.state = 'rejected')
"""
