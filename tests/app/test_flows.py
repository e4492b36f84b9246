"""Deposits and withdrawals are found by reading balances, written down once, and taken back when a trade turns out to explain them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.exchanges.port import Balance
from app.trading.flows import BalancesRead, observe
from app.trading.portfolio import PortfolioLoop
from tests.app.conftest import Pieces, make_broker, open_account
from tests.app.scripted_client import scripted

pytestmark = pytest.mark.asyncio

T0 = datetime(2025, 11, 26, 12, tzinfo=UTC)
PRICES = {"USDT": Decimal(1), "BTC": Decimal(60000), "BNB": Decimal(600)}


def moment(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@dataclass
class Account:
    """An account whose balances a test makes up; seconds count from `T0`."""

    pieces: Pieces
    broker_id: UUID
    held: dict[str, Decimal] = field(default_factory=lambda: {"USDT": Decimal(1000), "BTC": Decimal(1), "BNB": Decimal(1)})
    _trades: int = 0

    async def read(self, seconds: float, *, prices: Mapping[str, Decimal] = PRICES) -> None:
        """The portfolio's loop reads the balances."""
        held = {asset: amount for asset, amount in self.held.items() if amount}
        at = moment(seconds)
        await observe(
            self.pieces.desk,
            BalancesRead(
                broker_id=self.broker_id, user_id=self.pieces.user_id, asked_at=at, answered_at=at, totals=held, prices=dict(prices)
            ),
        )

    async def compared(self, seconds: float) -> None:
        """The account is compared with its exchange in full."""
        await self.pieces.rows(
            """INSERT INTO account_checks (broker_id, user_id, next_at, checked_at) VALUES ($1, $2, $3, $3)
               ON CONFLICT (broker_id) DO UPDATE SET checked_at = excluded.checked_at""",
            self.broker_id,
            self.pieces.user_id,
            moment(seconds),
        )

    async def hear_of(self, seconds: float, *, buy: str, price: str, fee: str = "0", fee_asset: str = "BNB") -> None:
        """A trade that was made elsewhere becomes known."""
        self._trades += 1
        await self.pieces.rows(
            """INSERT INTO external_trades (broker_id, user_id, symbol, trade_id, venue_order_id, side, price, quantity, fee, fee_asset,
                                            liquidity, executed_at)
               VALUES ($1, $2, 'BTC/USDT', $3, $3, 'buy', $4, $5, $6, $7, 'taker', $8)""",
            self.broker_id,
            self.pieces.user_id,
            str(self._trades),
            Decimal(price),
            Decimal(buy),
            Decimal(fee),
            fee_asset,
            moment(seconds),
        )

    def trade(self, *, buy: str, price: str, fee: str = "0") -> None:
        """The exchange fills a buy."""
        self.held["BTC"] += Decimal(buy)
        self.held["USDT"] -= Decimal(buy) * Decimal(price)
        self.held["BNB"] -= Decimal(fee)

    async def flows(self) -> list[tuple[str, Decimal, Decimal | None, str, int]]:
        """What is written down."""
        rows = await self.pieces.rows("SELECT * FROM cash_flows WHERE broker_id = $1 ORDER BY at, asset, revision", self.broker_id)
        return [(row["asset"], row["amount"], row["value_usdt"], row["note"], row["revision"]) for row in rows]

    async def waiting(self) -> list[Any]:
        """What is not believed yet."""
        rows = await self.pieces.rows("SELECT waiting FROM flow_watches WHERE broker_id = $1", self.broker_id)
        return [(item["asset"], item["amount"]) for item in rows[0]["waiting"]]


@pytest.fixture
def account(pieces: Pieces) -> Account:
    return Account(pieces, pieces.broker_id)


async def test_deposit_is_written_down_once_after_the_account_was_compared(account: Account) -> None:
    await account.read(0)
    account.held["USDT"] += 500
    await account.read(60)
    assert await account.flows() == []
    assert await account.waiting() == [("USDT", "500")]
    await account.compared(70)
    for seconds in (120, 120, 180, 240):
        await account.read(seconds)
    assert await account.flows() == [("USDT", Decimal(500), Decimal(500), "deposit", 0)]
    assert await account.waiting() == []


async def test_change_that_waits_has_the_account_compared(account: Account) -> None:
    await account.compared(-1000)
    await account.read(0)
    account.held["BTC"] -= 1
    await account.read(60)
    (row,) = await account.pieces.rows("SELECT next_at FROM account_checks WHERE broker_id = $1", account.broker_id)
    assert row["next_at"] > moment(-1000)
    assert account.pieces.desk.doubt.is_set()


async def test_withdrawal_of_all_is_worth_what_it_was_worth_before(account: Account) -> None:
    await account.read(0)
    account.held["BTC"] = Decimal(0)
    await account.read(60, prices={"USDT": Decimal(1)})
    await account.read(60 + 16 * 60, prices={"USDT": Decimal(1)})
    assert await account.flows() == [("BTC", Decimal(-1), Decimal(-60000), "withdrawal", 0)]


async def test_trade_with_its_fee_in_a_third_asset_is_no_flow(account: Account) -> None:
    await account.read(0)
    account.trade(buy="0.001", price="60000", fee="0.00006")
    await account.hear_of(30, buy="0.001", price="60000", fee="0.00006")
    for seconds in (60, 120, 1200):
        await account.read(seconds)
    assert await account.flows() == []


async def test_trade_that_becomes_known_while_a_change_waits_leaves_nothing(account: Account) -> None:
    await account.read(0)
    account.trade(buy="0.001", price="60000")
    await account.read(60)
    assert len(await account.waiting()) == 2
    await account.hear_of(30, buy="0.001", price="60000")
    await account.compared(90)
    await account.read(120)
    assert (await account.flows(), await account.waiting()) == ([], [])


async def test_trade_that_becomes_known_too_late_takes_back_what_it_explains_and_leaves_the_history(account: Account) -> None:
    await account.read(0)
    account.trade(buy="0.001", price="60000")
    account.held["USDT"] += 500
    await account.read(60)
    await account.read(60 + 16 * 60)
    assert await account.flows() == [
        ("BTC", Decimal("0.001"), Decimal(60), "deposit", 0),
        ("USDT", Decimal(440), Decimal(440), "deposit", 0),
    ]
    await account.hear_of(30, buy="0.001", price="60000")
    for hours in (2, 2.1, 4):
        await account.read(hours * 3600)
    assert await account.flows() == [
        ("BTC", Decimal("0.001"), Decimal(60), "deposit", 0),
        ("BTC", Decimal("-0.001"), Decimal(-60), "deposit", 1),
        ("USDT", Decimal(440), Decimal(440), "deposit", 0),
        ("USDT", Decimal(60), Decimal(60), "deposit", 1),
    ]


async def test_what_came_while_something_else_went_is_left_unexplained(account: Account) -> None:
    await account.read(0)
    account.held["BNB"] -= 1
    account.held["SOL"] = Decimal(4)
    await account.read(60)
    await account.compared(70)
    await account.read(120)
    assert [(asset, amount, note) for asset, amount, _, note, _ in await account.flows()] == [
        ("BNB", Decimal(-1), "unexplained"),
        ("SOL", Decimal(4), "unexplained"),
    ]


async def test_paper_account_that_is_begun_anew_neither_earned_nor_lost(account: Account) -> None:
    await account.read(0)
    account.trade(buy="0.001", price="60000")
    await account.hear_of(20, buy="0.001", price="60000")
    account.held = {"USDT": Decimal(5000)}
    await account.pieces.rows(
        """INSERT INTO paper_accounts (broker_id, user_id, balance_usdt, maker_fee, taker_fee, started_at)
           VALUES ($1, $2, 5000, 0, 0, $3)""",
        account.broker_id,
        account.pieces.user_id,
        moment(40),
    )
    await account.read(60)
    await account.compared(70)
    await account.read(120)
    assert [(asset, amount, note) for asset, amount, _, note, _ in await account.flows()] == [
        ("BNB", Decimal(-1), "reset"),
        ("BTC", Decimal("-1.001"), "reset"),
        ("USDT", Decimal(4060), "reset"),
    ]


async def test_trades_at_the_very_moment_of_readings_are_no_flows(account: Account) -> None:
    await account.read(0)
    for number in range(1, 8):
        account.trade(buy="0.001", price="60000", fee="0.00001")
        # The exchange's clock is ahead of ours now and behind it then.
        await account.hear_of(number * 60 + (1.5 if number % 2 else -0.5), buy="0.001", price="60000", fee="0.00001")
        await account.read(number * 60)
    await account.compared(3000)
    await account.read(3060)
    assert (await account.flows(), await account.waiting()) == ([], [])


async def test_a_week_without_this_server_is_one_gap_between_two_readings(account: Account) -> None:
    await account.read(0)
    week = 7 * 24 * 3600
    for hours in range(0, 160, 20):
        account.trade(buy="0.001", price="60000", fee="0.00006")
        await account.hear_of(hours * 3600 + 100, buy="0.001", price="60000", fee="0.00006")
    account.held["USDT"] -= 300
    await account.read(week)
    await account.compared(week + 30)
    await account.read(week + 60)
    assert await account.flows() == [("USDT", Decimal(-300), Decimal(-300), "withdrawal", 0)]


async def test_change_that_waited_when_the_server_went_down_is_not_forgotten(account: Account) -> None:
    await account.read(0)
    account.held["USDT"] += 500
    await account.read(60)
    await account.read(5 * 3600)
    assert await account.flows() == [("USDT", Decimal(500), Decimal(500), "deposit", 0)]


async def test_dust_is_no_flow_until_it_has_become_a_cent(account: Account) -> None:
    await account.read(0)
    for minute in range(1, 13):
        account.held["USDT"] += Decimal("0.001")
        await account.read(minute * 60)
    assert (await account.flows(), await account.waiting()) == ([], [])
    # Days later the readings in between are left out, and what they leave together is more than dust; the last of it is still between two.
    for days in (3, 3.1, 3.2, 3.3):
        await account.read(days * 86400)
    assert await account.flows() == [("USDT", Decimal("0.011"), Decimal("0.011"), "income", 0)]


async def test_readings_that_trades_explain_are_left_out_after_some_days(account: Account) -> None:
    await account.read(0)
    for minute in range(1, 30):
        account.trade(buy="0.001", price="60000")
        await account.hear_of(minute * 60 - 30, buy="0.001", price="60000")
        if minute == 10:
            account.held["BNB"] += 2
        await account.read(minute * 60)
    await account.read(3 * 86400)
    left = await account.pieces.rows("SELECT at FROM balance_readings WHERE broker_id = $1 ORDER BY at", account.broker_id)
    # The last two stay too: what a quiet account is compared with begins where it fell quiet.
    assert [row["at"] for row in left] == [moment(minutes * 60) for minutes in (0, 9, 10, 28, 29)]
    assert [amount for _, amount, *_ in await account.flows()] == [Decimal(2)]


async def test_reading_that_arrives_behind_a_later_one_changes_nothing(account: Account) -> None:
    await account.read(0)
    await account.read(120)
    account.held["USDT"] = Decimal(1)
    await account.read(60)
    account.held["USDT"] = Decimal(1000)
    await account.read(120 + 1000)
    assert await account.flows() == []


async def test_account_that_trades_without_a_pause_is_looked_at_less_often_and_loses_nothing(account: Account) -> None:
    await account.read(0)
    await account.pieces.rows(
        """INSERT INTO external_trades (broker_id, user_id, symbol, trade_id, venue_order_id, side, price, quantity, fee, fee_asset,
                                        liquidity, executed_at)
           SELECT $1, $2, 'BTC/USDT', n, n, 'buy', 60000, 0.001, 0, 'BNB', 'taker', $3::timestamptz + n * interval '100 milliseconds'
             FROM generate_series(1, 600) n""",
        account.broker_id,
        account.pieces.user_id,
        moment(0.0),
    )
    account.held["BTC"] += Decimal("0.6")
    account.held["USDT"] += Decimal(-36000) + 500
    await account.read(61)
    assert await account.waiting() == [("USDT", "500")]
    account.held["USDT"] += 70
    await account.read(62)
    assert await account.waiting() == [("USDT", "500")]
    await account.read(66.5)
    assert await account.waiting() == [("USDT", "500"), ("USDT", "70")]
    await account.compared(90)
    await account.read(100)
    assert [flow[:2] for flow in await account.flows()] == [("USDT", Decimal(500)), ("USDT", Decimal(70))]


async def test_flows_can_be_labelled_and_otherwise_neither_changed_nor_removed(account: Account) -> None:
    await account.read(0)
    account.held["USDT"] += 500
    await account.read(60)
    await account.read(60 + 16 * 60)
    for change in ("UPDATE cash_flows SET amount = 1", "UPDATE cash_flows SET value_usdt = NULL", "DELETE FROM cash_flows"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await account.pieces.rows(change)
    await account.pieces.rows("UPDATE cash_flows SET note = 'income'")
    assert await account.flows() == [("USDT", Decimal(500), Decimal(500), "income", 0)]


async def test_orders_of_ours_and_a_deposit_at_a_real_exchange_are_told_apart(pieces: Pieces) -> None:
    client = await pieces.desk.connections.client(pieces.broker_id)
    deposited = Decimal(0)

    async def balances() -> dict[str, Balance]:
        told = dict(await client.fetch_balances())
        usdt = told["USDT"]
        return told | {"USDT": Balance(asset="USDT", free=usdt.free + deposited, locked=usdt.locked)}

    desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=balances)
    loop = PortfolioLoop(desk, interval_s=60)
    await loop.refresh(None)
    await pieces.filled(quantity="0.01")
    await loop.refresh(None)
    deposited = Decimal("250.5")
    await pieces.submit(pieces.limit("59000"))
    await loop.refresh(None)
    await pieces.filled(quantity="0.02")
    await loop.refresh(None)
    (row,) = await pieces.rows("SELECT waiting FROM flow_watches")
    assert [(item["asset"], item["amount"]) for item in row["waiting"]] == [("USDT", "250.5")]
    other = await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name="Other")
    await loop.refresh([other])
    assert await pieces.rows("SELECT 1 FROM flow_watches WHERE broker_id = $1 AND waiting <> '[]'", other) == []
