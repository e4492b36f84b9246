"""Strategies of a user: make, change, keep a draft, archive, delete; and which of their versions may trade."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.audit_log import Action, note
from app.core.i18n import N_
from app.core.ids import new_id
from app.core.tenancy import owned
from app.errors import (
    DraftChanged,
    InvalidInput,
    NameTaken,
    SourceTooLong,
    StrategyInUse,
    StrategyLimit,
    StrategyNotFound,
    StrategyNotValid,
)
from app.sandbox.messages import LONGEST_SOURCE
from app.strategies.models import LONGEST_NAME, Origin, Strategy, StrategyVersion
from app.strategies.report import TriedOn, from_stored, why_not_valid
from app.strategies.sources import digest

#: Strategies that a user may have, archived ones among them.
MOST_STRATEGIES: Final = 200
_MOST_NUMBERED: Final = 1_000
_IS_TAKEN: Final = text(
    "SELECT EXISTS (SELECT 1 FROM strategies WHERE user_id = :user_id AND archived_at IS NULL AND lower(name) = lower(CAST(:name AS text)))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a strategy comes from: the template's name, the file's, the forked strategy's, or the name of the user who shared it."""

    origin: Origin = Origin.WRITTEN
    name: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Where strategies are tried: what is None stays as it was."""

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None

    def found(self, tried_on: TriedOn) -> "Market":
        """Return what was asked for as it was found: a symbol may be written in many ways, and what nobody chose is not remembered."""
        return Market(exchange=self.exchange, symbol=tried_on.symbol if self.symbol else None, timeframe=self.timeframe)


def check_source(source: str) -> str:
    """Return a source as it is kept: lines end as on Unix, and a byte order mark is gone.

    Raises:
        SourceTooLong: it has more characters than a strategy may have.
        InvalidInput: it has a character that no text has.
    """
    clean = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if len(clean) > LONGEST_SOURCE:
        raise SourceTooLong(N_(f"a strategy may have {LONGEST_SOURCE} characters, was {len(clean)}"), field="source")
    if "\0" in clean:
        raise InvalidInput(N_("the source has a character in it that no text has"), field="source")
    return clean


async def create_strategy(
    session: AsyncSession,
    user_id: UUID,
    *,
    name: str,
    source: str,
    now: datetime,
    description: str = "",
    came_from: Provenance | None = None,
    is_renamed: bool = False,
    action: Action = Action.STRATEGY_MADE,
) -> Strategy:
    """Make a strategy, whose first version has that source; `is_renamed` numbers a name that is taken instead of refusing it.

    `action` is what the audit log calls it.

    Raises:
        NameTaken: the user already has a strategy of that name.
        StrategyLimit: the user has as many as one may have.
        SourceTooLong: see `check_source`.
    """
    source = check_source(source)
    await _check_number(session, user_id)
    came_from = came_from or Provenance()
    chosen = await free_name(session, user_id, name) if is_renamed else name
    strategy = Strategy(
        id=new_id(), user_id=user_id, name=chosen, description=description, draft_revision=0, origin=came_from.origin.value,
        origin_name=came_from.name, origin_number=came_from.number, created_at=now, changed_at=now,
    )  # fmt: skip
    session.add(strategy)
    await flush(session, name=chosen)
    session.add(first_version(strategy, source, now=now))
    await session.flush()
    from_what = {"origin": strategy.origin, "from": strategy.origin_name, "number": strategy.origin_number}
    await note_change(session, action, strategy, **{name: value for name, value in from_what.items() if value is not None})
    return strategy


def first_version(strategy: Strategy, source: str, *, now: datetime) -> StrategyVersion:
    """Return version 1 of a strategy, not yet validated."""
    return StrategyVersion(
        id=new_id(), user_id=strategy.user_id, strategy_id=strategy.id, number=1, source=source, sha256=digest(source), note="",
        is_valid=False, has_look_ahead=False, created_at=now,
    )  # fmt: skip


async def note_change(session: AsyncSession, action: Action, strategy: Strategy, **facts: Any) -> None:
    """Write a change into the audit log: the last statement of its transaction."""
    detail = {"name": strategy.name, **facts}
    await note(session, action, user_id=strategy.user_id, object=f"strategy:{strategy.id}", detail=detail)


async def _check_number(session: AsyncSession, user_id: UUID) -> None:
    # Of two that are made at once the second waits here, and then counts the first.
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"strategies:{user_id}"})
    count = await session.scalar(text("SELECT count(*) FROM strategies WHERE user_id = :user_id"), {"user_id": user_id})
    if count >= MOST_STRATEGIES:
        raise StrategyLimit(N_(f"you have {count} strategies, as many as one user may have: delete one that is not used"))


async def free_name(session: AsyncSession, user_id: UUID, wish: str) -> str:
    """Return `wish`, or with a number after it when the user already has a strategy of that name."""
    for number in range(1, _MOST_NUMBERED):
        tail = f" {number}" if number > 1 else ""
        name = wish[: LONGEST_NAME - len(tail)].rstrip() + tail if tail else wish
        # The database compares, as its index does: of some letters it knows another small one than Python.
        if not await session.scalar(_IS_TAKEN, {"user_id": user_id, "name": name}):
            return name
    raise NameTaken(f"you already have a strategy named {wish}", field="name")


async def flush(session: AsyncSession, *, name: str = "") -> None:
    """Send changes to the database, which knows what may not be.

    Raises:
        NameTaken: the name is in use.
        StrategyInUse: a version has been used, so the strategy cannot be deleted.
    """
    try:
        await session.flush()
    except IntegrityError as error:
        told = str(error.orig)
        if "uq_strategies_user_id_name" in told:
            raise NameTaken(N_(f"you already have a strategy named {name}"), field="name") from error
        # The second: something stored, a backtest, names it or one of its versions.
        if "strategies_used" in told or "update or delete on table" in told:
            raise StrategyInUse from error
        raise


async def get_strategy(session: AsyncSession, user_id: UUID, strategy_id: UUID, *, is_locked: bool = False) -> Strategy:
    """Return one strategy; `is_locked`: as it is now, and nobody else changes it until the transaction ends.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    query = owned(Strategy, user_id).where(Strategy.id == strategy_id)
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    strategy: Strategy | None = await session.scalar(query)
    if strategy is None:
        raise StrategyNotFound
    return strategy


async def change_strategy(
    session: AsyncSession, user_id: UUID, strategy_id: UUID, *, now: datetime, name: str | None = None, description: str | None = None
) -> Strategy:
    """Rename a strategy or describe it otherwise; what is None stays.

    Raises:
        StrategyNotFound: no such strategy of this user.
        NameTaken: the name is in use.
    """
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    wished = {"name": name, "description": description}
    changes = {column: value for column, value in wished.items() if value is not None and value != getattr(strategy, column)}
    if not changes:
        return strategy
    before = {column: getattr(strategy, column) for column in changes}
    _set(strategy, {**changes, "changed_at": now})
    await flush(session, name=strategy.name)
    await note_change(session, Action.STRATEGY_CHANGED, strategy, before=before, after=changes)
    return strategy


def _set(strategy: Strategy, values: Mapping[str, Any]) -> None:
    for column, value in values.items():
        setattr(strategy, column, value)


async def remember_market(session: AsyncSession, user_id: UUID, strategy_id: UUID, market: Market) -> None:
    """Remember where a strategy was last tried. It is no change of the strategy.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    strategy = await get_strategy(session, user_id, strategy_id)
    for column in ("exchange", "symbol", "timeframe"):
        value = getattr(market, column)
        if value is not None:
            setattr(strategy, column, value)
    await session.flush()


async def save_draft(session: AsyncSession, user_id: UUID, strategy_id: UUID, *, source: str, revision: int, now: datetime) -> Strategy:
    """Keep what stands in the editor, if it was made from the draft of that revision. A draft is no change that the audit log has.

    Raises:
        StrategyNotFound: no such strategy of this user.
        DraftChanged: another draft was kept meanwhile; its revision is in the error's context.
        SourceTooLong: see `check_source`.
    """
    source = check_source(source)
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    check_revision(strategy, revision)
    if source == strategy.draft:
        return strategy
    newest = await session.scalar(
        text("SELECT source FROM strategy_versions WHERE user_id = :user AND strategy_id = :strategy ORDER BY number DESC LIMIT 1"),
        {"user": user_id, "strategy": strategy_id},
    )
    is_saved = source == newest
    _set(strategy, {"draft": None if is_saved else source, "draft_saved_at": None if is_saved else now})
    _set(strategy, {"draft_revision": strategy.draft_revision + 1, "changed_at": now})
    await session.flush()
    return strategy


async def discard_draft(session: AsyncSession, user_id: UUID, strategy_id: UUID, *, now: datetime) -> Strategy:
    """Let the draft go, whatever it is.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    if strategy.draft is not None:
        _set(strategy, {"draft": None, "draft_saved_at": None, "draft_revision": strategy.draft_revision + 1, "changed_at": now})
        await session.flush()
    return strategy


def check_revision(strategy: Strategy, revision: int | None) -> None:
    """Pass when nothing was kept since the draft of that revision; None asks for nothing.

    Raises:
        DraftChanged: something was.
    """
    if revision is not None and revision != strategy.draft_revision:
        raise DraftChanged(revision=strategy.draft_revision)


async def archive_strategy(session: AsyncSession, user_id: UUID, strategy_id: UUID, *, now: datetime) -> Strategy:
    """Put a strategy aside: its name is free, its versions stay.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    if strategy.archived_at is None:
        _set(strategy, {"archived_at": now, "changed_at": now})
        await session.flush()
        await note_change(session, Action.STRATEGY_ARCHIVED, strategy)
    return strategy


async def unarchive_strategy(session: AsyncSession, user_id: UUID, strategy_id: UUID, *, now: datetime) -> Strategy:
    """Take a strategy back out of the archive, under another name if its own was given away meanwhile.

    Raises:
        StrategyNotFound: no such strategy of this user.
    """
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    if strategy.archived_at is not None:
        name = await free_name(session, user_id, strategy.name)
        _set(strategy, {"archived_at": None, "changed_at": now, "name": name})
        await flush(session, name=name)
        await note_change(session, Action.STRATEGY_UNARCHIVED, strategy)
    return strategy


async def delete_strategy(session: AsyncSession, user_id: UUID, strategy_id: UUID) -> None:
    """Delete a strategy with its versions, of which none may have been used.

    Raises:
        StrategyNotFound: no such strategy of this user.
        StrategyInUse: one has been used; the strategy can be archived.
    """
    strategy = await get_strategy(session, user_id, strategy_id, is_locked=True)
    await session.delete(strategy)
    await flush(session)
    await note_change(session, Action.STRATEGY_DELETED, strategy)


def reason_against(version: StrategyVersion) -> str | None:
    """Return why a version may not trade, a sentence in English; None when it may."""
    if version.is_valid:
        return None
    return why_not_valid(None if version.report is None else from_stored(version.report))


def activatable(version: StrategyVersion) -> StrategyVersion:
    """Return the version, which may trade.

    Raises:
        StrategyNotValid: it may not: it has look-ahead or another error, or was not validated.
    """
    reason = reason_against(version)
    if reason is not None:
        raise StrategyNotValid(N_(f"version {version.number} cannot be activated: {reason}"))
    return version
