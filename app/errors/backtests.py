"""What may go wrong with backtests; the whole tree is drawn in the package."""

from app.errors.general import Conflict, InvalidInput, NotFound


class BacktestNotFound(NotFound):
    """There is no such backtest."""

    default_code = "BACKTEST_NOT_FOUND"


class BacktestLimit(Conflict):
    """The user has as many backtests waiting, or stored, as one may have."""

    default_code = "BACKTEST_LIMIT"


class ResultMissing(Conflict):
    """The backtest has no result: it has not come that far, or failed."""

    default_code = "BACKTEST_RESULT_MISSING"


class TooManyCandles(InvalidInput):
    """A backtest of that range needs more memory than one may have."""

    default_code = "BACKTEST_TOO_LONG"


class BeyondNumbers(InvalidInput):
    """The account grew beyond all numbers. Nobody trades like that: the strategy looks ahead, or it pays no fees and no slippage."""

    default_code = "BACKTEST_BEYOND_NUMBERS"


class FileTooLarge(InvalidInput):
    """The file would be larger than one may be."""

    default_code = "BACKTEST_FILE_TOO_LARGE"


class NoCandles(InvalidInput):
    """There are no candles of that market in that range."""

    default_code = "BACKTEST_NO_CANDLES"


class WorkerLost(Conflict):
    """The process that computed the backtest ended before it was done. It may have had too little memory: try a shorter range."""

    default_code = "BACKTEST_WORKER_LOST"
