"""What is done about orders and positions from their rows: change a price, cancel one, cancel all, close all."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.i18n import gettext, ngettext, use_language
from app.core.ids import new_id
from app.core.sentences import said
from app.domain.enums import OrderState
from app.errors import AppError, NotFound, OrderNotFound
from app.trading.amend import Amendment, amend
from app.trading.cancel import cancel, cancel_all
from app.trading.close import close_position
from app.trading.desk import Desk
from app.trading.schemas import parse_decimal
from app.ui.moving import order_question
from app.ui.surroundings import fragment, reader_of, regions_of
from app.ui.templating import ToastLevel, triggers
from app.ui.terminal import TerminalRegions, place_of
from app.ui.views import AllQuestion, AllRow, MoveField, PositionRow

router = APIRouter(include_in_schema=False)

_MOVE: Final = "fragments/terminal/_move.html"
_ALL: Final = "fragments/terminal/_all_question.html"
_DIALOG: Final = "position-dialog"
_SENT: Final = (OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.OPEN, OrderState.PARTIAL)

Text = Annotated[str, Form(max_length=60)]


@router.post("/trading/orders/{order_id}/amend")
async def change_order(
    request: Request, principal: CurrentUser, order_id: UUID, price: Text = "", trigger_price: Text = "", quantity: Text = ""
) -> Response:
    """Change an open order; one that is refused stands as it was, and the form comes back with the reason."""
    typed = {"price": price, "trigger_price": trigger_price, "quantity": quantity}
    with use_language(reader_of(request, principal).language):
        question = await order_question(regions_of(request, principal), order_id, price="")
        given = {name: text for name, text in typed.items() if text.strip()}
        error = question.error
        if not error:
            try:
                await amend(_desk(request), principal.user_id, order_id, _amendment(given, question.fields))
            except OrderNotFound:
                raise
            except (AppError, ValueError) as refused:
                unreadable = gettext("This must be a number above 0, such as 0.01, without spaces.")
                error = refused.message if isinstance(refused, AppError) else unreadable
        if error:
            fields = tuple(replace(field, value=given.get(field.name, field.value)) for field in question.fields)
            again = replace(question, fields=fields, error=error, can_retry=not question.error)
            return fragment(request, principal, _MOVE, again, status=422, toast=("error", error))
        return _told("success", gettext("The order is changed."), close=True)


def _amendment(given: dict[str, str], fields: tuple[MoveField, ...]) -> Amendment:
    """Only what is not as it was: a price that is wanted again would be an order sent again.

    Raises:
        ValueError: a number that is none.
    """
    was = {field.name: Decimal(field.value) for field in fields}
    wanted = {name: parse_decimal(text) for name, text in given.items()}
    if any(value <= 0 for value in wanted.values()):
        raise ValueError("must be above 0")
    return Amendment(**{name: value for name, value in wanted.items() if value != was.get(name)})


@router.post("/trading/orders/{order_id}/cancel")
async def cancel_order(request: Request, principal: CurrentUser, order_id: UUID) -> Response:
    """Ask for the end of one order."""
    with use_language(reader_of(request, principal).language):
        try:
            order = await cancel(_desk(request), principal.user_id, order_id)
        except OrderNotFound:
            raise
        except AppError as error:
            return _told("error", error.message, status=422)
        if order.state in _SENT:
            return _told("info", gettext("The exchange is asked to cancel the order; its row says what became of it."))
        return _told("success", gettext("The order is canceled."))


@router.get("/trading/cancel-all")
async def ask_cancel_all(request: Request, principal: CurrentUser, symbol: Annotated[str, Query(max_length=60)] = "") -> Response:
    """The question whether all open orders are to be canceled."""
    regions = regions_of(request, principal)
    rows = (await TerminalRegions(regions, await place_of(request.app, principal.user_id)).open_orders()).rows
    shown = tuple(
        AllRow(symbol=row.symbol, side=row.side.value, quantity=row.quantity - row.filled_quantity, broker=row.broker, step=row.step)
        for row in rows
        if not row.is_guarding and symbol in ("", row.symbol)
    )
    return fragment(request, principal, _ALL, AllQuestion(action="cancel", rows=shown, symbol=symbol))


@router.post("/trading/cancel-all")
async def cancel_every_order(request: Request, principal: CurrentUser, symbol: Text = "") -> Response:
    """Cancel what is open, of one symbol or all; what guards a position stays."""
    with use_language(reader_of(request, principal).language):
        found = await cancel_all(_desk(request), principal.user_id, symbol=symbol or None)
        left = sum(order.state in _SENT for order in found)
        if left:
            words = ngettext("%(num)s order is still being canceled.", "%(num)s orders are still being canceled.", left) % {"num": left}
            return _told("warning", words, close=True)
        count = len(found)
        words = ngettext("%(num)s order is canceled.", "%(num)s orders are canceled.", count) % {"num": count}
        return _told("success", words, close=True)


@router.get("/trading/close-all")
async def ask_close_all(request: Request, principal: CurrentUser, symbol: Annotated[str, Query(max_length=60)] = "") -> Response:
    """The question whether all positions are to be sold now, with a key that makes one order each of several clicks."""
    rows = (await regions_of(request, principal).positions()).rows
    shown = tuple(
        AllRow(symbol=row.symbol, side=row.side, quantity=row.quantity, broker=row.broker, step=row.step, id=row.id)
        for row in rows
        if symbol in ("", row.symbol)
    )
    return fragment(request, principal, _ALL, AllQuestion(action="close", rows=shown, symbol=symbol, key=str(new_id())))


@router.post("/trading/close-all")
async def close_every_position(
    request: Request,
    principal: CurrentUser,
    symbol: Text = "",
    key: Annotated[str, Form(max_length=100)] = "",
    position: Annotated[list[str], Form(max_length=1000)] = [],  # noqa: B006  # FastAPI copies it
) -> Response:
    """Sell every position that the question named, or of one symbol or all, at the market.

    One that cannot be sold keeps none of the others, and an account that is slow none of other accounts.
    """
    key = key or str(new_id())
    with use_language(reader_of(request, principal).language):
        outcome = _Outcome()
        accounts: defaultdict[str, list[PositionRow]] = defaultdict(list)
        for row in (await regions_of(request, principal).positions()).rows:
            if symbol in ("", row.symbol) and (not position or row.id in position):
                accounts[row.broker_id].append(row)

        async def close_each(rows: list[PositionRow]) -> None:
            for row in rows:
                await _close(request, principal, UUID(row.id), row.symbol, key=key, outcome=outcome)

        await asyncio.gather(*(close_each(rows) for rows in accounts.values()))
        if outcome.refusals:
            return _told("error", " ".join([outcome.words, *outcome.refusals]), close=True)
        return _told("success", outcome.words, close=True)


@dataclass(slots=True)
class _Outcome:
    """What became of several positions."""

    closed: int = 0
    refusals: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        words = ngettext("%(num)s position is closed or being closed.", "%(num)s positions are closed or being closed.", self.closed)
        return words % {"num": self.closed}


async def _close(request: Request, principal: Principal, position_id: UUID, symbol: str, *, key: str, outcome: _Outcome) -> None:
    try:
        made = await close_position(
            _desk(request), principal.user_id, position_id, key=f"manual:{principal.user_id}:{key}:{position_id.hex}"
        )
    except NotFound:
        return  # closed meanwhile
    except AppError as error:
        outcome.refusals += (f"{symbol}: {said(error.message)}",)
        return
    if made.order.state is OrderState.FILLED or made.order.state in _SENT:
        outcome.closed += 1
    else:
        outcome.refusals += (f"{symbol}: {said(made.order.detail or made.order.state.value)}",)


def _told(level: ToastLevel, words: str, *, close: bool = False, status: int = 200) -> Response:
    """Answer with a toast alone: the rows themselves come by the stream."""
    trigger = triggers(toast=said(words), level=level, close_dialog=_DIALOG if close else "")
    return Response(status_code=status, headers={"HX-Trigger": trigger, "HX-Reswap": "none", "Cache-Control": "no-store"})


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
