"""The words people read for the closed vocabularies: states, types, sources, decisions. Unknown values are shown as they are."""

from app.core.i18n import N_, gettext

ORDER_STATES = {
    "intent": N_("Intent"),
    "submitting": N_("Sending"),
    "unknown": N_("Checking"),
    "open": N_("Open"),
    "partial": N_("Partially filled"),
    "filled": N_("Filled"),
    "canceled": N_("Canceled"),
    "expired": N_("Expired"),
    "rejected": N_("Rejected"),
    "denied": N_("Denied"),
    "lost": N_("Lost"),
}
ORDER_TYPES = {
    "market": N_("Market"),
    "limit": N_("Limit"),
    "stop_market": N_("Stop"),
    "stop_limit": N_("Stop limit"),
    "take_profit": N_("Take profit"),
    "take_profit_limit": N_("Take profit limit"),
    "trailing_stop": N_("Trailing stop"),
}
SIDES = {"buy": N_("Buy"), "sell": N_("Sell"), "long": N_("Long"), "short": N_("Short")}
SOURCES = {"manual": N_("Manual"), "webhook": N_("Webhook"), "bot": N_("Bot"), "recovered": N_("Recovered")}
DECISIONS = {
    "executed": N_("Executed"),
    "denied": N_("Denied"),
    "stale": N_("Stale"),
    "duplicate": N_("Duplicate"),
    "unreadable": N_("Unreadable"),
    "paused": N_("Paused"),
    "ping": N_("Ping"),
    "missed": N_("Missed"),
    "pending": N_("Pending"),
}
#: Why a simulated fill happened.
REASONS = {
    "entry": N_("Entry"),
    "add": N_("Added"),
    "reduce": N_("Reduced"),
    "exit": N_("Exit rule"),
    "stop": N_("Stop"),
    "trailing": N_("Trailing stop"),
    "target": N_("Target"),
    "liquidation": N_("Liquidation"),
    "safeguard": N_("Safeguard"),
}
ACTIONS = {
    "login": N_("Login"),
    "logout": N_("Logout"),
    "password_changed": N_("Password changed"),
    "second_factor_on": N_("Second factor switched on"),
    "second_factor_off": N_("Second factor switched off"),
    "sessions_ended": N_("Sessions ended"),
    "development_mode": N_("Development mode switched"),
    "ai_changed": N_("AI provider changed"),
    "user_made": N_("Account made"),
    "user_disabled": N_("User disabled"),
    "user_enabled": N_("User enabled"),
    "admin_given": N_("Administrator made"),
    "admin_taken": N_("Administrator's rights taken"),
    "invitation_made": N_("Invitation made"),
    "invitation_revoked": N_("Invitation taken back"),
    "token_made": N_("API token made"),
    "token_revoked": N_("API token revoked"),
    "broker_made": N_("Broker account added"),
    "broker_changed": N_("Broker account changed"),
    "broker_deleted": N_("Broker account deleted"),
    "webhook_made": N_("Webhook made"),
    "webhook_changed": N_("Webhook changed"),
    "webhook_rotated": N_("Webhook given a new address"),
    "webhook_removed": N_("Webhook removed"),
    "strategy_made": N_("Strategy made"),
    "strategy_changed": N_("Strategy changed"),
    "strategy_archived": N_("Strategy archived"),
    "strategy_unarchived": N_("Strategy taken out of the archive"),
    "strategy_deleted": N_("Strategy deleted"),
    "strategy_saved": N_("Version of a strategy saved"),
    "strategy_validated": N_("Version of a strategy validated"),
    "strategy_shared": N_("Strategy shared"),
    "strategy_received": N_("Copy of a strategy received"),
    "kill_switch": N_("Trading stopped"),
    "trading_resumed": N_("Trading resumed"),
    "limits_changed": N_("Risk limits changed"),
    "notifications_changed": N_("Notifications changed"),
    "strategy_killed": N_("Strategy stopped by force"),
    "bot_made": N_("Bot made"),
    "bot_changed": N_("Bot changed"),
    "bot_deleted": N_("Bot deleted"),
    "bot_started": N_("Bot started"),
    "bot_suspended": N_("Bot suspended"),
    "bot_stopped": N_("Bot stopped"),
    "bot_sold": N_("A bot's position sold"),
    "bot_signal_answered": N_("Word given to a bot"),
    "bot_rearmed": N_("Safeguard armed again"),
    "safeguards_changed": N_("Safeguards of all bots changed"),
    "audit_exported": N_("Audit log exported"),
}
#: Pill colours; a state that is missing is shown neutral.
TONES = {
    "filled": "ok",
    "executed": "ok",
    "open": "info",
    "partial": "info",
    "submitting": "info",
    "pending": "info",
    "ping": "info",
    "unknown": "warn",
    "stale": "warn",
    "duplicate": "warn",
    "paused": "warn",
    "rejected": "err",
    "denied": "err",
    "missed": "err",
    "lost": "err",
    "unreadable": "err",
}
_WORDS = {**ORDER_STATES, **ORDER_TYPES, **SIDES, **SOURCES, **DECISIONS, **REASONS, **ACTIONS}


def label(value: str) -> str:
    """Return the word for a value of one of the vocabularies, in the current language."""
    word = _WORDS.get(value)
    return gettext(word) if word is not None else str(value)


def tone(value: str) -> str:
    """Return the pill colour of an order state or a delivery decision: ok, info, warn, err or mut."""
    return TONES.get(value, "mut")
