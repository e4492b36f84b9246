"""What the live stream of a page says of bots: only what has changed since it said it last."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.bots.events import BotChanged, BotLogged, BotSignalled
from app.errors import BotNotFound
from app.shadow.events import ShadowChanged
from app.ui.bot_cards import Monitor, Shown
from app.ui.bot_page import BotRegions, OneShown
from app.ui.regions import Regions
from app.ui.views.bots import BotCard, BotCards

#: Topics of a page: `monitor:<show>:<log>:<search>`, `bot:<id>:<signals>:<trades>:<log>`, and the dashboard's `running-bots`.
MONITOR: Final = "monitor"
ONE: Final = "bot"
RUNNING: Final = "running-bots"
EVENTS: Final = (BotChanged, BotSignalled, BotLogged, ShadowChanged)
_CARDS: Final = "bots"
_EQUITY: Final = "bot-equity"
_OF_MONITOR: Final = frozenset({"bot-totals", _CARDS, "bot-log"})
_OF_ONE: Final = frozenset({"bot-live", "bot-signals", "bot-trades", "bot-log", "bot-shadow", _EQUITY})
#: All regions, with their templates; each is an element of that id.
TEMPLATES: Final = {
    "bot-totals": "fragments/bots/_totals.html",
    _CARDS: "fragments/bots/_cards.html",
    "bot-log": "fragments/bots/_log.html",
    "bot-live": "fragments/bots/_live.html",
    "bot-signals": "fragments/bots/_signals.html",
    "bot-trades": "fragments/bots/_trades.html",
    "bot-shadow": "fragments/bots/_shadow.html",
    RUNNING: "fragments/dashboard/_bots.html",
}
_CARD: Final = "fragments/bots/_card.html"
_STANDING: Final = frozenset({"bot-totals", _CARDS, "bot-live", RUNNING})
#: Which regions an event makes out of date; those that stand with the market are read again every two seconds besides.
TOUCHES: Final[dict[type, frozenset[str]]] = {
    BotChanged: _STANDING | {"bot-trades", "status"},
    BotSignalled: _STANDING | {"bot-signals", "status", _EQUITY},
    BotLogged: frozenset({"bot-log"}),
    ShadowChanged: frozenset({"bot-shadow"}),
}
REPEATED: Final = (_STANDING, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A region as a page gets it: its template, what goes into it, and the element it takes the place of."""

    template: str
    region: object
    target: str


class BotStream:
    """Tells one open page of bots. `topics` are the names of its regions; none where the page shows no bots."""

    def __init__(self, regions: Regions, topics: frozenset[str]) -> None:
        self._told: dict[str, object] = {}
        self._cards: dict[str, BotCard] = {}
        self._builders: dict[str, Callable[[], Awaitable[object]]] = {}
        self._one: BotRegions | None = None
        for topic in sorted(topics):
            name, _, rest = topic.partition(":")
            if topic == RUNNING:
                self._builders[RUNNING] = Monitor(regions=regions).running
            elif name == MONITOR:
                self._add_monitor(regions, rest)
            elif name == ONE:
                self._add_one(regions, rest)

    def _add_monitor(self, regions: Regions, rest: str) -> None:
        show, _, rest = rest.partition(":")
        log, _, search = rest.partition(":")
        monitor = Monitor(regions=regions, shown=Shown.of(show=show, log=log, search=search))
        self._builders |= {"bot-totals": monitor.totals, _CARDS: monitor.cards}
        if log != "-":
            self._builders["bot-log"] = monitor.log

    def _add_one(self, regions: Regions, rest: str) -> None:
        given, _, lists = rest.partition(":")
        try:
            bot_id = UUID(given)
        except ValueError:
            return
        one = self._one = BotRegions(monitor=Monitor(regions=regions), bot_id=bot_id, shown=OneShown.of_topic(lists))
        shows = dict(zip(("bot-signals", "bot-trades", "bot-log"), lists.split(":"), strict=False))
        self._builders |= {"bot-live": one.live, "bot-shadow": one.shadow}
        for name, builder in (("bot-signals", one.signals), ("bot-trades", one.trades), ("bot-log", one.log)):
            if shows.get(name) != "-":
                self._builders[name] = builder
        self._builders[_EQUITY] = self._newest

    @property
    def topics(self) -> frozenset[str]:
        """The names of the regions that this page shows."""
        return frozenset(self._builders)

    async def _newest(self) -> object:
        assert self._one is not None  # noqa: S101  # its builder is there with it alone
        points = await self._one.points()
        return {"points": points[-3:]}

    async def parts(self, name: str) -> list[Part]:
        """Return what a page has to be given so that a region stands as it is now; nothing where it does."""
        if name not in TEMPLATES:
            return []
        try:
            region = await self._builders[name]()
        except BotNotFound:
            return []
        if isinstance(region, BotCards):
            return self._changed_cards(region)
        if self._told.get(name) == region:
            return []
        self._told[name] = region
        return [Part(template=TEMPLATES[name], region=region, target=name)]

    async def message(self, name: str) -> object | None:
        """Return what a named message of that name says; None where it has been said."""
        if name != _EQUITY or name not in self._builders:
            return None
        told = await self._builders[name]()
        if self._told.get(name) == told:
            return None
        self._told[name] = told
        return told

    def _changed_cards(self, region: BotCards) -> list[Part]:
        """The cards that say something else now; all of them where others are shown, or in another order."""
        cards = {card.title.id: card for card in region.rows}
        is_same = list(cards) == list(self._cards) and bool(cards)
        changed = [card for name, card in cards.items() if self._cards.get(name) != card]
        is_empty_still = not cards and self._told.get(_CARDS) == region
        self._cards, self._told[_CARDS] = cards, region
        if is_empty_still:
            return []
        if not is_same:
            return [Part(template=TEMPLATES[_CARDS], region=region, target=_CARDS)]
        return [Part(template=_CARD, region=card, target=f"bot-{card.title.number}") for card in changed]
