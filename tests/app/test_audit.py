"""Each thing that must always hold is broken by hand, and the audit finds it, stops the entries and says why."""

from decimal import Decimal

import asyncpg
import pytest

from app.domain.enums import Side
from app.domain.protection import ProtectionPlan
from app.errors import DenialReason, OrderDenied
from app.trading.audit import Finding, last_run, run_audit
from app.trading.guardian import guard
from app.trading.portfolio import PortfolioLoop
from app.webhooks.audit import RULES as OF_ALERTS
from tests.app.conftest import SYMBOL, Pieces, make_user

pytestmark = pytest.mark.asyncio


async def traded(pieces: Pieces) -> None:
    """A guarded position, a resting order, a round trip, and balances that were read afterwards."""
    pieces.quotes.put(SYMBOL, at=pieces.desk.clock.now(), last=Decimal(60000), bid=Decimal(60000), ask=Decimal(60000))
    await pieces.submit(pieces.intent(quantity="0.02", protection=ProtectionPlan(stop_price=Decimal(50000))))
    (protection,) = await pieces.rows("SELECT id FROM protections")
    await guard(pieces.desk, protection["id"])
    await pieces.submit(pieces.limit("50000"))
    await PortfolioLoop(pieces.desk, interval_s=60).refresh(None)


async def audited(pieces: Pieces) -> list[Finding]:
    return await run_audit(pieces.desk, extra=OF_ALERTS)


async def test_after_ordinary_trading_the_audit_finds_nothing_and_stops_nothing(pieces: Pieces) -> None:
    await traded(pieces)
    assert await audited(pieces) == []
    assert await pieces.rows("SELECT 1 FROM trading_states WHERE code LIKE 'AUDIT%'") == []
    run, findings, unexplained = await last_run(pieces.desk, pieces.user_id)
    assert (run["findings"], findings, unexplained) == (0, [], [])


_BREAKS = {
    "AUDIT_FILLS": "UPDATE fills SET quantity = quantity + 0.001",
    "AUDIT_UNASKED": "UPDATE orders SET reconciled_at = now() - interval '16 minutes' WHERE state = 'open' AND group_id IS NULL",
    "AUDIT_STUCK": "UPDATE orders SET state = 'submitting', sent_at = now() - interval '30 seconds'"
    " WHERE state = 'open' AND group_id IS NULL",
    "AUDIT_POSITION": "UPDATE positions SET quantity = quantity + 0.001",
    "AUDIT_RESERVATION": "UPDATE orders SET reserved = 1 WHERE state = 'filled'",
    "AUDIT_UNPROTECTED": "UPDATE protections SET unprotected_since = now() - interval '31 seconds'",
    "AUDIT_UNCOMPARED": "INSERT INTO account_checks (broker_id, user_id, next_at, failed_since)"
    " SELECT id, user_id, now(), now() - interval '16 minutes' FROM brokers"
    " ON CONFLICT (broker_id) DO UPDATE SET failed_since = excluded.failed_since",
    "AUDIT_UNTOLD": "INSERT INTO outbox (user_id, broker_id, kind, body, created_at)"
    " SELECT user_id, id, 'order_lost', '{}', now() - interval '6 minutes' FROM brokers",
    "AUDIT_EPOCH": "UPDATE orders SET epoch = 1000000 WHERE state = 'open'",
    "AUDIT_UNSELLABLE": "UPDATE brokers SET last_balance_update = now() + interval '1 minute'; UPDATE balances SET free = 0, locked = 0",
}


@pytest.mark.parametrize(("code", "sql"), _BREAKS.items(), ids=_BREAKS)
async def test_what_does_not_hold_is_found_stops_entries_and_says_why(pieces: Pieces, code: str, sql: str) -> None:
    await traded(pieces)
    for statement in sql.split(";"):
        await pieces.rows(statement)
    found = [finding for finding in await audited(pieces) if finding.code == code]
    assert {finding.broker_id for finding in found} == {pieces.broker_id}
    with pytest.raises(OrderDenied) as caught:
        await pieces.submit()
    assert caught.value.reason is DenialReason.TRADING_REDUCING
    assert "the audit found that" in caught.value.message
    _, shown, _ = await last_run(pieces.desk, pieces.user_id)
    assert code in {row["code"] for row in shown}
    assert len(await pieces.rows("SELECT 1 FROM outbox WHERE kind = 'audit_failed' AND body ->> 'code' = $1", code)) == 1
    await audited(pieces)
    assert len(await pieces.rows("SELECT 1 FROM outbox WHERE kind = 'audit_failed' AND body ->> 'code' = $1", code)) == 1, "told once"


async def test_two_orders_cannot_even_be_made_to_be_one_at_the_exchange(pieces: Pieces) -> None:
    await traded(pieces)
    for column in ("venue_order_id", "client_order_id"):
        with pytest.raises(asyncpg.UniqueViolationError):
            await pieces.rows(f"UPDATE orders SET {column} = 'the-same'")


async def test_an_alert_that_nobody_decides_is_found_for_its_user(pieces: Pieces) -> None:
    await pieces.rows(
        "INSERT INTO webhook_deliveries (id, user_id, received_at, raw, size, decision)"
        " VALUES (gen_random_uuid(), $1, now() - interval '4 minutes', '{}', 2, 'pending')",
        pieces.user_id,
    )
    (found,) = await audited(pieces)
    assert (found.code, found.broker_id, found.user_id) == ("AUDIT_UNDECIDED", None, pieces.user_id)


async def test_a_deposit_is_shown_as_unexplained_and_stops_nothing(pieces: Pieces) -> None:
    await traded(pieces)
    assert await audited(pieces) == []
    await pieces.filled(Side.BUY)
    await PortfolioLoop(pieces.desk, interval_s=60).refresh(None)
    await pieces.rows("UPDATE balances SET free = free + 250 WHERE asset = 'USDT'")
    assert await audited(pieces) == []
    _, _, unexplained = await last_run(pieces.desk, pieces.user_id)
    assert [(row["asset"], row["unexplained"]) for row in unexplained] == [("USDT", Decimal(250))]


async def test_what_an_audit_finds_is_its_owners_alone(pieces: Pieces) -> None:
    await traded(pieces)
    await pieces.rows("UPDATE positions SET quantity = quantity + 1")
    await audited(pieces)
    eve = await make_user(pieces.database, "eve")
    _, findings, unexplained = await last_run(pieces.desk, eve)
    assert (findings, unexplained) == ([], [])
