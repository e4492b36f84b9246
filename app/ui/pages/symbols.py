"""What exchanges list: search, quote filters, and updates whose progress everybody sees."""

import re
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.brokers.service import list_brokers
from app.core.i18n import gettext, use_language
from app.errors import UpdateTooSoon
from app.exchanges.catalogue import EXCHANGES, OTHERS, PAPER, venue_of
from app.ui.surroundings import fragment, page, reader_of, shell_of, templating_of
from app.ui.symbols import book_of, quotes, symbol_list, update_list, updates_of
from app.ui.templating import ToastLevel
from app.ui.views import Choice, SymbolsView

router = APIRouter(include_in_schema=False)

_ROWS: Final = "fragments/symbols/_symbols.html"
_QUOTES: Final = "fragments/symbols/_quotes.html"
_UPDATES: Final = "fragments/symbols/_updates.html"
_TOPICS: Final = ("updates",)
_ID: Final = re.compile(r"[a-z0-9]{2,32}")

Text = Annotated[str, Query(max_length=40)]


@router.get("/symbols")
async def show_symbols(request: Request, principal: CurrentUser, exchange: str = "", search: Text = "", quote: Text = "") -> Response:
    """Symbols of one exchange, with what was updated lately."""
    shell = await shell_of(request, principal, page="symbols", topics=_TOPICS)
    chosen = book_of(request.app).source(exchange) if _is_known(exchange) else await _usual(request, principal)
    with use_language(shell.reader.language):
        view = SymbolsView(
            shell=shell,
            exchange=chosen,
            exchanges=tuple(Choice(value=venue.id, label=venue.name) for venue in EXCHANGES.values() if venue.id != PAPER),
            untested=tuple(Choice(value=venue.id, label=venue.name) for venue in OTHERS.values()),
            symbols=await symbol_list(request.app, chosen, search=search, quote=quote),
            updates=await update_list(request.app, principal.user_id),
            quotes=await quotes(request.app, chosen, quote),
            search=search,
        )
    return page(request, "pages/symbols/symbols.html", view)


@router.get("/symbols/rows")
async def show_rows(
    request: Request, principal: CurrentUser, exchange: str = "", search: Text = "", quote: Text = "", after: Text | None = None
) -> Response:
    """A page of the list, by text and quote asset."""
    chosen = exchange if _is_known(exchange) else await _usual(request, principal)
    reader = reader_of(request, principal)
    rows = await symbol_list(request.app, chosen, search=search, quote=quote, after=after)
    chips = templating_of(request).partial(_QUOTES, await quotes(request.app, chosen, quote), target="quotes", reader=reader)
    answer = fragment(request, principal, _ROWS, rows, partials=chips)
    # A reload, or the address sent to somebody, shows the same.
    asked = {name: value for name, value in (("exchange", chosen), ("search", search), ("quote", quote)) if value}
    answer.headers["HX-Replace-Url"] = f"/symbols?{urlencode(asked)}"
    return answer


@router.post("/symbols/update")
async def begin_update(request: Request, principal: CurrentUser, exchange: Annotated[str, Form(max_length=40)] = "") -> Response:
    """Begin an update, or join the one that runs."""
    toast: tuple[ToastLevel, str] | None = None
    with use_language(reader_of(request, principal).language):
        try:
            await updates_of(request.app).begin(exchange, started_by=principal.user_id)
        except UpdateTooSoon as error:
            words = gettext("These symbols were updated less than a minute ago. The next update is possible in %(seconds)s s.")
            toast = ("warning", words % {"seconds": int(error.retry_after_s) + 1})
        region = await update_list(request.app, principal.user_id)
    return fragment(request, principal, _UPDATES, region, toast=toast)


def _is_known(exchange: str) -> bool:
    return _ID.fullmatch(exchange) is not None and venue_of(exchange) is not None


async def _usual(request: Request, principal: Principal) -> str:
    """The exchange of the person's default account, else the one whose market is watched."""
    state = request.app.state
    async with state.database.transaction() as session:
        accounts = await list_brokers(session, principal.user_id)
    usual = next((account.exchange for account in accounts if account.is_default), state.settings.heartbeat_exchange)
    return book_of(request.app).source(usual)
