"""What monitoring hears of bots: how many there are, how often strategies are asked, and how long a candle takes to become an order."""

from collections.abc import Callable, Iterable
from typing import Protocol

from app.core.metrics import Metrics


class Figures(Protocol):
    """Who counts."""

    def evaluated(self) -> None:
        """Count a strategy that has decided."""

    def acknowledged(self, seconds: float) -> None:
        """Count an order, by the seconds from its candle's close to the exchange's answer."""


class BotFigures:
    """Counts for `/metrics`. No label tells whose they are."""

    def __init__(self, metrics: Metrics, states: Callable[[], Iterable[tuple[tuple[str, ...], float]]]) -> None:
        self._evaluations = metrics.counter("bot_evaluations_total", "Decisions of strategies at closed candles.")
        self._answered = metrics.histogram("bot_close_to_acknowledgement_seconds", "From a candle's close to the exchange's answer.")
        metrics.read("bots", "Bots that the engine of this process has.", "state", values=states)

    def evaluated(self) -> None:
        """Count a strategy that has decided."""
        self._evaluations.inc()

    def acknowledged(self, seconds: float) -> None:
        """Count an order."""
        self._answered.observe(seconds)
