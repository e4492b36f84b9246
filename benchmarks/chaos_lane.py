"""One lane of chaos.py: an account at the emulated exchange and a database of its own, hit again and again, and looked at after each hit.

An engine is a process of its own, forked from this one, so that it can really be killed and frozen. A run is: put faults in force, let an
engine submit orders, kill or freeze it or let it be, start a fresh engine without faults, wait until nothing is in doubt, and compare
what the exchange has with what the database says. The market jumps through stops and targets meanwhile. In every second lane nothing sells
but closes and the legs of protections, so that whatever is sold twice leaves less than nothing.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from app.core import crash_points
from app.core.clock import SystemClock
from app.core.database_url import DatabaseUrls
from app.core.db import Database
from app.domain.enums import OrderType, Side, Source
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.errors import AppError
from app.trading.audit import ask_rules
from app.trading.audit_rules import RULES
from app.trading.submit import submit
from benchmarks.engine import Engine, make_account, running_engine

SECRET: Final = "chaos-secret"
BTC_AT_FIRST: Final = Decimal(5)
_ORDER: Final = {"method": "POST", "path": "/api/v3/order"}
_UNSETTLED: Final = """
SELECT count(*) FROM orders
 WHERE state IN ('submitting', 'unknown') OR (state = 'intent' AND (execution = 'native' OR triggered_at IS NOT NULL))
    OR (state NOT IN ('denied', 'lost', 'rejected') AND fills_quantity <> filled_quantity)
    OR (state IN ('open', 'partial') AND cancel_requested_at IS NOT NULL)
"""
_SETTLE_S: Final = 75.0
_CONFIRM_S: Final = 2.0
#: In so many of the runs the market jumps.
_JUMPS: Final = 0.4
_HISTORY: Final = "SELECT client_order_id, state, side, filled_quantity, quantity, notional FROM orders"


@dataclass(slots=True)
class Tally:
    """What the runs of a lane found."""

    runs: int = 0
    intended: int = 0
    at_venue: int = 0
    doubled: int = 0
    lost: int = 0
    kills: int = 0
    freezes: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    audit: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Where a lane works."""

    number: int
    seed: int
    urls: DatabaseUrls
    emulator_url: str

    @property
    def only_closes(self) -> bool:
        """Whether nothing sells here but closes and the legs of protections."""
        return self.number % 2 == 1

    @property
    def api_key(self) -> str:
        """The account's key at the exchange."""
        return f"chaos-{self.number}"


def work(lane: Lane, runs: int, report: Callable[[str], None]) -> None:
    """Do the runs, and report the tally as one line of JSON after each."""
    _control(lane, "POST", "/_accounts", {"api_key": lane.api_key, "api_secret": SECRET, "balances": {"USDT": "10000000", "BTC": "5"}})
    _wait(_fork(_make_account(lane)))
    tally = Tally()
    for number in range(runs):
        rng = random.Random(f"{lane.seed}:{lane.number}:{number}")
        _one_run(lane, rng, number, tally)
        tally.runs += 1
        report(json.dumps(asdict(tally)))


def _one_run(lane: Lane, rng: random.Random, number: int, tally: Tally) -> None:
    numbers = []
    for fault in _faults(rng):
        tally.faults[fault["do"]] = tally.faults.get(fault["do"], 0) + 1
        numbers.append(_control(lane, "POST", "/_fault", {**fault, "api_key": lane.api_key})["id"])
    intents = [_intent(lane, rng, f"chaos:{lane.number}:{number}:{index}") for index in range(rng.randint(1, 4))]
    ending = rng.choices(["crash", "kill", "freeze", "none"], [5, 3, 1, 3])[0]
    point = rng.choice(crash_points.POINTS) if ending == "crash" else None
    child = _fork(_submit_all(lane, intents, point))
    if rng.random() < _JUMPS:
        _jump(lane, rng)
    if ending == "kill":
        time.sleep(rng.uniform(0.3, 1.6))
        os.kill(child, signal.SIGKILL)
    elif ending == "freeze":
        time.sleep(rng.uniform(0.3, 1.2))
        os.kill(child, signal.SIGSTOP)
        tally.freezes += 1
        try:
            _wait(_fork(_settle(lane, stop_after_s=rng.uniform(8, 13))))  # takes the role over from the frozen one
        finally:
            os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    tally.kills += os.WIFSIGNALED(status)
    _clear(lane, numbers)
    # Whoever sent what a dead engine never answered sends it again: the same signal must not trade twice.
    _wait(_fork(_settle(lane, again=intents if rng.random() < 0.7 else [])))
    _compare(lane, intents, tally, f"lane {lane.number} run {number}: {ending} {point or ''}")


def _jump(lane: Lane, rng: random.Random) -> None:
    """The market goes through every stop or every target for a moment, and comes back."""
    time.sleep(rng.uniform(0.2, 1.0))
    _control(lane, "POST", "/_price", {"symbol": "BTCUSDT", "price": rng.choice(["55900", "66100"]), "quantity": "100"})
    time.sleep(rng.uniform(0.1, 0.8))
    _control(lane, "POST", "/_price", {"symbol": "BTCUSDT", "price": "60000", "quantity": "100"})


def _faults(rng: random.Random) -> list[dict[str, Any]]:
    """None to three things that go wrong with orders, each once or twice."""
    kinds: list[dict[str, Any]] = [
        {"do": "drop_before", **_ORDER},
        {"do": "drop_after", **_ORDER},
        {"do": "delay", **_ORDER, "delay_ms": rng.choice([300, 2000, 6500])},
        {"do": "status_after", **_ORDER, "status": 504},
        {"do": "status_before", **_ORDER, "status": 503, "body": {"code": -1000, "msg": "An unknown error occurred"}},
        {"do": "truncate", **_ORDER},
        {"do": "html", **_ORDER},
        {"do": "empty", **_ORDER},
        {"do": "id_none", **_ORDER},
        {"do": "drop_after", "method": "GET", "path": "/api/v3/order"},
        {"do": "status_before", "method": "GET", "path": "/api/v3/order", "status": 502, "body": "bad gateway"},
        {"do": "drop_after", "method": "DELETE", "path": "/api/v3/order"},
        {"do": "drop_after", "method": "POST", "path": "/api/v3/orderList/oco"},
        {"do": "hide_orders", "for": f"{rng.choice([500, 3000])}ms"},
    ]
    chosen = rng.sample(kinds, rng.choice([0, 1, 1, 2, 3]))
    return [
        fault if fault["do"] == "hide_orders" else {**fault, "skip": rng.choice([0, 0, 1]), "times": rng.choice([1, 1, 2])}
        for fault in chosen
    ]


def _intent(lane: Lane, rng: random.Random, key: str) -> OrderIntent:
    side = rng.choice([Side.BUY, Side.BUY, Side.SELL])
    if lane.only_closes and side is Side.SELL:
        return OrderIntent(symbol="BTC/USDT", side=side, source=Source.MANUAL, key=key, close_position=True)
    quantity = Decimal(rng.randint(10, 90)).scaleb(-4)
    common: dict[str, Any] = {"symbol": "BTC/USDT", "side": side, "source": Source.MANUAL, "key": key, "quantity": quantity}
    match rng.choice(["market", "market", "limit", "stop", "bracket"]):
        case "limit":
            price = Decimal(55000) if side is Side.BUY else Decimal(65000)
            return OrderIntent(**common, type=OrderType.LIMIT, price=price)
        case "stop":
            trigger = Decimal(63000) if side is Side.BUY else Decimal(57000)
            return OrderIntent(**common, type=OrderType.STOP_MARKET, trigger_price=trigger)
        case "bracket":
            plan = ProtectionPlan(stop_price=Decimal(56000), targets=(Target(price=Decimal(66000), fraction=Decimal("0.5")),))
            return OrderIntent(**{**common, "side": Side.BUY}, protection=plan)
    return OrderIntent(**common)


def _fork(work: Coroutine[Any, Any, None]) -> int:
    child = os.fork()
    if child:
        work.close()
        return child
    code = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        asyncio.run(work)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def _wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"an engine that nobody killed ended with status {status}")


async def _make_account(lane: Lane) -> None:
    database = Database(lane.urls.app)
    await database.open()
    await make_account(database, api_key=lane.api_key, api_secret=SECRET)
    await database.close()


async def _submit_all(lane: Lane, intents: list[OrderIntent], point: str | None) -> None:
    async with running_engine(lane.urls.app, lane.emulator_url, api_key=lane.api_key, api_secret=SECRET, reconcile_s=1.0) as engine:
        await engine.portfolio.refresh(None)
        if point is not None:
            crash_points.arm(point)
        async with asyncio.TaskGroup() as group:
            for intent in intents:
                group.create_task(_submit(engine, intent))
        await asyncio.sleep(0.5)


async def _submit(engine: Engine, intent: OrderIntent) -> None:
    try:
        await submit(engine.desk, engine.user_id, intent)
    except AppError:
        return  # refused here and now: its sender knows, and nothing is stored


async def _settle(lane: Lane, *, stop_after_s: float = _SETTLE_S, again: Sequence[OrderIntent] = ()) -> None:
    """A fresh engine, until it has compared the account, nothing is in doubt and every position is guarded."""
    async with running_engine(lane.urls.app, lane.emulator_url, api_key=lane.api_key, api_secret=SECRET, reconcile_s=0.3) as engine:
        for intent in again:
            await _submit(engine, intent)
        deadline, calm = time.monotonic() + stop_after_s, 0
        while time.monotonic() < deadline and calm < 3:
            await asyncio.sleep(0.25)
            async with engine.desk.database.connection() as connection:
                unsettled = await connection.fetchval(_UNSETTLED)
                bare = await connection.fetchval(
                    "SELECT count(*) FROM protections WHERE status = 'active' AND unprotected_since IS NOT NULL"
                )
            is_compared = engine.desk.lease.is_held and not engine.desk.awaited
            calm = calm + 1 if is_compared and not unsettled + bare else 0
        await engine.portfolio.refresh(None)


def _compare(lane: Lane, intents: list[OrderIntent], tally: Tally, label: str) -> None:
    ours, position, findings = asyncio.run(_read(lane))
    theirs = [order for order in _control(lane, "GET", "/_orders") if order["api_key"] == lane.api_key]
    known = Counter(order["clientOrderId"] for order in theirs)
    tally.intended += len(intents)
    tally.at_venue = len(theirs)
    problems: list[tuple[str, str]] = [("doubled", f"{name} stands {times} times") for name, times in known.items() if times > 1]
    for order in theirs:
        row = ours.get(order["clientOrderId"])
        if row is None:
            problems.append(("lost", f"the exchange has {order['clientOrderId']}, the database has not"))
        elif Decimal(order["executedQty"]) != row["filled_quantity"]:
            problems.append(("lost", f"{row['client_order_id']} filled {order['executedQty']}, the database says {row['filled_quantity']}"))
        elif row["state"] in ("denied", "lost", "rejected", "intent", "submitting", "unknown"):
            problems.append(("lost", f"{row['client_order_id']} is {order['status']} at the exchange, {row['state']} here"))
    for name, row in ours.items():
        if name not in known and row["state"] not in ("denied", "lost", "rejected", "intent"):
            problems.append(("lost", f"{name} is {row['state']} here and unknown at the exchange"))
    held = _balance(lane, "BTC") - BTC_AT_FIRST
    if held != position:
        problems.append(("lost", f"the account holds {held} BTC more than at first, the positions say {position}"))
    if lane.only_closes and position < 0:
        problems.append(("doubled", f"{-position} BTC more were sold than were held"))
    for kind, what in problems:
        setattr(tally, kind, getattr(tally, kind) + 1)
        tally.notes.append(f"{label}: {what}")
    tally.audit.extend(f"{label}: {finding}" for finding in findings)


async def _read(lane: Lane) -> tuple[dict[str, Any], Decimal, list[str]]:
    database = Database(lane.urls.app)
    await database.open()
    async with database.connection() as connection:
        rows = await connection.fetch(_HISTORY)
        position = await connection.fetchval("SELECT coalesce(sum(quantity), 0) FROM positions")
        findings = await _broken(connection)
        if findings:
            await asyncio.sleep(_CONFIRM_S)  # what is gone by then was something on its way
            again = await _broken(connection)
            findings = [finding for finding in findings if finding in again]
    await database.close()
    return {row["client_order_id"]: row for row in rows}, position, findings


async def _broken(connection: Any) -> list[str]:
    """What the audit finds, as the server asks it."""
    return [str(finding) for finding in await ask_rules(connection, RULES, now=SystemClock().now(), is_full=True)]


def _balance(lane: Lane, asset: str) -> Decimal:
    accounts = _control(lane, "GET", "/_state")["accounts"]
    mine = next(account for account in accounts if account["api_key"] == lane.api_key)
    found = next((balance for balance in mine["balances"] if balance["asset"] == asset), {"free": "0", "locked": "0"})
    return Decimal(found["free"]) + Decimal(found["locked"])


def _clear(lane: Lane, numbers: list[int]) -> None:
    """Take back this lane's faults: the others' are at work."""
    in_force = {fault["id"] for fault in _control(lane, "GET", "/_fault")}
    for number in in_force.intersection(numbers):
        with contextlib.suppress(urllib.error.HTTPError):  # it has just done its last deed
            _control(lane, "DELETE", f"/_fault?id={number}")


def _control(lane: Lane, method: str, path: str, document: object = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(lane.emulator_url + path, data=body, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
