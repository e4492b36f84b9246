"""One event stream per page: unnamed messages are regions as HTML, named ones are JSON for charts and prices.

Each connection begins with every region it shows, fresh from the database: whatever was missed while it was away is there, so nothing
has to be replayed. Regions are sent at most twice a second; prices and candles come as they are published.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.accounts.events import PreferencesChanged
from app.accounts.models import Language, Theme
from app.accounts.preferences import looks_of
from app.accounts.principal import Principal
from app.backtests.events import BacktestChanged
from app.core.events import Subscription
from app.core.i18n import use_language
from app.core.streams import check_room, streaming
from app.domain.instruments import plain
from app.marketdata.events import CandleChanged, CandleClosed, CandlesLoaded, FeedAlert, HeartbeatChanged, InstrumentsUpdated, TickerChanged
from app.marketdata.feed_news import FeedNews
from app.marketdata.lookout import lookout_of
from app.trading.events import (
    FillRecorded,
    KillSwitchChanged,
    OrderChanged,
    PortfolioChanged,
    ProtectionChanged,
    TradingStateChanged,
)
from app.ui import backtest_events, bot_stream
from app.ui.book_topics import book_topics, look_at_books
from app.ui.bot_stream import BotStream
from app.ui.named_events import named_event
from app.ui.portfolio import Portfolio, accounts_of
from app.ui.regions import Regions
from app.ui.surroundings import reader_of, regions_of, templating_of
from app.ui.symbols import book_of, update_list
from app.ui.templating import Templating
from app.ui.terminal import TerminalRegions, place_of
from app.ui.views import Reader
from app.ui.views.portfolio import PortfolioLive
from app.webhooks.events import DeliveryChanged

router = APIRouter(include_in_schema=False)

_GAP_S: Final = 0.5
_SHORTEST_S: Final = 0.03
_IDLE_S: Final = 0.25
_PING_S: Final = 5.0
#: Marks move with the market and the feed's age with time: these are sent again though no event touched them.
_REPEATED: Final = (
    (frozenset({"positions", "kpis", "hook-positions", "market"}), 2.0), (frozenset({"status"}), 5.0), (frozenset({"bell"}), 5.0),
    (frozenset({"external", "lines"}), 5.0),
    (frozenset({"audit"}), 10.0),
    (frozenset({"hooks"}), 5.0),  # counted anew, which with a flood of alerts is not done for each; and one is late without any event
    (frozenset({"updates"}), 3.0),  # what another process does is known by its row only
    bot_stream.REPEATED,
)  # fmt: skip
_EVENTS: Final = (
    OrderChanged, FillRecorded, PortfolioChanged, DeliveryChanged, HeartbeatChanged, TradingStateChanged, KillSwitchChanged,
    ProtectionChanged, InstrumentsUpdated, PreferencesChanged, FeedAlert, BacktestChanged, *bot_stream.EVENTS,
)  # fmt: skip
#: Of every watched symbol many times a second: for pages with a chart only.
_OF_THE_MARKET: Final = (TickerChanged, CandleChanged, CandleClosed, CandlesLoaded)
#: Which regions an event makes out of date.
_TOUCHES: Final[dict[type, frozenset[str]]] = {
    OrderChanged: frozenset({"orders", "open-orders", "lines", "kpis", "delivery"}),
    FillRecorded: frozenset({"positions", "kpis", "orders", "open-orders", "fills", "lines", "hook-positions", "delivery", "portfolio"}),
    PortfolioChanged: frozenset({"balances", "equity", "kpis", "status", "portfolio"}),
    DeliveryChanged: frozenset({"deliveries", "log", "delivery"}),
    HeartbeatChanged: frozenset({"status"}),
    FeedAlert: frozenset({"status"}),
    TradingStateChanged: frozenset({"trading", "audit"}),
    KillSwitchChanged: frozenset({"trading"}),
    ProtectionChanged: frozenset({"positions", "orders", "open-orders", "lines", "trading", "hook-positions"}),
    InstrumentsUpdated: frozenset({"updates"}),
    **bot_stream.TOUCHES,
}
#: Pages say themselves which part of these they show: they are told that it is out of date, and fetch it.
_ASKED_FOR: Final = frozenset({"log", "delivery"})
#: Topics that name what the page is about, one of each kind: `feed:BTC/USDT`, `terminal:<account>:BTC/USDT`.
_OF_ONE: Final = ("feed", "terminal", backtest_events.ONE, bot_stream.ONE, bot_stream.MONITOR)
#: What a trading page is sent as JSON.
_OF_A_TERMINAL: Final = frozenset({"lines", "market"})
#: Without a user, these concern everybody; the others nobody.
_FOR_ALL: Final = (TradingStateChanged, KillSwitchChanged)
_TARGETS: Final = {"status": "status-items", "bell": "bell-count", "trading": "trading-state", "portfolio": "portfolio-live"}
_TEMPLATES: Final = {
    "status": "fragments/shell/_status_items.html",
    "bell": "fragments/shell/_bell_count.html",
    "trading": "fragments/shell/_trading_state.html",
    "kpis": "fragments/dashboard/_kpis.html",
    "positions": "fragments/trading/_positions.html",
    "orders": "fragments/trading/_orders.html",
    "open-orders": "fragments/terminal/_open_orders.html",
    "fills": "fragments/terminal/_fills.html",
    "external": "fragments/trading/_external_orders.html",
    "audit": "fragments/dashboard/_audit.html",
    "deliveries": "fragments/webhooks/_deliveries.html",
    "hook-positions": "fragments/webhooks/_hook_positions.html",
    "balances": "fragments/dashboard/_balances.html",
    "hooks": "fragments/webhooks/_hooks.html",
    "updates": "fragments/symbols/_updates.html",
    "portfolio": "fragments/portfolio/_live.html",
}


@router.get("/events")
async def events(request: Request, principal: CurrentUser, topics: str = "") -> StreamingResponse:
    """The live stream of one page. Topics choose what is sent; whose it is, the session decides.

    Raises:
        RateLimited: this user has as many open as one may.
    """
    check_room(request, principal.user_id)
    given = frozenset(topics.split(","))
    of_one = {next((topic for topic in sorted(given) if topic.partition(":")[0] == name), "") for name in _OF_ONE}
    wanted = given & (
        _TEMPLATES.keys() | {"chart", "equity", backtest_events.ALL, bot_stream.RUNNING, *of_one, *_ASKED_FOR, *book_topics(given)}
    )
    stream = PageStream(
        request,
        wanted,
        principal=principal,
        regions=regions_of(request, principal),
        accounts=accounts_of(given),
        templating=templating_of(request),
    )
    return streaming(request, principal.user_id, stream)


class PageStream:
    """What one open page is sent."""

    def __init__(
        self,
        request: Request,
        topics: frozenset[str],
        *,
        principal: Principal,
        regions: Regions,
        accounts: tuple[UUID, ...] | None = None,
        templating: Templating,
    ) -> None:
        self._request = request
        self._bus = request.app.state.bus
        self._stopping: asyncio.Event = request.app.state.stopping
        self._accounts = request.app.state.accounts
        self._principal = principal
        self._templating = templating
        self._reader: Reader = reader_of(request, principal)
        self._looks: dict[str, str] = {}
        self._regions = regions
        self._bots = BotStream(regions, topics)
        self._topics = topics | self._bots.topics
        self._number = 0
        self._next_at: dict[frozenset[str], float] = {}
        self._messages: dict[str, Callable[[], Awaitable[object]]] = {}
        self._told: dict[str, object] = {}
        self._builders: dict[str, Callable[[], Awaitable[object]]] = {
            "status": regions.status,
            "bell": regions.bell,
            "trading": regions.trading,
            "kpis": regions.kpis,
            "positions": regions.positions,
            "orders": regions.orders,
            "external": regions.external,
            "audit": regions.audit,
            "deliveries": lambda: regions.deliveries(with_strangers=principal.is_admin),
            "hook-positions": regions.hook_positions,
            "balances": regions.balances,
            "hooks": regions.hooks,
            "updates": lambda: update_list(request.app, principal.user_id),
            "portfolio": Portfolio(regions=regions, broker_ids=accounts).live,
        }

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield messages until the client leaves, the session ends, rights change or the server stops."""
        dirty = set(
            self._topics & (self._builders.keys() | _ASKED_FOR | self._bots.topics)
        )  # everything once: whatever was missed while it was away
        flush_at = 0.0
        kinds = (*_EVENTS, *_OF_THE_MARKET) if "chart" in self._topics else _EVENTS
        async with AsyncExitStack() as stack:
            subscription = stack.enter_context(self._bus.subscribe(*kinds, size=2000))
            yield b"retry: 1000\n\n"
            yield await self._preferences()
            yield await self._look_at_feed(stack, subscription)
            dirty |= await self._look_at_terminal(stack)
            await look_at_books(self._request.app, self._topics, stack, subscription)
            while not self._stopping.is_set():
                for topics, every_s in _REPEATED:
                    if self._is_time(topics, every_s):
                        dirty |= self._topics & topics
                if self._is_time(frozenset({"ping"}), _PING_S):
                    if await self._accounts.is_over(self._principal.session_id, is_admin=self._principal.is_admin):
                        return
                    yield self._named("ping", {})
                    # They may have been changed by way of another process, which no event comes from.
                    yield await self._preferences()
                if dirty and time.monotonic() >= flush_at:
                    for name in sorted(dirty):
                        yield await self._region(name)
                    dirty.clear()
                    flush_at = time.monotonic() + _GAP_S
                for event in await _next_events(subscription, max(_SHORTEST_S, flush_at - time.monotonic()) if dirty else _IDLE_S):
                    if self._is_mine(event):
                        dirty |= _TOUCHES.get(type(event), frozenset()) & self._topics
                        yield await self._preferences(event) if isinstance(event, PreferencesChanged) else self._as_named(event)

    async def _look_at_feed(self, stack: AsyncExitStack, subscription: Subscription[object]) -> bytes:
        """Have the feed's news as long as the page is open, if it shows them; return what they begin with."""
        topic = next((topic for topic in self._topics if topic.partition(":")[0] == "feed"), None)
        if topic is None:
            return b""
        lookout = lookout_of(self._request.app)
        symbol = topic.partition(":")[2] or None
        book = book_of(self._request.app)
        if symbol is not None and (await book.stored(lookout.exchange) is None or book.cached(lookout.exchange, symbol) is None):
            return b""
        await stack.enter_async_context(lookout.looking(symbol, subscription))
        return (await lookout.news.beginning(symbol)).message

    async def _look_at_terminal(self, stack: AsyncExitStack) -> frozenset[str]:
        """Have a trading page's symbol watched as long as the page is open; return what such a page is sent besides regions."""
        topic = next((topic for topic in self._topics if topic.partition(":")[0] == "terminal"), None)
        if topic is None:
            return frozenset()
        broker, _, symbol = topic.partition(":")[2].partition(":")
        app, lookout = self._request.app, lookout_of(self._request.app)
        place = await place_of(app, self._principal.user_id, broker=broker, symbol=symbol)
        terminal = TerminalRegions(self._regions, place)
        self._builders |= {"open-orders": terminal.open_orders, "fills": terminal.fills}
        self._messages |= {"lines": terminal.lines_message, "market": terminal.market_message}
        if place.symbol and place.exchange == lookout.exchange:
            await stack.enter_async_context(lookout.watchers.watching({place.symbol}))
        self._topics |= _OF_A_TERMINAL
        return _OF_A_TERMINAL | (self._topics & {"open-orders", "fills"})

    async def _preferences(self, event: PreferencesChanged | None = None) -> bytes:
        """Read anew how this person reads, and tell the page if it has not been told; it knows what it shows, and follows."""
        looks = await looks_of(self._request.app.state.database, self._principal.user_id)
        broker = event.default_broker_id if event is not None else None
        if looks is None:
            return b""
        who = replace(
            self._principal,
            theme=Theme(looks["theme"]),
            language=Language(looks["language"]),
            display_timezone=looks["display_timezone"],
        )
        self._reader = reader_of(self._request, who)
        told = {
            "theme": who.theme.value,
            "language": self._reader.language,
            "timezone": self._reader.timezone,
            "currency": looks["currency"],
        }
        if told == self._looks and broker is None:
            return b""
        self._looks = told
        return self._named("preferences", told if broker is None else {**told, "broker": str(broker)})

    def _is_time(self, topics: frozenset[str], every_s: float) -> bool:
        now = time.monotonic()
        if now < self._next_at.get(topics, 0.0):
            return False
        self._next_at[topics] = now + every_s
        return True

    def _is_mine(self, event: object) -> bool:
        owner = getattr(event, "user_id", self._principal.user_id)
        return owner == self._principal.user_id or (owner is None and isinstance(event, _FOR_ALL))

    async def _region(self, name: str) -> bytes:
        if name in _ASKED_FOR:
            return self._named(name, {})
        if name == "equity":
            worth = (await self._regions.kpis()).equity
            return self._named("equity", {"t": int(time.time() * 1000), "v": plain(worth)}) if worth is not None else b""
        if name in self._bots.topics:
            return await self._of_bots(name)
        if name in _OF_A_TERMINAL:
            with use_language(self._reader.language):
                message = await self._messages[name]()
            # What it has been told already is not told again.
            if self._told.get(name) == message:
                return b""
            self._told[name] = message
            return self._named(name, message)
        with use_language(self._reader.language):
            region = await self._builders[name]()
        message = self._partial(_TEMPLATES[name], region, _TARGETS.get(name, name))
        if isinstance(region, PortfolioLive) and region.headline.total is not None:
            message += self._named("worth", {"t": int(time.time() * 1000), "v": plain(region.headline.total)})
        return message

    async def _of_bots(self, name: str) -> bytes:
        with use_language(self._reader.language):
            told, parts = await self._bots.message(name), await self._bots.parts(name)
        messages = []
        for part in parts:
            messages.append(self._partial(part.template, part.region, part.target))
            # A hundred cards take as long as an order may: others have their turn between them.
            await asyncio.sleep(0)
        return b"".join(messages if told is None else [*messages, self._named(name, told)])

    def _partial(self, template: str, region: object, target: str) -> bytes:
        html = self._templating.partial(template, region, target=target, reader=self._reader)
        lines = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
        return f"id: {self._next()}\n{lines}\n".encode()

    def _as_named(self, event: object) -> bytes:
        if isinstance(event, FeedNews):
            return event.message  # finished, for all who look
        told = named_event(event, self._topics, self._reader)
        return b"" if told is None else self._named(*told)

    def _named(self, name: str, value: object) -> bytes:
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self._next(), name.encode(), orjson.dumps(value))

    def _next(self) -> int:
        self._number += 1
        return self._number


async def _next_events(subscription: Subscription[object], timeout_s: float) -> list[object]:
    """Wait for the next event and return it with all that wait behind it; none when the time is over."""
    try:
        found = [await asyncio.wait_for(subscription.get(), timeout_s)]
    except TimeoutError:
        return []
    while (event := subscription.get_nowait()) is not None:
        found.append(event)
    return found
