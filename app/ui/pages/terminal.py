"""The page a trader keeps open: one account, one symbol, its chart, book, ticket, orders and positions; and its list of symbols."""

from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts import favourites
from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.brokers.service import note_symbol
from app.core.i18n import use_language
from app.domain.candles import LIVE_TIMEFRAMES, Timeframe
from app.marketdata.lookout import lookout_of
from app.ui.markets import filter_of, market_list
from app.ui.moving import guard_question, order_question
from app.ui.surroundings import fragment, page, reader_of, regions_of, shell_of
from app.ui.symbols import book_of, exchange_name
from app.ui.terminal import Place, TerminalRegions, market_facts, place_of
from app.ui.ticket import ticket_view
from app.ui.views import ChartLine, Choice, MarketList, Star, TerminalAccount, TerminalChart, TerminalView

router = APIRouter(include_in_schema=False)

_ROWS: Final = "fragments/terminal/_market_rows.html"
_STAR: Final = "fragments/terminal/_star.html"
_MOVE: Final = "fragments/terminal/_move.html"
_TOPICS: Final = ("positions", "open-orders", "external", "balances", "orders", "fills", "chart")
_USUAL: Final = Timeframe.M5

Text = Annotated[str, Query(max_length=60)]


@router.get("/trading")
async def show_terminal(request: Request, principal: CurrentUser, broker: Text = "", symbol: Text = "", timeframe: Text = "") -> Response:
    """Everything about one account and symbol, all of it live."""
    app = request.app
    place = await place_of(app, principal.user_id, broker=broker, symbol=symbol)
    shown = Timeframe(timeframe) if timeframe in set(LIVE_TIMEFRAMES) else _USUAL
    if place.account is not None and place.symbol and place.account.last_symbol != place.symbol:
        async with app.state.database.transaction() as session:
            await note_symbol(session, principal.user_id, place.account.id, place.symbol)
    regions = regions_of(request, principal)
    own = TerminalRegions(regions, place)
    with use_language(reader_of(request, principal).language):
        account = place.account
        positions, orders = await regions.positions(), await own.open_order_rows()
        view = TerminalView(
            shell=await shell_of(request, principal, page="trading", topics=(*_TOPICS, place.topic, *_book_topics(place))),
            chart=await _chart(request, place, own, timeframe=shown, lines=await own.lines(positions, orders))
            if place.instrument is not None
            else None,
            markets=await _markets(request, principal, place, timeframe=shown.value),
            account=None
            if account is None
            else TerminalAccount(
                id=str(account.id),
                name=account.name,
                exchange_name=exchange_name(account.exchange),
                env=regions.environment(account),
            ),
            ticket=await ticket_view(app, principal, broker_id=str(account.id), symbol=place.symbol) if account and place.symbol else None,
            positions=positions,
            open_orders=await own.open_orders(orders),
            external=await regions.external(),
            balances=await regions.balances(),
            orders=await regions.orders(),
            fills=await own.fills(),
        )
    return page(request, "pages/terminal/terminal.html", view)


def _book_topics(place: Place) -> tuple[str, ...]:
    return (f"book:{place.venue}:{place.symbol}",) if place.symbol else ()


async def _chart(
    request: Request, place: Place, own: TerminalRegions, *, timeframe: Timeframe, lines: tuple[ChartLine, ...]
) -> TerminalChart:
    assert place.instrument is not None  # noqa: S101  # the caller has looked
    rules = place.instrument
    return TerminalChart(
        exchange=place.exchange,
        exchange_name=exchange_name(place.exchange),
        venue=place.venue,
        venue_name=exchange_name(place.venue),
        symbol=rules.symbol,
        base=rules.base,
        quote=rules.quote,
        tick=rules.tick_size,
        step=rules.step_size,
        timeframe=timeframe,
        facts=await market_facts(request.app, place),
        fills=await own.regions.fills(rules.symbol),
        lines=lines,
        is_live=place.exchange == lookout_of(request.app).exchange,
        account=str(place.account.id) if place.account is not None else "",
        accounts=tuple(Choice(value=str(found.id), label=found.name) for found in place.accounts),
    )


async def _markets(request: Request, principal: Principal, place: Place, *, timeframe: str) -> MarketList:
    broker_id = str(place.account.id) if place.account is not None else ""
    common = {"exchange": place.venue, "broker_id": broker_id, "current": place.symbol, "timeframe": timeframe}
    quote = place.instrument.quote if place.instrument is not None else ""
    return await market_list(request.app, principal, filter=filter_of(quote), **common)


@router.get("/trading/symbols")
async def show_symbols(
    request: Request,
    principal: CurrentUser,
    *,
    q: Text = "",
    quote: Text = "all",
    after: Text | None = None,
    broker: Text = "",
    symbol: Text = "",
    timeframe: Text = "",
) -> Response:
    """A page of the list, by text and filter."""
    place = await place_of(request.app, principal.user_id, broker=broker, symbol=symbol)
    region = await market_list(
        request.app,
        principal,
        exchange=place.venue,
        broker_id=str(place.account.id) if place.account is not None else "",
        current=symbol,
        filter=filter_of(quote),
        search=q,
        after=after,
        timeframe=timeframe,
    )
    return fragment(request, principal, _ROWS, region)


@router.post("/trading/favourites")
async def change_favourite(
    request: Request,
    principal: CurrentUser,
    symbol: Annotated[str, Form(max_length=60)],
    is_favourite: Annotated[bool, Form()],
    broker: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    """Keep a symbol among the favourites of the account's exchange, or no longer."""
    place = await place_of(request.app, principal.user_id, broker=broker, symbol=symbol)
    listed = await book_of(request.app).require(place.venue, symbol)
    change = favourites.keep if is_favourite else favourites.drop
    await change(request.app.state.database, principal.user_id, place.venue, listed.symbol)
    return fragment(request, principal, _STAR, Star(symbol=listed.symbol, broker_id=broker, is_favourite=is_favourite))


@router.get("/trading/orders/{order_id}/move")
async def ask_move(request: Request, principal: CurrentUser, order_id: UUID, price: Text = "") -> Response:
    """The question whether an order's price is to be `price` from now on; without one, a form that asks."""
    with use_language(reader_of(request, principal).language):
        question = await order_question(regions_of(request, principal), order_id, price=price)
    return fragment(request, principal, _MOVE, question)


@router.get("/trading/positions/{position_id}/move")
async def ask_guard_move(
    request: Request,
    principal: CurrentUser,
    position_id: UUID,
    line: Literal["stop", "target"] = "stop",
    price: Text = "",
    number: Annotated[int, Query(ge=0, le=100)] = 0,
) -> Response:
    """The question whether a position's stop, or the target of that number, is to be at `price`."""
    with use_language(reader_of(request, principal).language):
        question = await guard_question(regions_of(request, principal), position_id, line, price=price, number=number)
    return fragment(request, principal, _MOVE, question)
