"""The sentences that bots say, in English with names for their values; the catalogue has them in every language."""

from typing import Final

from app.core.i18n import N_

#: Of a bot's state.
LOADING: Final = N_("its strategy is being loaded")
SUSPENDED_BY: Final = N_("suspended by %(by)s: no new entries, what it holds keeps its stop")
SUSPENDED_BECAUSE: Final = N_("suspended: %(why)s")
STOPPED_BY: Final = N_("stopped by %(by)s")
#: Of its log.
STARTED: Final = N_("started by %(by)s")
SELL_ASKED: Final = N_("%(by)s asked to sell what it holds")
APPROVED_BY: Final = N_("%(action)s: approved by %(by)s")
REJECTED_BY: Final = N_("%(action)s: rejected by %(by)s")
REARMED: Final = N_("the safeguard %(rule)s was armed again by %(by)s")
#: Of a signal that nobody will answer.
SUSPENDED_MEANWHILE: Final = N_("the bot was suspended before anybody answered")
STOPPED_MEANWHILE: Final = N_("the bot was stopped before anybody answered")
