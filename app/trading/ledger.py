"""The ledger: what the exchange says an account holds, against what it began with and every trade since.

The difference came or went without a trade: a deposit, a withdrawal, a conversion. It is kept and shown, and nothing is corrected. What is
older than a day is folded into the beginning, so that a comparison reads a day of trades however old the account is.
"""

from typing import Any, Final

#: The first reading of an account is where its ledger begins; an asset that it did not hold then began with nothing.
_BEGIN: Final = """
INSERT INTO ledger_baselines (broker_id, asset, user_id, amount, at)
SELECT l.broker_id, l.asset, l.user_id, CASE WHEN g.at IS NULL THEN l.free + l.locked ELSE 0 END, coalesce(g.at, l.updated_at)
  FROM balances l LEFT JOIN (SELECT broker_id, max(at) AS at FROM ledger_baselines GROUP BY broker_id) g ON g.broker_id = l.broker_id
ON CONFLICT (broker_id, asset) DO NOTHING
"""
#: Each trade moves three amounts. One that was first taken for somebody else's and then proved ours is ours.
_MOVES: Final = """
accounts AS (SELECT broker_id, user_id, min(at) AS since FROM ledger_baselines GROUP BY broker_id, user_id),
trades AS (
  SELECT f.broker_id, f.symbol, f.side, f.price, f.quantity, f.fee, f.fee_asset, f.executed_at
    FROM accounts a CROSS JOIN LATERAL (
      SELECT * FROM fills WHERE user_id = a.user_id AND executed_at > a.since AND broker_id = a.broker_id) f
  UNION ALL
  SELECT e.broker_id, e.symbol, e.side, e.price, e.quantity, e.fee, e.fee_asset, e.executed_at
    FROM external_trades e JOIN accounts a ON a.broker_id = e.broker_id AND e.executed_at > a.since
   WHERE NOT EXISTS (SELECT 1 FROM fills f JOIN orders o ON o.id = f.order_id
                      WHERE f.broker_id = e.broker_id AND f.symbol = e.symbol AND f.trade_id = e.trade_id
                        AND o.venue_order_id = e.venue_order_id)),
moves AS (
  SELECT broker_id, split_part(symbol, '/', 1) AS asset, CASE WHEN side = 'buy' THEN quantity ELSE -quantity END AS amount, executed_at
    FROM trades
  UNION ALL
  SELECT broker_id, split_part(symbol, '/', 2), CASE WHEN side = 'buy' THEN -1 ELSE 1 END * quantity * price, executed_at FROM trades
  UNION ALL
  SELECT broker_id, fee_asset, -fee, executed_at FROM trades WHERE fee <> 0)"""
#: An asset that the last reading did not name is at zero.
_COMPARE: Final = f"""
WITH {_MOVES},
told AS (
  SELECT g.broker_id, g.asset, coalesce(l.free + l.locked, 0) AS amount, coalesce(l.updated_at, b.last_balance_update) AS at
    FROM ledger_baselines g JOIN brokers b ON b.id = g.broker_id AND b.last_balance_update IS NOT NULL
    LEFT JOIN balances l ON l.broker_id = g.broker_id AND l.asset = g.asset),
sums AS (
  SELECT g.broker_id, g.asset, t.amount - g.amount - coalesce(sum(m.amount), 0) AS unexplained
    FROM ledger_baselines g JOIN told t ON t.broker_id = g.broker_id AND t.asset = g.asset
    LEFT JOIN moves m ON m.broker_id = g.broker_id AND m.asset = g.asset AND m.executed_at > g.at AND m.executed_at <= t.at
   GROUP BY g.broker_id, g.asset, t.amount, g.amount)
UPDATE ledger_baselines g SET unexplained = s.unexplained FROM sums s
 WHERE s.broker_id = g.broker_id AND s.asset = g.asset AND g.unexplained IS DISTINCT FROM s.unexplained
"""  # noqa: S608  # constants
_FOLD: Final = f"""
WITH {_MOVES},
folded AS (
  SELECT g.broker_id, g.asset, coalesce(sum(m.amount), 0) AS amount
    FROM ledger_baselines g
    LEFT JOIN moves m ON m.broker_id = g.broker_id AND m.asset = g.asset AND m.executed_at > g.at AND m.executed_at <= $1
   WHERE g.at < $1 GROUP BY g.broker_id, g.asset)
UPDATE ledger_baselines g SET amount = g.amount + f.amount, at = $1 FROM folded f WHERE f.broker_id = g.broker_id AND f.asset = g.asset
"""  # noqa: S608  # constants


async def compare_ledgers(connection: Any) -> None:
    """Write down what of each account's balances, as last read, no trade explains."""
    await connection.execute(_BEGIN)
    await connection.execute(_COMPARE)


async def fold_ledgers(connection: Any, until: Any) -> None:
    """Count all trades up to `until` (aware UTC) into what the ledgers began with. A trade that is told later than that is not counted."""
    await connection.execute(_FOLD, until)
