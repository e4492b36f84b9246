"""What becomes of a trial that its user likes: a version of the strategy whose defaults are the trial's values, or a backtest of them.

Where the values go in the source is found in the jail, for nothing of a user's source is parsed here; what comes back are places and short
texts, which are put into the source that is stored. See docs/adr/0012-a-promoted-trial-is-a-version.md.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.search.models import Search, SearchTrial
from app.backtests.search.service import get_search, get_trial
from app.core.clock import Clock
from app.core.db import Database
from app.core.i18n import N_
from app.errors import DraftUnsaved, StrategyFailed
from app.sandbox.messages import Described, Edit, Load, Rewrite, Rewritten, Value
from app.strategies.quick import failure
from app.strategies.service import get_strategy
from app.strategies.versions import Saved, save_version, version_by_id
from app.strategies.workers import TrialWorkers


async def promote_to_version(
    database: Database, workers: TrialWorkers, clock: Clock, user_id: UUID, search_id: UUID, number: int
) -> tuple[UUID, Saved]:
    """Save the searched source with a trial's values as its defaults; return the strategy's id and the version.

    What the newest version has already makes no other one.

    Raises:
        SearchNotFound: no such search of this user.
        SearchTrialNotFound: it has no trial of that number.
        DraftUnsaved: the editor holds changes that would be lost.
        StrategyFailed: a default stands where it cannot be replaced; the sentence says which.
        StrategyLimit: the strategy has as many versions as one may have.
        JailClosed, JailBusy: strategies cannot be looked at now.
    """
    async with database.transaction() as session:
        search, trial = await get_search(session, user_id, search_id), await get_trial(session, user_id, search_id, number)
        await _check_draft(session, user_id, search)
        source = (await version_by_id(session, user_id, search.version_id)).source
    changed = await rewritten(workers, user_id, source, values_of(search, trial))
    async with database.transaction() as session:
        await _check_draft(session, user_id, search)
        note = f"⌕ #{search.number}·{trial.number}"
        saved = await save_version(session, user_id, search.strategy_id, source=changed, note=note, now=clock.now())
    return search.strategy_id, saved


def values_of(search: Search, trial: SearchTrial) -> dict[str, Value]:
    """Return all values that a trial ran with and that are not the strategy's own."""
    return {**search.parameters, **trial.parameters}


async def rewritten(workers: TrialWorkers, user_id: UUID, source: str, defaults: dict[str, Value]) -> str:
    """Return a source with other defaults.

    Raises:
        StrategyFailed: one of them stands where it cannot be replaced.
    """
    async with workers.worker(user_id) as worker:
        described = await worker.ask(Load(source=source))
        if not isinstance(described, Described):
            raise failure(described)
        reply = await worker.ask(Rewrite(defaults=defaults))
        if not isinstance(reply, Rewritten):
            raise failure(reply)
        changed = spliced(source, reply.edits)
        again = await worker.ask(Load(source=changed))
    # What the jail says of a source is its owner's word. Whether it did what it was asked for is looked at all the same.
    if not isinstance(again, Described) or not _has(again, defaults):
        raise StrategyFailed(N_("the defaults could not be replaced in this source: write these values into it by hand"), field="source")
    return changed


def spliced(source: str, edits: list[Edit]) -> str:
    """Return the source after edits.

    Raises:
        StrategyFailed: they do not fit the source.
    """
    end = 0
    parts = []
    for edit in edits:
        if not end <= edit.start <= edit.end <= len(source):
            raise StrategyFailed(N_("The jail answered with something else than it was asked for."))
        parts += [source[end : edit.start], edit.text]
        end = edit.end
    return "".join([*parts, source[end:]])


def _has(described: Described, defaults: dict[str, Value]) -> bool:
    found = {one.name: one.default for one in described.parameters}
    return all(name in found and found[name] == value for name, value in defaults.items())


async def _check_draft(session: AsyncSession, user_id: UUID, search: Search) -> None:
    if (await get_strategy(session, user_id, search.strategy_id)).draft is not None:
        raise DraftUnsaved
