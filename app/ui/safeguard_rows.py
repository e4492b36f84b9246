"""What safeguards did in a backtest, in the reader's language."""

from app.backtests.quality_words import in_words
from app.backtests.report_parts import Report
from app.core.i18n import gettext
from app.domain.candles import from_milliseconds
from app.domain.safeguards import Action, Rule
from app.ui.safeguard_form import RULE_LABELS
from app.ui.views.safeguards import TripLine


def trip_lines(report: Report) -> tuple[TripLine, ...]:
    """Return what tripped, oldest first."""
    return tuple(
        TripLine(
            rule=gettext(RULE_LABELS[Rule(one.rule)]),
            at=from_milliseconds(one.at_ms),
            reason=in_words(one.message, one.values),
            is_flattened=one.action == Action.FLATTEN,
        )
        for one in report.trips
    )
