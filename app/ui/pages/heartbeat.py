"""The heartbeat: what the market feed says while it says it, what it stored, and the holes, which can be looked at again."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.core.i18n import gettext, ngettext, use_language
from app.domain.candles import LIVE_TIMEFRAMES
from app.errors import BackfillTooSoon, NotFound, SymbolNotFound
from app.marketdata.lookout import lookout_of
from app.ui.heartbeat import feed_summary, gap_list, ledgers, script_data, symbol_hits, watched_symbols
from app.ui.surroundings import fragment, page, reader_of, shell_of
from app.ui.symbols import book_of
from app.ui.templating import ToastLevel
from app.ui.views import Choice, HeartbeatView

router = APIRouter(include_in_schema=False)

_GAPS: Final = "fragments/heartbeat/_gaps.html"
_LEDGERS: Final = "fragments/heartbeat/_ledgers.html"
_HITS: Final = "fragments/heartbeat/_symbol_hits.html"

Text = Annotated[str, Query(max_length=40)]


@router.get("/heartbeat")
async def show_heartbeat(request: Request, principal: CurrentUser, symbol: Text = "") -> Response:
    """The feed of all symbols, or of one, which is watched as long as a page shows it."""
    app, lookout = request.app, lookout_of(request.app)
    chosen, unknown = "", ""
    if symbol.strip():
        try:
            chosen = (await book_of(app).require(lookout.exchange, symbol)).symbol
        except SymbolNotFound:
            unknown = symbol.strip()
    shell = await shell_of(request, principal, page="heartbeat", topics=(f"feed:{chosen}" if chosen else "feed",))
    row = await lookout.news.row()
    with use_language(shell.reader.language):
        view = HeartbeatView(
            shell=shell,
            feed=feed_summary(app, row),
            symbol=chosen,
            unknown=unknown,
            timeframes=tuple(Choice(value=timeframe.value, label=timeframe.value) for timeframe in LIVE_TIMEFRAMES),
            watched=await watched_symbols(app, row),
            watched_total=len(row.symbols),
            gaps=await gap_list(app, symbol=chosen),
            ledgers=await ledgers(app, row),
            data=await script_data(app, chosen, row.symbols),
        )
    return page(request, "pages/heartbeat/heartbeat.html", view)


@router.get("/heartbeat/gaps")
async def show_gaps(request: Request, principal: CurrentUser, symbol: Text = "", before: UUID | None = None) -> Response:
    """A page of the holes."""
    with use_language(reader_of(request, principal).language):
        region = await gap_list(request.app, symbol=symbol, before=before)
    return fragment(request, principal, _GAPS, region)


@router.get("/heartbeat/ledgers")
async def show_ledgers(request: Request, principal: CurrentUser) -> Response:
    """Differences and runs."""
    with use_language(reader_of(request, principal).language):
        region = await ledgers(request.app, await lookout_of(request.app).news.row())
    return fragment(request, principal, _LEDGERS, region)


@router.get("/heartbeat/symbols")
async def find_symbols(request: Request, principal: CurrentUser, symbol: Text = "") -> Response:
    """Symbols that can be watched, as one types."""
    return fragment(request, principal, _HITS, await symbol_hits(request.app, symbol))


@router.post("/heartbeat/backfill")
async def begin_backfill(
    request: Request,
    principal: CurrentUser,
    gap: Annotated[UUID | None, Form()] = None,
    symbol: Annotated[str, Form(max_length=40)] = "",
    before: Annotated[UUID | None, Form()] = None,
) -> Response:
    """Look at one hole again, or at all that are not filled."""
    toast: tuple[ToastLevel, str]
    lookout = lookout_of(request.app)
    with use_language(reader_of(request, principal).language):
        try:
            count = await lookout.gaps.begin(gap)
        except BackfillTooSoon as error:
            words = gettext("The exchange was asked a moment ago. Ask again in %(seconds)s s.")
            toast = ("warning", words % {"seconds": int(error.retry_after_s) + 1})
        except NotFound:
            toast = ("warning", gettext("There is no such gap any more."))
        else:
            asked = ngettext("The exchange is asked about %(num)s gap.", "The exchange is asked about %(num)s gaps.", count)
            toast = ("success", asked % {"num": count}) if count else ("info", gettext("There is no gap to ask about."))
            lookout.news.tell_ledgers()
        region = await gap_list(request.app, symbol=symbol, before=before)
    return fragment(request, principal, _GAPS, region, toast=toast)
