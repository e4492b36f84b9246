"""Write down what the venue says of several orders of one symbol in the order in which it happened there.

After an outage the answers come in any order. Were a stop's sale counted before a buy that had filled before it, the position would close
with its protection, and what the buy brought be a new one that nothing guards; were a later buy counted first, the old stop would sell it.
So the orders of a symbol that are asked about at the same time wait for each other, a moment and not longer, and are then counted by the
time of their fills. Nothing is asked because of that, and nothing is held while the venue is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from app.domain.enums import OrderState, OrderType, Side
from app.domain.orders import SHOWN, Fill, Reported
from app.exchanges.port import ExchangeClient
from app.trading.apply import record
from app.trading.border import concerns_all
from app.trading.desk import Desk
from app.trading.doubts import absent, fulfil, learn
from app.trading.records import OrderRecord
from app.trading.sweep import MissingOrders

#: So long an answer waits for those of other orders of its symbol; one that takes longer is counted when it comes.
PATIENCE_S: Final = 2.0
_COUNTED: Final = "SELECT order_id, trade_id FROM fills WHERE order_id = ANY($1)"

#: The order as it was asked about, and what the venue knows of it; None when it was not asked about after all.
Learnt = tuple[OrderRecord, Reported | None]
Learn = Callable[[], Awaitable[Learnt | None]]


@dataclass(slots=True, eq=False)
class _Answer:
    """What the venue says of an order, then what came of writing it down."""

    order: OrderRecord
    report: Reported
    is_done: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class _Line:
    """The orders of one account and symbol that are being asked about now."""

    asking: int = 0
    users: int = 0
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    answers: list[_Answer] = field(default_factory=list)


class CatchingUp:
    """Settles orders; those of one account and symbol that are asked about together are counted as they traded."""

    def __init__(self, desk: Desk, missing: MissingOrders) -> None:
        self._desk = desk
        self._missing = missing
        self._lines: dict[tuple[UUID, str], _Line] = {}

    async def settle(self, order: OrderRecord, client: ExchangeClient, *, ask: Learn | None = None) -> None:
        """Make an order that was sent agree with the venue, and carry out a wish to cancel it.

        It is asked about by `ask`, or else at once.

        Raises:
            ExchangeError: the venue cannot be asked about this order; the others of its symbol go on.
            Fenced: this process does not own the engine role.
        """
        with self._using(order.broker_id, order.symbol) as line:
            answer = await self._ask(line, ask or (lambda: learn(self._desk, order, client)), client)
            if answer is None:
                return
            await _wait(line)
            await self._write(line, answer)
        if answer.error is not None:
            raise answer.error
        await fulfil(self._desk, answer.order)

    @contextmanager
    def expecting(self, broker_id: UUID, symbols: Iterable[str]) -> Iterator[None]:
        """Let what is learnt of these symbols meanwhile wait for the orders that are about to be asked about."""
        with ExitStack() as stack:
            for symbol in symbols:
                stack.enter_context(_asking(stack.enter_context(self._using(broker_id, symbol))))
            yield

    @contextmanager
    def _using(self, broker_id: UUID, symbol: str) -> Iterator[_Line]:
        place = broker_id, symbol
        line = self._lines.setdefault(place, _Line())
        line.users += 1
        try:
            yield line
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[place]

    async def _ask(self, line: _Line, ask: Learn, client: ExchangeClient) -> _Answer | None:
        with _asking(line):
            learnt = await ask()
            if learnt is not None and learnt[1] is not None:
                line.answers.append(answer := _Answer(learnt[0], learnt[1]))
                return answer
        if learnt is not None:
            await absent(self._desk, learnt[0], client, self._missing)
        return None

    async def _write(self, line: _Line, mine: _Answer) -> None:
        """Write down all answers that are here. Whoever is first does it; should it be cancelled, the next goes on."""
        async with line.writing:
            if mine.is_done:
                return
            answers = [answer for answer in line.answers if not answer.is_done]
            counted = await self._counted(answers) if len(answers) > 1 else frozenset()
            try:
                for answer, fills in _pieces(answers, counted):
                    if not answer.is_done:
                        await self._write_piece(answer, fills)
            finally:
                line.answers = [answer for answer in line.answers if not answer.is_done]

    async def _write_piece(self, answer: _Answer, fills: Sequence[Fill] | None) -> None:
        try:
            if fills is not None:
                await record(self._desk, answer.order.id, only_fills(answer.order, answer.report.venue_order_id, fills))
                return
            await self._missing.seen(answer.order)
            answer.order = await record(self._desk, answer.order.id, answer.report)
            answer.is_done = True
        except Exception as error:
            if concerns_all(error):
                raise
            answer.error, answer.is_done = error, True

    async def _counted(self, answers: Sequence[_Answer]) -> frozenset[tuple[UUID, str]]:
        async with self._desk.database.connection() as connection:
            rows = await connection.fetch(_COUNTED, [answer.order.id for answer in answers])
        return frozenset((row["order_id"], row["trade_id"]) for row in rows)


@contextmanager
def _asking(line: _Line) -> Iterator[None]:
    line.asking += 1
    line.quiet.clear()
    try:
        yield
    finally:
        line.asking -= 1
        if not line.asking:
            line.quiet.set()


async def _wait(line: _Line) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await line.quiet.wait()
    except TimeoutError:
        return  # what is late is counted when it comes


def _pieces(answers: Sequence[_Answer], counted: frozenset[tuple[UUID, str]]) -> list[tuple[_Answer, Sequence[Fill] | None]]:
    """Cut the answers into what is written down one after the other; None stands for the whole answer, which is each order's last piece.

    Only orders that traded in turns are cut. An answer without new fills moves no position, and comes last.
    """
    by_order = {answer.order.id: answer for answer in answers}
    fresh = [(answer.order, fill) for answer in answers for fill in answer.report.fills if (answer.order.id, fill.trade_id) not in counted]
    runs = in_turn(fresh)
    last = {order.id: number for number, (order, _) in enumerate(runs)}
    pieces: list[tuple[_Answer, Sequence[Fill] | None]] = [
        (by_order[order.id], None if last[order.id] == number else fills) for number, (order, fills) in enumerate(runs)
    ]
    rest = (answer for answer in answers if answer.order.id not in last)
    return pieces + [(answer, None) for answer in sorted(rest, key=lambda answer: as_traded(answer.order))]


def in_turn(fills: Iterable[tuple[OrderRecord, Fill]]) -> list[tuple[OrderRecord, list[Fill]]]:
    """Return fills in the order they happened, those of one order that follow each other together."""
    ordered = sorted(fills, key=lambda each: _happened(*each))
    return [(run[0][0], [fill for _, fill in run]) for run in (list(group) for _, group in groupby(ordered, key=lambda each: each[0].id))]


def _happened(order: OrderRecord, fill: Fill) -> tuple[datetime, int, tuple[bool, datetime]]:
    number = int(fill.trade_id) if fill.trade_id.isdecimal() else 0
    return fill.executed_at, number, as_traded(order)


def as_traded(order: OrderRecord) -> tuple[bool, datetime]:
    """The order in which orders of one symbol will have traded, where no fills tell: as they were sent, but sells that rested last."""
    rested = order.side is Side.SELL and order.type is not OrderType.MARKET
    return rested, order.sent_at or order.created_at


def only_fills(order: OrderRecord, venue_order_id: str, fills: Sequence[Fill]) -> Reported:
    """Return a report of fills that says nothing of the order's state: it is told as we know it."""
    return Reported(
        state=order.state if order.state in SHOWN else OrderState.OPEN,
        venue_order_id=venue_order_id,
        filled_quantity=order.filled_quantity,
        average_price=order.average_price,
        fills=tuple(fills),
        is_working=order.is_working,
    )
