"""Bots through the API of a running application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, cast
from uuid import UUID

from fastapi import FastAPI

from app.core.ids import new_id
from app.domain.candles import to_milliseconds
from app.emulator.clock import ClockMode
from app.emulator.config import EmulatorConfig, GeneratedSymbol
from app.strategies.versions import get_version
from tests.app.backtesting import CROSS
from tests.app.library import keep, made, report_of
from tests.app.replaying import Replay, replayed
from tests.app.whole_site import Person, Site
from tests.postgres import PostgresForTests
from tests.replay_venue import replaying

URL = "/api/bots"


class HasApp(Protocol):
    """What has the running application: a site, or a replay."""

    app: FastAPI


#: Enters at the first candle that it is asked about, and never leaves by itself.
BUYS = """from aristobot import Strategy


class Buys(Strategy):
    timeframe = "1m"
    warm_up = 2

    def should_long(self):
        return True

    def should_exit(self):
        return False
"""


#: What it has once wanted it does not want again.
LEAVES_ONCE = """from aristobot import Strategy


class LeavesOnce(Strategy):
    timeframe = "1m"
    warm_up = 2
    has_left = False

    def should_long(self):
        return not self.has_left

    def should_exit(self):
        wants, self.has_left = not self.has_left, True
        return wants
"""


@asynccontextmanager
async def replay_of_bots(postgres: PostgresForTests, folder: Path) -> AsyncIterator[Replay]:
    """The application beside an ideal market of bitcoins, which waits for bots at each close."""
    config = EmulatorConfig(
        generate=(GeneratedSymbol(symbol="BTCUSDT", price=Decimal(60000), volatility=1.0),),
        clock=ClockMode(is_virtual=True),
        history_minutes=200,
        ideal=Decimal("0.0005"),
    )
    async with replaying(config) as venue, replayed(postgres, venue, folder, ("BTC/USDT",), heartbeat_history_minutes=120) as running:
        running.waits.append(lambda: waits_for_bots(running))
        await running.quiet()
        yield running


async def valid_strategy(site: HasApp, person: Person, source: str = CROSS, name: str = "Cross") -> str:
    """A strategy of that person whose newest version may trade; no validation runs for it."""
    user_id = person.ids.get("user_id") or (await person.call("GET", "/api/auth/current")).json()["id"]
    person.ids["user_id"] = user_id
    strategy = await made(person, name, source=source)
    async with site.app.state.platform_database.transaction() as session:
        version = await get_version(session, UUID(user_id), UUID(strategy["id"]))
    await keep(cast("Site", site), person, {"id": str(version.id)}, report_of(version.source))
    return str(strategy["id"])


async def paper_account(person: Person, name: str = "Play", balance: str = "100000") -> str:
    """A paper account of that person."""
    answer = await person.call("POST", "/api/brokers", json={"exchange": "paper", "name": name, "paper_balance_usdt": balance})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def wish(strategy_id: str, broker_id: str, **given: Any) -> dict[str, Any]:
    """The body that makes a bot of a strategy on a paper account."""
    return {"strategy_id": strategy_id, "broker_id": broker_id, "symbol": "BTCUSDT", "mode": "paper", "capital": "1000", **given}


async def bot(person: Person, strategy_id: str, broker_id: str, **given: Any) -> dict[str, Any]:
    """A bot, made and not started."""
    answer = await person.call("POST", URL, json=wish(strategy_id, broker_id, **given))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def act(person: Person, bot_id: str, what: str, **body: Any) -> dict[str, Any]:
    """What a bot is after somebody did that to it."""
    answer = await person.call("POST", f"{URL}/{bot_id}/{what}", **({"json": body} if body else {}))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def stored_bot(site: Site, strategy_id: str) -> dict[str, str]:
    """A bot of the strategy's owner, with something that it decided, and a safeguard that has tripped."""
    bot_id, signal_id, trip_id = new_id(), new_id(), new_id()
    async with site.app.state.platform_database.connection() as connection:
        for query in (
            """INSERT INTO bots (id, user_id, number, name, strategy_id, version_id, parameters, broker_id, exchange, symbol, timeframe,
                                 mode, state, capital, created_at, started_at)
               SELECT $1, v.user_id, 1, 'Hers alone', v.strategy_id, v.id, '{}', b.id, 'binance', 'BTC/USDT', '1m', 'live', 'suspended',
                      1000, now(), now() FROM strategy_versions v JOIN brokers b USING (user_id)
                WHERE v.strategy_id = $2 AND $3::uuid IS NOT NULL AND $4::uuid IS NOT NULL""",
            """INSERT INTO bot_signals (id, bot_id, user_id, open_time, decided_at, decision, action, state)
               SELECT $3, id, user_id, now(), now(), '{}', 'long', 'waiting' FROM bots
                WHERE id = $1 AND strategy_id = $2 AND $4::uuid IS NOT NULL""",
            """INSERT INTO bot_trips (id, bot_id, user_id, rule, at, action)
               SELECT $4, id, user_id, 'max_drawdown', now(), 'suspend' FROM bots
                WHERE id = $1 AND strategy_id = $2 AND $3::uuid IS NOT NULL""",
        ):
            await connection.execute(query, bot_id, UUID(strategy_id), signal_id, trip_id)
    return {"bot_id": str(bot_id), "signal_id": str(signal_id), "trip_id": str(trip_id)}


async def waits_for_bots(replay: Replay) -> str:
    """What the engine of bots still has to do about candles that have closed, or an empty text; for `Replay.waits`."""
    engine = replay.app.state.bot_engine
    if engine._over or engine._is_settling:
        return "orders to be told of"
    seats = list(engine._seats.values())
    live = await replay.rows("SELECT id, state FROM bots WHERE state IN ('running', 'suspended')")
    if {row["id"] for row in live} - {seat.cell.bot.id for seat in seats}:
        return "bots that the engine has not seen"
    asked = [seat for seat in seats if seat.cell.bot.id in {row["id"] for row in live}]
    for seat in asked:
        bot = seat.cell.bot
        if seat.is_loading or not seat.cell.is_ready:
            return f"bot {bot.number} to be loaded"
        newest = replay.app.state.heartbeat.last_closed(bot.market.symbol)
        behind = bot.market.timeframe.floor(newest + timedelta(minutes=1)) - bot.period if newest else None
        if seat.dues or seat.is_busy or (behind is not None and to_milliseconds(behind) > seat.cell.known[0] and not seat.cell.backlog):
            return f"bot {bot.number} to be asked"
    if await replay.rows("SELECT 1 FROM bots WHERE state <> 'stopped' AND end_at <= $1", replay.venue.clock.now()):
        return "ends"
    rows = await replay.rows("SELECT count(*) AS open FROM bot_signals WHERE state IN ('decided', 'submitted')")
    resting = await replay.rows(
        "SELECT count(*) AS open FROM orders WHERE bot_id IS NOT NULL AND type = 'limit' AND role = 'entry'"
        " AND state IN ('open', 'partial')"
    )
    if rows[0]["open"] > resting[0]["open"]:
        return "signals"
    # After the signals, which may leave something to be sold.
    return "sales" if await replay.rows("SELECT 1 FROM bots WHERE sell_asked_at IS NOT NULL") else ""


async def signals(person: Person, bot_id: str, **params: Any) -> list[dict[str, Any]]:
    """What a bot decided, the newest candle first."""
    answer = await person.call("GET", f"{URL}/{bot_id}/signals", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def kinds(person: Person, bot_id: str) -> list[str]:
    """The words of a bot's log, oldest first."""
    items = (await person.call("GET", f"{URL}/{bot_id}/events", params={"limit": 500})).json()["items"]
    return [line["kind"] for line in reversed(items)]
