"""The door to backtests for pages and the API: what a wish leaves open is settled before it is stored, and whoever works is told."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import msgspec

from app.backtests import service
from app.backtests.bounds import Bounds
from app.backtests.events import BacktestAsked, BacktestChanged
from app.backtests.models import Backtest
from app.backtests.service import Settled
from app.backtests.wish import BacktestWish, Rules
from app.brokers.service import get_broker
from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.domain.fees import FeeRates
from app.domain.ticket import USUAL_FEES
from app.marketdata.instruments import InstrumentBook
from app.sandbox.messages import Described
from app.strategies.candles import timeframe_named
from app.strategies.models import StrategyVersion
from app.strategies.quick import QuickBacktest
from app.trading.desk import Desk
from app.trading.fees import fee_terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtests:
    """Everything of backtests that lives as long as the process; on `app.state.backtests`.

    Attributes:
        instruments: What exchanges list.
        quick: Asks a strategy for its timeframe where nobody said it.
        desk: Knows what accounts pay.
        bounds: What is allowed.
        feed: The exchange that is taken where no account is named.
        bus: Where changes are told.
        clock: Tells which candles have closed.
    """

    instruments: InstrumentBook
    quick: QuickBacktest
    desk: Desk
    bounds: Bounds
    feed: str
    bus: EventBus
    clock: Clock

    async def create(self, database: Database, user_id: UUID, wish: BacktestWish) -> Backtest:
        """Store a backtest, and let it be begun when it is its turn.

        Raises:
            BrokerNotFound: no such account of this user.
            StrategyNotFound: no such strategy of this user.
            VersionNotFound: it has no version of that number.
            SymbolNotFound: the exchange does not list the symbol.
            ExchangeError: nobody knows yet what it lists, and it cannot be asked.
            InvalidInput: there is no such timeframe, or the range is none.
            TooManyCandles: the range needs more memory than a backtest may have.
            BacktestLimit: the user has as many waiting, or stored, as one may have.
            StrategyFailed: nobody said its timeframe, and its code fails before it says it.
        """
        settled = await self.settle(database, user_id, wish)
        async with database.transaction() as session:
            made = await service.create_backtest(session, user_id, wish, settled, bounds=self.bounds, now=self.clock.now())
        return self._told(made)

    async def repeat(self, database: Database, user_id: UUID, backtest_id: UUID) -> Backtest:
        """Store a backtest with the header of another one. Raises as `service.repeat_backtest`."""
        async with database.transaction() as session:
            made = await service.repeat_backtest(session, user_id, backtest_id, bounds=self.bounds, now=self.clock.now())
        return self._told(made)

    async def cancel(self, database: Database, user_id: UUID, backtest_id: UUID) -> Backtest:
        """Cancel a backtest; one that runs stops within two seconds. Raises as `service.cancel_backtest`."""
        now = self.clock.now()
        async with database.transaction() as session:
            canceled = await service.cancel_backtest(session, user_id, backtest_id, now=now)
        # What was over before is told by whoever ended it.
        return canceled if canceled.finished_at not in (None, now) else self._told(canceled)

    async def delete(self, database: Database, user_id: UUID, backtest_id: UUID) -> None:
        """Delete a backtest. Raises as `service.delete_backtest`."""
        async with database.transaction() as session:
            await service.delete_backtest(session, user_id, backtest_id)
        self.bus.publish(BacktestAsked(backtest_id=backtest_id))

    async def settle(self, database: Database, user_id: UUID, wish: BacktestWish) -> Settled:
        """Return what a wish leaves open. Raises as `create`."""
        async with database.transaction() as session:
            broker = None if wish.broker_id is None else await get_broker(session, user_id, wish.broker_id)
            version = await service.version_wished(session, user_id, wish)
        exchange = self.instruments.source(self.feed if broker is None else broker.exchange)
        instrument = await self.instruments.require(exchange, wish.symbol)
        described = await self._described(user_id, version, is_needed=wish.timeframe is None)
        timeframe = timeframe_named(wish.timeframe or (described.timeframe if described is not None else ""))
        rates = await self._rates(user_id, wish)
        return Settled(
            version_id=version.id,
            exchange=exchange,
            symbol=instrument.symbol,
            timeframe=timeframe,
            rules=Rules.of(instrument),
            fee=rates.taker,
            maker_fee=rates.maker,
            warm_up=0 if described is None else described.warm_up,
            others=0 if described is None else len(described.informative),
        )

    async def _described(self, user_id: UUID, version: StrategyVersion, *, is_needed: bool) -> Described | None:
        if version.described is not None:
            return msgspec.convert(version.described, Described)
        return await self.quick.describe(user_id, version.source) if is_needed else None

    async def _rates(self, user_id: UUID, wish: BacktestWish) -> FeeRates:
        known = USUAL_FEES.rates if wish.broker_id is None else (await fee_terms(self.desk, user_id, wish.broker_id)).rates
        taker = known.taker if wish.fee is None else wish.fee
        maker: Decimal = known.maker if wish.fee is None else wish.fee
        return FeeRates(maker=maker if wish.maker_fee is None else wish.maker_fee, taker=taker)

    def _told(self, backtest: Backtest) -> Backtest:
        self.bus.publish(BacktestAsked(backtest_id=backtest.id))
        self.bus.publish(BacktestChanged(user_id=backtest.user_id, backtest_id=backtest.id, number=backtest.number, state=backtest.state))
        return backtest
