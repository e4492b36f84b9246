"""How bots stand before their safeguards, read from what is stored: one statement for many bots, one for all bots of many users."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.domain.candles import Timeframe
from app.domain.safeguard_judge import ClosedTrade, SafeguardState, judge
from app.domain.safeguard_words import Tripped
from app.domain.safeguards import Rule, Safeguards, read_safeguards
from app.trading.protections import LIVE

#: What the market pays for one unit now, by exchange and symbol; None where that is not known.
Price = Callable[[str, str], Decimal | None]

_ZERO: Final = Decimal(0)
#: The newest trip of each rule: armed again or not.
_TRIPS: Final = """
SELECT jsonb_object_agg(rule, jsonb_build_object('at', rearmed_at, 'equity', rearmed_equity::text, 'quote', values->>'quote')) AS trips
  FROM (SELECT DISTINCT ON (rule) rule, rearmed_at, rearmed_equity, values FROM bot_trips
   WHERE user_id = {user} AND {bot} ORDER BY rule, rearmed_at DESC NULLS FIRST) newest
"""
#: So many of the last trades as a streak may be long, of the last stops as a window may hold, and the last one that lost.
_TRADES: Final = """
SELECT jsonb_agg(jsonb_build_object('at', closed_at, 'profit', realized_pnl::text, 'role', exit_role) ORDER BY closed_at, id) AS trades
  FROM ((SELECT id, closed_at, realized_pnl, exit_role FROM positions WHERE {whose} AND status = 'closed'
    ORDER BY closed_at DESC LIMIT coalesce(({rules}->'losses'->>'trades')::int, 1))
  UNION (SELECT id, closed_at, realized_pnl, exit_role FROM positions WHERE {whose} AND status = 'closed' AND exit_role = 'stop'
    ORDER BY closed_at DESC LIMIT coalesce(({rules}->'stops'->>'stops')::int, 0))
  UNION (SELECT id, closed_at, realized_pnl, exit_role FROM positions WHERE {whose} AND status = 'closed' AND realized_pnl < 0
    ORDER BY closed_at DESC LIMIT CASE WHEN {rules} ? 'cooldown' THEN 1 ELSE 0 END)) last
"""
#: Bots of a user that hold a position, or have an entry on its way that will open one.
_HELD: Final = f"""
SELECT array_agg(bot_id) AS held FROM (
  SELECT bot_id FROM positions WHERE user_id = {{user}} AND bot_id IS NOT NULL AND status IN ('open', 'closing')
  UNION SELECT bot_id FROM orders WHERE user_id = {{user}} AND bot_id IS NOT NULL AND role = 'entry' AND state IN {LIVE}) bots
"""  # noqa: S608  # a constant
#: Written so that the index of bots is taken, and never the one of users, who may have a hundred thousand.
_OF_BOT: Final = "positions.bot_id = b.id AND (positions.user_id = b.user_id) IS TRUE"
_BOTS: Final = f"""
WITH holders AS (
  SELECT w.user_id, h.held FROM (SELECT DISTINCT user_id FROM bots WHERE id = ANY($1) AND safeguards ? 'max_positions') w
   CROSS JOIN LATERAL ({_HELD.format(user="w.user_id")}) h)
SELECT b.id, b.user_id, b.state, b.capital, b.safeguards, b.timeframe, b.exchange, b.symbol, greatest(b.peak_equity, b.capital) AS peak,
       p.quantity, p.average_price, c.realized + coalesce(p.realized_pnl, 0) AS realized, d.equity AS day_start, t.trips, k.trades, h.held,
       (SELECT max(equity) FROM bot_equity WHERE bot_id = b.id AND at > (t.trips->'drawdown'->>'at')::timestamptz) AS peak_since
  FROM (SELECT * FROM bots WHERE id = ANY($1) AND (safeguards <> '{{}}' OR EXISTS (
          SELECT 1 FROM bot_trips WHERE bot_id = bots.id AND rearmed_at IS NULL))) b
  LEFT JOIN LATERAL (SELECT * FROM positions WHERE {_OF_BOT} AND status <> 'closed' LIMIT 1) p ON true
  CROSS JOIN LATERAL (SELECT coalesce(sum(realized_pnl), 0) AS realized FROM positions WHERE {_OF_BOT} AND status = 'closed') c
  LEFT JOIN LATERAL (SELECT equity FROM bot_equity WHERE bot_id = b.id AND at <= $2 ORDER BY at DESC LIMIT 1) d ON true
  CROSS JOIN LATERAL ({_TRIPS.format(user="b.user_id", bot="bot_id = b.id")}) t
  CROSS JOIN LATERAL ({_TRADES.format(whose=_OF_BOT, rules="b.safeguards")}) k
  LEFT JOIN holders h ON h.user_id = b.user_id
"""  # noqa: S608  # constants
_OF_BOTS: Final = "positions.user_id = u.user_id AND positions.bot_id IS NOT NULL"
#: `now` sums profits of bots that are gone too: their trades are not. What was before midnight is known of those that are still there.
_USERS: Final = f"""
SELECT u.user_id, u.safeguards, u.peaks, t.trips, k.trades, h.held, n.quotes, o.open
  FROM user_safeguards u
  CROSS JOIN LATERAL ({_TRIPS.format(user="u.user_id", bot="bot_id IS NULL")}) t
  CROSS JOIN LATERAL ({_TRADES.format(whose=_OF_BOTS, rules="u.safeguards")}) k
  CROSS JOIN LATERAL ({_HELD.format(user="u.user_id")}) h
  CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('quote', quote, 'realized', realized::text, 'capital', capital::text, 'day', day::text)) AS quotes
      FROM (
        SELECT quote, sum(realized) AS realized, sum(capital) AS capital, sum(day) AS day FROM (
          SELECT quote, sum(realized_pnl) AS realized, 0 AS capital, 0 AS day FROM positions WHERE {_OF_BOTS} GROUP BY quote
          UNION ALL
          SELECT split_part(b.symbol, '/', 2), 0, CASE WHEN b.state IN ('running', 'suspended', 'faulted') THEN b.capital ELSE 0 END,
                 coalesce(d.equity - b.capital, 0)
            FROM bots b LEFT JOIN LATERAL (
              SELECT equity FROM bot_equity WHERE bot_id = b.id AND at <= $2 ORDER BY at DESC LIMIT 1) d ON true
           WHERE b.user_id = u.user_id) each GROUP BY quote) summed) n
  CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('exchange', b.exchange, 'symbol', p.symbol, 'quote', p.quote, 'quantity', p.quantity::text,
                     'price', p.average_price::text)) AS open
      FROM positions p JOIN bots b ON b.id = p.bot_id
     WHERE p.user_id = u.user_id AND p.bot_id IS NOT NULL AND p.status IN ('open', 'closing')) o
 WHERE u.user_id = ANY($1) AND (u.safeguards <> '{{}}' OR t.trips IS NOT NULL)
"""  # noqa: S608  # constants


@dataclass(frozen=True, slots=True, kw_only=True)
class BotStanding:
    """A bot before its safeguards. `quantity` is signed, base units, and marked at `price`, which is that of `exchange` and `symbol`."""

    bot_id: UUID
    user_id: UUID
    bot_state: str
    exchange: str
    symbol: str
    quantity: Decimal
    price: Decimal
    safeguards: Safeguards
    state: SafeguardState
    holders: frozenset[UUID] = frozenset()
    #: Whether there was a price for what it holds; else what it paid stands for it, and says nothing of losses.
    is_marked: bool = True

    def at(self, price: Price) -> SafeguardState:
        """Return its state at other prices."""
        now = price(self.exchange, self.symbol) or self.price
        return replace(self.state, equity=self.state.equity + self.quantity * (now - self.price))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A position that is marked at `price`."""

    exchange: str
    symbol: str
    quote: str
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStanding:
    """All bots of a user before the safeguards that they have together: a state for each quote currency.

    Equities are the capital of its bots that live, and what all of them have won so far. `profits` are the latter alone, `peaks` the
    highest of them, that of now included; `has_new_peak` whether now is higher than what is stored.
    """

    user_id: UUID
    safeguards: Safeguards
    states: Mapping[str, SafeguardState]
    profits: Mapping[str, Decimal]
    peaks: Mapping[str, Decimal]
    has_new_peak: bool
    held: tuple[Held, ...]
    holders: frozenset[UUID] = frozenset()
    is_marked: bool = True

    def at(self, price: Price) -> dict[str, SafeguardState]:
        """Return its states at other prices."""
        moved: dict[str, Decimal] = {}
        for one in self.held:
            now = price(one.exchange, one.symbol) or one.price
            moved[one.quote] = moved.get(one.quote, _ZERO) + one.quantity * (now - one.price)
        return {quote: replace(state, equity=state.equity + moved.get(quote, _ZERO)) for quote, state in self.states.items()}


async def bots_standing(connection: Any, bot_ids: Sequence[UUID], *, now: datetime, price: Price) -> dict[UUID, BotStanding]:
    """Return how these bots stand, those that have safeguards or have tripped; of all users, so on the platform's database.

    Args:
        connection: Of asyncpg.
        bot_ids: Which.
        now: Aware.
        price: What they are marked by; where it does not know, what they paid counts.
    """
    rows = await connection.fetch(_BOTS, list(bot_ids), midnight(now))
    return {row["id"]: _bot(row, now, price) for row in rows}


async def users_standing(connection: Any, user_ids: Iterable[UUID], *, now: datetime, price: Price) -> dict[UUID, UserStanding]:
    """Return how all bots of these users stand together, of those users that have safeguards for that. Arguments as `bots_standing`."""
    rows = await connection.fetch(_USERS, list(user_ids), midnight(now))
    return {row["user_id"]: _user(row, now, price) for row in rows}


async def worth(connection: Any, user_id: UUID, bot_id: UUID | None, *, now: datetime, price: Price) -> dict[str, Decimal]:
    """Return what a safeguard counts from when it is armed again now: the equity of a bot under "", or all bots' profit by currency."""
    if bot_id is None:
        together = (await users_standing(connection, [user_id], now=now, price=price)).get(user_id)
        return {} if together is None else dict(together.profits)
    own = (await bots_standing(connection, [bot_id], now=now, price=price)).get(bot_id)
    return {} if own is None else {"": own.state.equity}


def judged(standing: BotStanding | UserStanding, state: SafeguardState) -> tuple[Tripped, ...]:
    """Return the rules that trip; where a price is missing none that is about equity: nobody knows what was lost."""
    found = judge(standing.safeguards, state)
    return found if standing.is_marked else tuple(one for one in found if one.rule not in (Rule.DAILY_LOSS, Rule.DRAWDOWN))


def midnight(now: datetime) -> datetime:
    """Return when the UTC day of a moment began."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _bot(row: Any, now: datetime, price: Price) -> BotStanding:
    armed = _Armed.read(row["trips"])
    quantity, paid = row["quantity"] or _ZERO, row["average_price"] or _ZERO
    known = price(row["exchange"], row["symbol"])
    at = known or paid
    equity = row["capital"] + row["realized"] + quantity * (at - paid)
    peak = row["peak"]
    if Rule.DRAWDOWN in armed.since:
        peak = max(armed.equity.get(Rule.DRAWDOWN) or _ZERO, row["peak_since"] or _ZERO) or equity
    state = SafeguardState(
        now=now,
        timeframe=Timeframe(row["timeframe"]),
        capital=row["capital"],
        equity=equity,
        day_start=armed.day_start(row["capital"] if row["day_start"] is None else row["day_start"], now),
        peak=peak,
        trades=_trades(row["trades"]),
        since=armed.since,
        tripped=armed.tripped,
        held_positions=len(row["held"] or ()),
    )
    return BotStanding(
        bot_id=row["id"],
        user_id=row["user_id"],
        bot_state=row["state"],
        exchange=row["exchange"],
        symbol=row["symbol"],
        quantity=quantity,
        price=at,
        safeguards=read_safeguards(row["safeguards"]),
        state=state,
        holders=frozenset(row["held"] or ()),
        is_marked=known is not None or quantity == 0,
    )


def _user(row: Any, now: datetime, price: Price) -> UserStanding:
    armed, trades = _Armed.read(row["trips"]), _trades(row["trades"])
    unrealised: dict[str, Decimal] = {}
    held, is_marked = [], True
    for one in row["open"] or ():
        paid, quantity = Decimal(one["price"] or 0), Decimal(one["quantity"])
        known = price(one["exchange"], one["symbol"])
        at, is_marked = known or paid, is_marked and known is not None
        held.append(Held(exchange=one["exchange"], symbol=one["symbol"], quote=one["quote"], quantity=quantity, price=at))
        unrealised[one["quote"]] = unrealised.get(one["quote"], _ZERO) + quantity * (at - paid)
    stored = {quote: Decimal(peak) for quote, peak in row["peaks"].items()}
    profits: dict[str, Decimal] = {}
    peaks, states = dict(stored), {}
    for one in row["quotes"] or ():
        quote, capital = one["quote"], Decimal(one["capital"])
        profit = profits[quote] = Decimal(one["realized"]) + unrealised.get(quote, _ZERO)
        peaks[quote] = max(stored.get(quote, _ZERO), profit)
        states[quote] = SafeguardState(
            now=now,
            capital=capital,
            equity=capital + profit,
            day_start=capital + armed.day_start(Decimal(one["day"]), now, quote),
            peak=capital + peaks[quote],
            trades=trades,
            since=armed.since,
            tripped=armed.tripped,
            held_positions=len(row["held"] or ()),
        )
    return UserStanding(
        user_id=row["user_id"],
        safeguards=read_safeguards(row["safeguards"]),
        states=states,
        profits=profits,
        peaks=peaks,
        has_new_peak=peaks != stored,
        held=tuple(held),
        holders=frozenset(row["held"] or ()),
        is_marked=is_marked,
    )


@dataclass(frozen=True, slots=True)
class _Armed:
    """Which rules have tripped, and of the others when they were armed again, at which equity."""

    tripped: frozenset[Rule]
    since: dict[Rule, datetime]
    equity: dict[Rule, Decimal]
    quote: dict[Rule, str | None]

    @classmethod
    def read(cls, document: Any) -> "_Armed":
        found = {Rule(rule): one for rule, one in (document or {}).items() if rule in set(Rule)}
        since = {rule: datetime.fromisoformat(one["at"]) for rule, one in found.items() if one["at"] is not None}
        equity = {rule: Decimal(one["equity"]) for rule, one in found.items() if one["equity"] is not None}
        return cls(frozenset(found) - frozenset(since), since, equity, {rule: one["quote"] for rule, one in found.items()})

    def day_start(self, at_midnight: Decimal, now: datetime, quote: str | None = None) -> Decimal:
        """Return what the day's loss is measured from: midnight, or the moment at which it was armed again today."""
        since = self.since.get(Rule.DAILY_LOSS)
        if since is None or since < midnight(now) or self.quote.get(Rule.DAILY_LOSS) != quote:
            return at_midnight
        return self.equity.get(Rule.DAILY_LOSS, at_midnight)


def _trades(document: Any) -> tuple[ClosedTrade, ...]:
    return tuple(
        ClosedTrade(closed_at=datetime.fromisoformat(one["at"]), profit=Decimal(one["profit"]), is_stop=one["role"] == "stop")
        for one in document or ()
    )
