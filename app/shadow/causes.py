"""Why a bot came to something else than its shadow: the causes, and the sentences that tell of them."""

from enum import StrEnum
from typing import Final

from app.core.i18n import N_


class Cause(StrEnum):
    """Why they differ. Stable words: rows, the API and the statistics have them."""

    #: The same order at another price, and what follows of it: a stop that lies elsewhere, a size that is a step larger.
    FILL_PRICE = "fill_price"
    FEE = "fee"
    #: Nobody decided at the candle: the server was away, the feed stale, the candle too old.
    MISSED_CANDLE = "missed_candle"
    #: A rule of the account or of the exchange: the code says which.
    DENIED = "denied"
    SAFEGUARD = "safeguard"
    #: Its owner said no, or nothing in time.
    APPROVAL = "approval"
    #: Sold, suspended or changed by its owner.
    HAND = "hand"
    #: Its strategy failed.
    FAULT = "fault"
    #: Its safeguards or its settings were changed on the way; the shadow has them as they are now.
    CHANGED = "changed"
    #: A candle got other numbers after the bot had decided.
    CANDLE_REVISED = "candle_revised"
    #: A level was reached on one side only, or in another order.
    WITHIN_CANDLE = "within_candle"
    #: What follows of earlier differences: it traded with more or less money.
    CAPITAL = "capital"
    #: The shadow sold short, which a spot account cannot.
    SHORT = "short"
    #: Another decision on the same candles. Must never happen.
    DECISION = "decision"


#: As lists and statistics show them, in this order.
LABELS: Final = {
    Cause.DECISION: N_("Another decision on the same candle"),
    Cause.FILL_PRICE: N_("Price of the fill"),
    Cause.FEE: N_("Fees"),
    Cause.MISSED_CANDLE: N_("Missed candle"),
    Cause.DENIED: N_("Denied order"),
    Cause.SAFEGUARD: N_("Safeguard"),
    Cause.APPROVAL: N_("Not approved"),
    Cause.HAND: N_("By hand"),
    Cause.FAULT: N_("Strategy failed"),
    Cause.CHANGED: N_("Settings changed"),
    Cause.CANDLE_REVISED: N_("Candle revised"),
    Cause.WITHIN_CANDLE: N_("Within the candle"),
    Cause.CAPITAL: N_("Other capital after earlier differences"),
    Cause.SHORT: N_("Short sale"),
}
#: Of an item: by what happened.
PRICE: Final = N_("%(what)s at %(live)s instead of %(shadow)s (%(bps)s bps)")
FEE: Final = N_("fees of %(live)s instead of %(shadow)s")
COINS: Final = N_("the fee was taken in coins, so that fewer were left to sell")
LEVEL: Final = N_("its stop or target lay at %(live)s instead of %(shadow)s, as it is measured from the fill")
LEVEL_MOVED: Final = N_("its stop or target was reached at %(live)s instead of %(shadow)s")
SIZE_PRICE: Final = N_("it bought %(live)s instead of %(shadow)s, for the price that it reckoned with was another")
SIZE_FEE: Final = N_("it bought %(live)s instead of %(shadow)s, as it kept room for another fee")
SIZE_CAPITAL: Final = N_("it traded with %(live)s instead of %(shadow)s after what had gone differently before")
SIZE_DENIED: Final = N_("it bought %(live)s instead of %(shadow)s: %(why)s")
NO_SIGNAL: Final = N_("%(what)s missed: no decision was made at this candle")
SKIPPED: Final = N_("%(what)s missed: %(why)s")
DENIED: Final = N_("%(what)s denied: %(why)s")
NOT_APPROVED: Final = N_("%(what)s not approved: %(why)s")
UNFILLED: Final = N_("%(what)s at a limit that was reached on one side only")
REACHED: Final = N_("%(what)s reached in the shadow only: the account's market did not come to it, or not in time")
REACHED_LIVE: Final = N_("%(what)s reached by the bot only, or before the other level of the same candle")
LEVEL_ELSEWHERE: Final = N_("%(what)s on one side only: it lay elsewhere, as the entry was filled at another price")
SOLD: Final = N_("sold by hand")
SOLD_BY_SAFEGUARD: Final = N_("sold by a safeguard: %(why)s")
KEPT_BY_SHADOW: Final = N_("%(what)s of the bot only: a safeguard of the shadow had tripped, or its order was too small")
REVISED: Final = N_("%(what)s on one side only: a candle got other numbers after the bot had decided")
CHANGED: Final = N_("%(what)s on one side only: the bot's settings were changed on the way")
DIFFERS: Final = N_("%(what)s on one side only, from the same candles: please report this")
DIFFERS_BY_ENTRY: Final = N_("%(what)s on one side only: the strategy looks at its entry, which was filled at another price")
SHORT: Final = N_("the shadow sold short, which a spot account cannot")
MANY_MISSED: Final = N_("candles without a decision: %(count)s")
#: What an order was for.
WHAT: Final = {
    "entry": N_("entry"),
    "add": N_("addition"),
    "reduce": N_("reduction"),
    "exit": N_("exit"),
    "stop": N_("stop"),
    "target": N_("target"),
    "hand": N_("sale by hand"),
    "levels": N_("change of levels"),
}
