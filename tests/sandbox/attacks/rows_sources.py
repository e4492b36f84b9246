"""Attacks by the text itself, before a line of it runs."""

from typing import Final

from tests.sandbox.attacks.row import Attack

BOUNDED: Final = "a source is of bounded length and is compiled in the worker alone"

SOURCES: Final = (
    Attack(
        number=143,
        title="a source of 5 MB",
        code="x = 1\n" * 900_000,
        is_whole=True,
        outcome=r"^refused: SourceTooLong",
        by=BOUNDED,
    ),
    Attack(
        number=144,
        title="100,000 nested minus signs",
        code="x = " + "-" * 100_000 + "1\n",
        is_whole=True,
        outcome=r"^(raised: (MemoryError|RecursionError|SyntaxError)|killed)",
        by=BOUNDED,
    ),
    Attack(
        number=145,
        title="null bytes in the source",
        code="x = 1\0\n",
        is_whole=True,
        outcome=r"^raised: (SyntaxError|ValueError)",
        by=BOUNDED,
    ),
    Attack(
        number=146,
        title="1,000 nested brackets",
        code="x = " + "[" * 1_000 + "]" * 1_000 + "\n",
        is_whole=True,
        outcome=r"^(raised: (MemoryError|RecursionError|SyntaxError)|killed)",
        by=BOUNDED,
    ),
    Attack(
        number=147,
        title="a constant that takes all memory when it is folded",
        code="x = 1 << (1 << 33)\n",
        is_whole=True,
        outcome=r"^(raised|killed)",
        by=BOUNDED,
    ),
    Attack(
        number=153,
        title="half a character, which no text can hold",
        code="x = '\ud800'\n",
        is_whole=True,
        outcome=r"^refused",
        by=BOUNDED,
    ),
)
