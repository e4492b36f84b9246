"""Trading states: who may trade what now, why not, since when, and who said so.

The strictest of an order's scopes decides (`domain.risk`). It is read again in the statement that claims an order, so a halt that was
committed before it wins. Every cause has a row of its own: what lifts one leaves the others.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.i18n import N_
from app.domain.enums import Source, TradingState
from app.domain.risk import LEFT_OUT, LOWERING, PASSING, Scope, ScopeKind, strictest
from app.trading.desk import Desk
from app.trading.events import TradingStateChanged
from app.trading.whose import same

log = structlog.get_logger(__name__)

#: The cause of what a person did with the kill switch.
KILL_SWITCH: Final = "KILL_SWITCH"
_ORDERED: Final = "ARRAY['active', 'reducing', 'reconciling', 'halted']"
#: A cause never loosens what it asked for before; that takes a person, or whoever lifts it.
_TRIP: Final = f"""
WITH tripped AS (
  INSERT INTO trading_states AS s (key, code, scope, user_id, state, reason, set_by, set_at, needs_rearm)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
  ON CONFLICT (key, code) DO UPDATE
     SET state = excluded.state, reason = excluded.reason, set_by = excluded.set_by, set_at = excluded.set_at,
         needs_rearm = s.needs_rearm OR excluded.needs_rearm
   WHERE array_position({_ORDERED}, excluded.state) > array_position({_ORDERED}, s.state)
  RETURNING *),
logged AS (
  INSERT INTO trading_state_log (scope, key, user_id, action, state, code, reason, by, at)
  SELECT scope, key, user_id, 'tripped', state, code, reason, set_by, set_at FROM tripped)
SELECT count(*) FROM tripped
"""  # noqa: S608  # constants
_END: Final = """
WITH ended AS (DELETE FROM trading_states WHERE key = $1 AND ($2::text IS NULL OR code = $2) AND needs_rearm = $3 RETURNING *),
logged AS (
  INSERT INTO trading_state_log (scope, key, user_id, action, state, code, reason, by, at)
  SELECT scope, key, user_id, $4, 'active', code, $5, $6, $7 FROM ended)
SELECT code FROM ended ORDER BY code
"""
_MINE: Final = """
SELECT * FROM trading_states WHERE user_id = $1 OR user_id IS NULL
 ORDER BY array_position(ARRAY['halted', 'reconciling', 'reducing'], state), set_at, key
"""
_OF: Final = "SELECT * FROM trading_states WHERE key = ANY($1)"
_LOG: Final = "SELECT * FROM trading_state_log WHERE user_id = $1 OR user_id IS NULL ORDER BY id DESC LIMIT $2"


def _passes(order: str) -> str:
    """SQL: whether the state `s` lets `order` pass; the matrix of `domain.risk`."""
    # What of the position nobody closes already. The order itself is not counted: it may be stored or not.
    lowers = f"""coalesce({order}.quantity + (
      SELECT coalesce(sum(CASE WHEN u.state IN ('intent', 'submitting', 'unknown', 'open', 'partial')
                               THEN u.quantity ELSE u.filled_quantity END - u.fills_quantity), 0)
        FROM orders u
       WHERE u.user_id = {order}.user_id AND u.broker_id = {order}.broker_id AND u.symbol = {order}.symbol AND u.side = {order}.side
         AND {same("u.bot_id", f"{order}.bot_id")} AND u.id <> {order}.id AND u.role NOT IN ('stop', 'target')
         AND (u.state IN ('intent', 'submitting', 'unknown', 'open', 'partial') OR u.fills_quantity <> u.filled_quantity))
      <= (SELECT abs(p.quantity) FROM positions p
           WHERE p.broker_id = {order}.broker_id AND p.symbol = {order}.symbol AND p.status <> 'closed'
             AND {same("p.bot_id", f"{order}.bot_id")} AND p.quantity <> 0 AND ({order}.side = 'sell') = (p.quantity > 0)), false)"""  # noqa: S608  # an alias of ours
    cases = []
    for state, roles in PASSING.items():
        listed = ", ".join(f"'{role.value}'" for role in sorted(roles))
        cases.append(f"WHEN '{state.value}' THEN {order}.role IN ({listed})" + (f" OR {lowers}" if state is LOWERING else ""))
    return f"CASE s.state {' '.join(cases)} END"


_WHOSE: Final = {
    Source.MANUAL: N_("new orders by hand"),
    Source.WEBHOOK: N_("orders from webhooks"),
    Source.BOT: N_("orders from bots"),
}
_AT_REST: Final = N_("the bot does not run any more")
_SWITCHED_OFF: Final = N_("%(whose)s are switched off on this account; its trading mode is %(modes)s")


def _mode(order: str) -> str:
    """SQL: the account's trading mode as a state, where it leaves out the order's source; the rules are those of `domain.risk`."""
    left_out = " ".join(f"WHEN '{source.value}' THEN '{state.value}'" for source, state in LEFT_OUT.items())
    whose = " ".join(f"WHEN '{source.value}' THEN '{words}'" for source, words in _WHOSE.items())
    return f"""
SELECT CASE {order}.source {left_out} END AS state,
       replace(replace('{_SWITCHED_OFF}', '%(whose)s', CASE {order}.source {whose} END), '%(modes)s',
               coalesce(nullif(array_to_string(b.trading_modes, ', '), ''), 'off')) AS reason,
       b.created_at AS set_at, true AS is_mode
  FROM brokers b WHERE b.id = {order}.broker_id AND {order}.source <> ALL (b.trading_modes)"""  # noqa: S608  # an alias of ours


def _rests(order: str) -> str:
    """SQL: a bot that does not run, as a state: whatever it decided a moment before it was suspended or stopped, it enters no more."""
    # The table of a package that is above this one: nothing else knows it at the very moment in which an order is claimed.
    return f"""
SELECT '{LOWERING.value}' AS state, '{_AT_REST}' AS reason, w.created_at AS set_at, false AS is_mode
  FROM bots w WHERE w.id = {order}.bot_id AND {order}.source = '{Source.BOT.value}' AND w.state <> 'running'"""  # noqa: S608  # an alias of ours


def restraining(order: str) -> str:
    """Return a SELECT of the strictest state (`state`, `reason`, `is_mode`) that does not let `order` pass; no row when it may be sent.

    Args:
        order: An alias with id, user_id, broker_id, bot_id, symbol, side, role, source and quantity.
    """
    of_bots = f"'{ScopeKind.BOTS.value}/' || {order}.user_id::text, {order}.bot_id::text"
    scopes = (
        f"ARRAY['{ScopeKind.PLATFORM.value}', {order}.user_id::text, {order}.broker_id::text, "
        f"{order}.user_id::text || '/' || {order}.symbol] || CASE WHEN {order}.source = '{Source.BOT.value}' THEN ARRAY[{of_bots}] END"
    )
    return f"""
SELECT s.state, s.reason, s.is_mode FROM (
  SELECT state, reason, set_at, false AS is_mode FROM trading_states WHERE key = ANY({scopes})
   UNION ALL {_mode(order)}
   UNION ALL {_rests(order)}) s
 WHERE NOT {_passes(order)}
 ORDER BY array_position({_ORDERED}, s.state) DESC, s.set_at LIMIT 1
"""  # noqa: S608  # an alias of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """One cause for which a scope may not trade freely. `set_by` is a user's name, or `server`."""

    scope: Scope
    state: TradingState
    code: str
    reason: str
    set_by: str
    set_at: datetime
    needs_rearm: bool

    @classmethod
    def of(cls, row: Any) -> "Restraint":
        """Return the restraint of a row of `trading_states`."""
        return cls(
            scope=Scope(kind=ScopeKind(row["scope"]), key=row["key"], user_id=row["user_id"]),
            state=TradingState(row["state"]),
            **{name: row[name] for name in ("code", "reason", "set_by", "set_at", "needs_rearm")},
        )


async def trip(
    desk: Desk, scope: Scope, *, state: TradingState, code: str, reason: str, set_by: str = "server", needs_rearm: bool = True
) -> bool:
    """Restrain a scope, commit, and publish it; False when this cause asked for as much already.

    Args:
        desk: What trading works with.
        scope: Who or what is restrained.
        state: How much; never less than this cause asked for before.
        code: The cause, a stable upper-case word. Every cause is lifted by itself.
        reason: What happened, a sentence for the trader.
        set_by: Who says so: a user's name, or `server`.
        needs_rearm: Whether a person must resume trading. Otherwise whoever tripped it calls `lift`.
    """
    async with desk.database.connection() as connection:
        is_new = await trip_in(
            connection, scope, state=state, code=code, reason=reason, set_by=set_by, needs_rearm=needs_rearm, at=desk.clock.now()
        )
    if is_new:
        announce(desk, scope, state=state, code=code)
    return is_new


async def trip_in(
    connection: Any, scope: Scope, *, state: TradingState, code: str, reason: str, set_by: str, needs_rearm: bool, at: datetime
) -> bool:
    """Restrain a scope inside the caller's transaction; after its commit the caller calls `announce`. See `trip`."""
    values = (scope.key, code, scope.kind.value, scope.user_id, state.value, reason, set_by, at, needs_rearm)
    return bool(await connection.fetchval(_TRIP, *values))


def announce(desk: Desk, scope: Scope, *, state: TradingState, code: str) -> None:
    """Log and publish a committed change of a scope's state by one cause."""
    log.warning("trading_state_changed", scope=scope.kind.value, key=scope.key, state=state.value, code=code)
    desk.bus.publish(TradingStateChanged(user_id=scope.user_id, scope=scope, state=state, code=code, at=desk.clock.now()))


async def rearm(desk: Desk, scope: Scope, *, by: str) -> list[str]:
    """Resume trading in a scope, as a person wishes; return the causes that this ended. What lifts itself stays."""
    return await _end(desk, scope, code=None, needs_rearm=True, action="rearmed", reason="resumed by hand", by=by)


async def lift(desk: Desk, scope: Scope, *, code: str, reason: str) -> bool:
    """End a cause that needs no person, because what it was about is over; False when it was not there."""
    return bool(await _end(desk, scope, code=code, needs_rearm=False, action="lifted", reason=reason, by="server"))


async def _end(desk: Desk, scope: Scope, *, code: str | None, needs_rearm: bool, action: str, reason: str, by: str) -> list[str]:
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_END, scope.key, code, needs_rearm, action, reason, by, desk.clock.now())
    for row in rows:
        announce(desk, scope, state=TradingState.ACTIVE, code=row["code"])
    return [row["code"] for row in rows]


async def list_for(desk: Desk, user_id: UUID) -> list[Restraint]:
    """Return everything that restrains a user's trading now, the strictest first; the platform's restraints too."""
    async with desk.database.connection() as connection:
        return [Restraint.of(row) for row in await connection.fetch(_MINE, user_id)]


async def effective(
    desk: Desk, user_id: UUID, *, broker_id: UUID | None = None, symbol: str | None = None, bot_id: UUID | None = None
) -> TradingState:
    """Return the strictest state that holds for that user's account, symbol or bot."""
    scopes = [Scope.platform(), Scope.user(user_id)]
    scopes += [Scope.broker(broker_id, user_id)] if broker_id is not None else []
    scopes += [Scope.symbol(symbol, user_id)] if symbol is not None else []
    scopes += [Scope.bots(user_id), Scope.strategy(bot_id, user_id)] if bot_id is not None else []
    async with desk.database.connection() as connection:
        rows = await connection.fetch(_OF, [scope.key for scope in scopes])
    return strictest(TradingState(row["state"]) for row in rows)


async def history(desk: Desk, user_id: UUID, *, limit: int = 50) -> list[Any]:
    """Return the latest rows of the log that concern a user, newest first."""
    async with desk.database.connection() as connection:
        return list(await connection.fetch(_LOG, user_id, limit))
