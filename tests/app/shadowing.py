"""Lives of bots as rows: what a bot would have written down that did exactly what a backtest did, and what may differ."""

import asyncio
import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.backtests.results import StoredResult, result_of
from app.core.ids import new_id
from app.domain.candles import Timeframe, from_milliseconds, to_milliseconds
from app.domain.outcome import REASONS
from app.domain.simulated import Reason
from tests.app.backtesting import CROSS, END, SYMBOL, begun, until
from tests.app.botting import bot, paper_account, valid_strategy
from tests.app.whole_site import Person, Site

MINUTE = Timeframe.M1.duration
_ORDER = """
INSERT INTO orders (id, user_id, broker_id, client_order_id, symbol, side, type, state, quantity, filled_quantity, fills_quantity,
                    average_price, price, trigger_price, time_in_force, post_only, source, role, key, leg, attempt, bot_id, created_at,
                    updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'filled', $8, $8, $8, $9, $10, $11, 'gtc', false, 'bot', $12, $13, 0, 0, $14, $15, $15)
"""
_FILL = """
INSERT INTO fills (broker_id, symbol, trade_id, order_id, user_id, side, price, quantity, fee, fee_asset, liquidity, executed_at,
                   fee_value, position_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'USDT', 'taker', $10, $9, $11)
"""
_POSITION = """
INSERT INTO positions (id, user_id, broker_id, bot_id, symbol, base, quote, quantity, realized_pnl, source, status, opened_at, updated_at,
                       closed_at, side)
VALUES ($1, $2, $3, $4, $5, 'BTC', 'USDT', 0, 0, 'bot', 'closed', $6, $6, $6, 'long')
"""
_SIGNALS = """
INSERT INTO bot_signals (id, bot_id, user_id, open_time, decided_at, decision, action, state, price)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::jsonb[], $7::text[], $8::text[],
                     $9::numeric[])
"""


class Lived:
    """A bot that has stopped, and the backtest that it did as."""

    def __init__(self, site: Site, person: Person, bot_id: UUID, broker_id: UUID) -> None:
        self.site, self.person, self.bot_id, self.broker_id = site, person, bot_id, broker_id
        self.user_id = UUID(person.ids["user_id"])
        #: Orders in order: id and what it was for.
        self.orders: list[tuple[UUID, Reason]] = []

    async def rows(self, sql: str, *values: object) -> list[Any]:
        async with self.site.app.state.platform_database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def write(self, result: StoredResult, *, first: datetime, end: datetime) -> None:
        """Write down what the backtest did as the bot's own orders, fills and decisions."""
        fills, position = result.fills, UUID(int=0)
        wanted: dict[datetime, str] = {}
        for place in range(len(fills)):
            row, reason = int(fills.candle[place]), REASONS[int(fills.reason[place])]
            opened = from_milliseconds(int(result.time[row]))
            decided = opened - MINUTE
            if reason is Reason.ENTRY:
                position, wanted[decided] = new_id(), "long"
                await self.rows(_POSITION, position, self.user_id, self.broker_id, self.bot_id, SYMBOL, opened)
            elif reason is Reason.EXIT:
                wanted[decided] = "exit"
            await self._order(fills, place, reason, decided, position)
        if len(fills) and fills.side[-1] > 0:
            await self.rows("UPDATE positions SET status = 'open', closed_at = NULL WHERE id = $1", position)
        await self._signals(wanted, first, end)

    async def _order(self, fills: Any, place: int, reason: Reason, decided: datetime, position: UUID) -> None:
        order_id, quantity, price = new_id(), exact(fills.quantity[place]), exact(fills.price[place])
        is_level = reason in (Reason.STOP, Reason.TARGET)
        role = reason.value if is_level else "entry" if reason is Reason.ENTRY else "exit"
        kind = "stop_market" if reason is Reason.STOP else "limit" if reason is Reason.TARGET else "market"
        limit, trigger = (price if reason is Reason.TARGET else None), (price if reason is Reason.STOP else None)
        key = f"protect:{position}:{place}" if is_level else f"bot:{self.bot_id}:{to_milliseconds(decided)}:0"
        side = "buy" if fills.side[place] > 0 else "sell"
        at = decided + MINUTE + timedelta(seconds=30 if is_level else 0, milliseconds=150 + place)
        await self.rows(
            _ORDER, order_id, self.user_id, self.broker_id, f"t-{order_id.hex[:24]}", SYMBOL, side, kind, quantity, price, limit, trigger,
            role, key, self.bot_id, at,
        )  # fmt: skip
        fee = exact(fills.fee[place]).quantize(Decimal("1e-8"))
        await self.rows(_FILL, self.broker_id, SYMBOL, order_id.hex, order_id, self.user_id, side, price, quantity, fee, at, position)
        self.orders.append((order_id, reason))

    async def _signals(self, wanted: dict[datetime, str], first: datetime, end: datetime) -> None:
        times = [first + place * MINUTE for place in range((end - first) // MINUTE)]
        ids = [new_id() for _ in times]
        columns = (
            ids, [self.bot_id] * len(ids), [self.user_id] * len(ids), times, [at + MINUTE for at in times], [{"action": "none"}] * len(ids),
            [wanted.get(at, "none") for at in times], ["done"] * len(ids), [None] * len(ids),
        )  # fmt: skip
        await self.rows(_SIGNALS, *columns)

    async def compare(self) -> dict[str, Any]:
        """Ask for a comparison by hand, and return it when it is there."""
        asked = await self.person.call("POST", f"/api/bots/{self.bot_id}/shadow")
        assert asked.status_code == 202, asked.text
        return await self.until_compared()

    async def until_compared(self, within_s: float = 60.0) -> dict[str, Any]:
        """The newest comparison, once it is over."""
        deadline = time.monotonic() + within_s
        while True:
            answer = await self.person.call("GET", f"/api/bots/{self.bot_id}/shadow")
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            if found["state"] in ("completed", "failed"):
                return found
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)


def exact(value: float) -> Decimal:
    return Decimal(repr(float(value)))


async def lived(site: Site, person: Person, *, minutes: int = 600, source: str = CROSS) -> Lived:
    """A bot that lived through the last minutes before `END` exactly as a backtest did, and has stopped."""
    strategy_id, broker_id = await valid_strategy(site, person, source), await paper_account(person)
    made = await bot(person, strategy_id, broker_id, timeframe="1m", capital="1000")
    run = await begun(person, strategy_id, minutes=minutes, broker_id=broker_id, capital="1000", slippage="0")
    assert (await until(person, run["id"]))["state"] == "completed"
    found = Lived(site, person, UUID(made["id"]), UUID(broker_id))
    async with site.app.state.platform_database.transaction() as session:
        result = await result_of(session, found.user_id, UUID(run["id"]))
    first = END - minutes * MINUTE
    await found.write(result, first=first, end=END)
    await found.rows(
        "UPDATE bots SET state = 'stopped', started_at = $2, stopped_at = $3 WHERE id = $1",
        found.bot_id,
        first,
        END - timedelta(seconds=30),
    )
    return found
