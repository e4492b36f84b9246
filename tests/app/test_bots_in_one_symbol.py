"""Two bots and the hand in one symbol of one account: none ever sells another's units, whatever happens and whenever the server dies."""

import asyncio
import random
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.core.crypto import Vault
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.core.ids import new_id
from app.domain.protection import load_plan
from app.trading.audit import ask_rules
from app.trading.audit_rules import BOTS, FILLS, POSITIONS, RESERVATIONS, TWINS
from tests.app import bot_hands
from tests.app.bot_hands import Place
from tests.app.conftest import API_SECRET, FERNET_KEY, NOW_MINUTE, make_broker, make_user, open_account, script
from tests.conftest import Size
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess, SignedClient
from tests.postgres import Emptying

pytestmark = pytest.mark.asyncio

PATIENCE_S = 60.0
STEP = Decimal("0.00001")
#: All fills in the order in which they happened, with whose order they are of, and whose position they went into.
FILLS_IN_ORDER = """
SELECT o.bot_id AS owner, p.bot_id AS holder, f.position_id, f.side, f.quantity, CASE WHEN f.fee_asset = 'BTC' THEN f.fee ELSE 0 END AS fee
  FROM fills f JOIN orders o ON o.id = f.order_id LEFT JOIN positions p ON p.id = f.position_id ORDER BY f.executed_at, f.trade_id::bigint
"""
#: What an order that rests is to sell has no stop meanwhile.
GUARDS = """
SELECT g.*, (SELECT coalesce(sum(o.quantity - o.filled_quantity), 0) FROM orders o
              WHERE o.bot_id IS NOT DISTINCT FROM g.bot_id AND o.role = 'exit' AND o.state IN ('open', 'partial')) AS leaving
  FROM protections g WHERE status = 'active'
"""
LEGS = """
SELECT o.bot_id AS owner, g.bot_id AS guarded, o.role, o.state, o.leg, o.quantity - o.filled_quantity AS leaves, p.quantity AS held
  FROM orders o JOIN protections g ON g.id = o.group_id LEFT JOIN positions p ON p.id = g.position_id AND p.status <> 'closed'
 WHERE o.role IN ('stop', 'target') AND o.state IN ('intent', 'submitting', 'unknown', 'open', 'partial')
"""


async def lived_through(place: Place, seed: int, *, deaths: int) -> None:
    """Trade, die at a random moment, trade on; at last let all come to rest."""
    chance = random.Random(seed)
    for number in range(deaths):
        process, told = bot_hands.start(place, seed * 1_000 + number, steps=None)
        for _ in range(chance.randint(3, 12)):
            assert await asyncio.to_thread(told.poll, PATIENCE_S), f"seed {seed}"
            told.recv()
        await asyncio.to_thread(time.sleep, chance.random() * 0.06)  # somewhere within the step
        process.kill()
        await asyncio.to_thread(process.join, PATIENCE_S)
    process, told = bot_hands.start(place, seed * 1_000 + deaths, steps=3)
    word: Any = None
    while word != "settled":
        assert await asyncio.to_thread(told.poll, PATIENCE_S), f"seed {seed}"
        word = told.recv()
    await asyncio.to_thread(process.join, PATIENCE_S)
    assert process.exitcode == 0, f"seed {seed}"


async def check(database: Database, emulator: EmulatorProcess, place: Place, seed: int) -> int:
    """Everything that must hold; how many fills there were."""
    story = f"seed {seed}, {place.venue}"
    async with database.connection() as connection:
        fills = await connection.fetch(FILLS_IN_ORDER)
        legs = await connection.fetch(LEGS)
        positions = await connection.fetch("SELECT * FROM positions")
        guards = await connection.fetch(GUARDS)
        broken = await ask_rules(
            connection, (FILLS, POSITIONS, BOTS, RESERVATIONS, TWINS), now=(await connection.fetchval("SELECT now()")), is_full=True
        )
    assert broken == [], story
    held: defaultdict[UUID | None, Decimal] = defaultdict(Decimal)
    for fill in fills:
        assert fill["owner"] == fill["holder"], story
        held[fill["owner"]] += (fill["quantity"] if fill["side"] == "buy" else -fill["quantity"]) - fill["fee"]
        assert held[fill["owner"]] >= 0, f"{story}: somebody sold what was not theirs"
    rows: defaultdict[UUID | None, Decimal] = defaultdict(Decimal)
    for position in positions:
        rows[position["bot_id"]] += position["quantity"]
    assert dict(rows) == {owner: quantity for owner, quantity in held.items() if owner in rows}, story
    assert bitcoins(emulator, _keys[place.broker_id]) == 1 + sum(rows.values()), story
    check_legs(legs, story)
    check_covered(positions, guards, legs, story)
    return len(fills)


def check_legs(legs: list[Any], story: str) -> None:
    """What guards a position is of its owner, and sells no more than it holds: of a pair one half sells."""
    for leg in legs:
        assert leg["owner"] == leg["guarded"], story
        assert leg["held"] is not None, f"{story}: a leg has outlived its position"
    for owner in {leg["owner"] for leg in legs}:
        stops = sum(leg["leaves"] for leg in legs if leg["owner"] == owner and leg["role"] == "stop")
        assert stops <= next(leg["held"] for leg in legs if leg["owner"] == owner), story


def check_covered(positions: list[Any], guards: list[Any], legs: list[Any], story: str) -> None:
    """Whoever wished for a stop has one for all of it, as far as it is enough to be sold."""
    for guarded in guards:
        holders = [position for position in positions if position["id"] == guarded["position_id"] and position["status"] != "closed"]
        if not holders or not load_plan(guarded["plan"]).has_stop:
            continue
        assert holders[0]["bot_id"] == guarded["bot_id"], story
        stops = sum(leg["leaves"] for leg in legs if leg["owner"] == guarded["bot_id"] and leg["role"] == "stop")
        bare = holders[0]["quantity"] - stops - guarded["leaving"]
        assert bare < STEP or bare * 58_000 < 5 or not stops, f"{story}: {bare} of {holders[0]['quantity']} has no stop"


_keys: dict[UUID, str] = {}


def bitcoins(emulator: EmulatorProcess, api_key: str) -> Decimal:
    """What the account holds, for an order or free."""
    account = SignedClient(emulator=emulator, api_key=api_key, api_secret=API_SECRET).call("GET", "/api/v3/account").document
    return sum((Decimal(entry["free"]) + Decimal(entry["locked"]) for entry in account["balances"] if entry["asset"] == "BTC"), Decimal(0))


@pytest.mark.timeout(3600)  # with --full
async def test_none_sells_anothers_units_whatever_happens_and_whenever_the_server_dies(
    database: Database, emptied_urls: DatabaseUrls, emptying: Emptying, tmp_path: Path, size: Size
) -> None:
    fills = 0
    arguments = ("--replay", str(script(tmp_path)), "--history", str(NOW_MINUTE), "--paused", *WITHOUT_LIMITS)
    with EmulatorProcess(*arguments) as emulator:
        for seed in range(size(3, full=100)):
            api_key = open_account(emulator)
            user_id = await make_user(database)
            broker_id = await make_broker(database, Vault((FERNET_KEY,)), user_id, api_key=api_key)
            _keys[broker_id] = api_key
            place = Place(
                database_url=emptied_urls.app,
                emulator_url=emulator.url,
                user_id=user_id,
                broker_id=broker_id,
                owners=(new_id(), new_id(), None),
                venue=bot_hands.VENUES[seed % 3],
            )
            await lived_through(place, seed, deaths=3)
            fills += await check(database, emulator, place, seed)
            await emptying()
    assert fills > 20, "they traded"
