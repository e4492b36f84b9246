"""`/api/strategies/{id}/versions`: what was saved, compared and restored."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.accounts.dependencies import CurrentUser
from app.core.http import SessionDep, problems
from app.errors import InvalidInput
from app.strategies import versions
from app.strategies.router import now_of
from app.strategies.schemas import DiffOut, SavedOut, VersionIn, VersionLine, VersionOut, VersionPage, VersionPatch
from app.strategies.sources import difference

router = APIRouter(prefix="/api/strategies/{strategy_id}/versions", tags=["strategies"])

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("", summary="Versions", responses=problems(401, 404, 422))
async def list_versions(
    principal: CurrentUser,
    strategy_id: UUID,
    session: SessionDep,
    *,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=20, description="`next` of the page before")] = None,
) -> VersionPage:
    """Return versions without their sources, the newest first."""
    if cursor is not None and (not cursor.isdecimal() or not cursor.isascii() or len(cursor) > 9):
        raise InvalidInput("cursor must be `next` of the page before", field="cursor")
    before = None if cursor is None else int(cursor)
    rows = await versions.list_versions(session, principal.user_id, strategy_id, before=before, limit=limit + 1)
    page = rows[:limit]
    following = str(page[-1].number) if len(rows) > limit else None
    return VersionPage(items=[VersionLine.model_validate(row) for row in page], next=following)


@router.post("", status_code=201, summary="Save a version", responses=problems(401, 404, 409, 422))
async def save_version(
    request: Request, response: Response, principal: CurrentUser, strategy_id: UUID, body: VersionIn, session: SessionDep
) -> SavedOut:
    """Save a source as the next version. What the newest version has already makes no other one: 200 instead of 201."""
    saved = await versions.save_version(
        session,
        principal.user_id,
        strategy_id,
        source=body.source,
        note=body.note,
        draft_revision=body.draft_revision,
        now=now_of(request),
    )
    return _saved(response, saved)


def _saved(response: Response, saved: versions.Saved) -> SavedOut:
    response.status_code = 201 if saved.is_new else 200
    return SavedOut(**VersionOut.of(saved.version).model_dump(), is_new=saved.is_new)


@router.get("/{number}", summary="One version", responses=problems(401, 404, 422))
async def get_version(principal: CurrentUser, strategy_id: UUID, number: Number, session: SessionDep) -> VersionOut:
    """Return one version with its source, and what its validation found."""
    return VersionOut.of(await versions.get_version(session, principal.user_id, strategy_id, number))


@router.patch("/{number}", summary="Write a note to a version", responses=problems(401, 404, 409, 422))
async def change_note(principal: CurrentUser, strategy_id: UUID, number: Number, body: VersionPatch, session: SessionDep) -> VersionOut:
    """Write another note to a version that was not used."""
    return VersionOut.of(await versions.change_note(session, principal.user_id, strategy_id, number, note=body.note))


@router.get("/{number}/diff", summary="What differs between two versions", responses=problems(401, 404, 422))
async def diff(
    principal: CurrentUser,
    strategy_id: UUID,
    number: Number,
    session: SessionDep,
    against: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The older version; the one before if not given")] = None,
) -> DiffOut:
    """Return what changed from `against` to this version."""
    new = await versions.get_version(session, principal.user_id, strategy_id, number)
    old = await versions.get_version(session, principal.user_id, strategy_id, against or max(number - 1, 1))
    found = await asyncio.to_thread(difference, old.source, new.source)
    unified = found.unified(f"v{old.number}", f"v{new.number}")
    return DiffOut(old=old.number, new=new.number, added=found.added, removed=found.removed, unified=unified)


@router.post("/{number}/restore", status_code=201, summary="Save an old version as the newest", responses=problems(401, 404, 409, 422))
async def restore(
    request: Request, response: Response, principal: CurrentUser, strategy_id: UUID, number: Number, session: SessionDep
) -> SavedOut:
    """Save the source of an old version as the next one; no version is ever changed."""
    return _saved(response, await versions.restore_version(session, principal.user_id, strategy_id, number, now=now_of(request)))
