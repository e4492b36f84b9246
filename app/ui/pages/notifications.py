"""Notifications: a section of the account with a page of its own, and the bell that is in every page."""

from datetime import time
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.http import database_of
from app.core.i18n import N_, gettext, use_language
from app.errors import AppError, InvalidInput
from app.notifications import bell, log, settings, targets
from app.notifications.forms import FORMS, address_of
from app.notifications.kinds import NoticeKind, Severity
from app.notifications.router import targets_of
from app.notifications.settings import BellWish, DeadmanWish
from app.notifications.targets import Wish
from app.notifications.words import Reader
from app.ui.notifications import attempt_row, bell_list, deadman_form, form_for, quiet_form, target_row
from app.ui.surroundings import fragment, page, reader_of, see_other, shell_of, templating_of
from app.ui.views import BellList, BellView, NotificationsView, PlaceRow, Region, SentRow

router = APIRouter(include_in_schema=False)

_TARGETS = "fragments/notifications/_targets.html"
_FORM = "fragments/notifications/_target_form.html"
_SETTINGS = "fragments/notifications/_settings.html"
_DEADMAN = "fragments/notifications/_deadman.html"
_LOG = "fragments/notifications/_log.html"
_LIST = "fragments/shell/_bell_list.html"
_COUNT = "fragments/shell/_bell_count.html"
_IN_THE_BELL = 15
_IN_THE_LOG = 50
_NEEDED = N_("This is needed.")
_NO_TIME = N_("This is no time of the day, such as 22:00.")


@router.get("/account/notifications")
async def show_notifications(request: Request, principal: CurrentUser) -> Response:
    """All of it on one page."""
    shell = await shell_of(request, principal, page="account")
    with use_language(shell.reader.language):
        async with database_of(request).transaction() as session:
            stored = await settings.settings_of(session, principal.user_id)
        view = NotificationsView(
            shell=shell,
            targets=await _targets(request, principal),
            form=form_for(),
            settings=quiet_form(stored, zone=shell.timezone),
            deadman=deadman_form(stored),
            log=await _log(request, principal),
        )
    return page(request, "pages/accounts/notifications.html", view)


@router.get("/account/notifications/form")
async def show_form(request: Request, principal: CurrentUser, service: str = "", target_id: str = "", name: str = "") -> Response:
    """The fields of a service, for a new target or for a stored one; the name that was typed stays."""
    wanted = _id(FormData({"target_id": target_id}))
    async with database_of(request).transaction() as session:
        target = None if wanted is None else await targets.get(session, principal.user_id, wanted)
    with use_language(reader_of(request, principal).language):
        form = form_for(target, service=service, name=name or None)
    return fragment(request, principal, _FORM, form)


@router.get("/account/notifications/log")
async def show_log(request: Request, principal: CurrentUser) -> Response:
    """The log as it is now."""
    with use_language(reader_of(request, principal).language):
        rows = await _log(request, principal)
    return fragment(request, principal, _LOG, rows)


@router.post("/account/notifications/targets")
async def save_target(request: Request, principal: CurrentUser) -> Response:
    """Name a target, or change one; what cannot be used comes back with its sentence."""
    given = await request.form()
    target_id = _id(given)
    with use_language(reader_of(request, principal).language):
        try:
            async with database_of(request).transaction() as session:
                wish = _wish(given, is_new=target_id is None)
                if target_id is None:
                    await targets_of(request).create(session, principal.user_id, wish)
                    form = form_for()
                else:
                    form = form_for(await targets_of(request).change(session, principal.user_id, target_id, wish))
        except InvalidInput as error:
            return await _again(request, principal, given, error, target_id)
        except AppError as error:
            if error.status not in (409, 503):
                raise
            return await _again(request, principal, given, error, target_id)
        rows = await _targets(request, principal)
        partial = templating_of(request).partial(_TARGETS, rows, target="targets", reader=reader_of(request, principal), swap="outerHTML")
        words = gettext("It is stored. Send a test to see whether it arrives.")
    dialog = "target-dialog" if target_id is None else "change-dialog"
    return fragment(request, principal, _FORM, form, partials=partial, toast=("success", words), close_dialog=dialog)


async def _again(request: Request, principal: Principal, given: FormData, error: AppError, target_id: UUID | None) -> Response:
    async with database_of(request).transaction() as session:
        target = None if target_id is None else await targets.get(session, principal.user_id, target_id)
    form = form_for(
        target,
        service=_text(given, "service"),
        given={name.removeprefix("field-"): _text(given, name) for name in given if name.startswith("field-")},
        name=_text(given, "name"),
        severity=_text(given, "severity"),
        kinds=None if _text(given, "usual") else [str(kind) for kind in given.getlist("kinds")],
        errors={error.field or "": error.message},
    )
    return fragment(request, principal, _FORM, form, status=422)


def _wish(given: FormData, *, is_new: bool) -> Wish:
    name = _text(given, "name")
    if not name or len(name) > 60:
        raise InvalidInput(_NEEDED, field="name")
    service = _text(given, "service")
    fields = {key.removeprefix("field-"): str(value) for key, value in given.multi_items() if key.startswith("field-")}
    has_address = (
        is_new or any(fields.get(field.name) for field in FORMS[service].fields if not field.choices) if service in FORMS else True
    )
    is_usual = bool(_text(given, "usual"))
    return Wish(
        name=name,
        url=address_of(service, fields) if has_address else None,
        is_enabled=None,
        least_severity=_severity(given),
        kinds=None if is_usual else _kinds(given, "kinds"),
        takes_default=is_usual,
    )


def _text(given: FormData, name: str) -> str:
    value = given.get(name)
    return value.strip() if isinstance(value, str) else ""


def _id(given: FormData) -> UUID | None:
    try:
        return UUID(_text(given, "target_id"))
    except ValueError:
        return None


def _severity(given: FormData) -> Severity:
    try:
        return Severity(_text(given, "severity"))
    except ValueError:
        raise InvalidInput(_NEEDED, field="severity") from None


def _kinds(given: FormData, name: str) -> list[NoticeKind]:
    known = {kind.value for kind in NoticeKind}
    return [NoticeKind(str(kind)) for kind in given.getlist(name) if str(kind) in known]


@router.post("/account/notifications/targets/{target_id}/test")
async def test_target(request: Request, principal: CurrentUser, target_id: UUID) -> Response:
    """Send a message there now, and show what came of it."""
    language = reader_of(request, principal).language
    with use_language(language):
        outcome = await targets_of(request).test(principal.user_id, target_id, language=language)
        rows = await _targets(request, principal)
        words = gettext("The test was sent.") if outcome.is_sent else gettext("The test did not arrive.")
        partial = await _log_partial(request, principal)
    return fragment(request, principal, _TARGETS, rows, partials=partial, toast=("success" if outcome.is_sent else "error", words))


@router.post("/account/notifications/targets/{target_id}/turn")
async def turn_target(request: Request, principal: CurrentUser, target_id: UUID) -> Response:
    """Pause a target, or resume it."""
    async with database_of(request).transaction() as session:
        target = await targets.get(session, principal.user_id, target_id, is_locked=True)
        await targets_of(request).change(session, principal.user_id, target_id, Wish(is_enabled=not target.is_enabled))
    with use_language(reader_of(request, principal).language):
        rows = await _targets(request, principal)
    return fragment(request, principal, _TARGETS, rows)


@router.post("/account/notifications/targets/{target_id}/remove")
async def remove_target(request: Request, principal: CurrentUser, target_id: UUID) -> Response:
    """Forget a target."""
    async with database_of(request).transaction() as session:
        await targets.remove(session, principal.user_id, target_id)
    with use_language(reader_of(request, principal).language):
        rows = await _targets(request, principal)
        words = gettext("The target is removed.")
    return fragment(request, principal, _TARGETS, rows, toast=("success", words))


@router.post("/account/notifications/settings")
async def save_settings(request: Request, principal: CurrentUser) -> Response:
    """Store time zone, quiet hours and what the bell shows."""
    given = await request.form()
    reader = reader_of(request, principal)
    errors: dict[str, str] = {}
    with use_language(reader.language):
        async with database_of(request).transaction() as session:
            try:
                wish = BellWish(
                    timezone=_text(given, "timezone") or "UTC",
                    quiet_from=_time(given, "quiet_from"),
                    quiet_until=_time(given, "quiet_until"),
                    quiet_severity=_severity(given),
                    bell_kinds=None if _text(given, "usual") else _kinds(given, "kinds"),
                )
                stored = await settings.change_settings(session, principal.user_id, wish)
            except InvalidInput as error:
                errors = {error.field or "": error.message}
                stored = await settings.settings_of(session, principal.user_id)
        form = quiet_form(stored, zone=stored.timezone, errors=errors)
    if errors:
        return fragment(request, principal, _SETTINGS, form, status=422)
    return fragment(request, principal, _SETTINGS, form, toast=("success", N_("Stored.")))


def _time(given: FormData, name: str) -> time | None:
    text = _text(given, name)
    try:
        return time.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput(_NO_TIME, field=name) from None


@router.post("/account/notifications/deadman")
async def save_deadman(
    request: Request,
    principal: CurrentUser,
    url: Annotated[str, Form(max_length=500)] = "",
    minutes: Annotated[str, Form(max_length=5)] = "5",
    tells_failure: Annotated[str, Form(max_length=5)] = "",
    forget: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Store the address that is called while all is well."""
    state, errors = request.app.state, dict[str, str]()
    with use_language(reader_of(request, principal).language):
        async with database_of(request).transaction() as session:
            try:
                wish = DeadmanWish(url="" if forget else url.strip() or None, minutes=_minutes(minutes), tells_failure=bool(tells_failure))
                stored = await settings.change_deadman(
                    session, principal.user_id, wish, vault=state.vault, outgoing=state.notification_outgoing
                )
            except InvalidInput as error:
                errors = {error.field or "url": error.message}
                stored = await settings.settings_of(session, principal.user_id)
        form = deadman_form(stored, errors=errors)
    if errors:
        return fragment(request, principal, _DEADMAN, form, status=422)
    return fragment(request, principal, _DEADMAN, form, toast=("success", N_("Stored.")))


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1440:
        raise InvalidInput(N_("A number of minutes from 1 to 1440."), field="minutes")
    return int(text)


@router.get("/notices")
async def show_bell(request: Request, principal: CurrentUser) -> Response:
    """What opens beneath the bell."""
    return fragment(request, principal, _LIST, await _bell(request, principal))


@router.post("/notices/read")
async def read_all(request: Request, principal: CurrentUser, until: Annotated[UUID | None, Form()] = None) -> Response:
    """Mark what was shown as read."""
    async with database_of(request).connection() as connection:
        await bell.mark_all_read(connection, principal.user_id, request.app.state.clock.now(), until=until)
    found = await _bell(request, principal)
    partial = templating_of(request).partial(
        _COUNT, BellView(unread=found.unread), target="bell-count", reader=reader_of(request, principal), swap="outerHTML"
    )
    return fragment(request, principal, _LIST, found, partials=partial)


@router.get("/notices/{notice_id}")
async def open_notice(request: Request, principal: CurrentUser, notice_id: UUID) -> Response:
    """Go to where more of it stands; it is read then."""
    async with database_of(request).connection() as connection:
        url = await bell.mark_read(connection, principal.user_id, notice_id, request.app.state.clock.now())
    return see_other(request, url or "/account/notifications")


async def _bell(request: Request, principal: Principal) -> BellList:
    reader = reader_of(request, principal)
    async with database_of(request).connection() as connection:
        rows = await bell.latest(connection, principal.user_id, limit=_IN_THE_BELL)
        unread = await bell.unread(connection, principal.user_id)
    return bell_list(rows, unread, Reader(language=reader.language, zone=reader.timezone))


async def _targets(request: Request, principal: Principal) -> Region[PlaceRow]:
    async with database_of(request).transaction() as session:
        found = await targets.list_targets(session, principal.user_id)
    async with database_of(request).connection() as connection:
        latest = await log.latest_of_each(connection, principal.user_id)
    return Region(rows=tuple(target_row(target, latest.get(target.id)) for target in found))


async def _log(request: Request, principal: Principal) -> Region[SentRow]:
    async with database_of(request).connection() as connection:
        rows, _ = await log.page(connection, principal.user_id, limit=_IN_THE_LOG)
    return Region(rows=tuple(attempt_row(row) for row in rows))


async def _log_partial(request: Request, principal: Principal) -> str:
    rows = await _log(request, principal)
    return templating_of(request).partial(_LOG, rows, target="log", reader=reader_of(request, principal), swap="outerHTML")
