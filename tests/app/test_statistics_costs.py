"""What fills cost beside the price of the decision: of stops, bots and alerts; of everything else it is said that nobody knows."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest

from app.core.ids import new_id
from app.domain.enums import Source
from app.statistics.queries import BotName, Names, read_names
from app.statistics.slippage import Basis, Slippage, Unknown, read_slippage
from app.statistics.wish import StatisticsFilter
from tests.app.conftest import Pieces

pytestmark = pytest.mark.asyncio

T0 = datetime(2026, 3, 27, 12, tzinfo=UTC)
_ORDER: Final = """
INSERT INTO orders (id, user_id, broker_id, client_order_id, symbol, side, type, state, quantity, filled_quantity, fills_quantity,
  average_price, price, trigger_price, time_in_force, post_only, source, role, key, leg, attempt, delivery_id, created_at, updated_at)
VALUES ($1, $2, $3, $1::uuid::text, $4, $5, $6, 'filled', $7, $7, $7, $8, $9, $10, 'gtc', false, $11, 'exit', $1::uuid::text, 0, 0, $12,
        $13, $13)
"""


async def order(pieces: Pieces, side: str, kind: str, average: str, **given: Any) -> UUID:
    order_id = new_id()
    await pieces.rows(
        _ORDER, order_id, pieces.user_id, pieces.broker_id, given.get("symbol", "BTC/USDT"), side, kind,
        Decimal(given.get("quantity", "2")), Decimal(average), given.get("price"), given.get("trigger"), given.get("source", "manual"),
        given.get("delivery_id"), T0 + given.get("after", timedelta(0)),
    )  # fmt: skip
    return order_id


async def alert(pieces: Pieces, members: str) -> UUID:
    delivery = new_id()
    await pieces.rows(
        """INSERT INTO webhook_deliveries (id, user_id, received_at, raw, size, parsed, decision)
           VALUES ($1, $2, now(), '', 0, jsonb_build_object('members', $3::text::jsonb), 'executed')""",
        delivery,
        pieces.user_id,
        members,
    )
    return delivery


async def slippage(pieces: Pieces, asked: StatisticsFilter | None = None, names: Names | None = None) -> Slippage:
    return await read_slippage(
        pieces.database, pieces.user_id, asked or StatisticsFilter(), names or await read_names(pieces.database, pieces.user_id)
    )


async def test_stops_and_targets_are_laid_beside_their_trigger(pieces: Pieces) -> None:
    await order(pieces, "sell", "stop_market", "98", trigger=Decimal(100))
    await order(pieces, "sell", "take_profit", "121", trigger=Decimal(120))
    await order(pieces, "buy", "stop_market", "50.5", trigger=Decimal(50), symbol="SOL/BTC")
    found = await slippage(pieces)
    lines = {line.quote: (line.basis, line.orders, line.cost, line.notional) for line in found.lines}
    assert lines == {
        "USDT": (Basis.TRIGGER, 2, Decimal(4 - 2), Decimal(196 + 242)),
        "BTC": (Basis.TRIGGER, 1, Decimal(1), Decimal(101)),
    }
    assert found.unknown == ()


async def test_market_orders_of_alerts_are_laid_beside_the_price_in_the_alert(pieces: Pieces) -> None:
    for average, members in (("101", '{"price": "100"}'), ("99", '{"price": 100.5}'), ("70", '{"price": "{{close}}"}'), ("70", "[]")):
        await order(pieces, "buy", "market", average, source="webhook", delivery_id=await alert(pieces, members))
    found = await slippage(pieces)
    assert [(line.basis, line.orders, line.cost) for line in found.lines] == [(Basis.ALERT, 2, Decimal(2 - 3))]
    assert found.unknown == ((Unknown.NOT_NOTED, 2),)


async def test_market_orders_of_bots_are_laid_beside_the_price_at_the_decision(pieces: Pieces) -> None:
    known, unknown = await order(pieces, "buy", "market", "100.2", source="bot"), await order(pieces, "sell", "market", "90", source="bot")
    bot, strategy, version = new_id(), new_id(), new_id()
    await pieces.rows(
        "INSERT INTO strategies (id, user_id, name, created_at, changed_at) VALUES ($1, $2, 'S', now(), now())", strategy, pieces.user_id
    )
    await pieces.rows(
        """INSERT INTO strategy_versions (id, user_id, strategy_id, number, source, sha256, created_at)
           VALUES ($1, $2, $3, 1, 'a = 1', encode(sha256('a = 1'), 'hex'), now())""",
        version, pieces.user_id, strategy,
    )  # fmt: skip
    await pieces.rows(
        """INSERT INTO bots (id, user_id, number, name, strategy_id, version_id, parameters, broker_id, exchange, symbol, timeframe, mode,
                             state, capital, created_at)
           VALUES ($1, $2, 1, 'B', $3, $4, '{}', $5, 'binance', 'BTC/USDT', '1m', 'live', 'ready', 1000, now())""",
        bot, pieces.user_id, strategy, version, pieces.broker_id,
    )  # fmt: skip
    for at, price, orders in ((T0, Decimal(100), [known]), (T0 + timedelta(minutes=1), None, [unknown])):
        await pieces.rows(
            """INSERT INTO bot_signals (id, bot_id, user_id, open_time, decided_at, decision, action, state, price, order_ids)
               VALUES ($1, $2, $3, $4, $4, '{}', 'long', 'done', $5, $6)""",
            new_id(), bot, pieces.user_id, at, price, orders,
        )  # fmt: skip
    names = await read_names(pieces.database, pieces.user_id)
    assert (names.bots, names.strategies) == ({bot: BotName(bot, 1, "B", strategy)}, {strategy: "S"})
    found = await slippage(pieces, names=names)
    assert [(line.basis, line.orders, line.cost) for line in found.lines] == [(Basis.SIGNAL, 1, Decimal("0.4"))]
    assert found.unknown == ((Unknown.NOT_NOTED, 1),)


async def test_what_nobody_knows_is_counted_by_why(pieces: Pieces) -> None:
    await order(pieces, "buy", "limit", "100", price=Decimal(101))
    await order(pieces, "sell", "trailing_stop", "100", trigger=Decimal(99))
    await order(pieces, "buy", "market", "100")
    await order(pieces, "buy", "market", "100", after=timedelta(days=2))
    found = await slippage(pieces, StatisticsFilter(until=T0 + timedelta(days=1)))
    assert (found.lines, dict(found.unknown)) == ((), {Unknown.LIMIT: 1, Unknown.TRAILING: 1, Unknown.NOT_NOTED: 1})
    assert (await slippage(pieces, StatisticsFilter(source=Source.WEBHOOK))) == Slippage()
