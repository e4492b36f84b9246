"""A bot's life out of rows: its executions become acts and trades, in the words of `lives`. Pure; it runs where candles are at hand."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby
from typing import Final

from app.shadow.causes import Cause
from app.shadow.lives import ZERO, Act, Kind, LiveLife, Market, Signal, Span, Trade

#: Orders of decisions; what is sold by hand has a word instead of a candle.
_KEY: Final = re.compile(r"bot:[^:]+:(\d+):\d+")
_LEVELS: Final = {"stop": Kind.STOP, "target": Kind.TARGET}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFill:
    """One execution with what its order says. `at` is ms UTC, `fee` quote units, `coins` base units that were taken as the fee.

    `level` is the price of a limit order, a stop or a target. `is_closed` says whether its position has ended.
    """

    position: str
    order: str
    key: str
    role: str
    is_buy: bool
    quantity: Decimal
    price: Decimal
    fee: Decimal
    coins: Decimal
    level: Decimal | None
    at: int
    is_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A life as rows have it; see `lives.LiveLife`. `end` is when the last candle closes, `known_since` since when all signals are kept."""

    capital: Decimal
    fills: tuple[RecordedFill, ...]
    signals: Mapping[int, Signal]
    spans: tuple[Span, ...]
    trips: tuple[Span, ...]
    revised: Mapping[int, int]
    changed_at: int | None
    first: int
    end: int
    known_since: int = 0
    is_asking: bool = False


def live_life(recorded: Recorded, market: Market) -> LiveLife:
    """Return a life with its executions as trades."""
    return LiveLife(
        capital=recorded.capital,
        trades=tuple(_trades(recorded, market)),
        signals=recorded.signals,
        spans=recorded.spans,
        trips=recorded.trips,
        revised=recorded.revised,
        changed_at=recorded.changed_at,
        first=recorded.first,
        known_since=recorded.known_since,
        is_asking=recorded.is_asking,
    )


def _trades(recorded: Recorded, market: Market) -> Iterable[Trade]:
    positions: dict[str, list[RecordedFill]] = {}
    for fill in recorded.fills:
        positions.setdefault(fill.position, []).append(fill)
    last = int(market.time[-1])
    for fills in positions.values():
        acts = [act for act in _acts(fills, recorded.signals, market) if act.candle <= last]
        if acts and acts[0].kind is Kind.ENTRY:
            is_whole = fills[0].is_closed and sum(len(act.parts) for act in acts) == len(fills)
            yield Trade(acts=tuple(acts), is_open=not is_whole)


def _acts(fills: Sequence[RecordedFill], signals: Mapping[int, Signal], market: Market) -> list[Act]:
    orders: dict[str, list[RecordedFill]] = {}
    for fill in fills:
        orders.setdefault(fill.order, []).append(fill)
    held, acts = ZERO, []
    for place, each in enumerate(orders.values()):
        moved = sum((_moved(fill) for fill in each), ZERO)
        held += moved if each[0].is_buy else -moved
        acts.append(_act(each, place, held, signals, market))
    # Where candles are missing, the one in which an entry counts as filled may be later than what a level did to it meanwhile.
    acts = [act if act.candle >= acts[0].candle else replace(act, candle=acts[0].candle) for act in acts]
    acts.sort(key=lambda act: (act.candle, act.decided is None))
    return _merged(acts)


def _moved(fill: RecordedFill) -> Decimal:
    """What an execution changes of what is held: a fee in coins is not there to be sold."""
    return fill.quantity - fill.coins if fill.is_buy else fill.quantity + fill.coins


def _act(fills: Sequence[RecordedFill], place: int, held: Decimal, signals: Mapping[int, Signal], market: Market) -> Act:
    first = fills[0]
    found = _KEY.fullmatch(first.key)
    decided = int(found[1]) if found is not None and first.role not in _LEVELS else None
    kind = _kind(first, place, held, decided, signals)
    return Act(
        kind=kind,
        candle=market.within(first.at) if decided is None else market.next_of(decided),
        decided=decided,
        parts=tuple((_moved(fill), fill.price) for fill in fills),
        fee=sum((fill.fee for fill in fills), ZERO),
        coins=sum((fill.coins for fill in fills if fill.is_buy), ZERO),
        level=first.level,
        order_ids=(first.order,),
    )


def _kind(fill: RecordedFill, place: int, held: Decimal, decided: int | None, signals: Mapping[int, Signal]) -> Kind:
    if fill.is_buy:
        return Kind.ADD if place else Kind.ENTRY
    if fill.role in _LEVELS:
        return _LEVELS[fill.role]
    if decided is None:
        return Kind.HAND
    signal = signals.get(decided)
    is_part = signal is not None and signal.action == "adjust" and held > 0
    return Kind.REDUCE if is_part else Kind.EXIT


def _merged(acts: Sequence[Act]) -> list[Act]:
    """A stop that lies beside two targets is two orders, and one to the rules."""
    found = []
    for (kind, candle, _), same in groupby(acts, key=lambda act: (act.kind, act.candle, act.level)):
        together = list(same)
        if kind is not Kind.STOP or len(together) == 1:
            found += together
            continue
        parts = tuple(part for act in together for part in act.parts)
        ids = tuple(one for act in together for one in act.order_ids)
        fee = sum((act.fee for act in together), ZERO)
        found.append(Act(kind=kind, candle=candle, parts=parts, fee=fee, level=together[0].level, order_ids=ids))
    return found


def spans_of(events: Iterable[tuple[int, str, str, Mapping[str, str]]], end: int) -> tuple[Span, ...]:
    """Return the times in which a bot entered nothing, from its log: moment in ms, kind, message and values of each line, oldest first."""
    found: list[Span] = []
    since: tuple[int, Cause, str, Mapping[str, str]] | None = None
    for at, kind, message, values in events:
        if kind in _ENDS and since is not None:
            found.append(Span(start=since[0], end=at, cause=since[1], message=since[2], values=since[3]))
            since = None
        if kind in _BEGINS and (since is None or kind == "faulted"):
            since = at if since is None else since[0], _BEGINS[kind], message, values
    if since is not None:
        found.append(Span(start=since[0], end=end + 1, cause=since[1], message=since[2], values=since[3]))
    return tuple(found)


_BEGINS: Final = {"suspended": Cause.HAND, "stopped": Cause.HAND, "tripped": Cause.SAFEGUARD, "faulted": Cause.FAULT}
_ENDS: Final = frozenset({"started"})
