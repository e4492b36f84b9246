"""The order ticket: shown, computed while it is typed, asked about once more, and sent once."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.brokers.service import get_broker
from app.core.http import database_of
from app.core.i18n import gettext, use_language
from app.core.ids import new_id
from app.domain.ticket import Size, SizeBy
from app.errors import AppError, DuplicateIntent
from app.marketdata.lookout import lookout_of
from app.trading import queries
from app.trading.batch import AccountResult, place_on_each
from app.trading.desk import Desk
from app.trading.router import OTHER_ORDER
from app.trading.schemas import parse_decimal
from app.trading.wish import Placed, Wish
from app.ui.surroundings import fragment, page, reader_of, shell_of, templating_of
from app.ui.templating import ToastLevel
from app.ui.ticket import Ticket, open_ticket
from app.ui.ticket_form import Reading, read_fields
from app.ui.ticket_words import problem_of, result_of
from app.ui.views import ticket as views

router = APIRouter(include_in_schema=False)

_PAGE: Final = "pages/terminal/ticket.html"
_TICKET: Final = "fragments/terminal/_ticket.html"
_FORM: Final = "fragments/terminal/_ticket_form.html"
_FIGURES: Final = "fragments/terminal/_ticket_figures.html"
_REVIEW: Final = "fragments/terminal/_ticket_review.html"
_RESULT: Final = "fragments/terminal/_ticket_result.html"
_ROW: Final = "fragments/terminal/_ticket_row.html"
_INTENT: Final = "fragments/terminal/_ticket_intent.html"
_DIALOG: Final = "ticket-dialog"
_SIZED: Final = "sized-"
_LONGEST: Final = 200
_MOST_FIELDS: Final = 80
_TOASTS: Final[dict[views.Tone, ToastLevel]] = {"ok": "success", "info": "info", "warn": "warning", "err": "error"}


@router.get("/trading/ticket")
async def show_ticket(request: Request, principal: CurrentUser, symbol: str = "") -> Response:
    """The ticket, for a page that holds it; or alone on a page of its own, for a narrow window."""
    with use_language(reader_of(request, principal).language):
        fields = read_fields(request.query_params)
        ticket = await open_ticket(
            request.app, principal, broker_ids=request.query_params.getlist("broker_id"), symbol=symbol[:60], fields=fields
        )
        view = ticket.view()
    if request.headers.get("hx-request") == "true":
        return fragment(request, principal, _TICKET, view)
    shell = await shell_of(request, principal, page="trading")
    return page(request, _PAGE, views.TicketPage(shell=shell, ticket=view))


@router.post("/trading/ticket/preview")
async def compute(request: Request, principal: CurrentUser) -> Response:
    """The figures of what is typed now."""
    form = await _form(request)
    with use_language(reader_of(request, principal).language):
        ticket = await _ticket(request, principal, form)
        figures = ticket.figures(await ticket.lines())
    return fragment(request, principal, _FIGURES, figures)


@router.post("/trading/ticket/review")
async def review(request: Request, principal: CurrentUser) -> Response:
    """The question with the exact orders; or the form with what is wrong at its fields."""
    form = await _form(request)
    with use_language(reader_of(request, principal).language):
        ticket = await _ticket(request, principal, form)
        wish, errors = _read(ticket, form)
        if errors:
            return await _again(request, principal, ticket, errors)
        results = await ticket.previews(wish)
        question = ticket.review(results, _hidden(form))
        if not question.is_any_ready:
            line = question.accounts[0].line
            return await _again(request, principal, ticket, {line.field: line.denial})
    return fragment(request, principal, _REVIEW, question)


@router.post("/trading/ticket/send")
async def send(request: Request, principal: CurrentUser) -> Response:
    """Send it to every chosen account. The same form again, clicked or sent twice, makes no second order."""
    form = await _form(request)
    with use_language(reader_of(request, principal).language):
        ticket = await _ticket(request, principal, form)
        wish, errors = _read(ticket, form)
        if errors:
            return await _again(request, principal, ticket, errors)
        results = await _placed(request, principal, ticket, wish, form)
        if len(results) == 1 and (problem := results[0].problem) is not None and problem.status == 422:
            line = ticket.refused(ticket.chosen[0], problem)
            return await _again(request, principal, ticket, {line.field: line.denial})
        rows = [await _row(request, principal, ticket, result, wish) for result in results]
        worst = min(rows, key=lambda row: ("err", "warn", "info", "ok").index(row.tone))
        toast = (_TOASTS[worst.tone], worst.text)
    templating, reader = templating_of(request), reader_of(request, principal)
    fresh = views.TicketIntent(intent=str(new_id()))
    partials = templating.partial(_INTENT, fresh, target="ticket-intent", reader=reader, swap="outerHTML")
    return fragment(
        request,
        principal,
        _RESULT,
        views.TicketResults(rows=tuple(rows)),
        toast=toast,
        close_dialog=_DIALOG,
        partials=partials,
    )


@router.get("/trading/ticket/orders/{order_id}")
async def outcome(request: Request, principal: CurrentUser, order_id: UUID) -> Response:
    """What has become of an order whose outcome was open."""
    with use_language(reader_of(request, principal).language):
        row = await _row_of(request, principal, order_id)
    return fragment(request, principal, _ROW, row)


async def _form(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=_MOST_FIELDS)


async def _ticket(request: Request, principal: Principal, form: FormData) -> Ticket:
    ids = [str(value) for value in form.getlist("broker_id")]
    symbol = str(form.get("symbol", ""))[:60]
    return await open_ticket(request.app, principal, broker_ids=ids, symbol=symbol, fields=read_fields(form))


def _read(ticket: Ticket, form: FormData) -> tuple[Wish, dict[str, str]]:
    """The wish, and what keeps it from being one; without its name a form is not sent, lest it be sent twice."""
    given = str(form.get("intent", ""))
    reading = Reading(ticket.fields)
    wish = reading.wish(ticket.symbol, given)
    errors = {**reading.missing(), **reading.errors}
    if not ticket.chosen:
        errors[""] = gettext("There is no broker account yet; add one, then send the order.")
    elif ticket.rules is None:
        errors[""] = ticket.problem
    elif not _is_name(given):
        errors[""] = gettext("This form is out of date. Look at it again, then send it.")
    return wish, errors


def _is_name(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


async def _placed(request: Request, principal: Principal, ticket: Ticket, wish: Wish, form: FormData) -> list[AccountResult[Placed]]:
    """Send to each account what the question showed for it, else what the form says."""
    desk: Desk = request.app.state.desk
    books = lookout_of(request.app).books
    named = wish.with_key(f"manual:{principal.user_id}:{wish.intent.key}")
    exact = {account.id: size for account in ticket.chosen if (size := _shown_size(form, account.id)) is not None}
    was_asked = any(name.startswith(_SIZED) for name in form)
    ids = [broker_id for broker_id in ticket.chosen_ids if not was_asked or str(broker_id) in exact]
    return await place_on_each(desk, principal.user_id, named, ids, books=books, sizes={UUID(key): size for key, size in exact.items()})


def _shown_size(form: FormData, broker_id: str) -> Size | None:
    by, _, text = str(form.get(f"{_SIZED}{broker_id}", "")).partition(":")
    try:
        value = parse_decimal(text)
    except ValueError:
        return None
    return Size(by=SizeBy.AMOUNT if by == "amount" else SizeBy.QUANTITY, value=value) if value > 0 else None


def _hidden(form: FormData) -> tuple[tuple[str, str], ...]:
    """What was typed, to be sent with the answer to the question."""
    return tuple((name, value[:_LONGEST]) for name, value in form.multi_items() if isinstance(value, str) and not name.startswith(_SIZED))


async def _again(request: Request, principal: Principal, ticket: Ticket, errors: dict[str, str]) -> Response:
    """The form with each sentence at its field, where the keyboard goes. A toast would cover the buttons of a phone."""
    figures = ticket.figures(await ticket.lines())
    view = replace(ticket.view(errors=errors), figures=figures)
    return fragment(request, principal, _FORM, view, status=422, close_dialog=_DIALOG)


async def _row(request: Request, principal: Principal, ticket: Ticket, result: AccountResult[Placed], wish: Wish) -> views.TicketResult:
    account = next(each for each in ticket.chosen if each.id == str(result.broker_id))
    if result.value is None:
        assert result.problem is not None  # noqa: S101  # one of the two
        return problem_of(result.problem, account=account.name)
    if not result.value.is_new and not _is_that(wish, ticket, result.value):
        return problem_of(DuplicateIntent(OTHER_ORDER), account=account.name)
    # Of a pair that was not taken, the half that says why.
    told = sorted(result.value.orders, key=lambda order: order.detail is None)
    row = await queries.get_order(database_of(request), principal.user_id, told[0].id)
    return result_of(row, account=account.name, exchange=account.exchange, rules=ticket.rules)


def _is_that(wish: Wish, ticket: Ticket, placed: Placed) -> bool:
    """Whether a repeated form asks for what it asked for before."""
    order = placed.orders[0]
    return order.symbol == ticket.symbol and order.side is wish.intent.side


async def _row_of(request: Request, principal: Principal, order_id: UUID) -> views.TicketResult:
    row = await queries.get_order(database_of(request), principal.user_id, order_id)
    desk: Desk = request.app.state.desk
    async with database_of(request).transaction() as session:
        account = await get_broker(session, principal.user_id, row["broker_id"])
    try:
        rules = (await desk.instruments.all(account.exchange)).get(row["symbol"])
    except AppError:
        rules = None
    return result_of(row, account=account.name, exchange=account.exchange, rules=rules)
