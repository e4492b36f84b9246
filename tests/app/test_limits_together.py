"""The limits over all accounts of a user hold also when several accounts trade at the same instant, by whichever way their orders come."""

import asyncio
import time
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
import pytest_asyncio

from app.domain.enums import OrderState
from app.domain.limits import RiskLimits
from app.errors import OrderDenied
from app.trading.hints import Hints
from app.trading.limits import put_limits
from app.trading.records import OrderRecord
from app.trading.submit import Submission
from tests.app.conftest import SYMBOL, Pieces, make_broker, make_user, open_account
from tests.app.fast_ways import another_engine, meanwhile
from tests.app.stored import PRICE

pytestmark = pytest.mark.asyncio

_MOST = 5
_NEEDED_S = 8.0


@pytest_asyncio.fixture
async def accounts(pieces: Pieces) -> list[UUID]:
    """Four accounts of one user that have traded before, with a price at hand."""
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), bid=PRICE, ask=PRICE, last=PRICE)
    names = ("Second", "Third", "Fourth")
    others = [
        await make_broker(pieces.database, pieces.vault, pieces.user_id, api_key=open_account(pieces.emulator), name=name) for name in names
    ]
    for broker_id in (found := [pieces.broker_id, *others]):
        assert (await pieces.submit(pieces.intent(), broker_id=broker_id)).order.state is OrderState.FILLED
    await pieces.rows("UPDATE account_activity SET minute_orders = 0, day_orders = 0")
    return found


async def away_from_the_turn_of_a_minute() -> None:
    """The limits count by the minute and day of the clock: who begins in the last seconds of one has two of them."""
    left = 60 - time.time() % 60
    if left < _NEEDED_S:
        await asyncio.sleep(left)


async def outcome(pieces: Pieces, broker_id: UUID) -> OrderRecord | str:
    try:
        submission: Submission = await pieces.submit(pieces.limit("50000", quantity="0.001"), broker_id=broker_id)
    except OrderDenied as denial:
        return denial.reason.value
    return submission.order


async def sent(pieces: Pieces) -> int:
    (row,) = await pieces.rows("SELECT count(*) AS number FROM orders WHERE type = 'limit' AND user_id = $1", pieces.user_id)
    return int(row["number"])


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (RiskLimits(max_daily_orders=_MOST), "MAX_DAILY_ORDERS"),
        (RiskLimits(orders_per_minute=_MOST), "ORDER_RATE"),
        (RiskLimits(max_open_orders=_MOST), "MAX_OPEN_ORDERS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("way", ["short", "ordinary", "two processes"])
async def test_accounts_that_trade_at_one_instant_do_not_pass_a_limit_together(
    pieces: Pieces, accounts: list[UUID], way: str, limits: RiskLimits, code: str
) -> None:
    await put_limits(pieces.desk, pieces.user_id, limits, broker_id=None)
    engines = [pieces]
    await away_from_the_turn_of_a_minute()
    async with another_engine(pieces) as other:
        if way == "ordinary":
            # Nothing is known of where to look: every order is admitted in a transaction.
            engines = [replace(pieces, desk=replace(pieces.desk, hints=Hints()))]
        elif way == "two processes":
            engines.append(other)
        found = await asyncio.gather(*(outcome(engine, account) for _ in range(4) for account in accounts for engine in engines))
    assert await sent(pieces) == _MOST
    assert {each for each in found if isinstance(each, str)} == {code}
    assert sum(isinstance(each, OrderRecord) and each.state is OrderState.OPEN for each in found) == _MOST


async def test_an_entry_is_judged_anew_when_another_account_of_its_user_was_faster(
    pieces: Pieces, accounts: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_limits(pieces.desk, pieces.user_id, RiskLimits(max_daily_orders=1), broker_id=None)

    async def faster() -> None:
        assert isinstance(await outcome(pieces, accounts[1]), OrderRecord)

    wrote = meanwhile(monkeypatch, faster)
    assert await outcome(pieces, accounts[0]) == "MAX_DAILY_ORDERS"
    assert (wrote[-1], await sent(pieces)) == (False, 1)


async def test_accounts_of_different_users_do_not_wait_for_each_other(pieces: Pieces, accounts: list[UUID]) -> None:
    await put_limits(pieces.desk, pieces.user_id, RiskLimits(max_daily_orders=_MOST), broker_id=None)
    eve = await make_user(pieces.database, "eve")
    theirs = await make_broker(pieces.database, pieces.vault, eve, api_key=open_account(pieces.emulator), name="Hers")
    hers = replace(pieces, user_id=eve, broker_id=theirs)
    lock = "SELECT 1 FROM risk_limits WHERE scope_id = $1 FOR UPDATE"
    async with pieces.database.raw_transaction() as connection:
        await connection.execute(lock, pieces.user_id)
        async with asyncio.timeout(3):
            assert (await hers.submit(hers.intent(quantity="0.001"))).order.state is OrderState.FILLED
    assert Decimal(hers.placed()[0]["executedQty"]) > 0
