"""One bot's strategy in its locked process: loaded with history, then asked candle by candle."""

from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from app.bots import words
from app.bots.history import Histories, too_few
from app.bots.log import Said, said
from app.bots.roster import LiveBot, Market
from app.domain.candles import Candle, from_milliseconds, to_milliseconds
from app.errors import AppError, JailBusy, JailClosed, StrategyKilled, StrategyPaused
from app.sandbox.jail import Jail, Worker
from app.sandbox.messages import ClosedCandle, Decide, Decision, Described, Failed, Holding, LiveFill, Load
from app.sandbox.quotas import Purpose

T = TypeVar("T")
#: Candles of which the highest price is remembered: of longer positions the stop has followed long since.
_REMEMBERED: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a strategy did wrong. `line` counts from 1, 0 is none."""

    code: str
    message: str
    line: int = 0
    traceback: str = ""
    output: str = ""


class FaultError(Exception):
    """The strategy failed."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class NotYetError(Exception):
    """The strategy cannot be loaded now; `told` says what it waits for. Nobody is to blame."""

    def __init__(self, told: Said) -> None:
        super().__init__(told.message)
        self.told = told


class Cell:
    """The worker of one bot. Its owner asks one thing at a time."""

    def __init__(self, bot: LiveBot, jail: Jail, histories: Histories) -> None:
        self.bot = bot
        self.markets: tuple[Market, ...] = (bot.market,)
        #: Open time of the last candle that the strategy knows, of each market by its place; in ms since 1970 UTC.
        self.known: list[int] = []
        self._jail = jail
        self._histories = histories
        self._stack: AsyncExitStack | None = None
        self._worker: Worker | None = None
        self._highs: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._others: list[tuple[int, ClosedCandle]] = []
        #: The last candle that it knows.
        self.newest: Candle | None = None
        #: Closed candles that it was not asked about; they are shown to the strategy before the next one.
        self.backlog: deque[Candle] = deque()

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked."""
        return self._worker is not None and self._worker.over is None

    async def open(self, *, until: datetime) -> None:
        """Load the strategy with what had closed by `until`.

        Raises:
            FaultError: it is not a strategy, fails while it is loaded, or was killed.
            NotYetError: there are too few candles, or there is no place for it now.
        """
        await self.close()
        bot = self.bot
        async with AsyncExitStack() as stack:
            with _blamed():
                described = bot.described or await self._described()
                history = await self._histories.of(bot, described, until=until)
                if not history.is_enough:
                    raise NotYetError(too_few(history))  # it is closed here in any case
                worker = await stack.enter_async_context(
                    self._jail.worker(user_id=bot.user_id, purpose=Purpose.LIVE, frames=history.frames, strategy=str(bot.id))
                )
                _expect(await worker.ask(Load(source=bot.source, parameters=dict(bot.parameters))), Described)
            self._stack = stack.pop_all()
        self._worker, self.markets = worker, history.markets
        own = history.frames[0][1]
        self.known = [int(candles.time[-1]) for _, candles in history.frames]
        columns = (own.open, own.high, own.low, own.close, own.volume)
        opened = from_milliseconds(self.known[0])
        names = ("open", "high", "low", "close", "volume")
        self.newest = Candle(open_time=opened, **{name: float(column[-1]) for name, column in zip(names, columns, strict=True)})
        self._highs = deque(zip(own.time.tolist(), own.high.tolist(), strict=True), maxlen=_REMEMBERED)
        self._others = []
        self.backlog.clear()

    async def _described(self) -> Described:
        async with self._jail.worker(user_id=self.bot.user_id, purpose=Purpose.LIVE, strategy=str(self.bot.id)) as worker:
            reply = await worker.ask(Load(source=self.bot.source, parameters=dict(self.bot.parameters)))
            return _expect(reply, Described)

    async def close(self) -> None:
        """End the worker."""
        stack, self._stack, self._worker = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    def hear(self, market: Market, candle: Candle) -> None:
        """Keep a closed candle of another market for the next decision."""
        for place, known in enumerate(self.markets):
            if place and known == market:
                opened = to_milliseconds(candle.open_time)
                if opened > self.known[place]:
                    self.known[place] = opened
                    self._others.append((place, closed_candle(candle)))

    def lacks(self, close: datetime) -> bool:
        """Whether a candle of another market, which closes at that moment too, has not been heard of yet."""
        return any(
            market.timeframe.floor(close) == close and self.known[place] < to_milliseconds(close - market.timeframe.duration)
            for place, market in enumerate(self.markets)
            if place
        )

    async def decide(self, candle: Candle | None, holding: Holding, fills: list[LiveFill]) -> Decision:
        """Return what the strategy wants at a candle that closed; None: at the last one that it was loaded with.

        Raises:
            FaultError: it failed, took too long, or was killed.
            NotYetError: its process is gone without its fault.
        """
        if self._worker is None:
            raise NotYetError(said(words.LOADING))
        others, self._others = self._others[-1_000:], []
        request = Decide(candle=None if candle is None else closed_candle(candle), holding=holding, others=others, fills=fills[-100:])
        with _blamed():
            decision = _expect(await self._worker.ask(request), Decision)
        if candle is not None:
            self.known[0] = to_milliseconds(candle.open_time)
            self._highs.append((self.known[0], candle.high))
            self.newest = candle
        return decision

    def best_since(self, opened_at: datetime | None) -> Decimal | None:
        """Return the highest price of the closed candles since a position was opened, that of its entry among them."""
        if opened_at is None:
            return None
        first = to_milliseconds(self.bot.market.timeframe.floor(opened_at))
        highs = [high for opened, high in self._highs if opened >= first]
        return Decimal(repr(max(highs))) if highs else None


def closed_candle(candle: Candle) -> ClosedCandle:
    """Return a candle as workers take it."""
    return to_milliseconds(candle.open_time), candle.open, candle.high, candle.low, candle.close, candle.volume


def last_open(cell: Cell) -> datetime:
    """Return the open time of the last candle that a cell knows."""
    return from_milliseconds(cell.known[0])


def _expect(reply: object, kind: type[T]) -> T:
    if isinstance(reply, kind):
        return reply
    if isinstance(reply, Failed):
        told = reply.message if reply.kind.isupper() else f"{reply.kind}: {reply.message}"
        raise FaultError(Fault(code=reply.kind, message=told, line=reply.line, traceback=reply.traceback, output=reply.output))
    raise FaultError(Fault(code="STRATEGY_PROTOCOL", message=f"answered with {type(reply).__name__}"))


@contextmanager
def _blamed() -> Iterator[None]:
    """Say of what goes wrong inside who is to blame: the strategy, or nobody."""
    try:
        yield
    except StrategyKilled as error:
        raise FaultError(Fault(code=error.code, message=error.message)) from error
    except (JailBusy, StrategyPaused) as error:
        raise NotYetError(said(words.NO_PLACE, why=error.message)) from error
    except JailClosed as error:
        raise NotYetError(said(words.JAIL_AWAY, why=error.message)) from error
    except AppError as error:
        raise NotYetError(said(words.NO_CANDLES, why=error.message)) from error
