"""What the trading page shows beyond the dashboard's regions: its account and symbol, lines, prices, open orders, fills."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI

from app.accounts.favourites import favourites_of
from app.brokers.models import Broker
from app.brokers.service import list_brokers
from app.core import formatters
from app.core.i18n import current_language, gettext, pgettext
from app.domain.enums import Liquidity, Role, Side
from app.domain.instruments import Instrument
from app.domain.symbols import resolve_symbol
from app.marketdata.lookout import lookout_of
from app.trading import external, oversight_queries
from app.trading import queries as trading
from app.ui.labels import label
from app.ui.order_rows import order_row
from app.ui.regions import Regions
from app.ui.symbols import book_of
from app.ui.templating import chart_facts, chart_lines
from app.ui.views import ChartLine, FillRow, GuardRow, MarketFacts, OrderRow, PositionRow, Region

_OPEN_ORDERS: Final = 200
_FILLS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a trading page is about. `exchange` is whose prices it shows: the feed's, for every symbol that the feed's exchange lists too.

    `account` is None for somebody without one, `instrument` None when nothing is known of any symbol.
    """

    accounts: tuple[Broker, ...]
    account: Broker | None
    venue: str
    exchange: str
    instrument: Instrument | None

    @property
    def symbol(self) -> str:
        """The symbol, or "" for none."""
        return self.instrument.symbol if self.instrument is not None else ""

    @property
    def topic(self) -> str:
        """What a page asks its stream for."""
        return f"terminal:{self.account.id if self.account is not None else ''}:{self.symbol}"


async def place_of(app: FastAPI, user_id: UUID, *, broker: str = "", symbol: str = "") -> Place:
    """Return what a page with that address is about: what is not named, or nobody knows, is the usual."""
    async with app.state.database.transaction() as session:
        accounts = tuple(await list_brokers(session, user_id))
    account = next((found for found in accounts if str(found.id) == broker), accounts[0] if accounts else None)
    feed = lookout_of(app).exchange
    venue = book_of(app).source(account.exchange) if account is not None else feed
    is_known = await book_of(app).stored(venue) is not None
    listed = await book_of(app).all(venue) if is_known else {}
    wanted = [symbol, (account.last_symbol or "") if account is not None else ""]
    found = next((name for text in wanted if text and (name := resolve_symbol(text, listed)) is not None), None)
    if found is None:
        found = _usual(app, await favourites_of(app.state.database, user_id, venue), listed)
    is_fed = found is not None and venue != feed and book_of(app).cached(feed, found) is not None
    return Place(
        accounts=accounts,
        account=account,
        venue=venue,
        exchange=feed if is_fed else venue,
        instrument=listed.get(found) if found is not None else None,
    )


def _usual(app: FastAPI, favourites: frozenset[str], listed: Any) -> str | None:
    """A favourite, else what is watched anyway, else whatever comes first."""
    watched: tuple[str, ...] = lookout_of(app).heartbeat.symbols
    candidates = [*sorted(favourites), *watched, "BTC/USDT"]
    return next((name for name in candidates if name in listed), min(listed, default=None))


async def market_facts(app: FastAPI, place: Place) -> MarketFacts:
    """Return the last day and the best prices, as far as the feed knows them."""
    lookout = lookout_of(app)
    if place.exchange != lookout.exchange or not place.symbol:
        return MarketFacts()
    day = (await lookout.days.of([place.symbol])).get(place.symbol)
    quote = app.state.quotes.latest(place.symbol)
    last = quote.last if quote is not None else None
    facts = MarketFacts(last=last, bid=quote.bid if quote is not None else None, ask=quote.ask if quote is not None else None)
    if day is None:
        return facts
    high, low = _decimal(day.high), _decimal(day.low)
    return replace(
        facts,
        change=day.change(last),
        high=high if last is None else max(high, last),
        low=low if last is None else min(low, last),
        volume=_decimal(day.volume),
        turnover=_decimal(day.turnover),
    )


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


@dataclass(frozen=True, slots=True)
class TerminalRegions:
    """Builds the regions that only the trading page has. Words are in the language of the moment."""

    regions: Regions
    place: Place

    async def open_order_rows(self) -> list[Any]:
        """Rows of all orders that may still fill, newest first."""
        return await oversight_queries.list_open_orders(self.regions.app.state.database, self.regions.user_id, limit=_OPEN_ORDERS)

    async def open_orders(self, orders: Sequence[Any] | None = None) -> Region[OrderRow]:
        """The same as the page shows them; read unless the caller has them."""
        rows = await self.open_order_rows() if orders is None else orders
        names, exchanges = await self.regions.broker_names(), await self.regions.broker_exchanges()
        found = []
        for row in rows:
            rules = await self.regions.rule_of(exchanges[row["broker_id"]], row["symbol"])
            found.append(order_row(row, broker=names.get(row["broker_id"], ""), rules=rules))
        return Region(rows=tuple(found))

    async def fills(self) -> Region[FillRow]:
        """The newest executions."""
        rows = await trading.list_fills(self.regions.app.state.database, self.regions.user_id, limit=_FILLS)
        names, exchanges = await self.regions.broker_names(), await self.regions.broker_exchanges()
        found = []
        for row in rows:
            rules = await self.regions.rule_of(exchanges[row["broker_id"]], row["symbol"])
            found.append(_fill_row(row, broker=names.get(row["broker_id"], ""), rules=rules))
        return Region(rows=tuple(found))

    async def lines(self, positions: Region[PositionRow] | None = None, orders: Sequence[Any] | None = None) -> tuple[ChartLine, ...]:
        """Everything of this account and symbol that has a price; positions and open orders are read unless the caller has them."""
        place = self.place
        if place.account is None or not place.symbol:
            return ()
        broker_id, symbol = place.account.id, place.symbol
        lines: list[ChartLine] = []
        for position in (positions or await self.regions.positions()).rows:
            if position.symbol == symbol and position.broker_id == str(broker_id):
                lines += _position_lines(position)
        for row in await self.open_order_rows() if orders is None else orders:
            if row["broker_id"] == broker_id and row["symbol"] == symbol:
                lines += _order_lines(row)
        for row in await external.list_open(self.regions.app.state.database, self.regions.user_id, broker_id=broker_id):
            if row["symbol"] == symbol:
                lines += _external_lines(row)
        return tuple(lines)

    async def lines_message(self) -> object:
        """The same as the chart's script reads it."""
        return chart_lines(await self.lines())

    async def market_message(self) -> object:
        """The last day and the spread, as the page's script reads them."""
        return chart_facts(await market_facts(self.regions.app, self.place))


def _fill_row(row: Any, *, broker: str, rules: Instrument | None) -> FillRow:
    return FillRow(
        id=f"{row['broker_id']}-{row['symbol'].replace('/', '-')}-{row['trade_id']}",
        at=row["executed_at"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        price=row["price"],
        quantity=row["quantity"],
        notional=row["price"] * row["quantity"],
        quote=row["symbol"].partition("/")[2],
        fee=row["fee"],
        fee_asset=row["fee_asset"] or "",
        is_maker=row["liquidity"] == Liquidity.MAKER,
        broker=broker,
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )


def _shown(quantity: Decimal, step: Decimal | None = None) -> str:
    """What can be sold of it, without the zeros of the step: a label of the chart is short."""
    if step:
        quantity -= quantity % step
    return formatters.quantity(quantity, None, language=current_language())


def _position_lines(position: PositionRow) -> list[ChartLine]:
    side = Side.BUY if position.side == "long" else Side.SELL
    words = f"{label(position.side)} {_shown(position.quantity, position.step)}"
    guard = _guard_lines(position.id, position.guard) if position.guard is not None else []
    return [ChartLine(kind="entry", id=position.id, price=position.average_price, label=words, side=side), *guard]


def _guard_lines(position_id: str, guard: GuardRow) -> list[ChartLine]:
    lines = []
    if guard.stop is not None:
        lines.append(ChartLine(kind="stop", id=position_id, price=guard.stop, label=pgettext("price", "Stop"), is_movable=True))
    number = 0
    for target in guard.targets:
        if not target.is_reached:
            words = gettext("Target") if len(guard.targets) == 1 else f"{gettext('Target')} {number + 1}"
            lines.append(ChartLine(kind="target", id=position_id, price=target.price, label=words, is_movable=True, number=number))
            number += 1
    return lines


def _order_lines(row: Any) -> list[ChartLine]:
    # A position's stop and targets are lines of the position.
    price = row["trigger_price"] if row["trigger_price"] is not None else row["price"]
    if price is None or row["role"] in (Role.STOP, Role.TARGET):
        return []
    shown = order_row(row, broker="", rules=None)
    left = row["quantity"] - row["filled_quantity"]
    words = f"{label(shown.type.value)} {label(shown.side.value)} {_shown(left)}"
    return [ChartLine(kind="order", id=shown.id, price=price, label=words, side=shown.side, is_movable=shown.is_amendable)]


def _external_lines(row: Any) -> list[ChartLine]:
    price = row["trigger_price"] if row["trigger_price"] is not None else row["price"]
    if price is None:
        return []
    words = f"{label(row['side'])} {_shown(row['quantity'] - row['filled_quantity'])} · {gettext('placed elsewhere')}"
    return [ChartLine(kind="external", id=str(row["id"]), price=price, label=words, side=Side(row["side"]))]
