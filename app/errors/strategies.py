"""What may go wrong with the code of a user; the whole tree is drawn in the package."""

from app.errors.general import AppError, Conflict, InvalidInput, NotFound, RateLimited, TooManyAttempts


class StrategyNotFound(NotFound):
    """There is no such strategy."""

    default_code = "STRATEGY_NOT_FOUND"


class VersionNotFound(NotFound):
    """The strategy has no such version."""

    default_code = "VERSION_NOT_FOUND"


class StrategyInUse(Conflict):
    """The strategy is used; archive it instead."""

    default_code = "STRATEGY_IN_USE"


class VersionInUse(Conflict):
    """This version has been used, so nothing of it changes any more. Save another version."""

    default_code = "VERSION_IN_USE"


class DraftChanged(Conflict):
    """The draft was saved elsewhere meanwhile, in another tab perhaps. Nothing was overwritten."""

    default_code = "DRAFT_CHANGED"


class StrategyLimit(Conflict):
    """The user has as many strategies as one may have, or the strategy as many versions."""

    default_code = "STRATEGY_LIMIT"


class TrialRate(TooManyAttempts):
    """Too many strategies were tried within a minute."""

    default_code = "STRATEGY_TRIAL_RATE"


class ShareRate(TooManyAttempts):
    """Too many copies were given away within an hour."""

    default_code = "STRATEGY_SHARE_RATE"


class StrategyFileUnreadable(InvalidInput):
    """The file is not the source of a strategy."""

    default_code = "STRATEGY_FILE_UNREADABLE"


class StrategyNotValid(Conflict):
    """This version has not passed its validation, so it cannot be activated."""

    default_code = "STRATEGY_NOT_VALID"


class SourceTooLong(InvalidInput):
    """The source is too long."""

    default_code = "SOURCE_TOO_LONG"


class StrategyFailed(AppError):
    """The strategy's code failed."""

    status = 422
    default_code = "STRATEGY_FAILED"


class StrategyKilled(StrategyFailed):
    """The strategy's code did what no strategy may do, or used more than it may, and was stopped."""

    default_code = "STRATEGY_KILLED"


class JailClosed(AppError):
    """This machine cannot run strategies safely, so none is run; the administrator sees why."""

    status = 503
    default_code = "JAIL_CLOSED"


class JailBusy(RateLimited):
    """Your strategies use all that one user may use at a time. Wait until one of them has ended."""

    default_code = "JAIL_BUSY"


class StrategyPaused(TooManyAttempts):
    """The strategy was stopped by force too often within a short time. It may run again in %(seconds)d seconds."""

    default_code = "STRATEGY_PAUSED"
