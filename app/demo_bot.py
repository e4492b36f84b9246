"""The demo's bot: a paper account, a small strategy that was validated, and a bot that runs it; all by the services of the pages."""

from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog
from fastapi import FastAPI

from app.bots import lifecycle, service
from app.bots.models import BotMode
from app.bots.monitor import monitor_rows
from app.brokers import service as brokers
from app.brokers.schemas import BrokerIn
from app.core.tenancy import working_for
from app.domain.safeguards import Loss, Safeguards, plain_safeguards
from app.errors import AppError
from app.strategies import service as strategies
from app.strategies.service import Market

log = structlog.get_logger(__name__)

_CAPITAL: Final = Decimal(10_000)
_BALANCE: Final = Decimal(50_000)
_DAILY_LOSS: Final = Decimal("0.05")
_TIMEFRAME: Final = "1m"
#: Short averages: in a made-up market they cross every few minutes, so that there is something to see before the coffee is cold.
_SOURCE: Final = '''from aristobot import Strategy, param, ta


class QuickCross(Strategy):
    """Long while a short average is above a longer one. It trades often and earns nothing: it is here to be watched."""

    timeframe = "1m"
    warm_up = 60
    fast = param(3, low=2, high=20)
    slow = param(8, low=3, high=60)
    stop_loss = param(0.01, low=0.002, high=0.1)

    def indicators(self, candles):
        self.quick = ta.EMA(candles.close, self.fast)
        self.calm = ta.EMA(candles.close, self.slow)

    def should_long(self) -> bool:
        return self.quick[-1] > self.calm[-1]

    def should_exit(self) -> bool:
        return self.quick[-1] < self.calm[-1]
'''


async def seed_bot(app: FastAPI, user_id: UUID, username: str) -> None:
    """Make the demo's bot and start it, once: whoever has any bot, running or not, keeps what they have.

    A server without the jail runs no strategies: then there is none, which the log says.
    """
    state = app.state
    with working_for(user_id):
        async with state.database.transaction() as session:
            if await monitor_rows(session, user_id, now=state.clock.now(), with_stopped=True, limit=1):
                return
        try:
            await _make(app, user_id, username)
        except AppError as error:
            log.warning("demo_without_bot", code=error.code, reason=error.message)


async def _make(app: FastAPI, user_id: UUID, username: str) -> None:
    state = app.state
    symbol: str = state.settings.heartbeat_symbols[0]
    async with state.database.transaction() as session:
        account = next((one for one in await brokers.list_brokers(session, user_id) if one.is_paper), None)
        if account is None:
            given = BrokerIn(exchange="paper", name="Paper account", description="Play money for bots", paper_balance_usdt=_BALANCE)
            account = await brokers.create_broker(session, state.vault, user_id, given)
        strategy = await strategies.create_strategy(
            session, user_id, name="Quick cross", source=_SOURCE, now=state.clock.now(), is_renamed=True
        )
    market = Market(symbol=symbol, timeframe=_TIMEFRAME)
    async for _ in state.strategies.validate_version(state.database, user_id, strategy.id, market=market):
        pass
    wish = service.BotWish(
        strategy_id=strategy.id,
        broker_id=account.id,
        symbol=symbol,
        timeframe=_TIMEFRAME,
        mode=BotMode.PAPER,
        capital=_CAPITAL,
        name=f"Quick cross on {symbol}",
        safeguards=plain_safeguards(Safeguards(daily_loss=Loss(fraction=_DAILY_LOSS))),
        idempotency_key="demo",
    )
    bot = await state.bots.create(state.database, user_id, wish)
    await lifecycle.start(state.desk, user_id, bot.id, by=username)
