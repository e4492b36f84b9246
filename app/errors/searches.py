"""What may go wrong with searches for parameters and with checks of robustness; the whole tree is drawn in the package."""

from app.errors.general import Conflict, NotFound


class SearchNotFound(NotFound):
    """There is no such search."""

    default_code = "SEARCH_NOT_FOUND"


class SearchTrialNotFound(NotFound):
    """The search has no such trial."""

    default_code = "SEARCH_TRIAL_NOT_FOUND"


class SearchLimit(Conflict):
    """The user has as many searches under way, or stored, as one may have."""

    default_code = "SEARCH_LIMIT"


class SearchUnderWay(Conflict):
    """The search is under way. Stop it first."""

    default_code = "SEARCH_UNDER_WAY"


class SearchExhausted(Conflict):
    """The search has tried everything that there is, or as many trials as one may have."""

    default_code = "SEARCH_EXHAUSTED"


class DraftUnsaved(Conflict):
    """The strategy has changes that are saved in no version yet. Save or discard them in the editor first, or they would be lost."""

    default_code = "DRAFT_UNSAVED"


class RobustnessNotFound(NotFound):
    """Nobody has asked yet how robust that backtest is."""

    default_code = "ROBUSTNESS_NOT_FOUND"
