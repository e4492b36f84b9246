"""What an event comes to as a named message of a page's stream: JSON for charts and prices, a toast for an alert."""

from app.backtests.events import BacktestChanged
from app.core.i18n import use_language
from app.domain.candles import Candle, Timeframe, to_milliseconds
from app.domain.instruments import plain
from app.marketdata.events import CandleChanged, CandleClosed, CandlesLoaded, FeedAlert, InstrumentsUpdated, TickerChanged
from app.trading.events import FillRecorded
from app.ui.backtest_events import backtest_event
from app.ui.feed_words import alert_words
from app.ui.views import Reader


def named_event(event: object, topics: frozenset[str], reader: Reader) -> tuple[str, object] | None:
    """Return the message's name and its value, or None when a page with these topics is not told of the event."""
    if "chart" in topics and (found := _of_chart(event)) is not None:
        return found
    match event:
        case BacktestChanged():
            with use_language(reader.language):
                told = backtest_event(event, topics)
            return None if told is None else ("backtest", told)
        case FeedAlert() if "status" in topics:
            level = "success" if event.is_over else "error"
            return "toast", {"level": level, "text": alert_words(event, reader)}
        case InstrumentsUpdated(is_over=True) if "updates" in topics:
            return f"symbols-{event.exchange}", {}
        case _:
            return None


def _of_chart(event: object) -> tuple[str, object] | None:
    match event:
        case TickerChanged() if event.last is not None:
            return "tick", {"s": event.symbol, "p": plain(event.last), "t": to_milliseconds(event.at)}
        case CandleChanged():
            return "candle", _candle(event.symbol, event.timeframe.value, event.candle, is_closed=False)
        case CandleClosed(timeframe=Timeframe.M1) if not event.is_late:
            return "candle", _candle(event.symbol, event.timeframe.value, event.candle, is_closed=True)
        case CandlesLoaded(timeframe=Timeframe.M1):
            return "candles", {"s": event.symbol}
        case FillRecorded():
            told = {"s": event.symbol, "side": event.side.value, "p": plain(event.price), "q": plain(event.quantity)}
            return "fill", {**told, "t": to_milliseconds(event.executed_at)}
        case _:
            return None


def _candle(symbol: str, timeframe: str, candle: Candle, *, is_closed: bool) -> dict[str, object]:
    return {
        "s": symbol,
        "tf": timeframe,
        "t": to_milliseconds(candle.open_time),
        "o": candle.open,
        "h": candle.high,
        "l": candle.low,
        "c": candle.close,
        "v": candle.volume,
        "x": is_closed,
    }
