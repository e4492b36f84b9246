"""The audit: at start and on schedule, everything that must always hold is asked of the database. A hit stops entries, and says why.

It reads what others have written and corrects nothing; a person resumes trading once they know the reason.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.ids import new_id
from app.core.supervisor import Beat
from app.domain.enums import TradingState
from app.domain.risk import Scope
from app.trading.audit_rules import RULES, Rule
from app.trading.desk import Desk
from app.trading.ledger import compare_ledgers, fold_ledgers
from app.trading.outbox import NoticeKind, put
from app.trading.states import trip

log = structlog.get_logger(__name__)

#: Of one kind so many are kept and told; a rule that breaks everywhere says it once for each account.
_MOST_OF_A_KIND: Final = 100
_STEP_S: Final = 5.0
#: A finding that is gone after so long was something on its way.
_CONFIRM_S: Final = 2.0
_FULL_EVERY: Final = timedelta(hours=24)
#: A run that is not full looks at what has changed in this time, besides what is unsettled.
_CHANGED_IN: Final = timedelta(hours=2)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_FOLD_AFTER: Final = timedelta(hours=25)
#: Not every rule depends on the moment, but each is told it.
_ASK: Final = f"""
SELECT * FROM ({{rule}}) broken WHERE $1::timestamptz IS NOT NULL AND $2::timestamptz IS NOT NULL LIMIT {_MOST_OF_A_KIND}
"""  # noqa: S608  # our own rules
_KEEP: Final = """
WITH run AS (INSERT INTO audit_runs (id, started_at, finished_at, findings, is_full) VALUES ($1, $2, $3, $4, $11) RETURNING id)
INSERT INTO audit_findings (id, run_id, user_id, broker_id, code, detail, subject, found_at)
SELECT f.id, run.id, f.user_id, f.broker_id, f.code, f.detail, jsonb_build_object('id', f.subject), $3
  FROM run, unnest($5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::text[])
    AS f (id, user_id, broker_id, code, detail, subject)
"""
_PURGE: Final = "DELETE FROM audit_runs WHERE started_at < $1::timestamptz - interval '90 days'"
_LAST_RUN: Final = "SELECT * FROM audit_runs ORDER BY started_at DESC LIMIT 1"
_LAST_FULL: Final = "SELECT max(started_at) FROM audit_runs WHERE is_full"
#: What a full run found stands until the next full run; what was found since then, as the latest run saw it.
_FINDINGS: Final = """
SELECT DISTINCT ON (f.code, f.subject) f.* FROM audit_findings f JOIN audit_runs r ON r.id = f.run_id
 WHERE f.user_id = $1
   AND (r.started_at = (SELECT max(started_at) FROM audit_runs) OR r.started_at = (SELECT max(started_at) FROM audit_runs WHERE is_full))
 ORDER BY f.code, f.subject, f.id DESC
"""
#: Venues round each trade's amounts; less than this is no deposit.
_UNEXPLAINED: Final = "SELECT * FROM ledger_baselines WHERE user_id = $1 AND abs(unexplained) > 1e-6 ORDER BY broker_id, asset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One invariant that does not hold; `detail` is a sentence for the trader."""

    code: str
    broker_id: UUID | None
    user_id: UUID | None
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


async def run_audit(desk: Desk, *, extra: Sequence[Rule] = (), is_full: bool = True, confirm_s: float = 0.0) -> list[Finding]:
    """Ask every rule, keep what was found, and stop the entries of the accounts concerned.

    Args:
        desk: What trading works with.
        extra: Rules of the packages above, which know tables that are none of ours.
        is_full: Whether everything is looked at, or only what is unsettled or changed lately.
        confirm_s: Seconds after which what was found must still be so.
    """
    started = desk.clock.now()
    rules = (*RULES, *extra)
    async with desk.database.connection() as connection:
        await compare_ledgers(connection)
        if is_full:
            await fold_ledgers(connection, started - _FOLD_AFTER)
        findings = await ask_rules(connection, rules, now=started, is_full=is_full)
    if findings and confirm_s:
        await asyncio.sleep(confirm_s)
        suspected = {finding.code for finding in findings}
        async with desk.database.connection() as connection:
            again = await ask_rules(connection, [rule for rule in rules if rule.code in suspected], now=desk.clock.now(), is_full=is_full)
        confirmed = {(finding.code, finding.subject) for finding in again}
        findings = [finding for finding in findings if (finding.code, finding.subject) in confirmed]
    async with desk.database.connection() as connection:
        await _keep(desk, connection, findings, started=started, is_full=is_full)
    for finding in _one_per_scope(findings):
        await _stop_entries(desk, finding)
    log.log(40 if findings else 20, "audited", findings=len(findings), codes=sorted({finding.code for finding in findings}))
    return findings


async def ask_rules(connection: Any, rules: Iterable[Rule], *, now: datetime, is_full: bool) -> list[Finding]:
    """Return what does not hold now; nothing is written."""
    since = _BEGINNING if is_full else now - _CHANGED_IN
    findings: list[Finding] = []
    for rule in rules:
        findings += [_finding(rule, row) for row in await connection.fetch(_ASK.format(rule=rule.sql), now, since)]
    return findings


def _finding(rule: Rule, row: Any) -> Finding:
    return Finding(code=rule.code, broker_id=row["broker_id"], user_id=row["user_id"], subject=row["subject"], detail=row["detail"])


async def _keep(desk: Desk, connection: Any, findings: list[Finding], *, started: datetime, is_full: bool) -> None:
    columns = [
        [new_id() for _ in findings],
        [finding.user_id for finding in findings],
        [finding.broker_id for finding in findings],
        [finding.code for finding in findings],
        [finding.detail for finding in findings],
        [finding.subject for finding in findings],
    ]
    await connection.execute(_KEEP, new_id(), started, desk.clock.now(), len(findings), *columns, is_full)
    await connection.execute(_PURGE, started)


def _one_per_scope(findings: list[Finding]) -> list[Finding]:
    return list({(finding.code, finding.broker_id or finding.user_id): finding for finding in reversed(findings)}.values())


async def _stop_entries(desk: Desk, finding: Finding) -> None:
    if finding.user_id is None:
        scope = Scope.platform()
    elif finding.broker_id is None:
        scope = Scope.user(finding.user_id)
    else:
        scope = Scope.broker(finding.broker_id, finding.user_id)
    reason = f"the audit found that {finding.detail}"
    is_new = await trip(desk, scope, state=TradingState.REDUCING, code=finding.code, reason=reason)
    if is_new and finding.user_id is not None:
        async with desk.database.connection() as connection:
            await put(
                connection,
                NoticeKind.AUDIT_FAILED,
                reason,
                user_id=finding.user_id,
                broker_id=finding.broker_id,
                at=desk.clock.now(),
                code=finding.code,
            )


async def last_run(desk: Desk, user_id: UUID) -> tuple[Any, list[Any], list[Any]]:
    """Return the latest run (None before the first), what does not hold for this user, and what of their balances no trade explains."""
    async with desk.database.connection() as connection:
        run = await connection.fetchrow(_LAST_RUN)
        findings = list(await connection.fetch(_FINDINGS, user_id))
        return run, findings, list(await connection.fetch(_UNEXPLAINED, user_id))


class Audit:
    """Runs the audit once the role is ours and the accounts had time to be compared, and every so often from then on."""

    def __init__(self, desk: Desk, *, interval_s: float, first_after_s: float = 30.0, extra: Sequence[Rule] = ()) -> None:
        self._desk = desk
        self._interval_s = interval_s
        self._first_after_s = first_after_s
        self._extra = extra
        self._is_first = True

    async def run(self, beat: Beat) -> None:
        """Audit until cancelled."""
        due = time.monotonic() + self._first_after_s
        while True:
            beat()
            if self._desk.lease.is_held and time.monotonic() >= due:
                due = time.monotonic() + self._interval_s
                is_full = self._is_first or await self._is_day_over()
                self._is_first = False
                await run_audit(self._desk, extra=self._extra, is_full=is_full, confirm_s=_CONFIRM_S)
            await asyncio.sleep(min(_STEP_S, self._interval_s))

    async def _is_day_over(self) -> bool:
        async with self._desk.database.connection() as connection:
            last: datetime | None = await connection.fetchval(_LAST_FULL)
        return last is None or self._desk.clock.now() - last >= _FULL_EVERY
