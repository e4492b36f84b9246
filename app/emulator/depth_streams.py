"""Partial book depth streams: `<symbol>@depth<5|10|20>` once a second, and with `@100ms` ten times.

Source: Binance Spot API documentation, web-socket-streams.md, "Partial Book Depth Streams". Of a real market's book something changes all
the time; here it is repeated each second, even where time stands still, because clients take silence for a dead connection.
"""

import re
import time

from app.emulator import rendering_market
from app.emulator.clock import MarketClock
from app.emulator.exchange import Exchange
from app.emulator.streams import StreamHub

_NAME = re.compile(r"([a-z0-9]+)@depth(5|10|20)(@100ms)?")
FAST_S = 0.1
_SLOW_S = 1.0
#: A push that comes a little early is still the one that is due.
_SLACK_S = 0.02


class DepthStreams:
    """Tells whoever listens what the books look like."""

    def __init__(self, exchange: Exchange, clock: MarketClock, hub: StreamHub) -> None:
        self._exchange = exchange
        self._clock = clock
        self._hub = hub
        #: What each stream was sent last, and when.
        self._sent: dict[str, tuple[float, rendering_market.Json]] = {}

    @property
    def has_fast(self) -> bool:
        """Whether anybody wants a book ten times a second."""
        return any("@depth" in stream and stream.endswith("@100ms") for stream in self._hub.subscribed())

    def push(self) -> None:
        """Send each stream what is due."""
        now = time.monotonic()
        streams = [stream for stream in self._hub.subscribed() if "@depth" in stream]
        self._sent = {stream: self._sent[stream] for stream in streams if stream in self._sent}
        for stream in streams:
            found = _NAME.fullmatch(stream)
            market = self._exchange.markets.get(found[1].upper()) if found is not None else None
            if found is None or market is None:
                continue
            sent_at, sent = self._sent.get(stream, (now - _SLOW_S, None))
            age_s = now - sent_at + _SLACK_S
            if age_s < (FAST_S if found[3] else _SLOW_S):
                continue
            book = rendering_market.levels(market.depth(int(found[2])))
            if book != sent or age_s >= _SLOW_S:
                self._sent[stream] = now, book
                self._hub.publish(stream, {"lastUpdateId": self._clock.now(), **book})
