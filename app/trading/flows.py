"""Deposits and withdrawals, found by reading balances: what changed in an account and no trade explains came from outside or went there.

Each reading that differs from the one before is kept. What is left between two of them (`domain.flows`) waits until the account was
compared with its exchange, since a trade may only be known later; then it is written down, once for each reading and asset. A trade that
becomes known later still takes back what it explains, by a row that corrects the first. Nothing here asks an exchange.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.ids import new_id
from app.domain.enums import FlowNote
from app.domain.flows import EXACT, SLACK, Move, Reading, Remainder, remainders
from app.domain.instruments import plain
from app.trading.account_check import check_soon
from app.trading.desk import Desk

log = structlog.get_logger(__name__)

#: What changed so lately is looked at with every reading; all that is kept, every so often.
_TAIL: Final = timedelta(minutes=30)
#: With more trades than that in it, the tail begins with these, and readings are looked at that far apart: an account that trades
#: without a pause is read without a pause.
_CROWD: Final = 500
_SHORTEST_TAIL: Final = timedelta(seconds=30)
_APART: Final = timedelta(seconds=5)
_SWEEP_EVERY: Final = timedelta(hours=1)
#: A change is believed when the account was compared with its exchange since, and without that after so long.
_SOON: Final = timedelta(seconds=20)
_LATEST: Final = timedelta(minutes=15)
#: Readings that trades explain are kept so long; those beside a flow, until no trade can become known any more.
_KEEP_ALL: Final = timedelta(days=2)
_KEEP: Final = timedelta(days=35)
#: Changes of less than a cent, or of the last digit of an amount nobody quotes, are dust and rounding.
_CENT: Final = Decimal("0.01")
_DUST: Final = Decimal("0.00000001")
#: A gain of less than so many dollars is rather interest than a deposit.
_SMALL: Final = Decimal(1)
_KEPT: Final = Decimal("1e-18")
_LARGEST: Final = Decimal(10) ** 20 - 1

_WATCH: Final = """
INSERT INTO flow_watches AS w (broker_id, user_id) VALUES ($1, $2) ON CONFLICT (broker_id) DO UPDATE SET user_id = w.user_id RETURNING *
"""
#: With two readings before the tail: the first of them may stand on the wrong side of a trade, the second no longer.
_READINGS: Final = """
SELECT * FROM balance_readings WHERE broker_id = $1 AND at >= coalesce(
  (SELECT at FROM balance_readings WHERE broker_id = $1 AND at < $2 ORDER BY at DESC OFFSET 1 LIMIT 1),
  (SELECT min(at) FROM balance_readings WHERE broker_id = $1)) ORDER BY at
"""
_CROWDED_SINCE: Final = """
SELECT executed_at FROM (
  (SELECT executed_at FROM fills WHERE user_id = $2 AND broker_id = $1 AND executed_at > $3 ORDER BY executed_at DESC LIMIT $4 + 1)
  UNION ALL
  (SELECT executed_at FROM external_trades WHERE broker_id = $1 AND executed_at > $3 ORDER BY executed_at DESC LIMIT $4 + 1)) trades
 ORDER BY executed_at DESC OFFSET $4 LIMIT 1
"""
_KEEP_READING: Final = """
INSERT INTO balance_readings (broker_id, at, user_id, answered_at, totals, prices) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""
#: One that was first taken for somebody else's trade and then proved ours is ours.
_MOVES: Final = """
WITH trades AS (
  SELECT symbol, side, price, quantity, fee, fee_asset, executed_at FROM fills
   WHERE user_id = $2 AND broker_id = $1 AND executed_at > $3 AND executed_at <= $4
  UNION ALL
  SELECT e.symbol, e.side, e.price, e.quantity, e.fee, e.fee_asset, e.executed_at FROM external_trades e
   WHERE e.broker_id = $1 AND e.executed_at > $3 AND e.executed_at <= $4
     AND NOT EXISTS (SELECT 1 FROM fills f JOIN orders o ON o.id = f.order_id
                      WHERE f.broker_id = e.broker_id AND f.symbol = e.symbol AND f.trade_id = e.trade_id
                        AND o.venue_order_id = e.venue_order_id))
SELECT asset, executed_at, sum(amount) AS amount FROM (
  SELECT split_part(symbol, '/', 1) AS asset, CASE WHEN side = 'buy' THEN quantity ELSE -quantity END AS amount, executed_at FROM trades
  UNION ALL
  SELECT split_part(symbol, '/', 2), CASE WHEN side = 'buy' THEN -1 ELSE 1 END * quantity * price, executed_at FROM trades
  UNION ALL
  SELECT fee_asset, -fee, executed_at FROM trades WHERE fee <> 0) m
 GROUP BY asset, executed_at ORDER BY executed_at
"""
_KNOWN: Final = """
SELECT asset, at, sum(amount) AS amount, max(revision) AS revision, (array_agg(id ORDER BY revision))[1] AS id,
       (array_agg(note ORDER BY revision))[1] AS note
  FROM cash_flows WHERE broker_id = $1 AND at >= $2 GROUP BY asset, at
"""
#: When the account was last compared in full, and whether an order of it is in doubt or has fills that are not known yet (with the
#: condition of the index of live orders).
_SURE: Final = """
SELECT (SELECT checked_at FROM account_checks WHERE broker_id = $1) AS checked_at,
       EXISTS (SELECT 1 FROM orders WHERE broker_id = $1 AND user_id = $2
                AND (state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR fills_quantity <> filled_quantity)
                AND (state IN ('submitting', 'unknown') OR (fills_quantity <> filled_quantity AND updated_at > $3))) AS is_in_doubt,
       (SELECT started_at FROM paper_accounts WHERE broker_id = $1) AS started_at
"""
_KEEP_FLOW: Final = """
INSERT INTO cash_flows (id, user_id, broker_id, asset, amount, value_usdt, since, at, recorded_at, revision, corrects_id, note)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (broker_id, at, asset, revision) DO NOTHING
"""
_LOOKED: Final = """
UPDATE flow_watches SET read_at = $2, waiting = $3, swept_at = coalesce($4, swept_at) WHERE broker_id = $1
"""
_DROP: Final = "DELETE FROM balance_readings WHERE broker_id = $1 AND at = ANY($2)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancesRead:
    """One answer about an account: totals by asset, and what one of each is worth in USDT as far as that is known."""

    broker_id: UUID
    user_id: UUID
    asked_at: datetime
    answered_at: datetime
    totals: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]

    @property
    def reading(self) -> Reading:
        """What the domain knows of it."""
        return Reading(asked_at=self.asked_at, answered_at=self.answered_at, totals=self.totals)


async def observe(desk: Desk, read: BalancesRead) -> None:
    """Take in one reading of an account's balances, and write down what came and went without a trade.

    A reading that is older than one that was taken in already changes nothing. Neither does one right after another of an account that
    trades very much: the next has what it would have told. Two processes take turns at an account's row.
    """
    async with desk.database.raw_transaction() as connection:
        watch = await connection.fetchrow(_WATCH, read.broker_id, read.user_id)
        if watch["read_at"] is not None and watch["read_at"] >= read.asked_at:
            return
        crowded_since = await connection.fetchval(_CROWDED_SINCE, read.broker_id, read.user_id, read.asked_at - _TAIL, _CROWD)
        if crowded_since is not None and watch["read_at"] is not None and watch["read_at"] > read.asked_at - _APART:
            return
        is_sweep = watch["swept_at"] is None or read.asked_at - watch["swept_at"] >= _SWEEP_EVERY
        waiting = await _Look(connection, read, _tail(read, crowded_since), is_sweep=is_sweep).take_in(watch["waiting"])
        await connection.execute(_LOOKED, read.broker_id, read.asked_at, waiting, read.asked_at if is_sweep else None)
    before = {(item["asset"], item["at"]) for item in watch["waiting"]}
    if any((item["asset"], item["at"]) not in before for item in waiting):
        # A trade may be behind it of which nothing was heard yet.
        await check_soon(desk, read.broker_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """`value` is in USDT, signed like the amount; None when nobody quotes the asset."""

    asset: str
    amount: Decimal
    value: Decimal | None
    since: datetime
    at: datetime

    @property
    def told(self) -> dict[str, Any]:
        value = None if self.value is None else plain(self.value)
        return {"asset": self.asset, "amount": plain(self.amount), "value": value, "at": self.at.isoformat()}


class _Look:
    """One look at an account's readings, inside one transaction."""

    def __init__(self, connection: Any, read: BalancesRead, tail: datetime, *, is_sweep: bool) -> None:
        self._connection = connection
        self._read = read
        self._is_sweep = is_sweep
        self._tail = tail
        self._prices: dict[datetime, Mapping[str, Any]] = {}

    async def take_in(self, waited: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what is left without an explanation and not yet written down; `waited` is what was so the last time."""
        read = self._read
        # What waited may be older than the tail: the account was paused, or this server was off.
        self._tail = min([self._tail, *(datetime.fromisoformat(item["at"]) for item in waited)])
        stored = await self._connection.fetch(_READINGS, read.broker_id, read.asked_at - _KEEP if self._is_sweep else self._tail)
        readings = [_reading(row) for row in stored]
        self._prices = {row["at"]: row["prices"] for row in stored}
        first = readings[0].asked_at if readings else read.asked_at
        rows = await self._connection.fetch(_MOVES, read.broker_id, read.user_id, first - SLACK, read.answered_at + SLACK)
        moves = [Move(at=row["executed_at"], asset=row["asset"], amount=row["amount"]) for row in rows]
        if _has_news(readings, read, moves):
            prices = {asset: plain(price) for asset, price in read.prices.items()}
            totals = {asset: plain(total) for asset, total in read.totals.items()}
            await self._connection.execute(_KEEP_READING, read.broker_id, read.asked_at, read.user_id, read.answered_at, totals, prices)
            readings.append(read.reading)
            self._prices[read.asked_at] = prices
        elif not (waited or self._is_sweep):
            return []
        if len(readings) < 2:
            return []
        return await self._judged(readings, moves)

    async def _judged(self, readings: list[Reading], moves: list[Move]) -> list[dict[str, Any]]:
        tolerances = self._tolerances(readings)
        # What follows the last reading was told to be as it was, or the reading would have been kept.
        work = [*readings, self._read.reading] if readings[-1].asked_at < self._read.asked_at else readings
        left = await asyncio.to_thread(remainders, work, moves, tolerances=tolerances)
        found = {(item.asset, item.at): item for item in left}
        known = {(row["asset"], row["at"]): row for row in await self._connection.fetch(_KNOWN, self._read.broker_id, readings[1].asked_at)}
        # The first of two readings before the tail is only there to place the second.
        ends = {reading.asked_at for reading in work[1:]}
        if not self._is_sweep and len(readings) > 2 and readings[1].asked_at < self._tail:
            ends.discard(readings[1].asked_at)
        sure = await self._connection.fetchrow(_SURE, self._read.broker_id, self._read.user_id, self._read.asked_at - _LATEST)
        since_of = {later.asked_at: earlier.asked_at for earlier, later in pairwise(work)}
        opposed = _opposed(left)
        waiting = []
        for key in sorted(found.keys() | known.keys()):
            asset, at = key
            had = known.get(key)
            amount = EXACT.subtract(found[key].amount if key in found else Decimal(0), Decimal(0) if had is None else had["amount"])
            amount = amount.quantize(_KEPT, context=EXACT)
            if at not in ends or abs(amount) <= tolerances.get(asset, _DUST) or abs(amount) > _LARGEST:
                continue
            price = self._price(asset, at, since_of[at])
            value = None if price is None else (amount * price).quantize(_KEPT, context=EXACT)
            flow = _Flow(asset=asset, amount=amount, value=value, since=since_of[at], at=at)
            if self._is_sure(at, sure, is_correction=had is not None):
                note = _guess(flow, sure["started_at"], is_opposed=at in opposed) if had is None else had["note"]
                await self._write(flow, had, note)
            else:
                waiting.append(flow.told)
        if self._is_sweep:
            await self._thin(work, found.keys() | known.keys())
        return waiting

    def _is_sure(self, at: datetime, sure: Any, *, is_correction: bool) -> bool:
        age = self._read.asked_at - at
        if age >= _LATEST or (is_correction and age >= _SOON):
            return True
        return age >= _SOON and not sure["is_in_doubt"] and sure["checked_at"] is not None and sure["checked_at"] > at

    async def _write(self, flow: "_Flow", had: Any, note: str) -> None:
        read = self._read
        await self._connection.execute(
            _KEEP_FLOW,
            new_id(),
            read.user_id,
            read.broker_id,
            flow.asset,
            flow.amount,
            flow.value,
            flow.since,
            flow.at,
            read.asked_at,
            0 if had is None else had["revision"] + 1,
            None if had is None else had["id"],
            note,
        )
        log.info("cash_flow_recorded", broker_id=str(read.broker_id), asset=flow.asset, is_correction=had is not None)

    def _price(self, asset: str, at: datetime, since: datetime) -> Decimal | None:
        """What one was worth at the reading; of an asset that is gone now, at the one before."""
        for moment in (at, since):
            text = self._prices.get(moment, {}).get(asset)
            if text is not None:
                return Decimal(text)
        return self._read.prices.get(asset)

    def _tolerances(self, readings: Sequence[Reading]) -> dict[str, Decimal]:
        tolerances = {asset: _DUST for reading in (*readings, self._read.reading) for asset in reading.totals}
        known: dict[str, Decimal] = {}
        for prices in self._prices.values():
            known.update({asset: Decimal(text) for asset, text in prices.items()})
        known.update(self._read.prices)
        for asset, price in known.items():
            if price > 0:
                tolerances[asset] = max(_DUST, _CENT / price)
        return tolerances

    async def _thin(self, readings: Sequence[Reading], keys: set[tuple[str, datetime]]) -> None:
        """Leave out old readings with nothing but explained changes on either side: without them the sums stay the same.

        The last two stay, however old: else each reading of an account that fell quiet would go through all its trades since the first.
        """
        notable = {at for _, at in keys}
        newest = sorted(self._prices)[-2:]
        old, oldest = self._read.asked_at - _KEEP_ALL, self._read.asked_at - _KEEP
        useless = [
            reading.asked_at
            for reading, later in pairwise(readings[1:])
            if reading.asked_at < old and reading.asked_at not in newest and not {reading.asked_at, later.asked_at} & notable
        ]
        forgotten = [reading.asked_at for reading, later in pairwise(readings) if later.asked_at < oldest]
        await self._connection.execute(_DROP, self._read.broker_id, [*useless, *forgotten])


def _tail(read: BalancesRead, crowded_since: datetime | None) -> datetime:
    since = read.asked_at - _TAIL
    return since if crowded_since is None else max(since, min(crowded_since, read.asked_at - _SHORTEST_TAIL))


def _reading(row: Any) -> Reading:
    totals = {asset: Decimal(text) for asset, text in row["totals"].items()}
    return Reading(asked_at=row["at"], answered_at=row["answered_at"], totals=totals)


def _has_news(readings: Sequence[Reading], read: BalancesRead, moves: Sequence[Move]) -> bool:
    """Whether anything changed since the last reading that was kept, or should have by what was traded."""
    if not readings:
        return True
    last = readings[-1]
    if any(move.at > last.asked_at - SLACK for move in moves):
        return True
    assets = last.totals.keys() | read.totals.keys()
    return any(last.totals.get(asset, Decimal(0)) != read.totals.get(asset, Decimal(0)) for asset in assets)


def _opposed(left: Sequence[Remainder]) -> set[datetime]:
    """Readings at which something came while something else went: rather a trade that nobody told us of than two flows."""
    came = {item.at for item in left if item.amount > 0}
    return came & {item.at for item in left if item.amount < 0}


def _guess(flow: _Flow, started_at: datetime | None, *, is_opposed: bool) -> FlowNote:
    if started_at is not None and flow.since - SLACK < started_at <= flow.at + SLACK:
        return FlowNote.RESET
    if is_opposed:
        return FlowNote.UNEXPLAINED
    if flow.amount < 0:
        return FlowNote.WITHDRAWAL
    return FlowNote.INCOME if flow.value is None or flow.value < _SMALL else FlowNote.DEPOSIT
