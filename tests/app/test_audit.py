"""Each thing that must always hold is broken by hand, and the audit finds it, stops the entries and says why."""

import asyncio
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from app.core.database_url import DatabaseUrls
from app.domain.enums import Side
from app.domain.protection import ProtectionPlan
from app.errors import DenialReason, OrderDenied
from app.exchanges.port import Balance
from app.trading import gates
from app.trading.audit import Finding, ask_rules, last_run, run_audit
from app.trading.audit_rules import TWINS
from app.trading.guardian import guard
from app.trading.portfolio import PortfolioLoop
from app.trading.reconcile import Reconciler
from app.webhooks.audit import RULES as OF_ALERTS
from tests.app.conftest import SYMBOL, Pieces, make_user
from tests.app.scripted_client import scripted
from tests.app.strangers import placed_elsewhere
from tests.environment import kept_environment
from tests.forked import Forked
from tests.postgres import connected

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
    run, findings, balances = await last_run(pieces.desk, pieces.user_id)
    assert (run["findings"], findings, balances) == (0, [], [])


_MINUTE_AGO = "now() - interval '61 seconds'"
_BREAKS = [
    ("AUDIT_FILLS", "UPDATE fills SET quantity = quantity + 0.001"),
    (
        "AUDIT_FILLS",
        "UPDATE orders SET filled_quantity = filled_quantity + 0.001, updated_at = now() - interval '16 minutes' WHERE state = 'filled'",
    ),
    ("AUDIT_UNASKED", "UPDATE orders SET reconciled_at = now() - interval '16 minutes', created_at = now() - interval '1 hour'"),
    (
        "AUDIT_UNASKED",
        "UPDATE orders SET state = 'intent', reconciled_at = NULL, created_at = now() - interval '16 minutes' WHERE group_id IS NULL",
    ),
    (
        "AUDIT_STUCK",
        "UPDATE orders SET state = 'submitting', sent_at = now() - interval '30 seconds' WHERE state = 'open' AND group_id IS NULL",
    ),
    ("AUDIT_POSITION", "UPDATE positions SET quantity = quantity + 0.001"),
    ("AUDIT_POSITION", "DELETE FROM positions"),
    ("AUDIT_RESERVATION", "UPDATE orders SET reserved = 1 WHERE state = 'filled'"),
    ("AUDIT_RESERVATION", "UPDATE orders SET reserved = reserved - 1 WHERE state = 'open' AND group_id IS NULL"),
    ("AUDIT_UNPROTECTED", "UPDATE protections SET unprotected_since = now() - interval '31 seconds'"),
    (
        "AUDIT_UNPROTECTED",
        f"UPDATE orders SET state = 'canceled', reserved = 0 WHERE role = 'stop'; UPDATE positions SET updated_at = {_MINUTE_AGO};"
        f"UPDATE protections SET unprotected_since = NULL, updated_at = {_MINUTE_AGO}",
    ),
    (
        "AUDIT_UNPROTECTED",
        f"UPDATE positions SET status = 'closed', updated_at = {_MINUTE_AGO}; UPDATE orders SET updated_at = {_MINUTE_AGO};"
        f"UPDATE protections SET status = 'done', updated_at = {_MINUTE_AGO}",
    ),
    (
        "AUDIT_UNCOMPARED",
        "INSERT INTO account_checks (broker_id, user_id, next_at, failed_since)"
        " SELECT id, user_id, now(), now() - interval '16 minutes' FROM brokers"
        " ON CONFLICT (broker_id) DO UPDATE SET failed_since = excluded.failed_since",
    ),
    ("AUDIT_UNCOMPARED", "UPDATE brokers SET created_at = now() - interval '25 hours'"),
    (
        "AUDIT_ORPHAN",
        "INSERT INTO external_orders (id, user_id, broker_id, symbol, venue_order_id, client_order_id, side, state, quantity,"
        " filled_quantity, first_seen_at, last_seen_at)"
        " SELECT gen_random_uuid(), user_id, id, 'BTC/USDT', '7', 'q0123456789abcdefg', 'buy', 'open', 1, 0, now(), now() FROM brokers",
    ),
    (
        "AUDIT_UNTOLD",
        "INSERT INTO outbox (user_id, broker_id, kind, body, created_at)"
        " SELECT user_id, id, 'order_lost', '{}', now() - interval '6 minutes' FROM brokers",
    ),
    ("AUDIT_EPOCH", "UPDATE orders SET epoch = 1000000 WHERE state = 'open'"),
    ("AUDIT_EPOCH", "UPDATE order_events SET epoch = 1000000 WHERE id = (SELECT min(id) FROM order_events WHERE epoch IS NOT NULL)"),
    (
        "AUDIT_UNSELLABLE",
        "UPDATE brokers SET last_balance_update = now() + interval '1 minute'; UPDATE balances SET free = 0, locked = 0",
    ),
]


@pytest.mark.parametrize(("code", "sql"), _BREAKS, ids=[code for code, _ in _BREAKS])
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


@pytest.mark.parametrize("column", ["venue_order_id", "client_order_id"])
async def test_two_orders_cannot_be_one_at_the_exchange_and_would_be_found_if_they_could(
    pieces: Pieces, emptied_urls: DatabaseUrls, column: str
) -> None:
    await traded(pieces)
    same = f"UPDATE orders SET {column} = 'the-same'"
    with pytest.raises(asyncpg.UniqueViolationError):
        await pieces.rows(same)
    async with connected(emptied_urls.owner) as owner:
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(f"DROP INDEX uq_orders_broker_id_{column}")
        await owner.execute(same)
        (found,) = await ask_rules(owner, [TWINS], now=pieces.desk.clock.now(), is_full=True)
        await transaction.rollback()
    assert (found.code, found.broker_id) == ("AUDIT_TWINS", pieces.broker_id)


async def test_account_whose_gate_is_closed_says_by_that_what_is_wrong_and_needs_no_person(pieces: Pieces) -> None:
    await traded(pieces)
    await gates.close(pieces.desk, pieces.broker_id, pieces.user_id, "the exchange does not answer")
    await pieces.rows("UPDATE orders SET reconciled_at = now() - interval '16 minutes', created_at = now() - interval '1 hour'")
    await pieces.rows("UPDATE brokers SET created_at = now() - interval '25 hours'")
    assert await audited(pieces) == []


async def test_what_was_only_on_its_way_is_no_finding(pieces: Pieces) -> None:
    await traded(pieces)
    await pieces.rows("UPDATE positions SET quantity = quantity + 1")
    async with asyncio.TaskGroup() as group:
        run = group.create_task(run_audit(pieces.desk, confirm_s=0.3))
        await asyncio.sleep(0.1)
        await pieces.rows("UPDATE positions SET quantity = quantity - 1")
    assert run.result() == []
    assert await pieces.rows("SELECT 1 FROM trading_states") == []


async def test_what_a_full_run_found_stands_until_the_next_one(pieces: Pieces) -> None:
    await traded(pieces)
    await pieces.rows("UPDATE positions SET quantity = quantity + 1, updated_at = now() - interval '3 hours'")
    assert [finding.code for finding in await run_audit(pieces.desk)] == ["AUDIT_POSITION"]
    assert await run_audit(pieces.desk, is_full=False) == [], "what did not change is left to the full run"
    _, shown, _ = await last_run(pieces.desk, pieces.user_id)
    assert [row["code"] for row in shown] == ["AUDIT_POSITION"]
    await pieces.rows("UPDATE positions SET quantity = quantity - 1")
    await run_audit(pieces.desk)
    assert (await last_run(pieces.desk, pieces.user_id))[1] == []


async def test_an_alert_that_nobody_decides_is_found_for_its_user(pieces: Pieces) -> None:
    await pieces.rows(
        "INSERT INTO webhook_deliveries (id, user_id, received_at, raw, size, decision)"
        " VALUES (gen_random_uuid(), $1, now() - interval '4 minutes', '{}', 2, 'pending')",
        pieces.user_id,
    )
    (found,) = await audited(pieces)
    assert (found.code, found.broker_id, found.user_id) == ("AUDIT_UNDECIDED", None, pieces.user_id)


async def test_account_that_was_begun_anew_still_adds_up(pieces: Pieces) -> None:
    """What `start_over` does to a paper account: its position ends without a fill."""
    await pieces.filled()
    await pieces.rows("UPDATE positions SET status = 'closed', closed_at = now()")
    await pieces.filled()
    assert [row["status"] for row in await pieces.rows("SELECT status FROM positions ORDER BY opened_at")] == ["closed", "open"]
    assert await audited(pieces) == []


async def unexplained(pieces: Pieces) -> dict[str, Decimal]:
    """What the latest audit shows of balances that no trade explains, after reading them anew."""
    await PortfolioLoop(pieces.desk, interval_s=60).refresh(None)
    assert await audited(pieces) == []
    _, _, rows = await last_run(pieces.desk, pieces.user_id)
    return {row["asset"]: row["unexplained"] for row in rows}


async def test_trades_of_ours_and_of_the_trader_explain_the_balances(pieces: Pieces) -> None:
    await pieces.submit(pieces.limit("50000"))
    assert await unexplained(pieces) == {}
    await pieces.filled(Side.BUY, "0.03")
    await pieces.filled(Side.SELL, "0.01")
    placed_elsewhere(pieces, side="BUY", type="MARKET", quantity="0.05")
    await pieces.rows("DELETE FROM account_checks")
    await Reconciler(pieces.desk).check_accounts()
    assert await unexplained(pieces) == {}
    await pieces.rows("UPDATE ledger_baselines SET at = at - interval '30 hours'")
    assert await unexplained(pieces) == {}, "folding what is old changes nothing"


async def test_what_came_and_went_without_a_trade_is_shown_and_stops_nothing(pieces: Pieces) -> None:
    await traded(pieces)
    assert await unexplained(pieces) == {}
    await pieces.filled(Side.BUY)
    real = await pieces.connections.client(pieces.broker_id)
    moved = {"USDT": Decimal(250), "DOGE": Decimal(7)}

    async def with_a_deposit() -> dict[str, Balance]:
        held = await real.fetch_balances()
        nothing = Balance(asset="", free=Decimal(0), locked=Decimal(0))
        return {
            asset: Balance(asset=asset, free=old.free + moved.get(asset, 0), locked=old.locked)
            for asset in {**held, **moved}
            for old in [held.get(asset, nothing)]
        }

    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=with_a_deposit)
    assert await unexplained(pieces) == moved
    moved["DOGE"] = Decimal(0)
    assert await unexplained(pieces) == {"USDT": Decimal(250)}


async def test_an_asset_that_was_withdrawn_to_the_last_is_shown(pieces: Pieces) -> None:
    assert await unexplained(pieces) == {}
    real = await pieces.connections.client(pieces.broker_id)

    async def without_btc() -> dict[str, Balance]:
        return {asset: held for asset, held in (await real.fetch_balances()).items() if asset != "BTC"}

    pieces.desk, _ = await scripted(pieces.desk, pieces.broker_id, fetch_balances=without_btc)
    assert await unexplained(pieces) == {"BTC": Decimal(-1)}


async def test_what_an_audit_finds_is_its_owners_alone(pieces: Pieces) -> None:
    await traded(pieces)
    await pieces.rows("UPDATE positions SET quantity = quantity + 1")
    await audited(pieces)
    eve = await make_user(pieces.database, "eve")
    _, findings, balances = await last_run(pieces.desk, eve)
    assert (findings, balances) == ([], [])


async def told_by_the_command(urls: DatabaseUrls, folder: Path) -> tuple[int, str]:
    """What `aristobot audit` prints, and how it ends."""
    environment = kept_environment() | {"DATABASE_URL": urls.app, "DATABASE_OWNER_URL": urls.owner, "DATA_DIR": str(folder)}
    output = folder / "audit.txt"
    output.unlink(missing_ok=True)
    process = Forked(("audit",), output=output, errors=folder / "errors.txt", environment=environment)
    code = await asyncio.to_thread(process.wait, 60)
    return code, output.read_text()


async def test_the_command_prints_what_does_not_hold_and_changes_nothing(
    pieces: Pieces, emptied_urls: DatabaseUrls, tmp_path: Path
) -> None:
    await traded(pieces)
    code, out = await told_by_the_command(emptied_urls, tmp_path)
    assert (code, "All that must hold does." in out) == (0, True)
    await pieces.rows("UPDATE positions SET quantity = quantity + 1")
    code, out = await told_by_the_command(emptied_urls, tmp_path)
    assert (code, "AUDIT_POSITION: the position in BTC/USDT is 1.0" in out, "1 findings" in out) == (1, True, True)
    assert await pieces.rows("SELECT 1 FROM audit_runs UNION ALL SELECT 1 FROM trading_states") == []
