"""The kill switch as a person uses it: a command is written down together with the halt that it begins with, and a halt is lifted by hand.

`trading.kill_loop` carries commands out. What is stored here is enough for that after any crash.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.accounts.audit_log import Action, note
from app.core.ids import new_id
from app.domain.enums import TradingState
from app.domain.orders import TERMINAL
from app.domain.risk import KillAction, Scope, ScopeKind
from app.errors import BrokerNotFound, DuplicateIntent, InvalidInput, NotFound
from app.trading import states
from app.trading.desk import Desk
from app.trading.events import KillSwitchChanged
from app.trading.states import KILL_SWITCH

_REASONS: Final = {
    KillAction.STOP: "trading was stopped by hand",
    KillAction.CANCEL: "trading was stopped by hand, to cancel all open orders",
    KillAction.FLATTEN: "trading was stopped by hand, to cancel all orders and close all positions",
}
_INSERT: Final = """
INSERT INTO kill_commands (id, user_id, scope, key, of_user_id, action, state, issued_by, idempotency_key, plan, created_at, done_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING *
"""
_SAME: Final = "SELECT * FROM kill_commands WHERE user_id = $1 AND idempotency_key = $2"
_MINE: Final = "SELECT * FROM kill_commands WHERE user_id = $1 OR of_user_id IS NULL ORDER BY id DESC LIMIT $2"
_ONE: Final = "SELECT * FROM kill_commands WHERE id = $1 AND user_id = $2"
_SUPERSEDE: Final = "UPDATE kill_commands SET state = 'superseded', done_at = $2 WHERE key = $1 AND state = 'running' RETURNING *"
#: What a scope holds: $1 its owner or nobody, $2 its kind, $3 its name. A position is ours to close when it was bought here.
_SCOPED: Final = """
($1::uuid IS NULL OR {row}.user_id = $1) AND CASE $2::text WHEN 'broker' THEN {row}.broker_id::text = $3
  WHEN 'symbol' THEN {row}.symbol = $3 WHEN 'bots' THEN {row}.bot_id IS NOT NULL WHEN 'strategy' THEN {row}.bot_id::text = $3
  ELSE $3 IS NOT NULL END
"""
OPEN_ORDERS: Final = f"SELECT o.* FROM orders o WHERE o.state <> ALL($4) AND {_SCOPED.format(row='o')} ORDER BY o.created_at, o.id"  # noqa: S608
OPEN_POSITIONS: Final = f"""
SELECT p.*, b.is_active, b.paused_reason, b.exchange FROM positions p JOIN brokers b ON b.id = p.broker_id AND b.removed_at IS NULL
 WHERE p.status <> 'closed' AND p.quantity > 0 AND {_SCOPED.format(row="p")} ORDER BY p.opened_at, p.id
"""  # noqa: S608  # constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One use of the kill switch. `plan` is what there was to do when it was given, `progress` how far it is."""

    id: UUID
    user_id: UUID
    scope: Scope
    action: KillAction
    state: str
    issued_by: str
    plan: dict[str, Any]
    progress: dict[str, Any]
    created_at: datetime
    done_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Command":
        """Return the command of a row of `kill_commands`."""
        names = ("id", "user_id", "state", "issued_by", "plan", "progress", "created_at", "done_at")
        scope = Scope(kind=ScopeKind(row["scope"]), key=row["key"], user_id=row["of_user_id"])
        return cls(scope=scope, action=KillAction(row["action"]), **{name: row[name] for name in names})

    @property
    def is_running(self) -> bool:
        """Whether something is left to do."""
        return self.state == "running"


def scope_values(scope: Scope) -> tuple[UUID | None, str, str]:
    """Return a scope as `OPEN_ORDERS` and `OPEN_POSITIONS` take it."""
    return scope.user_id, scope.kind.value, scope.name


async def own_scope(desk: Desk, user_id: UUID, kind: ScopeKind, key: str | None) -> Scope:
    """Return the scope that a user names, which must be theirs.

    Raises:
        BrokerNotFound: no such account of this user.
        NotFound: the platform is nobody's own, and there is no such bot.
        InvalidInput: an account, a bot or a symbol was not named.
    """
    if kind in (ScopeKind.USER, ScopeKind.BOTS):
        return Scope.user(user_id) if kind is ScopeKind.USER else Scope.bots(user_id)
    if kind is ScopeKind.PLATFORM:
        raise NotFound(f"there is no such {kind.value} of yours")
    if not key:
        raise InvalidInput(f"say which {kind.value}", field="key")
    if kind is ScopeKind.SYMBOL:
        base, _, quote = key.upper().partition("/")
        if not base.isalnum() or not quote.isalnum():
            raise InvalidInput(f"a symbol looks like BTC/USDT, was {key[:40]}", field="key")
        return Scope.symbol(f"{base}/{quote}", user_id)
    return await (_own_bot if kind is ScopeKind.STRATEGY else _own_broker)(desk, user_id, key)


async def _own_bot(desk: Desk, user_id: UUID, key: str) -> Scope:
    missing = NotFound("there is no such bot of yours")
    try:
        bot_id = UUID(key)
    except ValueError as error:
        raise missing from error
    async with desk.database.connection() as connection:
        # The table of a package that is above this one: whose a bot is stands nowhere else.
        if await connection.fetchval("SELECT 1 FROM bots WHERE id = $1 AND user_id = $2", bot_id, user_id) is None:
            raise missing
    return Scope.strategy(bot_id, user_id)


async def _own_broker(desk: Desk, user_id: UUID, key: str) -> Scope:
    try:
        broker_id = UUID(key)
    except ValueError as error:
        raise BrokerNotFound from error
    async with desk.database.connection() as connection:
        found = await connection.fetchval("SELECT 1 FROM brokers WHERE id = $1 AND user_id = $2 AND removed_at IS NULL", broker_id, user_id)
    if found is None:
        raise BrokerNotFound
    return Scope.broker(broker_id, user_id)


async def pull(desk: Desk, user_id: UUID, scope: Scope, *, action: KillAction, by: str, idempotency_key: str | None = None) -> Command:
    """Halt a scope and write the command down, in one transaction. The same key again returns the command it made, and does nothing.

    Args:
        desk: What trading works with.
        user_id: Who pulls it; whether they may is the caller's to decide (`own_scope`).
        scope: What is halted.
        action: What is to be done besides.
        by: The user's name, for the log.
        idempotency_key: What the caller calls this command; None makes it a new one in any case.

    Raises:
        DuplicateIntent: the key was used for another command.
    """
    now, key = desk.clock.now(), idempotency_key or str(new_id())
    async with desk.database.raw_transaction() as connection:
        plan = await _plan(connection, scope, action)
        is_done = action is KillAction.STOP
        values = (scope.user_id, action.value, "done" if is_done else "running", by, key, plan, now, now if is_done else None)
        row = await connection.fetchrow(_INSERT, new_id(), user_id, scope.kind.value, scope.key, *values)
        if row is None:
            return _repeated(Command.of(await connection.fetchrow(_SAME, user_id, key)), scope, action)
        is_news = await states.trip_in(
            connection, scope, state=TradingState.HALTED, code=KILL_SWITCH, reason=_REASONS[action], set_by=by, needs_rearm=True, at=now
        )
    if is_news:
        states.announce(desk, scope, state=TradingState.HALTED, code=KILL_SWITCH)
    command = Command.of(row)
    tell(desk, command)
    # Afterwards, on its own: writers of the audit log take turns, and a halt waits for nobody. The command itself is already on record.
    async with desk.database.connection() as connection:
        await note(
            connection, Action.KILL_SWITCH, user_id=user_id, object=f"{scope.kind.value}:{scope.name}", detail={"action": action.value}
        )
    return command


def _repeated(command: Command, scope: Scope, action: KillAction) -> Command:
    if (command.scope, command.action) != (scope, action):
        raise DuplicateIntent("this Idempotency-Key was used for another use of the kill switch; give each its own")
    return command


async def _plan(connection: Any, scope: Scope, action: KillAction) -> dict[str, Any]:
    if action is KillAction.STOP:
        return {"orders": [], "positions": []}
    orders = await connection.fetch(OPEN_ORDERS, *scope_values(scope), list(TERMINAL))
    positions = await connection.fetch(OPEN_POSITIONS, *scope_values(scope)) if action is KillAction.FLATTEN else []
    is_all = action is KillAction.FLATTEN
    return {
        "orders": [str(row["id"]) for row in orders if is_all or row["role"] not in ("stop", "target")],
        "positions": [{"id": str(row["id"]), "symbol": row["symbol"], "quantity": _text(row["quantity"])} for row in positions],
    }


def _text(value: Decimal) -> str:
    return f"{value:f}"


async def rearm(desk: Desk, scope: Scope, *, by: str, user_id: UUID | None = None) -> list[str]:
    """Resume trading in a scope: what a kill switch there still had to do is left undone. Return the causes that this ended.

    Args:
        desk: What trading works with.
        scope: What is resumed.
        by: The user's name, for the log.
        user_id: Who resumes; None for whoever the scope belongs to.
    """
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_SUPERSEDE, scope.key, desk.clock.now())
    for row in rows:
        tell(desk, Command.of(row))
    ended = await states.rearm(desk, scope, by=by)
    async with desk.database.connection() as connection:
        await note(connection, Action.TRADING_RESUMED, user_id=user_id or scope.user_id, object=f"{scope.kind.value}:{scope.name}")
    return ended


async def list_commands(desk: Desk, user_id: UUID, *, limit: int = 20) -> list[Command]:
    """Return the user's commands and those that concern everybody, newest first."""
    async with desk.database.connection() as connection:
        return [Command.of(row) for row in await connection.fetch(_MINE, user_id, limit)]


async def get_command(desk: Desk, user_id: UUID, command_id: UUID) -> Command:
    """Return one command.

    Raises:
        NotFound: no such command of this user.
    """
    async with desk.database.connection() as connection:
        row = await connection.fetchrow(_ONE, command_id, user_id)
    if row is None:
        raise NotFound("there is no such use of the kill switch")
    return Command.of(row)


def tell(desk: Desk, command: Command) -> None:
    """Publish that a command is new or has come further, after its commit."""
    desk.bus.publish(KillSwitchChanged(user_id=command.scope.user_id, command_id=command.id, state=command.state))
