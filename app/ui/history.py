"""Lists of the history as regions: what the address asks for, and what the database has of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import FastAPI

from app.brokers.models import Broker
from app.core.i18n import N_, gettext
from app.domain.enums import OrderState, OrderType, Side, Source
from app.domain.instruments import Instrument
from app.errors import ExchangeError, InvalidInput
from app.trading import history
from app.trading.history_filter import HistoryFilter
from app.ui.history_rows import attempt_row, fill_row, history_order, totals_of, trade_row
from app.ui.labels import label
from app.ui.moments import moment_of
from app.ui.views import Choice, HistoryForm, HistoryList, RangeLink, Reader, Select, Tab
from app.webhooks import attempts

_ROWS: Final = 50
_MOST_TEXT: Final = 100
_DEFAULT: Final = "30d"
_CUSTOM: Final = "custom"
#: What one click chooses; None is all of it.
RANGES: Final[dict[str, tuple[str, timedelta | None]]] = {
    "24h": (N_("1 day"), timedelta(hours=24)),
    "7d": (N_("7 d"), timedelta(days=7)),
    _DEFAULT: (N_("30 d"), timedelta(days=30)),
    "90d": (N_("90 d"), timedelta(days=90)),
    "1y": (N_("1 year"), timedelta(days=365)),
    "all": (N_("All"), None),
}
TABS: Final[tuple[Tab, ...]] = ("orders", "attempts", "fills", "trades")
#: Which fields each list has beside the account, the symbol and the time.
_FIELDS: Final[dict[Tab, tuple[str, ...]]] = {
    "orders": ("side", "type", "state", "source", "text", "tag"),
    "attempts": ("side", "type", "state", "source", "text"),
    "fills": ("side", "type", "source"),
    "trades": ("side", "source", "text", "tag"),
}
_PAGES: Final[dict[Tab, Callable[..., Awaitable[history.Page]]]] = {
    "orders": history.page_of_orders,
    "attempts": attempts.page_of_attempts,
    "fills": history.page_of_fills,
    "trades": history.page_of_trades,
}
_SHAPES: Final[dict[Tab, Callable[..., Any]]] = {
    "orders": history_order,
    "attempts": attempt_row,
    "fills": fill_row,
    "trades": trade_row,
}


def _values_of(tab: Tab, name: str) -> tuple[str, ...]:
    """The words that a closed choice of a list knows."""
    if name == "side":
        return ("long", "short") if tab == "trades" else tuple(side.value for side in Side)
    if name == "state":
        return attempts.STATES if tab == "attempts" else tuple(state.value for state in OrderState)
    return tuple(value.value for value in (OrderType if name == "type" else Source))


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuestion:
    """What a page asks a list for, as its address says; what nobody could mean asks for nothing."""

    tab: Tab
    range: str = ""
    since: str = ""
    until: str = ""
    broker: str = ""
    symbol: str = ""
    side: str = ""
    type: str = ""
    state: str = ""
    source: str = ""
    text: str = ""
    tag: str = ""
    cursor: str = ""

    @property
    def chosen(self) -> str:
        """The range: days that were typed, else one of RANGES."""
        if self.since or self.until:
            return _CUSTOM
        return self.range if self.range in RANGES else _DEFAULT

    def which(self, reader: Reader, now: datetime) -> HistoryFilter:
        """Return the filter of the list."""
        has = _FIELDS[self.tab]
        known: dict[str, Any] = {
            name: getattr(self, name) if name in has and getattr(self, name) in _values_of(self.tab, name) else ""
            for name in ("side", "type", "state", "source")
        }
        since, until = self._bounds(reader, now)
        return HistoryFilter(
            since=since,
            until=until,
            broker_id=_uuid(self.broker),
            symbol=_printable(self.symbol),
            text=_printable(self.text) if "text" in has else "",
            tag=_printable(self.tag).lower() if "tag" in has else "",
            **known,
        )

    def _bounds(self, reader: Reader, now: datetime) -> tuple[datetime | None, datetime | None]:
        if self.chosen == _CUSTOM:
            return moment_of(self.since, reader), moment_of(self.until, reader, is_end=True)
        length = RANGES[self.chosen][1]
        return None if length is None else now - length, None

    def address(self, base: str, **changed: str) -> str:
        """Return the address at which the same is asked, but for what is changed."""
        values = {name: changed.get(name, getattr(self, name)) for name in self.__slots__ if name != "tab"}
        asked = urlencode({name: value for name, value in values.items() if value})
        return f"{base}?{asked}" if asked else base


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:_MOST_TEXT].strip()


@dataclass(frozen=True, slots=True)
class Rules:
    """Instruments by the rows they belong to: they give the decimals of what is shown. Read once for each exchange of a page."""

    app: FastAPI

    async def of(self, rows: list[Any]) -> dict[tuple[str, str], Instrument]:
        """Return the instruments of the rows' symbols that are known, by exchange and symbol."""
        found: dict[tuple[str, str], Instrument] = {}
        for exchange in {row["exchange"] for row in rows if row["exchange"]}:
            try:
                known = await self.app.state.desk.instruments.all(exchange)
            except ExchangeError:
                continue
            wanted = {row["symbol"] for row in rows if row["exchange"] == exchange}
            found |= {(exchange, symbol): known[symbol] for symbol in wanted if symbol in known}
        return found


async def history_list(app: FastAPI, user_id: UUID, asked: HistoryQuestion, *, reader: Reader) -> HistoryList:
    """Return a page of a list."""
    database, base = app.state.database, f"/history/{asked.tab}"
    which = asked.which(reader, app.state.clock.now())
    cursor = asked.cursor
    try:
        rows, following = await _PAGES[asked.tab](database, user_id, which, limit=_ROWS, cursor=cursor or None)
    except InvalidInput:
        cursor = ""
        rows, following = await _PAGES[asked.tab](database, user_id, which, limit=_ROWS)
    rules = await Rules(app).of(rows)
    has_totals = asked.tab == "trades" and not cursor
    return HistoryList(
        tab=asked.tab,
        rows=tuple(_SHAPES[asked.tab](row, rules.get((row["exchange"], row["symbol"]))) for row in rows),
        place=_place(cursor),
        more=asked.address(f"{base}/rows", cursor=following) if following else "",
        older=asked.address(base, cursor=following) if following else "",
        first=asked.address(base, cursor="") if cursor else "",
        export=_export(asked.tab, which),
        is_filtered=which != HistoryFilter(),
        totals=totals_of(await history.sums_of_trades(database, user_id, which)) if has_totals else None,
    )


def _place(cursor: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in cursor) or "first"


def _export(tab: Tab, which: HistoryFilter) -> str:
    values = {"from": which.since, "to": which.until, "broker_id": which.broker_id, "symbol": which.symbol}
    values |= {name: getattr(which, name) for name in _FIELDS[tab]}
    asked = urlencode({name: _written(value) for name, value in values.items() if value})
    return f"/api/{tab}/export" + (f"?{asked}" if asked else "")


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def history_form(asked: HistoryQuestion, accounts: list[Broker], reader: Reader) -> HistoryForm:
    """Return the filter's form as it was sent."""
    has, base = _FIELDS[asked.tab], f"/history/{asked.tab}"
    names = {"side": gettext("Side"), "type": gettext("Type"), "state": gettext("State"), "source": gettext("Source")}
    accounts_select = Select(
        name="broker",
        label=gettext("Account"),
        choices=tuple(Choice(value=str(account.id), label=account.name) for account in accounts),
        value=asked.broker,
    )
    closed = tuple(
        Select(
            name=name,
            label=names[name],
            choices=tuple(Choice(value=value, label=label(value)) for value in _values_of(asked.tab, name)),
            value=getattr(asked, name),
        )
        for name in names
        if name in has
    )
    return HistoryForm(
        tab=asked.tab,
        action=base,
        timezone=reader.timezone,
        range=asked.range if asked.range in RANGES else "",
        since=asked.since,
        until=asked.until,
        symbol=_printable(asked.symbol),
        text=_printable(asked.text) if "text" in has else None,
        tag=_printable(asked.tag) if "tag" in has else None,
        selects=(accounts_select, *closed),
        ranges=tuple(
            RangeLink(
                label=gettext(words),
                href=asked.address(base, range=name, since="", until="", cursor=""),
                is_current=asked.chosen == name,
            )
            for name, (words, _) in RANGES.items()
        ),
    )
