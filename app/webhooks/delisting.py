"""Which symbols alerts trade, for the notice that one trades no longer. A webhook names none itself: its alerts do."""

from typing import Final

from app.trading.delisting import Use

#: A month is what a webhook may be silent for and still count as trading a symbol.
USES: Final = (
    Use(
        words="alerts of a webhook",
        sql="""
        SELECT DISTINCT used.user_id, used.broker_id, used.symbol
          FROM orders used JOIN webhook_deliveries d ON d.id = used.delivery_id
          JOIN webhooks w ON w.id = d.webhook_id AND w.is_active AND w.removed_at IS NULL
          JOIN brokers b ON b.id = used.broker_id
         WHERE b.exchange = ANY($1::text[]) AND used.symbol = ANY($2::text[]) AND used.created_at > now() - interval '30 days'
        """,
    ),
)
