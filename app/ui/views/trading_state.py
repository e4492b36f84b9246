"""What restrains trading, and how far the kill switch is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RestraintRow:
    """One cause for which something may not trade freely. `where` names it for the person; `scope` and `key` name it for the server.

    `reason` is the server's own sentence.
    """

    scope: str
    key: str
    where: str
    state: Literal["reducing", "reconciling", "halted"]
    reason: str
    since: datetime
    by: str
    can_resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KillProgress:
    """A kill switch at work: what it does, what is left, and what stands in its way (symbol and sentence)."""

    action: Literal["cancel", "flatten"]
    orders_left: int
    positions_left: int
    obstacles: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """A position that has been without its stop for too long. `detail` is the server's sentence; no `position_id` means it is closed."""

    id: str
    code: str
    symbol: str
    broker: str
    since: datetime
    detail: str
    position_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingKey:
    """This server lacks its encryption key and trades nothing. `advice` is the server's sentence for administrators, empty for others."""

    code: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingView:
    """Region of `fragments/shell/_trading_state.html`; empty while trading is free and nothing alarms. `more` causes are not shown.

    `is_unlocked`: strategies run on this server without being locked in.
    """

    missing_key: MissingKey | None = None
    is_unlocked: bool = False
    alarms: tuple[AlarmRow, ...] = ()
    restraints: tuple[RestraintRow, ...] = ()
    more: int = 0
    progress: tuple[KillProgress, ...] = ()
