"""The audit log as a region: everybody's for an administrator, one's own for everybody."""

from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import orjson

from app.accounts import audit_log
from app.accounts.audit_log import Action, Entry
from app.core.db import Database
from app.ui.labels import label
from app.ui.views import AccountLog, Choice, LogRow

_LOG_PAGE: Final = 25
_EXPORTS: Final = {"/admin/log": "/api/admin/audit/export", "/account/log": "/api/account/audit/export"}


def action_of(name: str) -> Action | None:
    """Return the action that a query names, or None for all of them."""
    return Action(name) if name in set(Action) else None


async def log_region(
    database: Database, *, address: str, user_id: UUID | None = None, before: int | None = None, action: Action | None = None
) -> AccountLog:
    """Return a page of the log, the newest entry first.

    Args:
        database: As wide as what may be seen.
        address: Of the page that shows it: `/admin/log`, or `/account/log` for one user's own.
        user_id: Whose entries, or everybody's.
        before: The number of the last entry of the page before.
        action: Entries of this kind only.
    """
    found = await audit_log.entries(database, user_id=user_id, before=before, action=action, limit=_LOG_PAGE + 1)
    rows = tuple(_row(entry) for entry in found[:_LOG_PAGE])
    which = {} if action is None else {"action": action.value}
    return AccountLog(
        address=address,
        rows=rows,
        actions=tuple(Choice(value=known.value, label=label(known.value)) for known in Action),
        action="" if action is None else action.value,
        next=f"{address}?{urlencode({**which, 'before': rows[-1].number})}" if len(found) > _LOG_PAGE else "",
        export=_EXPORTS[address] + (f"?{urlencode(which)}" if which else ""),
        is_own=user_id is not None,
    )


def _row(entry: Entry) -> LogRow:
    return LogRow(
        number=entry.number,
        at=entry.at,
        name=entry.name or "",
        action=entry.action,
        result=entry.result,
        object=entry.object,
        detail=_detail(entry),
        ip_address=entry.ip_address or "",
        user_agent=entry.user_agent or "",
    )


def _detail(entry: Entry) -> str:
    """Facts with their names; what came after something stands behind it."""
    facts = sorted(entry.detail.items(), key=lambda fact: fact[0] == "after")
    return " · ".join(f"{name}: {orjson.dumps(value).decode() if isinstance(value, dict) else value}" for name, value in facts)
