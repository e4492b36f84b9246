"""What the library runs: validations and quick backtests of all users, how often they may, and copies on their way."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from app.core.clock import Clock
from app.core.db import Database
from app.strategies.pace import Paces
from app.strategies.quick import QuickBacktest
from app.strategies.report import Report
from app.strategies.service import Market, remember_market
from app.strategies.sharing import Delivery
from app.strategies.validation import Progress, Validator
from app.strategies.versions import get_version, keep_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Everything of the library that lives as long as the process; on `app.state.strategies`."""

    validator: Validator
    quick: QuickBacktest
    delivery: Delivery
    paces: Paces
    clock: Clock

    async def validate_version(
        self,
        database: Database,
        user_id: UUID,
        strategy_id: UUID,
        number: int | None = None,
        *,
        market: Market | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """Validate a saved version, the newest one without a number, and keep the report with it; yields as `Validator.validate`.

        It is tried with the parameters that stand in its source: a report of others would call a version valid that is not.

        The report is kept before it is told: whoever sees that a version is valid can use it.

        Raises:
            StrategyNotFound: no such strategy of this user.
            VersionNotFound: it has no version of that number.
            TrialRate: the user validates too often.
        """
        self.paces.validations.take(user_id)
        async with database.transaction() as session:
            version = await get_version(session, user_id, strategy_id, number)
        steps = self.validator.validate(user_id, version.source, market=market)
        async with aclosing(steps) as progress:
            async for one in progress:
                if isinstance(one, Report):
                    async with database.transaction() as session:
                        if market is not None and one.tried_on is not None:
                            await remember_market(session, user_id, strategy_id, market.found(one.tried_on))
                        await keep_report(session, user_id, version.id, one, now=self.clock.now())
                yield one


async def remembering(
    database: Database, user_id: UUID, strategy_id: UUID | None, market: Market, steps: AsyncGenerator[Progress, None]
) -> AsyncGenerator[Progress, None]:
    """Yield the steps of a validation, and let the strategy remember the market that was found."""
    async with aclosing(steps) as progress:
        async for one in progress:
            if strategy_id is not None and isinstance(one, Report) and one.tried_on is not None:
                async with database.transaction() as session:
                    await remember_market(session, user_id, strategy_id, market.found(one.tried_on))
            yield one
