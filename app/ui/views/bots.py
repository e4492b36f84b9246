"""The monitor of all bots: the header, a card for each bot, and the log of what they decided and why."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.ui.views.bot_safeguards import UserTrips
from app.ui.views.shell import Choice, Environment, Region, Shell

BotState = Literal["ready", "running", "suspended", "faulted", "stopped"]
BotMode = Literal["paper", "ask", "live"]
#: What became of a decision.
SignalState = Literal["decided", "waiting", "submitted", "done", "denied", "skipped", "rejected", "expired"]
SignalAction = Literal["none", "long", "short", "exit", "adjust", "levels"]
Level = Literal["info", "warning", "error"]
#: What can be done with a bot in its state, in the order of its buttons.
BotAct = Literal["start", "suspend", "stop", "sell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BotTitle:
    """Which bot it is: all that tells one from another, and what it may do. `env` says whose money its account holds."""

    id: str
    number: int
    name: str
    strategy: str
    version: int
    symbol: str
    timeframe: str
    account: str
    mode: BotMode
    state: BotState
    env: Environment = "paper"

    @property
    def base(self) -> str:
        """What it buys."""
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        """What it counts in."""
        return self.symbol.partition("/")[2]

    @property
    def acts(self) -> tuple[BotAct, ...]:
        """What can be done with it now; that a position can be sold is the position's to say."""
        by_state: dict[BotState, tuple[BotAct, ...]] = {
            "ready": ("start",),
            "running": ("suspend", "stop"),
            "suspended": ("start", "stop"),
            "faulted": ("start", "stop"),
            "stopped": (),
        }
        return by_state[self.state]


@dataclass(frozen=True, slots=True, kw_only=True)
class BotTarget:
    """A price at which `fraction` of the position is sold."""

    price: Decimal
    fraction: Decimal = Decimal(1)
    is_reached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BotPosition:
    """What a bot holds, in base units; prices in quote per base. `risk` is what is lost if the stop is hit now, None without one.

    `id` names the position itself, which the page of positions shows as well. `worth` is what it brings at `mark_price`.
    """

    id: str
    quantity: Decimal
    average_price: Decimal
    opened_at: datetime | None = None
    mark_price: Decimal | None = None
    worth: Decimal | None = None
    unrealised: Decimal | None = None
    unrealised_pct: Decimal | None = None
    stop: Decimal | None = None
    targets: tuple[BotTarget, ...] = ()
    risk: Decimal | None = None
    tick: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSignal:
    """The last decision of a bot, with its reason in the reader's language."""

    at: datetime
    action: SignalAction
    state: SignalState
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeMark:
    """A trade that is over, and what it brought after fees, in quote."""

    profit: Decimal
    closed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """The last day of a bot's equity as the points of a line in a box of 100 by 28, and how it changed, as a fraction."""

    points: str
    change: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BotCard:
    """One bot, region of `fragments/bots/_card.html`. Equity, today's profit and capital are in quote; `net` is a fraction of the capital.

    `reason` says why it is not running, `blocked` why it enters nothing although it is; `waiting` is how many decisions wait for its owner.
    Trades are the last ten, oldest first; `next_at` is when its next candle closes.
    """

    title: BotTitle
    capital: Decimal
    equity: Decimal
    net: Decimal
    today: Decimal | None = None
    reason: str = ""
    blocked: str = ""
    waiting: int = 0
    position: BotPosition | None = None
    signal: LastSignal | None = None
    trades: tuple[TradeMark, ...] = ()
    next_at: datetime | None = None
    spark: Spark | None = None

    @property
    def trades_sum(self) -> Decimal:
        """What the trades shown brought together."""
        return sum((one.profit for one in self.trades), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BotCards(Region[BotCard]):
    """The cards, region of `fragments/bots/_cards.html`. `show` and `search` are the filter.

    `has_any` says whether there is a bot at all; `has_strategy` whether there is something that one could run; `more` are not shown.
    """

    show: str = "active"
    search: str = ""
    has_any: bool = False
    has_strategy: bool = False
    more: int = 0

    @property
    def is_filtered(self) -> bool:
        """Whether some may be left out."""
        return self.show != "active" or bool(self.search)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotTotals:
    """The monitor's header, region of `fragments/bots/_totals.html`, in `currency`; None where a rate is missing.

    `risk` is what is lost if every stop is hit, `bare` how many positions have none. `loss_share` is how much of what may be lost in a day
    is lost, as a fraction; None where nothing bounds it, and `loss_limit` is that bound: `loss_fraction` of the capital.
    """

    currency: str = "USDT"
    decimals: int = 2
    missing: str = ""
    bots: int = 0
    running: int = 0
    faulted: int = 0
    equity: Decimal | None = None
    capital: Decimal | None = None
    risk: Decimal | None = None
    risk_share: Decimal | None = None
    bare: int = 0
    today: Decimal | None = None
    loss_share: Decimal | None = None
    loss_limit: Decimal | None = None
    loss_fraction: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a log; `words` are in the reader's language. `number` and `name` are the bot's, `line` where in its source it failed."""

    id: str
    at: datetime
    level: Level
    kind: str
    words: str
    number: int = 0
    name: str = ""
    symbol: str = ""
    line: int = 0
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotLog(Region[LogLine]):
    """The newest lines of a log, newest first, region of `fragments/bots/_log.html`. `number` is the bot's, 0 for all of them.

    `show` is which lines: all, only decisions, or only what went wrong. `next` is where the older ones are, "" behind the oldest; `newest`
    leads back, "" where it shows the newest.
    """

    number: int = 0
    show: str = "all"
    next: str = ""
    newest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBots(Region[BotCard]):
    """The dashboard's bots, region of `fragments/dashboard/_bots.html`."""

    bots: int = 0
    has_strategy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BotsView:
    """The monitor. `is_kiosk`: shown on a wall, with nothing to press. `trips` are those of all bots.

    `states` and `shows` are what the filters offer.
    """

    shell: Shell
    totals: BotTotals = field(default_factory=BotTotals)
    cards: BotCards = field(default_factory=BotCards)
    log: BotLog = field(default_factory=BotLog)
    states: tuple[Choice, ...] = ()
    shows: tuple[Choice, ...] = ()
    is_kiosk: bool = False
    trips: UserTrips = field(default_factory=UserTrips)
