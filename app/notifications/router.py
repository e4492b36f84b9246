"""`/api/notifications`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.accounts.dependencies import CurrentUser
from app.core.http import SessionDep, database_of, problems
from app.core.i18n import gettext
from app.core.sentences import said
from app.errors import InvalidInput
from app.notifications import bell, log, settings, targets
from app.notifications.forms import FORMS, address_of
from app.notifications.kinds import KINDS
from app.notifications.schemas import (
    AttemptOut,
    AttemptPage,
    DeadmanIn,
    KindOut,
    NoticeOut,
    NoticePage,
    ReadIn,
    ServiceField,
    ServiceOut,
    ServicePage,
    SettingsIn,
    SettingsOut,
    TargetIn,
    TargetOut,
    TargetPage,
    TargetPatch,
    TestOut,
)
from app.notifications.settings import BellWish, DeadmanWish
from app.notifications.targets import Targets, Wish
from app.notifications.words import Reader, spoken

router = APIRouter(prefix="/api/notifications", tags=["notifications"])

Limit = Annotated[int, Query(ge=1, le=200)]


def targets_of(request: Request) -> Targets:
    """Return what names and tries targets."""
    found: Targets = request.app.state.notification_targets
    return found


@router.get("/services", summary="What a target can be", responses=problems(401))
async def list_services(principal: CurrentUser) -> ServicePage:
    """Return the services with their fields, and the kinds of notices."""
    del principal
    return ServicePage(
        services=[
            ServiceOut(
                name=form.name,
                label=gettext(form.label),
                fields=[
                    ServiceField(
                        name=field.name,
                        label=gettext(field.label),
                        is_needed=field.is_needed,
                        default=field.default,
                        choices=[value for value, _ in field.choices],
                    )
                    for field in form.fields
                ],
            )
            for form in FORMS.values()
        ],
        kinds=[
            KindOut(name=kind, label=gettext(words.label), group=words.group.value, is_default=words.is_default)
            for kind, words in KINDS.items()
        ],
    )


@router.get("/targets", summary="Targets", responses=problems(401))
async def list_targets(principal: CurrentUser, session: SessionDep) -> TargetPage:
    """Return where the user is reached."""
    return TargetPage(items=[TargetOut.model_validate(row) for row in await targets.list_targets(session, principal.user_id)])


@router.post("/targets", status_code=201, summary="Name a target", responses=problems(401, 403, 409, 422))
async def create_target(request: Request, principal: CurrentUser, body: TargetIn, session: SessionDep) -> TargetOut:
    """Name a place. Nothing is sent there yet: `POST …/test` does."""
    wish = Wish(
        name=body.name,
        url=address_of(body.service, body.fields),
        is_enabled=body.is_enabled,
        least_severity=body.least_severity,
        kinds=body.kinds,
    )
    return TargetOut.model_validate(await targets_of(request).create(session, principal.user_id, wish))


@router.get("/targets/{target_id}", summary="One target", responses=problems(401, 404, 422))
async def get_target(principal: CurrentUser, target_id: UUID, session: SessionDep) -> TargetOut:
    """Return one target."""
    return TargetOut.model_validate(await targets.get(session, principal.user_id, target_id))


@router.patch("/targets/{target_id}", summary="Change a target", responses=problems(401, 403, 404, 409, 422))
async def change_target(request: Request, principal: CurrentUser, target_id: UUID, body: TargetPatch, session: SessionDep) -> TargetOut:
    """Change what is given."""
    if (body.service is None) != (body.fields is None):
        raise InvalidInput("a new address takes service and fields together", field="fields" if body.fields is None else "service")
    wish = Wish(
        name=body.name,
        url=None if body.service is None else address_of(body.service, body.fields or {}),
        is_enabled=body.is_enabled,
        least_severity=body.least_severity,
        kinds=body.kinds,
        takes_default="kinds" in body.model_fields_set and body.kinds is None,
    )
    return TargetOut.model_validate(await targets_of(request).change(session, principal.user_id, target_id, wish))


@router.delete("/targets/{target_id}", status_code=204, summary="Remove a target", responses=problems(401, 403, 404, 422))
async def remove_target(principal: CurrentUser, target_id: UUID, session: SessionDep) -> Response:
    """Forget a target and its address; the log keeps its name."""
    await targets.remove(session, principal.user_id, target_id)
    return Response(status_code=204)


@router.post("/targets/{target_id}/test", summary="Send a test", responses=problems(401, 403, 404, 409, 422, 429))
async def test_target(request: Request, principal: CurrentUser, target_id: UUID) -> TestOut:
    """Send a message there now and return what the other end answers."""
    outcome = await targets_of(request).test(principal.user_id, target_id, language=principal.language.value)
    return TestOut(is_sent=outcome.is_sent, answer=said(outcome.words))


@router.get("/log", summary="What was sent, newest first", responses=problems(401, 422))
async def list_attempts(
    request: Request, principal: CurrentUser, limit: Limit = 50, cursor: UUID | None = None, target_id: UUID | None = None
) -> AttemptPage:
    """Return one page of attempts."""
    async with database_of(request).connection() as connection:
        rows, following = await log.page(connection, principal.user_id, limit=limit, before=cursor, target_id=target_id)
    return AttemptPage(items=[AttemptOut.of(row, said(row["answer"])) for row in rows], next_cursor=str(following) if following else None)


@router.get("/notices", summary="The bell, newest first", responses=problems(401, 422))
async def list_notices(request: Request, principal: CurrentUser, limit: Limit = 50, cursor: UUID | None = None) -> NoticePage:
    """Return what the bell shows."""
    async with database_of(request).connection() as connection:
        rows = await bell.latest(connection, principal.user_id, limit=limit + 1, before=cursor)
        unread = await bell.unread(connection, principal.user_id)
    reader = Reader(language=principal.language.value, zone="UTC")
    items = [
        NoticeOut(
            id=row["id"],
            kind=row["kind"],
            severity=row["severity"],
            title=spoken(row["title"], row["values"], reader),
            text=spoken(row["text"], row["values"], reader),
            url=row["url"],
            at=row["at"],
            read_at=row["read_at"],
        )
        for row in rows[:limit]
    ]
    return NoticePage(items=items, unread=unread, next_cursor=str(items[-1].id) if len(rows) > limit else None)


@router.post("/notices/read", status_code=204, summary="Mark as read", responses=problems(401, 403, 422))
async def read_notices(request: Request, principal: CurrentUser, body: ReadIn) -> Response:
    """Mark the bell's notices as read."""
    async with database_of(request).connection() as connection:
        await bell.mark_all_read(connection, principal.user_id, request.app.state.clock.now(), until=body.until)
    return Response(status_code=204)


@router.post("/notices/{notice_id}/read", status_code=204, summary="Mark one as read", responses=problems(401, 403, 404, 422))
async def read_notice(request: Request, principal: CurrentUser, notice_id: UUID) -> Response:
    """Mark one notice as read."""
    async with database_of(request).connection() as connection:
        await bell.mark_read(connection, principal.user_id, notice_id, request.app.state.clock.now())
    return Response(status_code=204)


@router.get("/settings", summary="How the user is told", responses=problems(401))
async def get_settings(principal: CurrentUser, session: SessionDep) -> SettingsOut:
    """Return time zone, quiet hours, the bell's kinds and the dead-man's switch."""
    return _settings(await settings.settings_of(session, principal.user_id))


@router.put("/settings", summary="Change how the user is told", responses=problems(401, 403, 422))
async def put_settings(principal: CurrentUser, body: SettingsIn, session: SessionDep) -> SettingsOut:
    """Store time zone, quiet hours and the bell's kinds."""
    return _settings(await settings.change_settings(session, principal.user_id, BellWish(**body.model_dump())))


@router.put("/deadman", summary="Change the dead-man's switch", responses=problems(401, 403, 422, 503))
async def put_deadman(request: Request, principal: CurrentUser, body: DeadmanIn, session: SessionDep) -> SettingsOut:
    """Store the address that is called while all is well."""
    state = request.app.state
    wish = DeadmanWish(**body.model_dump())
    return _settings(
        await settings.change_deadman(session, principal.user_id, wish, vault=state.vault, outgoing=state.notification_outgoing)
    )


def _settings(stored: object) -> SettingsOut:
    shown = SettingsOut.model_validate(stored)
    return shown.model_copy(update={"deadman_answer": said(shown.deadman_answer)})
