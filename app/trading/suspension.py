"""A user whom an administrator has disabled: their alerts place no order any more, and what guards their positions stays."""

from typing import Final
from uuid import UUID

from app.domain.enums import TradingState
from app.domain.risk import Scope
from app.trading import states
from app.trading.desk import Desk

CODE: Final = "USER_DISABLED"
_REASON: Final = "an administrator has disabled this user"


async def begin(desk: Desk, user_id: UUID, *, by: str) -> None:
    """Halt all of a user's accounts, and commit. Nothing is canceled or closed at any exchange: stops and targets go on guarding.

    The user cannot resume it, unlike their own kill switch: it ends with `end` only.
    """
    await states.trip(desk, Scope.user(user_id), state=TradingState.HALTED, code=CODE, reason=_REASON, set_by=by, needs_rearm=False)


async def end(desk: Desk, user_id: UUID) -> None:
    """Lift that halt; what else restrains the user stays."""
    await states.lift(desk, Scope.user(user_id), code=CODE, reason="an administrator has enabled this user")
