"""What is done about one open position: guard it otherwise or no longer, move its stop to the entry, close it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Request
from pydantic import ValidationError
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.i18n import gettext, use_language
from app.core.ids import new_id
from app.domain.enums import OrderState
from app.domain.protection import ProtectionPlan
from app.errors import NotFound, OrderDenied
from app.trading.close import break_even, close_position, protect_position
from app.trading.protection_schemas import ProtectionIn
from app.trading.schemas import parse_decimal
from app.trading.submit import Submission
from app.ui.guarding import form_again, form_of, guard_row
from app.ui.surroundings import fragment, reader_of, regions_of
from app.ui.templating import ToastLevel
from app.ui.views import GuardForm, PositionQuestion

router = APIRouter(include_in_schema=False)

_FORM: Final = "fragments/trading/_guard_form.html"
_QUESTION: Final = "fragments/trading/_position_question.html"
_POSITIONS: Final = "fragments/trading/_positions.html"
_DIALOG: Final = "position-dialog"
_ON_ITS_WAY: Final = (OrderState.INTENT, OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.OPEN, OrderState.PARTIAL)

Text = Annotated[str, Form(max_length=60)]
Texts = Annotated[list[str], Form(max_length=20)]


@router.get("/positions/{position_id}/guard")
async def ask_guard(request: Request, principal: CurrentUser, position_id: UUID) -> Response:
    """The form with what guards the position now."""
    position, guard = await regions_of(request, principal).position(position_id)
    return fragment(request, principal, _FORM, form_of(position, guard))


@router.post("/positions/{position_id}/guard")
async def guard(
    request: Request,
    principal: CurrentUser,
    position_id: UUID,
    stop_loss: Text = "",
    stop_limit_price: Text = "",
    trailing_percent: Text = "",
    target_price: Texts = [],  # noqa: B006  # FastAPI copies it
    target_percent: Texts = [],  # noqa: B006  # FastAPI copies it
    break_even_after: Text = "",
) -> Response:
    """Guard the position so from now on; what cannot be used comes back with its sentence."""
    given = _given(stop_loss, stop_limit_price, trailing_percent, _targets(target_price, target_percent), break_even_after)
    with use_language(reader_of(request, principal).language):
        errors: dict[str, str] = {}
        try:
            plan = ProtectionIn.model_validate(given).plan()
            if plan.is_empty:
                errors[""] = gettext(
                    "Give a stop, a trailing distance or a target. To guard the position no longer, remove its protection."
                )
            else:
                await protect_position(request.app.state.desk, principal.user_id, position_id, plan)
        except ValidationError as error:
            errors = {_field(item["loc"]): _sentence(item["loc"], given) for item in error.errors()}
        except OrderDenied as error:
            errors = {_shown(error.field): error.message}
        if errors:
            return await _form_again(request, principal, position_id, given, errors)
        return await _done(request, principal, gettext("The position is guarded so from now on."))


@router.post("/positions/{position_id}/break-even")
async def move_to_break_even(request: Request, principal: CurrentUser, position_id: UUID) -> Response:
    """Move the stop to the entry price."""
    with use_language(reader_of(request, principal).language):
        try:
            await break_even(request.app.state.desk, principal.user_id, position_id)
        except (OrderDenied, NotFound) as error:
            region = await regions_of(request, principal).positions()
            return fragment(request, principal, _POSITIONS, region, status=error.status, toast=("error", error.message))
        return await _done(request, principal, gettext("The stop is moved to the entry price."))


@router.get("/positions/{position_id}/unguard")
async def ask_unguard(request: Request, principal: CurrentUser, position_id: UUID) -> Response:
    """The question whether the position is to be without its stop and targets."""
    position, guard = await regions_of(request, principal).position(position_id)
    question = PositionQuestion(action="unguard", position=position, guard=None if guard is None else guard_row(guard))
    return fragment(request, principal, _QUESTION, question)


@router.post("/positions/{position_id}/unguard")
async def unguard(request: Request, principal: CurrentUser, position_id: UUID) -> Response:
    """Take the position's stop and targets away."""
    with use_language(reader_of(request, principal).language):
        try:
            await protect_position(request.app.state.desk, principal.user_id, position_id, ProtectionPlan())
        except OrderDenied as error:
            position, guard = await regions_of(request, principal).position(position_id)
            shown = None if guard is None else guard_row(guard)
            question = PositionQuestion(action="unguard", position=position, guard=shown, error=error.message)
            return fragment(request, principal, _QUESTION, question, status=422)
        return await _done(request, principal, gettext("Nothing guards the position any more."), level="warning")


@router.get("/positions/{position_id}/close")
async def ask_close(request: Request, principal: CurrentUser, position_id: UUID) -> Response:
    """The question whether the position is to be sold now, with a key that makes one order of several clicks."""
    position, _ = await regions_of(request, principal).position(position_id)
    return fragment(request, principal, _QUESTION, PositionQuestion(action="close", position=position, key=str(new_id())))


@router.post("/positions/{position_id}/close")
async def close(
    request: Request,
    principal: CurrentUser,
    position_id: UUID,
    key: Annotated[str, Form(max_length=100)] = "",
    percent: Text = "100",
) -> Response:
    """Sell it at the market, or a part of it. Its stop and targets step aside, and go or guard what is left."""
    with use_language(reader_of(request, principal).language):
        try:
            fraction = parse_decimal(percent) / 100
        except ValueError:
            fraction = Decimal(0)
        if not 0 < fraction <= 1:
            wrong = gettext("This must be a number above 0 and at most 100.")
            return await _asked_again(request, principal, position_id, "close", percent=percent, percent_error=wrong)
        try:
            made = await close_position(
                request.app.state.desk, principal.user_id, position_id, key=_named(principal, key), fraction=fraction
            )
        except OrderDenied as error:
            return await _asked_again(request, principal, position_id, "close", percent=percent, error=error.message)
        level, words = _outcome(
            made, gettext("The position is closed.") if fraction == 1 else gettext("That part of the position is closed.")
        )
        return await _done(request, principal, words, level=level)


@router.get("/positions/{position_id}/reverse")
async def ask_reverse(request: Request, principal: CurrentUser, position_id: UUID) -> Response:
    """The question whether the position is to be turned round."""
    position, _ = await regions_of(request, principal).position(position_id)
    return fragment(request, principal, _QUESTION, PositionQuestion(action="reverse", position=position, key=str(new_id())))


@router.post("/positions/{position_id}/reverse")
async def reverse(request: Request, principal: CurrentUser, position_id: UUID, key: Annotated[str, Form(max_length=100)] = "") -> Response:
    """Close it and open as much on the other side, where the account can."""
    with use_language(reader_of(request, principal).language):
        desk = request.app.state.desk
        try:
            made = await close_position(desk, principal.user_id, position_id, key=_named(principal, key), is_reversal=True)
        except OrderDenied as error:
            return await _asked_again(request, principal, position_id, "reverse", error=error.message)
        level, words = _outcome(made, gettext("The position is turned round."))
        return await _done(request, principal, words, level=level)


def _named(principal: Principal, key: str) -> str:
    return f"manual:{principal.user_id}:{key}" if key else f"manual:{new_id()}"


async def _asked_again(
    request: Request,
    principal: Principal,
    position_id: UUID,
    action: Literal["close", "reverse"],
    *,
    percent: str = "100",
    error: str = "",
    percent_error: str = "",
) -> Response:
    position, _ = await regions_of(request, principal).position(position_id)
    question = PositionQuestion(
        action=action, position=position, key=str(new_id()), error=error, percent=percent, percent_error=percent_error
    )
    return fragment(request, principal, _QUESTION, question, status=422)


def _outcome(made: Submission, done: str) -> tuple[ToastLevel, str]:
    order = made.order
    if order.state is OrderState.FILLED:
        return "success", done
    if order.state in _ON_ITS_WAY:
        return "info", gettext("The order that closes it is on its way; it is among your orders.")
    return "error", order.detail or gettext("The order that was to close it did not go through; it is among your orders.")


def _given(
    stop_loss: str, stop_limit_price: str, trailing_percent: str, targets: list[dict[str, str]], break_even_after: str
) -> dict[str, Any]:
    """What was typed, in the API's shape; an empty field is left out. Of a single target without a part, all is meant."""
    if len(targets) == 1 and not targets[0]["percent"]:
        targets[0]["percent"] = "100"
    return {
        "stop_loss": stop_loss.strip() or None,
        "stop_limit_price": stop_limit_price.strip() or None,
        "trailing_percent": trailing_percent.strip() or None,
        "take_profits": targets,
        "break_even_after": break_even_after.strip() or None,
    }


def _targets(prices: Sequence[str], percents: Sequence[str]) -> list[dict[str, str]]:
    rows = [{"price": price.strip(), "percent": percent.strip()} for price, percent in zip_longest(prices, percents, fillvalue="")]
    return [row for row in rows if row["price"] or row["percent"]]


def _field(place: Sequence[int | str]) -> str:
    """The form's field: `stop_loss`, or `price-0` of the first target."""
    return f"{place[2]}-{place[1]}" if place[0] == "take_profits" and len(place) == 3 else str(place[0])


def _shown(field: str | None) -> str:
    """Where a refusal of trading is shown: it says of targets in its words which it means."""
    return field if field in ("stop_loss", "stop_limit_price", "trailing_percent", "break_even_after") else ""


def _sentence(place: Sequence[int | str], given: Mapping[str, Any]) -> str:
    if place[0] == "break_even_after":
        return gettext("This must be the number of a target: 1 for the first.")
    if place[0] == "take_profits" and len(place) == 3 and not given["take_profits"][place[1]][place[2]]:
        return gettext("At what price?") if place[2] == "price" else gettext("How much?")
    return gettext("This must be a number above 0, such as 0.01, without spaces.")


async def _form_again(
    request: Request, principal: Principal, position_id: UUID, given: Mapping[str, Any], errors: dict[str, str]
) -> Response:
    position, guard = await regions_of(request, principal).position(position_id)
    form: GuardForm = form_again(position, given, is_guarded=guard is not None, errors=errors)
    return fragment(request, principal, _FORM, form, status=422)


async def _done(request: Request, principal: CurrentUser, words: str, *, level: ToastLevel = "success") -> Response:
    region = await regions_of(request, principal).positions()
    return fragment(request, principal, _POSITIONS, region, toast=(level, words), close_dialog=_DIALOG)
