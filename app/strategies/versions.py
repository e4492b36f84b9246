"""Versions of a strategy: save, restore, fork, compare, keep what a validation said, and mark the first use."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from app.accounts.audit_log import Action
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.tenancy import owned
from app.errors import StrategyLimit, StrategyNotFound, StrategyNotValid, VersionInUse, VersionNotFound
from app.sandbox.messages import Described
from app.strategies.models import Origin, Strategy, StrategyVersion
from app.strategies.report import Report, as_stored
from app.strategies.service import (
    Provenance,
    activatable,
    check_revision,
    check_source,
    create_strategy,
    get_strategy,
    note_change,
)
from app.strategies.sources import digest

#: Versions that a strategy may have.
MOST_VERSIONS: Final = 500
#: What a list shows of a version; a source and a report are up to 128 KiB each.
_LISTED: Final = (
    StrategyVersion.id, StrategyVersion.user_id, StrategyVersion.strategy_id, StrategyVersion.number, StrategyVersion.sha256,
    StrategyVersion.note, StrategyVersion.is_valid, StrategyVersion.has_look_ahead, StrategyVersion.validated_at,
    StrategyVersion.first_used_at, StrategyVersion.created_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A version; `is_new` is False when the newest one already had that source."""

    version: StrategyVersion
    is_new: bool


async def list_versions(
    session: AsyncSession, user_id: UUID, strategy_id: UUID, *, before: int | None = None, limit: int = 50
) -> list[StrategyVersion]:
    """Return versions without their sources and reports, the newest first; `before`: only those with smaller numbers.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    await get_strategy(session, user_id, strategy_id)
    query = owned(StrategyVersion, user_id).where(StrategyVersion.strategy_id == strategy_id)
    if before is not None:
        query = query.where(StrategyVersion.number < before)
    query = query.options(load_only(*_LISTED, raiseload=True)).order_by(StrategyVersion.number.desc()).limit(limit)
    return list(await session.scalars(query))


async def get_version(session: AsyncSession, user_id: UUID, strategy_id: UUID, number: int | None = None) -> StrategyVersion:
    """Return one version in full; the newest one without a number.

    Raises:
        StrategyNotFound: no such strategy of this user.
        VersionNotFound: it has no version of that number.
    """
    query = owned(StrategyVersion, user_id).where(StrategyVersion.strategy_id == strategy_id)
    if number is not None:
        query = query.where(StrategyVersion.number == number)
    version: StrategyVersion | None = await session.scalar(query.order_by(StrategyVersion.number.desc()).limit(1))
    if version is None:
        await get_strategy(session, user_id, strategy_id)
        raise VersionNotFound
    return version


async def version_by_id(session: AsyncSession, user_id: UUID, version_id: UUID, *, is_locked: bool = False) -> StrategyVersion:
    """Return one version by its id.

    Raises:
        VersionNotFound: no such version of this user.
    """
    query = owned(StrategyVersion, user_id).where(StrategyVersion.id == version_id)
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    version: StrategyVersion | None = await session.scalar(query)
    if version is None:
        raise VersionNotFound
    return version


async def save_version(
    session: AsyncSession,
    user_id: UUID,
    strategy_id: UUID,
    *,
    source: str,
    now: datetime,
    note: str = "",
    draft_revision: int | None = None,
) -> Saved:
    """Save a source as the next version, and let the draft go. What the newest version has already makes no other one.

    `draft_revision` is that of the draft which it was made from; None saves in any case.

    Raises:
        StrategyNotFound: no such strategy of this user.
        DraftChanged: another draft was kept meanwhile.
        StrategyLimit: the strategy has as many versions as one may have.
        SourceTooLong: the source has too many characters.
    """
    source = check_source(source)
    # Locked: of two saves at once the second finds the version of the first.
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    check_revision(strategy, draft_revision)
    newest = await get_version(session, user_id, strategy_id)
    if strategy.draft is not None or newest.source != source:
        # Whoever has the text of before this save open elsewhere goes on from another one than there is.
        strategy.draft = strategy.draft_saved_at = None
        strategy.draft_revision += 1
    if newest.source == source:
        await session.flush()
        return Saved(version=newest, is_new=False)
    if newest.number >= MOST_VERSIONS:
        raise StrategyLimit(N_(f"the strategy has {newest.number} versions, as many as one may have: fork it to go on"))
    version = StrategyVersion(
        id=new_id(), user_id=user_id, strategy_id=strategy_id, number=newest.number + 1, source=source, sha256=digest(source), note=note,
        is_valid=False, has_look_ahead=False, created_at=now,
    )  # fmt: skip
    session.add(version)
    strategy.changed_at = now
    await session.flush()
    await note_change(session, Action.STRATEGY_SAVED, strategy, number=version.number, sha256=version.sha256)
    return Saved(version=version, is_new=True)


async def restore_version(session: AsyncSession, user_id: UUID, strategy_id: UUID, number: int, *, now: datetime) -> Saved:
    """Save the source of an old version as the newest one. Raises as `save_version` and `get_version`."""
    old = await get_version(session, user_id, strategy_id, number)
    return await save_version(session, user_id, strategy_id, source=old.source, note=f"↺ v{old.number}", now=now)


async def fork_strategy(
    session: AsyncSession, user_id: UUID, strategy_id: UUID, *, now: datetime, number: int | None = None, name: str | None = None
) -> Strategy:
    """Make another strategy of a version, the newest one without a number; without a name under the same with a number.

    Raises:
        StrategyNotFound: no such strategy of this user.
        VersionNotFound: it has no version of that number.
        NameTaken: the name is in use.
        StrategyLimit: the user has as many strategies as one may have.
    """
    strategy = await get_strategy(session, user_id, strategy_id)
    version = await get_version(session, user_id, strategy_id, number)
    return await create_strategy(
        session,
        user_id,
        name=name or strategy.name,
        source=version.source,
        description=strategy.description,
        came_from=Provenance(origin=Origin.FORKED, name=strategy.name, number=version.number),
        now=now,
        is_renamed=name is None,
    )


async def change_note(session: AsyncSession, user_id: UUID, strategy_id: UUID, number: int, *, note: str) -> StrategyVersion:
    """Write another note to a version that has not been used.

    Raises:
        VersionNotFound: the strategy has no version of that number.
        VersionInUse: it has been used.
    """
    version = await get_version(session, user_id, strategy_id, number)
    if version.note == note:
        return version
    before, version.note = version.note, note
    await _flush(session)
    strategy = await get_strategy(session, user_id, strategy_id)
    await note_change(session, Action.STRATEGY_CHANGED, strategy, number=number, before={"note": before}, after={"note": note})
    return version


async def keep_report(session: AsyncSession, user_id: UUID, version_id: UUID, report: Report, *, now: datetime) -> StrategyVersion:
    """Keep what a validation of a version said, in place of what an earlier one did. A used version may lose its validity so.

    Raises:
        VersionNotFound: no such version of this user.
        ValueError: the report is of another source, or not a whole one.
    """
    version = await version_by_id(session, user_id, version_id, is_locked=True)
    if report.sha256 != version.sha256 or not report.is_whole:
        raise ValueError(f"a report must be a whole one of the version's own source, was of {report.sha256}")
    stored = as_stored(report)
    version.report, version.validated_at = stored, now
    version.is_valid, version.has_look_ahead = report.is_valid, report.has_look_ahead
    if version.first_used_at is None:
        version.described = described_of(report)
    await _flush(session)
    strategy = await get_strategy(session, user_id, version.strategy_id)
    facts = {"number": version.number, "is_valid": version.is_valid, "has_look_ahead": version.has_look_ahead}
    await note_change(session, Action.STRATEGY_VALIDATED, strategy, **facts)
    return version


def described_of(report: Report) -> dict[str, object] | None:
    """Return what the strategy says of itself, as JSON has it."""
    described: Described | None = report.described
    return None if described is None else dict(as_stored(report)["described"])


async def mark_used(session: AsyncSession, user_id: UUID, version_id: UUID, *, now: datetime) -> StrategyVersion:
    """Write down that something runs this version: from now on nothing of it changes. Whoever starts something calls this first.

    Raises:
        VersionNotFound: no such version of this user.
        StrategyNotValid: it may not trade.
    """
    version = await version_by_id(session, user_id, version_id)
    try:
        # Whoever deletes the strategy looks for used versions and then waits for this one's row: it must wait before it looks.
        await get_strategy(session, user_id, version.strategy_id, is_locked=True)
    except StrategyNotFound as error:
        raise VersionNotFound from error
    version = activatable(await version_by_id(session, user_id, version_id, is_locked=True))
    if version.first_used_at is None:
        version.first_used_at = now
        await _flush(session)
    return version


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        told = str(error.orig)
        if "strategy_versions_used" in told:
            raise VersionInUse from error
        if "strategy_versions_valid" in told:
            raise StrategyNotValid from error
        raise


async def count_versions(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> int:
    """Return how many versions a strategy has."""
    query = select(func.count()).select_from(owned(StrategyVersion, user_id).where(StrategyVersion.strategy_id == strategy_id).subquery())
    return int(await session.scalar(query) or 0)
