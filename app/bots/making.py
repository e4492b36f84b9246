"""The door to bots for pages and the API: what a wish leaves open is settled and checked before it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from app.bots import service
from app.bots.events import BotAsked, BotChanged
from app.bots.models import Bot, BotMode
from app.bots.service import BotWish, Settled
from app.brokers.models import Broker
from app.brokers.service import get_broker
from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.i18n import N_
from app.domain.candles import LIVE_TIMEFRAMES, Timeframe
from app.domain.instruments import Instrument, plain
from app.errors import BotInvalid
from app.marketdata.instruments import InstrumentBook
from app.sandbox.messages import Described, Failed, Load, Value
from app.strategies.candles import timeframe_named
from app.strategies.models import StrategyVersion
from app.strategies.quick import failure
from app.strategies.versions import get_version
from app.strategies.workers import TrialWorkers


@dataclass(frozen=True, slots=True, kw_only=True)
class Bots:
    """Everything of bots that lives as long as the process; on `app.state.bots`.

    Attributes:
        instruments: What exchanges list.
        workers: Where a strategy is asked what it is, with the parameters that it is to have.
        feed: The exchange whose candles bots decide on.
        bus: Where changes are told.
        clock: Tells the time.
    """

    instruments: InstrumentBook
    workers: TrialWorkers
    feed: str
    bus: EventBus
    clock: Clock

    async def create(self, database: Database, user_id: UUID, wish: BotWish) -> Bot:
        """Store a bot that is ready to be started.

        Raises:
            BrokerNotFound: no such account of this user.
            StrategyNotFound: no such strategy of this user.
            VersionNotFound: it has no version of that number.
            SymbolNotFound: the feed's exchange or the account's does not list the symbol.
            ExchangeError: nobody knows yet what it lists, and it cannot be asked.
            BotInvalid: the mode does not fit the account, there are no live candles of that length, or the capital is too small.
            StrategyFailed: its code fails, or does not take the parameters.
            JailClosed: strategies may not be run here.
            BotLimit: the user has as many as one may have.
        """
        settled = await self.settle(database, user_id, wish)
        async with database.transaction() as session:
            bot = await service.create_bot(session, user_id, wish, settled, now=self.clock.now())
        self.bus.publish(BotChanged(user_id=user_id, bot_id=bot.id))
        return bot

    async def change(self, database: Database, user_id: UUID, bot_id: UUID, changes: Mapping[str, Any]) -> Bot:
        """Change a bot. Raises as `service.change_bot`, and BotInvalid where a mode does not fit the account."""
        async with database.transaction() as session:
            if "mode" in changes:
                broker_id = (await service.get_bot(session, user_id, bot_id)).broker_id
                check_mode(BotMode(changes["mode"]), await get_broker(session, user_id, broker_id))
            bot = await service.change_bot(session, user_id, bot_id, changes, now=self.clock.now())
        for event in (BotAsked(bot_id=bot.id), BotChanged(user_id=user_id, bot_id=bot.id)):
            self.bus.publish(event)
        return bot

    async def settle(self, database: Database, user_id: UUID, wish: BotWish) -> Settled:
        """Return what a wish leaves open. Raises as `create`."""
        async with database.transaction() as session:
            broker = await get_broker(session, user_id, wish.broker_id)
            version = await get_version(session, user_id, wish.strategy_id, wish.version)
        check_mode(wish.mode, broker)
        instrument = await self.instruments.require(self.feed, wish.symbol)
        traded = await self.instruments.require(broker.exchange, instrument.symbol)
        check_capital(wish, traded)
        described = await self._described(user_id, version, wish.parameters)
        timeframe = live_timeframe(wish.timeframe or described.timeframe)
        return Settled(version_id=version.id, exchange=self.feed, symbol=instrument.symbol, timeframe=timeframe)

    async def _described(self, user_id: UUID, version: StrategyVersion, parameters: dict[str, Value]) -> Described:
        if version.described is not None and not parameters:
            return msgspec.convert(version.described, Described)
        async with self.workers.worker(user_id) as worker:
            reply = await worker.ask(Load(source=version.source, parameters=dict(parameters)))
        if isinstance(reply, Failed) or not isinstance(reply, Described):
            raise failure(reply)
        return reply


def check_mode(mode: BotMode, broker: Broker) -> None:
    """Pass when a bot of that mode may trade on that account.

    Raises:
        BotInvalid: it may not.
    """
    if mode is BotMode.PAPER and not broker.is_paper:
        raise BotInvalid(N_("play money needs a paper account: choose one, or another mode"), field="mode")
    if mode is BotMode.LIVE and broker.is_paper:
        raise BotInvalid(N_("a paper account has play money only: choose the mode paper, or another account"), field="mode")


def check_capital(wish: BotWish, instrument: Instrument) -> None:
    """Pass when the capital can buy anything.

    Raises:
        BotInvalid: it cannot.
    """
    least = instrument.min_notional
    if least is not None and wish.capital < least:
        told = N_(f"the capital must be at least {plain(least)} {instrument.quote}, the exchange's smallest order")
        raise BotInvalid(told, field="capital")


def live_timeframe(name: str) -> Timeframe:
    """Return a timeframe that the heartbeat makes.

    Raises:
        BotInvalid: it makes none of that length.
    """
    timeframe = timeframe_named(name)
    if timeframe not in LIVE_TIMEFRAMES:
        names = ", ".join(one.value for one in LIVE_TIMEFRAMES)
        raise BotInvalid(N_(f"there are no live candles of {timeframe.value}: choose one of {names}"), field="timeframe")
    return timeframe
