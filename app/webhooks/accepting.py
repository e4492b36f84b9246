"""The statements of the door. Each keeps alerts by one commit, and decides under the replay rows' locks which of them are repeats.

Parameters, of a batch each an array: $1 id · $2 hash of the secret · $3 what identifies the body · $4 arrival · $5 until when the same body
is a repeat · $6 address · $7 the sender's address if it is certainly that, '' if it cannot be read · $8 content type · $9 text · $10 size
in bytes · $11 tokens that were left, NULL for a full bucket · $12 seconds since then. Of all of them: $13 the moment that judges which
windows are over · $14 how many characters are kept of what a stranger sends · $15 how many of a user's deliveries are named that wait
already. A row for each alert whose address somebody has comes back; of each user the first that is to be traded names, as `ahead`, those
that wait.
"""

from typing import Final

from app.core.i18n import N_

_PAUSED: Final = N_("this webhook is paused")
_REPEATED: Final = N_("the same message came before; it was not traded again")
_TOO_FAST: Final = N_("more alerts came than the %(per_minute)s a minute, %(burst)s of them at once, that this webhook trades")
_FOREIGN: Final = N_("it came from %(sender)s, which is not among the addresses that may send to this webhook")
_UNREADABLE: Final = N_(
    "the address it came from could not be read, so nobody knows whether it may send to this webhook; whoever runs this server finds in its"
    " log what the proxy gave"
)
_OF_HOOK: Final = """h.id AS webhook_id, h.user_id, h.is_active, h.per_minute, h.rules, h.max_age_s,
         b.id AS broker_id, b.exchange, b.is_active AS broker_is_active, b.paused_reason"""
_ACCOUNT: Final = """LEFT JOIN brokers b
      ON b.user_id = h.user_id AND b.removed_at IS NULL AND CASE WHEN h.broker_id IS NULL THEN b.is_default ELSE b.id = h.broker_id END"""
#: Whether somebody may send: everybody without a list, or where nobody can know who sends.
_MAY_SEND: Final = """\
h.allowed_ips IS NULL OR {0} IS NULL OR CASE WHEN {0} = '' THEN false ELSE {0}::inet <<= ANY (h.allowed_ips::inet[]) END"""
_BURST: Final = "greatest(10, h.per_minute / 4.0)::float8"
_TOLD: Final = "webhook_id, user_id, rules, max_age_s, broker_id, exchange, broker_is_active, paused_reason, decision, may_send, allowance"
_COLUMNS: Final = "id, webhook_id, user_id, received_at, ip_address, content_type, raw, size, decision, code, reason, done_at"
#: Code, reason and the moment at which it was done.
_WORDS: Final = f"""\
         CASE WHEN decision = 'denied' THEN CASE WHEN may_send THEN 'HOOK_RATE' WHEN sender = '' THEN 'HOOK_SENDER_UNREADABLE'
           ELSE 'HOOK_SENDER' END END,
         CASE decision
           WHEN 'paused' THEN '{_PAUSED}'
           WHEN 'duplicate' THEN '{_REPEATED}'
           WHEN 'denied' THEN CASE
             WHEN may_send THEN format('{_TOO_FAST % {"per_minute": "%1$s", "burst": "%2$s"}}', per_minute, floor(burst))
             WHEN sender = '' THEN '{_UNREADABLE}'
             ELSE format('{_FOREIGN % {"sender": "%1$s"}}', sender) END END,
         CASE WHEN decision <> 'pending' THEN at END"""
#: Who waits longer than that was found by many polls, unless the owner of the role is behind with all of that webhook's.
_AHEAD: Final = """ARRAY(
         SELECT w.id FROM webhook_deliveries w
          WHERE w.user_id = {of}.user_id AND w.decision = 'pending' AND NOT w.is_test AND w.received_at > {at} - interval '5 minutes'
          LIMIT $15)"""
#: Whether that body came to that hook before, as far as this statement sees; the lock decides.
_KNOWN: Final = "EXISTS (SELECT 1 FROM webhook_replays k WHERE k.webhook_id = hook.webhook_id AND k.body_key = $3 AND k.expires_at > $13)"
#: All that came together. Of equal bodies in one batch the first one counts. The locks are taken in one order, so that two processes with
#: the same bodies wait for each other and never crosswise. What is not to be traded leaves no replay row: it may come again.
ACCEPT: Final = f"""
WITH given AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::int[], $11::float8[], $12::float8[]) WITH ORDINALITY
    AS g (id, secret_hash, body_key, at, expires_at, ip_address, sender, content_type, raw, size, tokens, elapsed_s, place)),
hook AS MATERIALIZED (
  SELECT g.*, {_OF_HOOK},
         {_MAY_SEND.format("g.sender")} AS may_send,
         {_BURST} AS burst
    FROM given g JOIN webhooks h ON h.secret_hash = g.secret_hash AND h.removed_at IS NULL {_ACCOUNT}),
first AS (
  SELECT DISTINCT ON (webhook_id, body_key) *, least(burst, coalesce(tokens + elapsed_s * per_minute / 60.0, burst)) AS allowance
    FROM hook WHERE is_active AND may_send ORDER BY webhook_id, body_key, place),
asked AS MATERIALIZED (
  SELECT first.*, EXISTS (
           SELECT 1 FROM webhook_replays r
            WHERE r.webhook_id = first.webhook_id AND r.body_key = first.body_key AND r.expires_at > $13) AS is_known
    FROM first),
ranked AS (
  SELECT *, is_known OR row_number() OVER (PARTITION BY webhook_id, is_known ORDER BY place) <= allowance AS is_within FROM asked),
fresh AS (
  INSERT INTO webhook_replays AS r (webhook_id, body_key, expires_at, delivery_id)
  SELECT webhook_id, body_key, expires_at, id FROM ranked WHERE is_within ORDER BY webhook_id, body_key
  ON CONFLICT (webhook_id, body_key) DO UPDATE SET expires_at = excluded.expires_at, delivery_id = excluded.delivery_id
   WHERE r.expires_at <= $13 RETURNING delivery_id),
judged AS MATERIALIZED (
  SELECT hook.*, ranked.allowance,
         CASE WHEN NOT hook.is_active THEN 'paused' WHEN NOT hook.may_send THEN 'denied' WHEN NOT ranked.is_within THEN 'denied'
              WHEN fresh.delivery_id IS NULL THEN 'duplicate' ELSE 'pending' END AS decision
    FROM hook LEFT JOIN ranked ON ranked.webhook_id = hook.webhook_id AND ranked.body_key = hook.body_key
    LEFT JOIN fresh ON fresh.delivery_id = hook.id),
put AS (
  INSERT INTO webhook_deliveries ({_COLUMNS})
  SELECT id, webhook_id, user_id, at, ip_address, content_type, CASE WHEN may_send THEN raw ELSE left(raw, $14) END, size, decision,
{_WORDS}
    FROM judged ORDER BY place)
SELECT place, {_TOLD},
       CASE WHEN place = min(place) FILTER (WHERE decision = 'pending') OVER (PARTITION BY user_id)
         THEN {_AHEAD.format(of="judged", at="judged.at")} END AS ahead
  FROM judged
"""  # noqa: S608  # constants
#: The same for an alert that came alone, as most do: a batch of one would take a sixth longer.
ACCEPT_ONE: Final = f"""
WITH hook AS MATERIALIZED (
  SELECT {_OF_HOOK},
         {_MAY_SEND.format("$7::text")} AS may_send,
         {_BURST} AS burst, least({_BURST}, coalesce($11::float8 + $12::float8 * h.per_minute / 60.0, {_BURST})) AS allowance
    FROM webhooks h {_ACCOUNT} WHERE h.secret_hash = $2 AND h.removed_at IS NULL),
fresh AS (
  INSERT INTO webhook_replays AS r (webhook_id, body_key, expires_at, delivery_id)
  SELECT webhook_id, $3, $5, $1 FROM hook WHERE is_active AND may_send AND (allowance >= 1 OR {_KNOWN})
  ON CONFLICT (webhook_id, body_key) DO UPDATE SET expires_at = excluded.expires_at, delivery_id = excluded.delivery_id
   WHERE r.expires_at <= $13 RETURNING 1),
put AS (
  INSERT INTO webhook_deliveries ({_COLUMNS})
  SELECT $1, webhook_id, user_id, at, $6, $8, CASE WHEN may_send THEN $9 ELSE left($9, $14) END, $10, decision,
{_WORDS}
    FROM (SELECT hook.*, $4::timestamptz AS at, $7::text AS sender,
                 CASE WHEN NOT is_active THEN 'paused' WHEN NOT may_send THEN 'denied' WHEN EXISTS (SELECT 1 FROM fresh) THEN 'pending'
                      WHEN allowance >= 1 OR {_KNOWN} THEN 'duplicate' ELSE 'denied' END AS decision FROM hook) judged
  RETURNING decision)
SELECT 1 AS place, {_TOLD}, CASE WHEN decision = 'pending' THEN {_AHEAD.format(of="hook", at="$4")} END AS ahead FROM hook, put
"""  # noqa: S608  # constants
