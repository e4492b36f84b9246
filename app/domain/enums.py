"""The closed vocabularies of trading. Values are lower-case strings, stored as text with a CHECK."""

from enum import StrEnum


class Side(StrEnum):
    """Direction of an order or a fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, −1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order wants to be executed."""

    MARKET = "market"
    LIMIT = "limit"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT_LIMIT = "take_profit_limit"


class TimeInForce(StrEnum):
    """How long an order may rest."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class OrderState(StrEnum):
    """Where an order stands; transitions are in domain.orders."""

    INTENT = "intent"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    DENIED = "denied"
    LOST = "lost"


class Source(StrEnum):
    """Who wished for an order."""

    MANUAL = "manual"
    WEBHOOK = "webhook"
    BOT = "bot"


class Liquidity(StrEnum):
    """Whether a fill rested in the book or took from it."""

    MAKER = "maker"
    TAKER = "taker"
