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
    """How an order wants to be executed.

    A stop waits for the market to turn against its side's holder, a take-profit for it to move in their favour; a trailing stop follows the
    best price seen at a fixed distance. Once triggered they are market orders, or limit orders where the name says so.
    """

    MARKET = "market"
    LIMIT = "limit"
    STOP_MARKET = "stop_market"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT = "take_profit"
    TAKE_PROFIT_LIMIT = "take_profit_limit"
    TRAILING_STOP = "trailing_stop"

    @property
    def has_limit(self) -> bool:
        """Whether it carries a limit price."""
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)

    @property
    def waits(self) -> bool:
        """Whether it sleeps until the market reaches its trigger."""
        return self not in (OrderType.MARKET, OrderType.LIMIT)

    @property
    def is_stop(self) -> bool:
        """Whether it guards against a loss: triggered by a fall for a sell, by a rise for a buy."""
        return self in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)

    @property
    def once_triggered(self) -> "OrderType":
        """What it becomes when its trigger is reached."""
        return OrderType.LIMIT if self.has_limit else OrderType.MARKET


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
    """Who wished for an order. `recovered` is ours by its client order id, found at the venue and unknown here."""

    MANUAL = "manual"
    WEBHOOK = "webhook"
    BOT = "bot"
    RECOVERED = "recovered"


class Role(StrEnum):
    """What an order is for: it decides who goes first and what a halt lets through."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP = "stop"
    TARGET = "target"
    FLATTEN = "flatten"

    @property
    def lane(self) -> "Lane":
        """The lane of its requests."""
        return {Role.ENTRY: Lane.ENTRY, Role.EXIT: Lane.EXIT, Role.TARGET: Lane.EXIT}.get(self, Lane.PROTECTIVE)

    @property
    def lowers_exposure(self) -> bool:
        """Whether it can only make a position smaller."""
        return self is not Role.ENTRY


class Lane(StrEnum):
    """Who goes first when an exchange's rate limit leaves room for few; the order here is the order of right."""

    PROTECTIVE = "protective"
    CANCEL = "cancel"
    EXIT = "exit"
    ENTRY = "entry"
    RECONCILE = "reconcile"
    MARKET = "market"


class Execution(StrEnum):
    """Who watches an order's trigger: the exchange, or this server because the exchange cannot."""

    NATIVE = "native"
    SUPERVISED = "supervised"


class TradingState(StrEnum):
    """What may be sent now, from free to strict; `domain.risk` says which orders each lets pass."""

    ACTIVE = "active"
    REDUCING = "reducing"
    RECONCILING = "reconciling"
    HALTED = "halted"


class Liquidity(StrEnum):
    """Whether a fill rested in the book or took from it."""

    MAKER = "maker"
    TAKER = "taker"


class FlowNote(StrEnum):
    """What a person, or a guess, says an amount was that came or went without a trade."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    INCOME = "income"
    RESET = "reset"
    UNEXPLAINED = "unexplained"
