"""What people can be told about: each kind with its words, its place in the form, and whether it is on unless somebody says otherwise."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.core.i18n import N_


class Severity(StrEnum):
    """How much a notice matters. `error` is what costs money or stops trading until somebody looks."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Its place among the others; the gravest has the highest."""
        return RANKS.index(self)


#: From the mildest to the gravest.
RANKS: Final = (Severity.INFO, Severity.WARNING, Severity.ERROR)


class NoticeKind(StrEnum):
    """What a notice is about. A new one needs a row in `KINDS`, no migration."""

    ORDER_LOST = "order_lost"
    ORDER_RESURRECTED = "order_resurrected"
    ORDER_OVERFILLED = "order_overfilled"
    ORDER_FILLED = "order_filled"
    ORPHAN_ADOPTED = "orphan_adopted"
    POSITION_UNPROTECTED = "position_unprotected"
    AUDIT_FAILED = "audit_failed"
    KILL_SWITCH = "kill_switch"
    BOT_ENTERED = "bot_entered"
    BOT_EXITED = "bot_exited"
    BOT_SUSPENDED = "bot_suspended"
    BOT_STOPPED = "bot_stopped"
    BOT_FAULTED = "bot_faulted"
    BOT_TRIPPED = "bot_tripped"
    APPROVAL_WANTED = "approval_wanted"
    SHADOW_DIFFERS = "shadow_differs"
    ALERT_MISSED = "alert_missed"
    WEBHOOK_DENIED = "webhook_denied"
    FEED_STALE = "feed_stale"
    SYMBOL_STOPPED = "symbol_stopped"
    BACKTEST_FINISHED = "backtest_finished"
    NEW_LOGIN = "new_login"


class Group(StrEnum):
    """What kinds have in common, as the form shows them."""

    ORDERS = "orders"
    BOTS = "bots"
    ALERTS = "alerts"
    MARKET = "market"
    ACCOUNT = "account"


GROUPS: Final = {
    Group.ORDERS: N_("Orders and positions"),
    Group.BOTS: N_("Bots"),
    Group.ALERTS: N_("Webhooks"),
    Group.MARKET: N_("Market and backtests"),
    Group.ACCOUNT: N_("Account"),
}


@dataclass(frozen=True, slots=True)
class KindWords:
    """How a kind is shown. `is_default`: whether it is told unless its user chose otherwise."""

    label: str
    group: Group
    is_default: bool = True


KINDS: Final = {
    NoticeKind.ORDER_LOST: KindWords(N_("An order was lost track of"), Group.ORDERS),
    NoticeKind.ORDER_RESURRECTED: KindWords(N_("An order that was lost came back"), Group.ORDERS),
    NoticeKind.ORDER_OVERFILLED: KindWords(N_("An order was filled beyond its quantity"), Group.ORDERS),
    NoticeKind.ORPHAN_ADOPTED: KindWords(N_("An order from outside was found"), Group.ORDERS),
    NoticeKind.POSITION_UNPROTECTED: KindWords(N_("A position lost its stop"), Group.ORDERS),
    NoticeKind.AUDIT_FAILED: KindWords(N_("The books do not add up"), Group.ORDERS),
    NoticeKind.KILL_SWITCH: KindWords(N_("The kill switch was pulled"), Group.ORDERS),
    NoticeKind.ORDER_FILLED: KindWords(N_("An order was filled"), Group.ORDERS, is_default=False),
    NoticeKind.BOT_ENTERED: KindWords(N_("A bot bought"), Group.BOTS),
    NoticeKind.BOT_EXITED: KindWords(N_("A bot sold"), Group.BOTS),
    NoticeKind.APPROVAL_WANTED: KindWords(N_("A bot asks before it acts"), Group.BOTS),
    NoticeKind.BOT_SUSPENDED: KindWords(N_("A bot was suspended"), Group.BOTS),
    NoticeKind.BOT_STOPPED: KindWords(N_("A bot has ended"), Group.BOTS),
    NoticeKind.BOT_FAULTED: KindWords(N_("A bot's strategy failed"), Group.BOTS),
    NoticeKind.BOT_TRIPPED: KindWords(N_("A safeguard tripped"), Group.BOTS),
    NoticeKind.SHADOW_DIFFERS: KindWords(N_("A bot differs from its shadow"), Group.BOTS),
    NoticeKind.ALERT_MISSED: KindWords(N_("An alert of TradingView did not come"), Group.ALERTS),
    NoticeKind.WEBHOOK_DENIED: KindWords(N_("An alert was not traded"), Group.ALERTS, is_default=False),
    NoticeKind.FEED_STALE: KindWords(N_("Market data stopped or came back"), Group.MARKET),
    NoticeKind.SYMBOL_STOPPED: KindWords(N_("A symbol stopped trading"), Group.MARKET),
    NoticeKind.BACKTEST_FINISHED: KindWords(N_("A backtest has finished"), Group.MARKET, is_default=False),
    NoticeKind.NEW_LOGIN: KindWords(N_("A login from a new device"), Group.ACCOUNT),
}


def is_default(kind: NoticeKind) -> bool:
    """Return whether a kind is told unless its user chose otherwise."""
    return KINDS[kind].is_default
