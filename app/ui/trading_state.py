"""What restrains a user's trading, as the banner on every page shows it."""

from typing import Any, Final, Literal
from uuid import UUID

from app.core.i18n import gettext
from app.core.keyring import Keyring
from app.domain.enums import TradingState
from app.domain.risk import KillAction, ScopeKind
from app.errors import KeyMissing
from app.trading import kill_switch, oversight_queries, states
from app.trading.desk import Desk
from app.trading.guardian import UNPROTECTED
from app.trading.kill_switch import Command
from app.trading.states import Restraint
from app.ui.views import AlarmRow, KillProgress, MissingKey, RestraintRow, TradingView

_SHOWN: Final = 3
_SERVER: Final = "server"
_STATES: Final[dict[TradingState, Literal["reducing", "reconciling", "halted"]]] = {
    TradingState.REDUCING: "reducing",
    TradingState.RECONCILING: "reconciling",
    TradingState.HALTED: "halted",
}


async def trading_view(
    desk: Desk, user_id: UUID, own_names: dict[UUID, str], *, is_admin: bool, missing_key: MissingKey | None = None
) -> TradingView:
    """Return the banner's rows; nothing while trading is free, no kill switch is at work and every position has its stop.

    `own_names` are those of accounts and bots.
    """
    found = await states.list_for(desk, user_id)
    unprotected = await oversight_queries.list_alarms(desk.database, user_id, UNPROTECTED)
    alarms = tuple(_alarm(row, own_names) for row in unprotected)
    if not found:
        # Every kill switch that is at work has halted something.
        return TradingView(missing_key=missing_key, alarms=alarms)
    names = {str(one): name for one, name in own_names.items()}
    commands = await kill_switch.list_commands(desk, user_id)
    return TradingView(
        missing_key=missing_key,
        alarms=alarms,
        restraints=tuple(_row(item, names, is_admin=is_admin) for item in found[:_SHOWN]),
        more=max(len(found) - _SHOWN, 0),
        progress=tuple(_progress(command) for command in commands if command.is_running),
    )


def missing_key(keyring: Keyring, *, is_admin: bool) -> MissingKey | None:
    """Return the banner's row about the encryption key, None while it is there. Where it was expected is not for everybody."""
    advice = keyring.advice
    return None if advice is None else MissingKey(code=KeyMissing.default_code, advice=advice if is_admin else "")


def _alarm(row: Any, broker_names: dict[UUID, str]) -> AlarmRow:
    return AlarmRow(
        id=str(row["id"]),
        code=UNPROTECTED,
        symbol=row["symbol"],
        broker=broker_names.get(row["broker_id"], ""),
        since=row["unprotected_since"],
        detail=row["detail"] or "",
        position_id=str(row["position_id"] or ""),
    )


def _row(item: Restraint, names: dict[str, str], *, is_admin: bool) -> RestraintRow:
    kind = item.scope.kind
    wide = {
        ScopeKind.PLATFORM: gettext("the whole platform"),
        ScopeKind.USER: gettext("all your accounts"),
        ScopeKind.BOTS: gettext("all your bots"),
    }
    return RestraintRow(
        scope=kind.value,
        key="" if kind in wide else item.scope.name,
        where=names.get(item.scope.key, wide.get(kind, item.scope.name)),
        state=_STATES[item.state],
        reason=item.reason,
        since=item.set_at,
        by=gettext("by this server") if item.set_by == _SERVER else gettext("by %(name)s") % {"name": item.set_by},
        can_resume=item.needs_rearm and (is_admin or kind is not ScopeKind.PLATFORM),
    )


def _progress(command: Command) -> KillProgress:
    plan, progress = command.plan, command.progress
    return KillProgress(
        action="flatten" if command.action is KillAction.FLATTEN else "cancel",
        orders_left=progress.get("orders_left", len(plan["orders"])),
        positions_left=progress.get("positions_left", len(plan["positions"])),
        obstacles=tuple((note["symbol"], note["reason"]) for note in progress.get("obstacles", ())),
    )
