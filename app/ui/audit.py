"""What the dashboard says of the audit."""

from typing import Any, Final
from uuid import UUID

from app.core.i18n import gettext
from app.domain.risk import Scope
from app.trading import audit, states
from app.trading.desk import Desk
from app.ui.views import AuditView, FindingRow, UnexplainedRow

_SHOWN: Final = 8


async def audit_view(desk: Desk, user_id: UUID, broker_names: dict[UUID, str]) -> AuditView:
    """Return the latest run, what does not hold in this user's accounts, and whether entries are off because of it."""
    run, findings, unexplained = await audit.last_run(desk, user_id)
    restraints = await states.list_for(desk, user_id) if findings else []
    causes = {(restraint.code, restraint.scope.key) for restraint in restraints}
    return AuditView(
        ran_at=None if run is None else run["finished_at"],
        is_full=run is not None and run["is_full"],
        findings=tuple(_finding(row, broker_names, causes, user_id) for row in findings[:_SHOWN]),
        more=max(len(findings) - _SHOWN, 0),
        unexplained=tuple(
            UnexplainedRow(asset=row["asset"], amount=row["unexplained"], broker=broker_names.get(row["broker_id"], ""), since=row["at"])
            for row in unexplained
        ),
    )


def _finding(row: Any, broker_names: dict[UUID, str], causes: set[tuple[str, str]], user_id: UUID) -> FindingRow:
    broker_id = row["broker_id"]
    scope = Scope.user(user_id) if broker_id is None else Scope.broker(broker_id, user_id)
    return FindingRow(
        id=str(row["id"]),
        code=row["code"],
        detail=row["detail"],
        where=gettext("all your accounts") if broker_id is None else broker_names.get(broker_id, ""),
        found_at=row["found_at"],
        are_entries_off=(row["code"], scope.key) in causes,
    )
