"""Columns that one process lends another: descriptors of memory that both map, so that a million candles cross over for nothing."""

import mmap
import os
from dataclasses import dataclass

from app.domain.arrays import Candles, Decisions
from app.sandbox.frames import candle_bytes, candles_in
from app.sandbox.memory import copied_results, sealed_candles


class Descriptor:
    """A file descriptor that is passed on with whatever names it. Whoever made it closes it."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True, slots=True)
class LentCandles:
    """Candles in memory that nobody can change."""

    memory: Descriptor
    rows: int

    def here(self) -> Candles:
        """Return a view of them; it lives as long as it is used."""
        mapped = mmap.mmap(self.memory.number, candle_bytes(self.rows), mmap.MAP_SHARED, mmap.PROT_READ)
        return candles_in(memoryview(mapped), self.rows)

    def close(self) -> None:
        """Let go of the descriptor; views stay good."""
        os.close(self.memory.number)


@dataclass(frozen=True, slots=True)
class LentDecisions:
    """What a worker of the jail has decided so far, in memory that it may still write.

    Attributes:
        memory: Of the results.
        rows: For how many candles there is room.
        done: Decided by now; later rows decide nothing.
    """

    memory: Descriptor
    rows: int
    done: int

    def here(self) -> Decisions:
        """Return a copy of the first `done` rows, checked value by value.

        Raises:
            StrategyKilled: the memory holds what no decision can be.
        """
        return copied_results(self.memory.number, self.rows, self.done)


@dataclass(frozen=True, slots=True)
class GivenCandles:
    """Candles that are passed as they are: to a machine that shares no memory with this one."""

    candles: Candles

    def here(self) -> Candles:
        """Return them."""
        return self.candles

    def close(self) -> None:
        """Nothing is to be let go of."""


@dataclass(frozen=True, slots=True)
class GivenDecisions:
    """Decisions that are passed as they are, and were checked before."""

    decisions: Decisions

    def here(self) -> Decisions:
        """Return them."""
        return self.decisions


CandleSource = LentCandles | GivenCandles
DecisionSource = LentDecisions | GivenDecisions


def lend(candles: Candles) -> LentCandles:
    """Copy candles into memory that can be lent; half a second for ten million, so in a thread."""
    return LentCandles(Descriptor(sealed_candles(candles)), len(candles))
