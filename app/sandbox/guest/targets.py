"""Several targets of one position, as a strategy writes them: pairs of a level and the part that leaves there."""

from typing import Any, NamedTuple

import numpy as np

from app.sandbox.guest.mistakes import StrategyMistake
from app.sandbox.guest.strategy import DEAREST


class TargetColumns(NamedTuple):
    """The columns of one target: price, distance from the entry, part of what was entered."""

    price: str
    distance: str
    part: str


TARGET_COLUMNS = (
    TargetColumns("target", "take_profit", "part"),
    TargetColumns("target_2", "take_profit_2", "part_2"),
    TargetColumns("target_3", "take_profit_3", "part_3"),
)


def several(name: str, given: Any) -> list[tuple[float, float]]:
    """Return levels and parts of up to three targets; a part of None, the rest, becomes 1: more than is left cannot leave.

    Args:
        name: Of the attribute or method: `take_profit` holds distances, others prices.
        given: What the strategy wrote.

    Raises:
        StrategyMistake: it is written in another way.
    """
    is_distance = name == "take_profit"
    found = []
    for each in given:
        pair = each if isinstance(each, list | tuple) and len(each) == 2 else (None, None)
        level, part = _number(pair[0]), 1.0 if pair[1] is None else _number(pair[1])
        if 0 < level < (10.0 if is_distance else DEAREST) and 0 < part <= 1:
            found.append((level, part))
    if len(found) != len(given) or not 0 < len(given) <= len(TARGET_COLUMNS):
        what, example = ("distance", "[(0.02, 0.5), (0.04, None)]") if is_distance else ("price", "[(110.0, 0.5), (120.0, None)]")
        raise StrategyMistake(
            "TARGETS_INVALID",
            f"{name} holds up to three pairs of a {what} and the part that leaves there (above 0 to 1, None is the rest), "
            f"as in {example}; was {given!r}",
            attribute=name,
        )
    return found


def _number(value: Any) -> float:
    """Return a plain number; NaN for what is none."""
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else float("nan")
