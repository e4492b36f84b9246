"""What the audit asks of the inbox."""

from typing import Final

from app.trading.audit_rules import Rule

#: Every alert is decided: longer than the longest doubt that an alert waits for, and a margin.
UNDECIDED: Final = Rule(
    code="AUDIT_UNDECIDED",
    sql="""
SELECT NULL::uuid AS broker_id, user_id, id::text AS subject, 'an alert has waited for more than three minutes' AS detail
  FROM webhook_deliveries WHERE decision = 'pending' AND received_at < $1::timestamptz - interval '3 minutes'
""",
)
RULES: Final = (UNDECIDED,)
