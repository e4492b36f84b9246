"""The sentences that bots say, in English with names for their values; the catalogue has them in every language."""

from typing import Final

from app.core.i18n import N_

# Of a bot's state.
LOADING: Final = N_("its strategy is being loaded")
SUSPENDED_BY: Final = N_("suspended by %(by)s: no new entries, what it holds keeps its stop")
SUSPENDED_BECAUSE: Final = N_("suspended: %(why)s")
STOPPED_BY: Final = N_("stopped by %(by)s")
STOPPED_AT_END: Final = N_("its end has come: it stopped by itself")
STARTS_LATER: Final = N_("it waits until %(at)s, when its time begins")
WANTS_CANDLES: Final = N_("it waits for candles: there are %(there)s of the %(needed)s that its strategy needs first")
NO_CANDLES: Final = N_("it waits for candles: %(why)s")
NO_PLACE: Final = N_("it waits for a place to run: %(why)s")
JAIL_AWAY: Final = N_("it waits for the process that runs strategies: %(why)s")
FAULT: Final = N_("its strategy failed: %(why)s")
DELISTED: Final = N_("%(symbol)s is not traded at %(exchange)s any more")
SHORTFALL: Final = N_("its account holds %(there)s %(asset)s, and its bots together %(wanted)s: somebody sold of theirs")

# Of its log.
STARTED: Final = N_("started by %(by)s")
SELL_ASKED: Final = N_("%(by)s asked to sell what it holds")
APPROVED_BY: Final = N_("%(action)s: approved by %(by)s")
REJECTED_BY: Final = N_("%(action)s: rejected by %(by)s")
REARMED: Final = N_("the safeguard %(rule)s was armed again by %(by)s")
AWAY: Final = N_("%(count)s candles closed while nobody watched; nothing was decided at them")
BOUGHT: Final = N_("bought %(quantity)s %(base)s at %(price)s %(quote)s")
SOLD: Final = N_("sold %(quantity)s %(base)s at %(price)s %(quote)s")
SOLD_BY_STOP: Final = N_("its stop sold %(quantity)s %(base)s at %(price)s %(quote)s")
SOLD_BY_TARGET: Final = N_("its target sold %(quantity)s %(base)s at %(price)s %(quote)s")
SOLD_BY_KILL_SWITCH: Final = N_("the kill switch sold %(quantity)s %(base)s at %(price)s %(quote)s")
PRINTED: Final = N_("its strategy says: %(output)s")
NOT_SOLD: Final = N_("what it holds could not be sold yet: %(why)s")
NOTHING_LEFT: Final = N_("what it held is sold")

# Of a signal that nobody will answer.
SUSPENDED_MEANWHILE: Final = N_("the bot was suspended before anybody answered")
STOPPED_MEANWHILE: Final = N_("the bot was stopped before anybody answered")
UNANSWERED: Final = N_("nobody answered before the next candle closed")
AWAY_TOO_LONG: Final = N_("the server came back too late to act upon it")

# Of a decision: what was wanted, or why nothing is done.
NO_ENTRY: Final = N_("no entry: the strategy wants none")
HOLDS_ON: Final = N_("it holds on: the strategy leaves the position as it is")
ENTERS: Final = N_("the strategy enters")
ENTERS_AT: Final = N_("the strategy enters at %(price)s or better, until the next candle closes")
LEAVES: Final = N_("the strategy leaves")
ADDS: Final = N_("the strategy adds to the position")
TAKES_OFF: Final = N_("the strategy takes a part off the position")
MOVES: Final = N_("the strategy moves its stop or its targets")
TRAILS: Final = N_("its stop follows to %(stop)s")
ASKS: Final = N_("it waits for your word until the next candle closes")
NO_SHORT: Final = N_("not possible on a spot account: the strategy wants to sell short")
TOO_LATE: Final = N_("no action: the candle closed %(seconds)s seconds ago, longer than one candle lasts")
STALE: Final = N_("no action: the feed is not fresh")
NOT_ASKED: Final = N_("no action: %(why)s")
NO_NEW_ENTRY: Final = N_("no entry: the bot is suspended")
ACCOUNT_CLOSED: Final = N_("nothing was sent: %(why)s")
UNSETTLED: Final = N_("no action: its last order is not settled yet")
TOO_SMALL: Final = N_("no entry: %(quantity)s %(base)s is less than the exchange's smallest order")
NO_ROOM: Final = N_("nothing is added: the position is worth its whole equity")
TOO_LITTLE: Final = N_("nothing is taken off: %(quantity)s %(base)s is less than the exchange's smallest order")
SELLS_AGAIN: Final = N_("the strategy leaves; the exchange refused (%(why)s), so it is tried again until it is sold")
REFUSED: Final = N_("refused: %(why)s")
OVERDUE: Final = N_("no action: it could not be asked in time, for too many others were before it")
FAULTED_NOW: Final = N_("its strategy failed at this candle: %(why)s")
UNKNOWN_SYMBOL: Final = N_("no action: the account's exchange does not list the symbol")
