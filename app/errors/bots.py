"""What may go wrong with bots; the whole tree is drawn in the package."""

from app.errors.general import Conflict, InvalidInput, NotFound


class BotNotFound(NotFound):
    """There is no such bot."""

    default_code = "BOT_NOT_FOUND"


class BotSignalNotFound(NotFound):
    """The bot has no such signal."""

    default_code = "BOT_SIGNAL_NOT_FOUND"


class BotTripNotFound(NotFound):
    """There is no such safeguard that has tripped."""

    default_code = "BOT_TRIP_NOT_FOUND"


class BotLimit(Conflict):
    """The user has as many bots as one may have."""

    default_code = "BOT_LIMIT"


class BotStateWrong(Conflict):
    """The bot cannot do that in the state that it is in."""

    default_code = "BOT_STATE"


class BotNotStartable(Conflict):
    """The bot cannot start yet."""

    default_code = "BOT_NOT_STARTABLE"


class BotTripped(Conflict):
    """A safeguard of the bot has tripped. Arm it again first."""

    default_code = "BOT_TRIPPED"


class BotHoldsPosition(Conflict):
    """The bot holds a position. Say what becomes of it: keep it with its stop, or sell it."""

    default_code = "BOT_HOLDS_POSITION"


class BotHoldsNothing(Conflict):
    """The bot holds nothing that could be sold."""

    default_code = "BOT_HOLDS_NOTHING"


class SignalDecided(Conflict):
    """That signal does not wait for anybody's word: it was answered already, or its time is over."""

    default_code = "BOT_SIGNAL_DECIDED"


class BotInvalid(InvalidInput):
    """The bot cannot be made like that."""

    default_code = "BOT_INVALID"
