"""What people read when the market falls silent, and when it speaks again."""

from typing import Final

from app.core.formatters import dt
from app.core.i18n import N_, gettext, use_language
from app.exchanges.catalogue import venue_of
from app.marketdata.events import FeedAlert
from app.ui.views import Reader

#: By whether it is one symbol, and whether it is over.
_WORDS: Final = {
    (False, False): N_("No fresh market data from %(exchange)s since %(since)s."),
    (False, True): N_("Market data from %(exchange)s is fresh again."),
    (True, False): N_("No closed candle of %(symbol)s at %(exchange)s since %(since)s."),
    (True, True): N_("The candles of %(symbol)s at %(exchange)s are not overdue any more."),
}


def alert_words(alert: FeedAlert, reader: Reader) -> str:
    """Return one sentence, in the reader's language and time zone."""
    venue = venue_of(alert.exchange)
    words = _WORDS[alert.symbol is not None, alert.is_over]
    with use_language(reader.language):
        return gettext(words) % {
            "exchange": alert.exchange if venue is None else venue.name,
            "symbol": alert.symbol,
            "since": dt(alert.since, "minute", zone=reader.timezone, language=reader.language),
        }
