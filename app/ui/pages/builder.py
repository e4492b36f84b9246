"""The message builder, and the box in which any message is read."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.i18n import gettext, use_language
from app.errors import BadPayload
from app.ui.message_builder import FOLLOW, build, choices_of
from app.ui.pages.hooks import TRIED, Message, hook_of, put_through
from app.ui.surroundings import fragment, page, reader_of, shell_of
from app.ui.views import BuilderFields, BuilderForm, BuilderView, BuiltMessage, Choice, Tried
from app.ui.wishes import wishes_of
from app.webhooks.models import Decision
from app.webhooks.reading import read_message
from app.webhooks.router import address
from app.webhooks.service import list_webhooks

router = APIRouter(include_in_schema=False)

_FORM: Final = "fragments/webhooks/_builder_form.html"
_BUILT: Final = "fragments/webhooks/_built.html"
_PASTED: Final = "pasted"
#: Stands where the secret of the address is.
_HIDDEN: Final = "…"
_KINDS: Final = ("strategy", "indicator")
_LONGEST: Final = 100


class TypedMessage(BaseModel):
    """What the builder's form sends."""

    hook: str = ""
    kind: str = "strategy"
    action: str = FOLLOW
    symbol: str = ""
    type: str = "market"
    price: str = ""
    size_kind: str = "strategy"
    size_value: str = ""
    stop_kind: str = ""
    stop_value: str = ""
    target_kind: str = ""
    target_value: str = ""
    target2_value: str = ""
    target_part: str = ""
    trailing: str = ""
    pine: str = "6"

    def chosen(self) -> BuilderFields:
        """Return the choices; of what cannot be chosen together, what can."""
        values: dict[str, Any] = {name: value[:_LONGEST] for name, value in self.model_dump().items()}
        values["kind"] = self.kind if self.kind in _KINDS else "strategy"
        values["pine"] = "5" if self.pine == "5" else "6"
        if values["kind"] == "indicator":
            values["action"] = "buy" if self.action == FOLLOW else values["action"]
            values["size_kind"] = "base" if self.size_kind == "strategy" else values["size_kind"]
            values["size_value"] = values["size_value"] or ("0.01" if self.size_kind == "strategy" else "")
        return BuilderFields(**values)


async def _builder(request: Request, principal: Principal, chosen: BuilderFields) -> BuilderForm:
    state = request.app.state
    async with state.database.transaction() as session:
        hooks = await list_webhooks(session, principal.user_id)
    known = next((hook for hook in hooks if str(hook.id) == chosen.hook), None)
    name = "" if known is None else known.name
    built: BuiltMessage = build(chosen, hook_name=name, url=address(request, _HIDDEN), now=state.clock.now())
    return BuilderForm(
        hooks=(Choice(value="", label=gettext("any webhook")), *(Choice(value=str(hook.id), label=hook.name) for hook in hooks)),
        fields=chosen,
        errors=built.errors,
        built=built,
        **choices_of(chosen),
    )


@router.get("/webhooks/builder")
async def show_builder(request: Request, principal: CurrentUser, hook: Annotated[str, Query(max_length=40)] = "") -> Response:
    """The page."""
    shell = await shell_of(request, principal, page="webhooks")
    with use_language(shell.reader.language):
        view = BuilderView(shell=shell, form=await _builder(request, principal, BuilderFields(hook=hook)))
    return page(request, "pages/webhooks/builder.html", view)


@router.post("/webhooks/builder")
async def build_message(request: Request, principal: CurrentUser, typed: Annotated[TypedMessage, Form()]) -> Response:
    """The form with what was chosen, and the message that comes of it."""
    with use_language(reader_of(request, principal).language):
        form = await _builder(request, principal, typed.chosen())
    return fragment(request, principal, _FORM, form)


@router.post("/webhooks/builder/message")
async def show_message(request: Request, principal: CurrentUser, typed: Annotated[TypedMessage, Form()]) -> Response:
    """The message alone, while somebody types."""
    with use_language(reader_of(request, principal).language):
        form = await _builder(request, principal, typed.chosen())
    return fragment(request, principal, _BUILT, form.built)


@router.post("/webhooks/builder/check")
async def check_message(
    request: Request, principal: CurrentUser, hook: Annotated[str, Form(max_length=40)] = "", message: Message = ""
) -> Response:
    """Send the sample through the webhook's test door, or only read it when no webhook was chosen."""
    request.app.state.door.trials.test(principal.user_id)
    with use_language(reader_of(request, principal).language):
        found = _read(message, place="built")
        chosen = _uuid(hook)
        if chosen is not None and found.decision == Decision.PING:
            await hook_of(request, principal, chosen)
            found = await put_through(request, principal, chosen, message, place="built")
    return fragment(request, principal, TRIED, found)


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None


@router.post("/webhooks/builder/read")
async def read_pasted(request: Request, principal: CurrentUser, message: Message = "") -> Response:
    """Say what is understood of any message, or what is wrong with it and where. Nothing is kept."""
    request.app.state.door.trials.test(principal.user_id)
    with use_language(reader_of(request, principal).language):
        found = _read(message, place=_PASTED)
    return fragment(request, principal, TRIED, found)


def _read(message: str, *, place: str) -> Tried:
    try:
        reading = read_message(message.encode(errors="replace"))
    except BadPayload as error:
        return Tried(place=place, decision="unreadable", reason=error.message, code=error.code)
    return Tried(place=place, decision="ping", reason=gettext("This message can be read."), wishes=wishes_of(reading))
