"""What may go wrong where bots meet backtests; the whole tree is drawn in the package."""

from app.errors.general import Conflict, NotFound


class ShadowNotFound(NotFound):
    """The bot has not been compared with its shadow yet."""

    default_code = "SHADOW_NOT_FOUND"


class ShadowTooEarly(Conflict):
    """No candle of the bot has closed yet: there is nothing to compare."""

    default_code = "SHADOW_TOO_EARLY"


class PromotionRefused(Conflict):
    """This backtest cannot become a bot."""

    default_code = "PROMOTION_REFUSED"
