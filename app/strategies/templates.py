"""What a new strategy can begin with: an example of each way to write one, and the strategies that come with the application."""

from dataclasses import dataclass
from typing import Final

from app.core.i18n import N_
from app.errors import NotFound
from app.strategies.builtins import builtins

BLANK: Final = "blank"

_BLANK_SOURCE: Final = '''from aristobot import Strategy, param, ta


class MyStrategy(Strategy):
    """Long while the close is above its average."""

    timeframe = "1h"
    warm_up = 200  # candles before the first decision
    length = param(50, low=5, high=200)
    stop_loss = param(0.03, low=0.005, high=0.2)  # fraction below the entry

    def indicators(self, candles):
        self.average = ta.SMA(candles.close, self.length)
        self.close = candles.close

    def should_long(self) -> bool:
        return ta.crossed_above(self.close, self.average)

    def should_exit(self) -> bool:
        return ta.crossed_below(self.close, self.average)
'''
_SIGNALS_SOURCE: Final = '''from aristobot import Strategy, param, ta


class MySignals(Strategy):
    """The same as whole arrays: one true or false a candle. It runs a hundred times as fast."""

    timeframe = "1h"
    warm_up = 200
    length = param(50, low=5, high=200)

    def indicators(self, candles):
        self.average = ta.SMA(candles.close, self.length)
        self.close = candles.close

    def signals(self, candles):
        return {
            "long": ta.crossed_above(self.close, self.average),
            "exit": ta.crossed_below(self.close, self.average),
        }
'''
_OLDER_SOURCE: Final = '''import numpy as np


class MyOlderStrategy(Strategy):
    """The older way of writing one; it runs unchanged. An object is made at each candle, with all candles up to that one."""

    def __init__(self, candles, balance, position):
        self.candles = candles
        self.balance = balance
        self.position = position
        close = np.asarray(candles["close"])
        self.fast = np.mean(close[-12:])
        self.slow = np.mean(close[-48:])

    def should_long(self) -> bool:
        return self.fast > self.slow

    def should_short(self) -> bool:
        return self.fast < self.slow  # leaves a long position

    def calculate_position_size(self) -> float:
        return 0.5  # of the balance

    def calculate_stop_loss(self) -> float:
        return 0.03  # below the entry

    def calculate_take_profit(self) -> float:
        return 0.06
'''


class TemplateNotFound(NotFound):
    """There is no such template."""

    default_code = "TEMPLATE_NOT_FOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Something to begin with; `title` and `summary` are English and in the catalogue where they are ours."""

    name: str
    title: str
    summary: str
    source: str


_EXAMPLES: Final = (
    Template(name=BLANK, title=N_("A first strategy"), summary=N_("One decision at each candle: the shortest way."), source=_BLANK_SOURCE),
    Template(
        name="signals", title=N_("A first strategy as arrays"), summary=N_("All candles at once: the fastest way."), source=_SIGNALS_SOURCE
    ),
    Template(
        name="older", title=N_("The older template"), summary=N_("For strategies that you wrote elsewhere: they run unchanged."),
        source=_OLDER_SOURCE,
    ),
)  # fmt: skip


#: Titles and summaries of the strategies that come with the application, for the catalogue; a test compares them with their own words.
SHIPPED: Final = {
    "ema_cross": (N_("EMA cross"), N_("Follows a trend from the crossing of two exponential moving averages.")),
    "rsi_reversion": (N_("RSI mean reversion"), N_("Buys weakness inside an upward market and sells the recovery.")),
    "bollinger_breakout": (N_("Bollinger breakout"), N_("Buys the break out of a quiet time.")),
    "donchian_trend": (
        N_("Donchian trend with ATR stop"),
        N_("Trades breakouts of the highest high, in the manner of the turtles, with a stop in average true ranges."),
    ),
    "macd_trend": (N_("MACD with daily trend"), N_("Buys a MACD crossing when the larger timeframe agrees.")),
    "dca_safety_orders": (
        N_("DCA with safety orders"),
        N_("Buys in parts on the way down and sells all of it a little above the mean price."),
    ),
}


def templates() -> tuple[Template, ...]:
    """Return all templates: the examples, then the strategies that come with the application."""
    shipped = (Template(name=one.name, title=one.title, summary=one.summary, source=one.source) for one in builtins())
    return (*_EXAMPLES, *shipped)


def template(name: str) -> Template:
    """Return one template.

    Raises:
        TemplateNotFound: there is none of that name.
    """
    found = next((one for one in templates() if one.name == name), None)
    if found is None:
        raise TemplateNotFound(field="template")
    return found
