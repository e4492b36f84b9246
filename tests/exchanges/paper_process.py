"""A process that trades on a paper account as fast as it can, killed and begun again and again.

`python -m tests.exchanges.paper_process DATABASE_URL BROKER_ID`: for each line on its input it forks a trader, lets it trade for as many
milliseconds as the line says, kills it with SIGKILL and answers with a line.
"""

import asyncio
import os
import random
import signal
import sys
import time
from uuid import UUID

from app.core.db import Database
from app.domain.enums import OrderType, Side
from app.errors import ExchangeError
from app.exchanges.port import ExchangeClient, OcoRequest
from tests.exchanges.paper_parts import PaperParts, limit, order, unguarded

_EVERY_S = 0.003


async def trade(url: str, broker_id: UUID, ready: int) -> None:
    database = Database(url)
    await database.open()
    parts = PaperParts(database)
    parts.say(60000)
    busy = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(parts.exchange.run(lambda: None))
        group.create_task(_wander(parts))
        for number in range(3):
            group.create_task(_order(parts.exchange.client(broker_id), random.Random(f"{os.getpid()}:{number}"), busy))
        await busy.wait()
        os.write(ready, b".")


async def _wander(parts: PaperParts) -> None:
    price, dice = 60000, random.Random(os.getpid())
    while True:
        price = min(66000, max(54000, price + dice.randint(-150, 150)))
        parts.say(price, offered=f"{dice.randint(1, 40) / 1000}")
        await asyncio.sleep(_EVERY_S)


async def _order(client: ExchangeClient, dice: random.Random, busy: asyncio.Event) -> None:
    while True:
        try:
            await _one(client, dice)
            busy.set()
        except ExchangeError:
            await asyncio.sleep(_EVERY_S)


async def _one(client: ExchangeClient, dice: random.Random) -> None:
    last = int((await client.fetch_ticker("BTC/USDT")).last)
    side, quantity, away = dice.choice(list(Side)), f"{dice.randint(1, 60) / 1000}", dice.randint(20, 400)
    below, above = last - away, last + away
    match dice.randint(0, 5):
        case 0:
            await client.place_order(order(side, quantity), guard=unguarded)
        case 1 | 2:
            await client.place_order(limit(below if side is Side.BUY else above, side, quantity), guard=unguarded)
        case 3:
            trigger = above if side is Side.BUY else below
            await client.place_order(order(side, quantity, type=OrderType.STOP_MARKET, trigger_price=trigger), guard=unguarded)
        case 4:
            stop = order(Side.SELL, quantity, type=OrderType.STOP_LIMIT, trigger_price=below, price=below - 30)
            pair = OcoRequest(list_client_order_id=f"list-{stop.client_order_id}", target=limit(above, Side.SELL, quantity), stop=stop)
            await client.place_oco(pair, guard=unguarded)
        case _:
            opened = await client.fetch_open_orders()
            for found in opened[: len(opened) // 2]:
                await client.cancel_order(found.symbol, client_order_id=found.client_order_id or "", venue_order_id=None)


def main() -> None:
    url, broker_id = sys.argv[1], UUID(sys.argv[2])
    for line in sys.stdin:
        heard, ready = os.pipe()
        child = os.fork()
        if child == 0:
            asyncio.run(trade(url, broker_id, ready))
            os._exit(1)
        os.read(heard, 1)
        time.sleep(int(line) / 1000)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status), flush=True)


if __name__ == "__main__":
    main()
