"""Safeguards of live bots: whether one trips, what is done then, and whether a bot may enter.

A trip is a row, and with it, in the same transaction, the bot is suspended and, where the rule says so, its position is to be sold
(`bots.sell_asked_at`). So whatever happens after the commit, the engine finds what is to be done, once; and what was not committed was not
found yet, and is found at the next look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.bots.events import BotAsked, BotChanged, BotLogged
from app.bots.log import Line, Said, said, write_lines
from app.bots.models import LIVE, EventLevel
from app.bots.safeguard_state import BotStanding, Price, UserStanding, bots_standing, judged, users_standing
from app.core.i18n import N_
from app.core.ids import new_id
from app.domain.safeguard_judge import entry_refusal, largest_quantity
from app.domain.safeguard_words import Sentence, Tripped, cut_to
from app.domain.safeguards import Action, Rule
from app.notifications.kinds import NoticeKind, Severity
from app.notifications.notices import Notice, put
from app.trading.desk import Desk

#: The code of an entry that a safeguard denies.
SAFEGUARD: Final = "SAFEGUARD"
#: Candles of many markets close at once and are heard of one after the other; an order is stored within seconds.
_A_MOMENT: Final = timedelta(seconds=30)
_SELLS: Final = N_("what it holds is sold, as the safeguard says")
_TITLE: Final = N_("A safeguard tripped: %(name)s")
_ALL_BOTS: Final = N_("all your bots")
_LIVE: Final = [state.value for state in LIVE]
#: A rule that has tripped already, found by somebody else at the same moment, is not written again.
_WRITE: Final = """
INSERT INTO bot_trips (id, user_id, bot_id, rule, at, values, action) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING RETURNING id
"""
#: The rows in the order of their ids, as whoever locks several does.
_LOCK: Final = """
SELECT id, number, name, state, EXISTS (SELECT 1 FROM positions p WHERE p.user_id = b.user_id AND p.bot_id = b.id AND p.status <> 'closed')
       AS holds
  FROM bots b WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2) AND state = ANY ($3) ORDER BY id FOR UPDATE
"""
_SUSPEND: Final = """
UPDATE bots SET state = CASE state WHEN 'running' THEN 'suspended' ELSE state END, revision = revision + 1,
       state_reason = CASE state WHEN 'running' THEN $3 ELSE state_reason END,
       sell_asked_at = CASE WHEN id = ANY ($4::uuid[]) THEN coalesce(sell_asked_at, $5) ELSE sell_asked_at END
 WHERE user_id = $1 AND id = ANY ($2)
"""
_EXPIRE: Final = """
UPDATE bot_signals SET state = 'expired', reason = $3 WHERE user_id = $1 AND bot_id = ANY ($2) AND state = 'waiting'
"""
_RAISE_PEAKS: Final = "UPDATE user_safeguards SET peaks = $2 WHERE user_id = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A safeguard that has tripped now; `bot_id` is None for one of all bots of the user together."""

    id: UUID
    user_id: UUID
    bot_id: UUID | None
    rule: Rule
    action: Action
    at: datetime
    reason: Said


class LetIn:
    """Bots that were let in a moment ago: what was read of who holds what may be older than their orders."""

    def __init__(self) -> None:
        self._bots: dict[UUID, dict[UUID, datetime]] = {}

    def add(self, user_id: UUID, bot_id: UUID, at: datetime) -> None:
        """Remember that a bot may enter at a close."""
        self._bots.setdefault(user_id, {})[bot_id] = at

    def beside(self, user_id: UUID, bot_id: UUID, now: datetime) -> set[UUID]:
        """Return which others of a user were let in a moment ago."""
        known = self._bots.get(user_id, {})
        for one in [one for one, at in known.items() if abs(now - at) >= _A_MOMENT]:
            del known[one]
        return known.keys() - {bot_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the safeguards say of a bot at one moment; `trips` are those that tripped just now, its own and those of all bots."""

    bot_id: UUID
    user_id: UUID
    now: datetime
    trips: tuple[Trip, ...] = ()
    own: BotStanding | None = None
    together: UserStanding | None = None
    let_in: LetIn = field(default_factory=LetIn)

    def refusal(self, *, is_addition: bool = False) -> Said | None:
        """Return why the bot may not enter now, or add to what it holds; None lets it in, and counts it as entered.

        An addition opens no position and follows no closed trade: what has tripped alone forbids it.
        """
        beside = self.let_in.beside(self.user_id, self.bot_id, self.now)
        for standing, states in self._standings():
            for state in states:
                if is_addition and not state.tripped:
                    continue
                taken = len(standing.holders | beside)
                found = entry_refusal(standing.safeguards, replace(state, held_positions=taken))
                if found is not None:
                    return _said(found.reason)
        if not is_addition:
            self.let_in.add(self.user_id, self.bot_id, self.now)
        return None

    def cut(self, quantity: Decimal, price: Decimal, *, held: Decimal = Decimal(0)) -> tuple[Decimal, Said | None]:
        """Return how much of a quantity may be bought at a price beside what is held, not yet on the step, and why it is less."""
        told: Said | None = None
        for standing, _ in self._standings():
            room, notional = largest_quantity(standing.safeguards, price=price, held=held), standing.safeguards.max_notional
            if room is not None and notional is not None and room < quantity:
                quantity, told = room, _said(cut_to(room, notional.most))
        return quantity, told

    def _standings(self) -> list[tuple[BotStanding | UserStanding, Sequence[Any]]]:
        found: list[tuple[BotStanding | UserStanding, Sequence[Any]]] = []
        if self.own is not None:
            found.append((self.own, (self.own.state,)))
        if self.together is not None:
            found.append((self.together, tuple(self.together.states.values())))
        return found


async def look(
    desk: Desk, bots: Mapping[UUID, UUID], *, now: datetime, price: Price | None = None, let_in: LetIn | None = None
) -> dict[UUID, Look]:
    """Let the safeguards of bots look at them: what trips is written down and acted upon before this returns.

    Two statements for all of them, and a transaction for each that trips.

    Args:
        desk: Of the engine, which works for all users.
        bots: User by bot, those that are looked at together.
        now: Aware.
        price: What positions are marked by; the last trades by default.
        let_in: Who was let in a moment ago, where others are looked at meanwhile.
    """
    marked = price or desk.quotes.last_price
    async with desk.database.connection() as connection:
        own = await bots_standing(connection, list(bots), now=now, price=marked)
        together = await users_standing(connection, set(bots.values()), now=now, price=marked)
        for standing in together.values():
            if standing.has_new_peak:
                await connection.execute(_RAISE_PEAKS, standing.user_id, {quote: f"{peak:f}" for quote, peak in standing.peaks.items()})
    trips = {user_id: await _trip_together(desk, standing) for user_id, standing in together.items()}
    looks, let_in = {}, let_in or LetIn()
    for bot_id, user_id in bots.items():
        standing_, all_ = own.get(bot_id), together.get(user_id)
        tripped = [] if standing_ is None else await _trip_own(desk, standing_)
        looks[bot_id] = Look(
            bot_id=bot_id,
            user_id=user_id,
            now=now,
            trips=(*tripped, *trips.get(user_id, ())),
            own=None if standing_ is None else replace(standing_, state=_with(standing_.state, tripped)),
            together=None if all_ is None else _with_trips(all_, trips.get(user_id, ())),
            let_in=let_in,
        )
    return looks


async def check(desk: Desk, user_id: UUID, bot_id: UUID, *, now: datetime, price: Price | None = None) -> tuple[Trip, ...]:
    """Return what of one bot, or of all bots of its user, tripped just now; as `look` does for many."""
    return (await look(desk, {bot_id: user_id}, now=now, price=price))[bot_id].trips


async def _trip_own(desk: Desk, standing: BotStanding) -> list[Trip]:
    if standing.bot_state not in _LIVE:
        return []
    found = [await trip(desk, standing.user_id, standing.bot_id, one) for one in judged(standing, standing.state)]
    return [one for one in found if one is not None]


async def _trip_together(desk: Desk, standing: UserStanding) -> tuple[Trip, ...]:
    found: dict[Rule, Trip] = {}
    for quote, state in standing.states.items():
        # Where no bot lives there is nothing to keep.
        if state.capital <= 0:
            continue
        for one in judged(standing, state):
            if one.rule not in found and (made := await trip(desk, standing.user_id, None, one, quote=quote)) is not None:
                found[one.rule] = made
    return tuple(found.values())


async def trip(desk: Desk, user_id: UUID, bot_id: UUID | None, tripped: Tripped, *, quote: str | None = None) -> Trip | None:
    """Write down that a safeguard has tripped, and with it what is to be done; None where it was written before.

    Args:
        desk: Of the engine.
        user_id: Whose.
        bot_id: Which bot's; None: of all bots together, all of which are suspended.
        tripped: What tripped.
        quote: The currency, where it is of all bots.
    """
    reason, flattens = _said(tripped.reason), tripped.action is Action.FLATTEN
    made = Trip(id=new_id(), user_id=user_id, bot_id=bot_id, rule=tripped.rule, action=tripped.action, at=tripped.at, reason=reason)
    async with desk.database.raw_transaction() as connection:
        bots = await connection.fetch(_LOCK, user_id, bot_id, _LIVE)
        values = reason.stored() | ({} if quote is None else {"quote": quote})
        if not await connection.fetch(_WRITE, made.id, user_id, bot_id, made.rule.value, made.at, values, made.action.value):
            return None
        ids = [bot["id"] for bot in bots]
        sold = [bot["id"] for bot in bots if bot["holds"]] if flattens else []
        await connection.execute(_SUSPEND, user_id, ids, reason.stored(), sold, made.at)
        await connection.execute(_EXPIRE, user_id, ids, reason.stored())
        lines = [Line(bot_id=one, user_id=user_id, kind="tripped", told=reason, level=EventLevel.ERROR) for one in ids]
        lines += [Line(bot_id=one, user_id=user_id, kind="sell_asked", told=said(_SELLS), level=EventLevel.WARNING) for one in sold]
        await write_lines(connection, lines, at=made.at)
        await put(connection, _notice(made, bots), user_id=user_id)
    for one in ids:
        desk.bus.publish(BotAsked(bot_id=one))
        desk.bus.publish(BotChanged(user_id=user_id, bot_id=one))
        desk.bus.publish(BotLogged(user_id=user_id, bot_id=one, level=EventLevel.ERROR.value, kind="tripped"))
    return made


def _notice(made: Trip, bots: Sequence[Any]) -> Notice:
    bot = bots[0] if made.bot_id is not None and bots else None
    return Notice(
        kind=NoticeKind.BOT_TRIPPED,
        severity=Severity.ERROR,
        title=_TITLE,
        text=made.reason.message,
        values={**made.reason.values, "name": _ALL_BOTS if bot is None else bot["name"]},
        url="/bots" if bot is None else f"/bots/{bot['number']}",
        key=f"trip:{made.id}",
        at=made.at,
    )


def _with(state: Any, trips: Sequence[Trip]) -> Any:
    return replace(state, tripped=state.tripped | {one.rule for one in trips})


def _with_trips(standing: UserStanding, trips: Sequence[Trip]) -> UserStanding:
    return replace(standing, states={quote: _with(state, trips) for quote, state in standing.states.items()})


def _said(sentence: Sentence) -> Said:
    return Said(message=sentence.message, values=sentence.values)
