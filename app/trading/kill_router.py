"""`/api/kill-switch`: stop trading, take orders back, close positions; and resume."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.core.http import problems
from app.domain.risk import KillAction, Scope, ScopeKind
from app.errors import Forbidden
from app.trading import kill_switch, states
from app.trading.desk import Desk
from app.trading.kill_switch import Command
from app.trading.risk_schemas import RestraintOut, StatesOut

router = APIRouter(prefix="/api/kill-switch", tags=["risk"])


class ScopeIn(BaseModel):
    """What is meant: everything of mine, one `broker` (its id), one `symbol` (BTC/USDT); for an administrator the whole `platform`.

    With `bots` it is what all my bots ordered and hold, with `strategy` what one bot did (its id), and nothing else.
    """

    model_config = ConfigDict(extra="forbid")

    scope: ScopeKind = ScopeKind.USER
    key: str | None = Field(None, max_length=100)


class KillIn(ScopeIn):
    """Stop trading there; with `cancel` take all open orders back, with `flatten` close all positions too."""

    action: KillAction
    confirm: Literal[True] = Field(description="true, so that nothing is stopped by a slip")


class CommandOut(BaseModel):
    """One use of the kill switch; `progress` counts what is left and says what stands in the way."""

    id: UUID
    scope: ScopeKind
    key: str
    action: KillAction
    state: Literal["running", "done", "superseded"]
    issued_by: str
    plan: dict[str, Any]
    progress: dict[str, Any]
    created_at: datetime
    done_at: datetime | None

    @classmethod
    def of(cls, command: Command) -> "CommandOut":
        """Return a command as the API shows it."""
        names = ("id", "action", "state", "issued_by", "plan", "progress", "created_at", "done_at")
        return cls(scope=command.scope.kind, key=command.scope.name, **{name: getattr(command, name) for name in names})


class KillSwitchOut(StatesOut):
    """Whether trading goes on, what restrains it, and the last uses of the switch, newest first."""

    commands: list[CommandOut]


class Rearmed(BaseModel):
    """The causes that ended by resuming."""

    ended: list[str]


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def scope_of(desk: Desk, principal: Principal, kind: ScopeKind, key: str | None) -> Scope:
    """Return the scope that somebody names, if they may.

    Raises:
        Forbidden: only an administrator stops or resumes the platform.
        BrokerNotFound: no such account of theirs.
        NotFound: no such bot of theirs.
        InvalidInput: an account, a bot or a symbol was not named.
    """
    if kind is ScopeKind.PLATFORM:
        if not principal.is_admin:
            raise Forbidden("only an administrator may stop or resume the whole platform")
        return Scope.platform()
    return await kill_switch.own_scope(desk, principal.user_id, kind, key)


@router.get("", summary="The kill switch", responses=problems(401))
async def show(request: Request, principal: CurrentUser) -> KillSwitchOut:
    """Return whether trading goes on, and what was done with the switch."""
    desk = _desk(request)
    restraints = await states.list_for(desk, principal.user_id)
    commands = await kill_switch.list_commands(desk, principal.user_id)
    return KillSwitchOut(
        state=await states.effective(desk, principal.user_id),
        items=[RestraintOut.of(item) for item in restraints],
        commands=[CommandOut.of(command) for command in commands],
    )


@router.post("", status_code=202, summary="Stop trading, cancel orders, close positions", responses=problems(401, 403, 404, 409, 422))
async def pull(
    request: Request, principal: CurrentUser, body: KillIn, idempotency_key: Annotated[str | None, Header(max_length=100)] = None
) -> CommandOut:
    """Halt at once; what else was asked for is begun, and goes on until it is done, also after a restart. The same key does it once."""
    desk = _desk(request)
    scope = await scope_of(desk, principal, body.scope, body.key)
    return CommandOut.of(
        await kill_switch.pull(desk, principal.user_id, scope, action=body.action, by=principal.username, idempotency_key=idempotency_key)
    )


@router.post("/rearm", summary="Resume trading", responses=problems(401, 403, 404, 422))
async def rearm(request: Request, principal: CurrentUser, body: ScopeIn) -> Rearmed:
    """Resume trading in a scope, whatever stopped it; what a kill switch there still had to do is left undone."""
    desk = _desk(request)
    scope = await scope_of(desk, principal, body.scope, body.key)
    return Rearmed(ended=await kill_switch.rearm(desk, scope, by=principal.username, user_id=principal.user_id))


@router.get("/{command_id}", summary="One use of the kill switch", responses=problems(401, 404, 422))
async def show_command(request: Request, principal: CurrentUser, command_id: UUID) -> CommandOut:
    """Return how far a command is."""
    return CommandOut.of(await kill_switch.get_command(_desk(request), principal.user_id, command_id))
