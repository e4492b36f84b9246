"""From a backtest to a bot with the same version, parameters, market, capital and safeguards; and from a bot back to a backtest.

What a live bot would do otherwise than the backtest is said before it is made: `warnings`. What cannot be is refused. See ADR 0019.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.models import Backtest, BacktestState
from app.backtests.packed import unpacked_trades
from app.backtests.results import amount
from app.backtests.service import get_backtest
from app.backtests.wish import USUAL_SLIPPAGE, BacktestWish, Options, options_of
from app.bots.making import Bots, live_timeframe
from app.bots.models import AtEnd, Bot, BotMode
from app.bots.service import BotWish
from app.brokers.service import get_broker
from app.core.db import Database
from app.core.i18n import N_
from app.domain.fees import FeeRates
from app.domain.instruments import plain
from app.domain.safeguards import plain_safeguards, read_safeguards
from app.errors import PromotionRefused
from app.sandbox.messages import Value
from app.shadow.reading import life_of
from app.strategies.models import StrategyVersion
from app.strategies.service import reason_against
from app.strategies.versions import version_by_id
from app.trading.desk import Desk
from app.trading.fees import fee_terms

_RESULT: Final = text("SELECT trades FROM backtest_results WHERE backtest_id = :id AND user_id = :user_id")
#: How many sets of parameters a search tried, one of which these are.
_TRIALS: Final = text("""
SELECT s.tried FROM search_trials t JOIN searches s ON s.id = t.search_id
 WHERE s.user_id = :user_id AND t.user_id = :user_id AND s.version_id = :version_id AND s.parameters || t.parameters = :parameters
 ORDER BY s.tried DESC LIMIT 1
""").bindparams(bindparam("parameters", type_=JSONB))
_PERCENT: Final = Decimal(100)

SHORTS: Final = N_("%(shorts)s of its %(trades)s trades sold short: a spot account cannot, the bot leaves them out")
FEES: Final = N_("it paid fees of %(taker)s%% and %(maker)s%%, the account takes %(own_taker)s%% (taker) and %(own_maker)s%% (maker)")
SLIPPAGE: Final = N_("it reckoned with a slippage of %(slippage)s%%: real orders at the market cost more, %(usual)s%% is usual")
DETAIL: Final = N_("it looked into its candles by minutes to tell stop from target: live, the market itself tells it")
FUNDING: Final = N_("it paid or received funding of %(rate)s%%: a spot account does not")
VOLUME: Final = N_("its orders took at most %(share)s%% of a candle's volume: the bot's orders have no such bound")
EXCHANGE: Final = N_("its candles were those of %(there)s, the bot decides on those of %(here)s")
PART: Final = N_("it was canceled before it was done: its figures are those of a part of its range")
SEARCHED: Final = N_("its parameters are the best of %(tried)s that a search tried on past prices: the future is seldom as kind")
FEW: Final = N_("it has %(trades)s trades: chance alone may explain its result")
_FEW_TRADES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """Something that will be otherwise live; `message` is an English sentence with names for its `values`."""

    code: str
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a bot would be made of, and what to know before it is."""

    backtest_id: UUID
    number: int
    strategy_id: UUID
    version: int
    parameters: dict[str, Value]
    symbol: str
    timeframe: str
    capital: Decimal
    safeguards: dict[str, Any]
    broker_id: UUID | None
    warnings: tuple[Warn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What somebody decides who promotes a backtest; what is None is the backtest's."""

    broker_id: UUID
    mode: BotMode
    capital: Decimal | None = None
    name: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None
    at_end: AtEnd = AtEnd.KEEP
    safeguards: dict[str, Any] | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotions:
    """Makes bots of backtests; on `app.state.promotions`.

    Attributes:
        bots: Makes bots.
        desk: Knows what accounts pay.
    """

    bots: Bots
    desk: Desk

    async def offer(self, database: Database, user_id: UUID, backtest_id: UUID, *, broker_id: UUID | None = None) -> Offer:
        """Return what a bot of a backtest would be, with what would be otherwise; `broker_id`: on which account, None for the backtest's.

        Raises:
            BacktestNotFound: no such backtest of this user.
            BrokerNotFound: no such account of this user.
            PromotionRefused: its version may not trade, or it has no result.
            SymbolNotFound: the live feed does not list its symbol.
            BotInvalid: there are no live candles of its length.
        """
        async with database.transaction() as session:
            backtest = await get_backtest(session, user_id, backtest_id)
            version = await version_by_id(session, user_id, backtest.version_id)
            check(backtest, version)
            if broker_id is not None:
                await get_broker(session, user_id, broker_id)
            shorts, trades = await _trades(session, backtest)
            tried = await _tried(session, backtest)
        live_timeframe(backtest.timeframe)
        instrument = await self.bots.instruments.require(self.bots.feed, backtest.symbol)
        account = broker_id or backtest.broker_id
        rates = None if account is None else (await fee_terms(self.desk, user_id, account)).rates
        return Offer(
            backtest_id=backtest.id,
            number=backtest.number,
            strategy_id=backtest.strategy_id,
            version=version.number,
            parameters=dict(backtest.parameters),
            symbol=instrument.symbol,
            timeframe=backtest.timeframe,
            capital=backtest.capital,
            safeguards=safeguards_of(backtest),
            broker_id=backtest.broker_id,
            warnings=warnings(backtest, rates=rates, shorts=shorts, trades=trades, tried=tried, feed=self.bots.feed),
        )

    async def promote(self, database: Database, user_id: UUID, backtest_id: UUID, choice: Choice) -> tuple[Bot, Offer]:
        """Make a bot of a backtest; it does nothing before it is started. Raises as `offer` and `Bots.create`."""
        offer = await self.offer(database, user_id, backtest_id, broker_id=choice.broker_id)
        bot = await self.bots.create(database, user_id, wish_of_offer(offer, choice))
        return bot, offer


def wish_of_offer(offer: Offer, choice: Choice) -> BotWish:
    """Return the wish for a bot of a backtest."""
    return BotWish(
        strategy_id=offer.strategy_id,
        version=offer.version,
        parameters=offer.parameters,
        broker_id=choice.broker_id,
        symbol=offer.symbol,
        timeframe=offer.timeframe,
        mode=choice.mode,
        capital=offer.capital if choice.capital is None else choice.capital,
        name=choice.name,
        start_at=choice.start_at,
        end_at=choice.end_at,
        at_end=choice.at_end,
        safeguards=offer.safeguards if choice.safeguards is None else choice.safeguards,
        backtest_id=offer.backtest_id,
        idempotency_key=choice.idempotency_key,
    )


def check(backtest: Backtest, version: StrategyVersion) -> None:
    """Pass when a backtest can become a bot.

    Raises:
        PromotionRefused: it cannot.
    """
    if backtest.state not in (BacktestState.COMPLETED, BacktestState.CANCELED) or backtest.report is None:
        raise PromotionRefused(N_("it has no result: nobody knows what the bot would have done"))
    reason = reason_against(version)
    if version.has_look_ahead:
        raise PromotionRefused(N_(f"version {version.number} looks into the future, which is not there when it trades: {reason}"))
    if reason is not None:
        raise PromotionRefused(N_(f"version {version.number} may not trade: {reason}"))


def warnings(backtest: Backtest, *, rates: FeeRates | None, shorts: int, trades: int, tried: int, feed: str) -> tuple[Warn, ...]:
    """Return what a bot would do otherwise than its backtest, what matters most first."""
    options = options_of(backtest.options)
    found = [
        _when(shorts > 0, "SHORTS", SHORTS, shorts=str(shorts), trades=str(trades)),
        None if rates is None else _fees(backtest, rates),
        _when(backtest.slippage < USUAL_SLIPPAGE, "SLIPPAGE", SLIPPAGE, slippage=percent(backtest.slippage), usual=percent(USUAL_SLIPPAGE)),
        _when(tried > 1, "SEARCHED", SEARCHED, tried=str(tried)),
        _when(trades < _FEW_TRADES, "FEW", FEW, trades=str(trades)),
        _when(backtest.exchange != feed, "EXCHANGE", EXCHANGE, there=backtest.exchange, here=feed),
        _when(options.is_detailed, "DETAIL", DETAIL),
        _when(options.funding_rate != 0, "FUNDING", FUNDING, rate=percent(Decimal(amount(options.funding_rate)))),
        _when(options.volume_share != 0, "VOLUME", VOLUME, share=percent(Decimal(amount(options.volume_share)))),
        _when(backtest.state == BacktestState.CANCELED, "PART", PART),
    ]
    return tuple(one for one in found if one is not None)


def _when(is_so: bool, code: str, message: str, **values: str) -> Warn | None:  # noqa: FBT001  # it reads as a sentence
    return Warn(code=code, message=message, values=values) if is_so else None


def _fees(backtest: Backtest, rates: FeeRates) -> Warn | None:
    is_better = backtest.fee < rates.taker or backtest.maker_fee < rates.maker
    told = {"taker": percent(backtest.fee), "maker": percent(backtest.maker_fee)}
    return _when(is_better, "FEES", FEES, **told, own_taker=percent(rates.taker), own_maker=percent(rates.maker))


def percent(fraction: Decimal) -> str:
    """Return a fraction as people write it."""
    return plain((fraction * _PERCENT).normalize())


def safeguards_of(backtest: Backtest) -> dict[str, Any]:
    """Return the safeguards that a backtest had."""
    return plain_safeguards(options_of(backtest.options).safeguards)


async def _trades(session: AsyncSession, backtest: Backtest) -> tuple[int, int]:
    """Return how many trades sold short, of how many."""
    packed = await session.scalar(_RESULT, {"id": backtest.id, "user_id": backtest.user_id})
    if packed is None:
        return 0, 0
    sides = unpacked_trades(packed).side
    return int(np.count_nonzero(sides < 0)), len(sides)


async def _tried(session: AsyncSession, backtest: Backtest) -> int:
    if not backtest.parameters:
        return 0
    values = {"user_id": backtest.user_id, "version_id": backtest.version_id, "parameters": backtest.parameters}
    return int(await session.scalar(_TRIALS, values) or 0)


def life_wish(row: Mapping[str, Any], *, now: datetime, is_same_market: bool) -> BacktestWish | None:
    """Return the wish of a backtest over a bot's life, with its own version, parameters and capital; None while it has none.

    Args:
        row: The bot, as `reading.read_bot` has it.
        now: Candles after it have not closed.
        is_same_market: Whether its account's candles are those that it decides on; else the fees are the usual ones.
    """
    life = life_of(row, now)
    if life is None:
        return None
    has_account = is_same_market and row["broker_removed_at"] is None
    return BacktestWish(
        strategy_id=row["strategy_id"],
        version=row["version"],
        parameters=dict(row["parameters"]),
        broker_id=row["broker_id"] if has_account else None,
        symbol=row["symbol"],
        timeframe=row["timeframe"],
        start_at=life.first,
        end_at=life.end,
        capital=row["capital"],
        options=Options(safeguards=read_safeguards(row["safeguards"])),
    )
