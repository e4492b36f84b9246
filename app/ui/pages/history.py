"""The history: lists of orders, attempts, fills and round trips, and one order and one round trip in full."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.brokers.service import list_brokers
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.errors import InvalidInput
from app.trading.history_tables import Subject
from app.trading.notes import put_note
from app.ui.history import HistoryQuestion, history_form, history_list
from app.ui.order_story import order_in_full, trade_in_full
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of
from app.ui.views import HistoryView, NoteForm, OrderPage, Tab, TradePage

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Query(max_length=400)]
_LIST: Final = "fragments/history/_list.html"
_NOTE: Final = "fragments/history/_note.html"


def _asked(
    request: Request,
    range: Text = "",
    since: Text = "",
    until: Text = "",
    broker: Text = "",
    symbol: Text = "",
    side: Text = "",
    type: Text = "",
    state: Text = "",
    source: Text = "",
    text: Text = "",
    tag: Text = "",
    cursor: Text = "",
) -> HistoryQuestion:
    given = {"since": since, "until": until, "broker": broker, "symbol": symbol, "side": side, "type": type, "state": state}
    given |= {"range": range, "source": source, "text": text, "tag": tag, "cursor": cursor}
    tab: Tab = request.url.path.split("/")[2]  # type: ignore[assignment]  # the routes below are those of the tabs
    return HistoryQuestion(tab=tab, **given)


Asked = Annotated[HistoryQuestion, Depends(_asked)]


@router.get("/history")
async def begin(request: Request, principal: CurrentUser) -> Response:
    """The first of the lists."""
    del principal
    return see_other(request, "/history/orders")


@router.get("/history/orders")
@router.get("/history/attempts")
@router.get("/history/fills")
@router.get("/history/trades")
async def show_list(request: Request, principal: CurrentUser, asked: Asked) -> Response:
    """The page of a list, or for htmx the list alone."""
    reader = reader_of(request, principal)
    with use_language(reader.language):
        found = await history_list(request.app, principal.user_id, asked, reader=reader)
        if request.headers.get("hx-request") == "true":
            answer = fragment(request, principal, _LIST, found)
            here = asked.address(request.url.path, cursor="")
            # Told what it says already, a browser would complain of being told too often.
            if not request.headers.get("hx-current-url", "").endswith(here):
                answer.headers["HX-Replace-Url"] = here
            return answer
        async with request.app.state.database.transaction() as session:
            accounts = await list_brokers(session, principal.user_id)
        view = HistoryView(shell=await shell_of(request, principal, page="history"), form=history_form(asked, accounts, reader), list=found)
    return page(request, "pages/history/history.html", view)


@router.get("/history/orders/rows")
@router.get("/history/attempts/rows")
@router.get("/history/fills/rows")
@router.get("/history/trades/rows")
async def show_rows(request: Request, principal: CurrentUser, asked: Asked) -> Response:
    """The rows after those that are shown."""
    reader = reader_of(request, principal)
    with use_language(reader.language):
        found = await history_list(request.app, principal.user_id, asked, reader=reader)
    return fragment(request, principal, f"fragments/history/_{asked.tab}_rows.html", found)


@router.get("/history/orders/{order_id}")
async def show_order(request: Request, principal: CurrentUser, order_id: UUID) -> Response:
    """One order in full."""
    reader = reader_of(request, principal)
    with use_language(reader.language):
        order = await order_in_full(request.app, principal.user_id, order_id, reader=reader)
    return page(request, "pages/history/order.html", OrderPage(shell=await shell_of(request, principal, page="history"), order=order))


@router.get("/history/trades/{trade_id}")
async def show_trade(request: Request, principal: CurrentUser, trade_id: UUID) -> Response:
    """One round trip in full."""
    with use_language(reader_of(request, principal).language):
        trade = await trade_in_full(request.app, principal.user_id, trade_id)
    return page(request, "pages/history/trade.html", TradePage(shell=await shell_of(request, principal, page="history"), trade=trade))


Typed = Annotated[str, Form()]


@router.post("/history/orders/{order_id}/note")
async def note_order(request: Request, principal: CurrentUser, order_id: UUID, text: Typed = "", tags: Typed = "") -> Response:
    """Keep a note on an order."""
    return await _note(request, principal, Subject.ORDER, order_id, text, tags)


@router.post("/history/trades/{trade_id}/note")
async def note_trade(request: Request, principal: CurrentUser, trade_id: UUID, text: Typed = "", tags: Typed = "") -> Response:
    """Keep a note on a round trip."""
    return await _note(request, principal, Subject.TRADE, trade_id, text, tags)


async def _note(request: Request, principal: Principal, subject: Subject, subject_id: UUID, text: str, tags: str) -> Response:
    address = request.url.path
    now = request.app.state.clock.now()
    with use_language(reader_of(request, principal).language):
        try:
            kept, words = await put_note(
                database_of(request), principal.user_id, subject, subject_id, text=text, tags=tags.split(","), now=now
            )
        except InvalidInput as error:
            return fragment(request, principal, _NOTE, NoteForm(address=address, text=text, tags=tags, error=error.message), status=422)
        saved = NoteForm(address=address, text=kept, tags=", ".join(words), is_saved=True)
        return fragment(request, principal, _NOTE, saved, toast=("success", gettext("The note is kept.")))
