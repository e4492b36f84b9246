"""Checks of robustness of a user's backtests: ask for one, find it. What answers it is `backtests.search.jobs`."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.models import Backtest, BacktestState
from app.backtests.search.models import Robustness, RobustnessState
from app.backtests.service import get_backtest
from app.core.i18n import N_
from app.core.tenancy import owned
from app.errors import ResultMissing, RobustnessNotFound, SearchLimit

MOST_UNDER_WAY: Final = 5
_UNDER_WAY: Final = (RobustnessState.QUEUED.value, RobustnessState.RUNNING.value)


async def ask_robustness(session: AsyncSession, user_id: UUID, backtest_id: UUID, *, now: datetime) -> Robustness:
    """Ask how robust a backtest is. Asked again it is answered anew, as there may be more trials of searches; one under way stays.

    Raises:
        BacktestNotFound: no such backtest of this user.
        ResultMissing: it has not come to its end.
        SearchLimit: the user has as many checks under way as one may have.
    """
    backtest: Backtest = await get_backtest(session, user_id, backtest_id, is_locked=True)
    if backtest.state != BacktestState.COMPLETED:
        raise ResultMissing
    found: Robustness | None = await session.scalar(owned(Robustness, user_id).where(Robustness.backtest_id == backtest_id))
    if found is not None and found.state in _UNDER_WAY:
        return found
    counted = select(func.count()).where(Robustness.user_id == user_id, Robustness.state.in_(_UNDER_WAY))
    under_way = int(await session.scalar(counted) or 0)
    if under_way >= MOST_UNDER_WAY:
        raise SearchLimit(N_(f"You have {under_way} checks of robustness under way, as many as one may have. Wait for one."))
    if found is None:
        queued = RobustnessState.QUEUED.value
        found = Robustness(backtest_id=backtest_id, user_id=user_id, state=queued, epoch=0, attempts=0, created_at=now)
        session.add(found)
    else:
        found.state, found.attempts, found.created_at = RobustnessState.QUEUED.value, 0, now
        found.finished_at = found.wait_until = found.error = found.progress = None
    await session.flush()
    return found


async def get_robustness(session: AsyncSession, user_id: UUID, backtest_id: UUID) -> Robustness:
    """Return what was found out about a backtest, or how far that is.

    Raises:
        BacktestNotFound: no such backtest of this user.
        RobustnessNotFound: nobody has asked yet.
    """
    await get_backtest(session, user_id, backtest_id)
    found: Robustness | None = await session.scalar(owned(Robustness, user_id).where(Robustness.backtest_id == backtest_id))
    if found is None:
        raise RobustnessNotFound
    return found
