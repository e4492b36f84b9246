"""Which trades of a bot and of its shadow belong together. Pure.

Trades that overlap in time are one episode: from where both were flat to where both are flat again. What went differently in one episode
says nothing of the next one, so that a missed entry does not make everything after it look wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.shadow.lives import Act, Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Trades between two moments at which both were flat, in order; one side may have none."""

    live: tuple[Trade, ...]
    shadow: tuple[Trade, ...]

    @property
    def start(self) -> int:
        """The candle in which the first of them began."""
        return min(trade.entry.candle for trade in (*self.live, *self.shadow))


def episodes(live: Sequence[Trade], shadow: Sequence[Trade]) -> list[Episode]:
    """Return the episodes of a life, in order."""
    rest = sorted([(trade.entry.candle, 0, trade) for trade in live] + [(trade.entry.candle, 1, trade) for trade in shadow], key=_begin)
    found: list[tuple[list[Trade], list[Trade]]] = []
    until = -1.0
    for start, side, trade in rest:
        if start >= until:
            found.append(([], []))
        found[-1][side].append(trade)
        # A level is reached within its candle, after what is entered at its open.
        until = max(until, trade.last + (0.0 if trade.acts[-1].decided is not None else 0.5))
    return [Episode(live=tuple(ours), shadow=tuple(its)) for ours, its in found]


def _begin(row: tuple[int, int, Trade]) -> tuple[int, int]:
    return row[0], row[1]


def is_same_act(one: Act, other: Act) -> bool:
    """Return whether two acts are the same order: decided at the same candle, or a level that was reached in the same candle."""
    if one.kind is not other.kind or one.is_short != other.is_short:
        return False
    if one.kind.is_level:
        return one.candle == other.candle
    return one.decided is not None and one.decided == other.decided


def first_difference(episode: Episode) -> tuple[Act | None, Act | None] | None:
    """Return the first acts that differ, of the bot and of the shadow; None on a side that does nothing more, or not before the other.

    None in all where both did the same throughout.
    """
    live, shadow = _acts(episode.live), _acts(episode.shadow)
    place = same_before(episode)
    ours = live[place] if place < len(live) else None
    its = shadow[place] if place < len(shadow) else None
    if ours is None and its is None:
        return None
    if ours is not None and its is not None and _place(ours) != _place(its):
        return (ours, None) if _place(ours) < _place(its) else (None, its)
    return ours, its


def same_before(episode: Episode) -> int:
    """Return how many acts both did alike before the first that differs."""
    place = 0
    for ours, its in zip(_acts(episode.live), _acts(episode.shadow), strict=False):
        if not is_same_act(ours, its):
            break
        place += 1
    return place


def _acts(trades: Sequence[Trade]) -> list[Act]:
    return [act for trade in trades for act in trade.acts]


def _place(act: Act) -> tuple[int, int]:
    """Where an act lies in time: orders fill at the open of a candle, levels within it."""
    return act.candle, int(act.decided is None)
